package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const postgresConfig = `
journal:
  postgres: {url: "${file:%s}", replica: one}
sources:
  - name: shop
    connector: retino
    auth: {none: {}}
sinks:
  - name: archive
    replica: two
    file: {path: /tmp/events.jsonl}
`

// PostgreSQL takes the place of the folder, with defaults of its own. Its URL is a secret.
func TestPostgres(t *testing.T) {
	path := filepath.Join(t.TempDir(), "url")
	const url = "postgres://bridge:s3cret@db1,db2/bridge"
	if err := os.WriteFile(path, []byte(url+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Parse("bridge.yaml", fmt.Appendf(nil, postgresConfig, path), os.LookupEnv, known)
	if err != nil {
		t.Fatal(err)
	}
	p := c.Journal.Postgres
	switch {
	case p == nil || c.Journal.Dir != "" || c.Journal.MinFree != 0:
		t.Errorf("journal is %+v", c.Journal)
	case p.URL.Reveal() != url || strings.Contains(fmt.Sprintf("%+v %v", *p, p.URL), "s3cret"):
		t.Errorf("URL is %+v", p)
	case p.Schema != "bridge" || p.ReplicatedBy != "standby" || p.Replica != "one":
		t.Errorf("defaults are %+v", p)
	case c.ShutdownDelay != 10*time.Second || c.Sinks[0].Replica != "two":
		t.Errorf("delay %s, sinks %+v", c.ShutdownDelay, c.Sinks)
	case len(c.FilesOf("journal.postgres.url")) != 1:
		t.Error("the file of the URL is not known")
	}
}

// Without a name, a replica has its host's.
func TestReplicaName(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(postgresConfig, ", replica: one", "", 1)
	c, err := Parse("bridge.yaml", []byte(strings.Replace(text, "${file:%s}", "postgres://db/bridge", 1)), os.LookupEnv, known)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Journal.Postgres.Replica; got != host {
		t.Errorf("replica is %q, the host %q", got, host)
	}
}

func TestShutdownDelayOfTheFolder(t *testing.T) {
	c, err := Parse("bridge.yaml", []byte("sources: [{name: shop, connector: retino, auth: {none: {}}}]"), os.LookupEnv, known)
	if err != nil {
		t.Fatal(err)
	}
	if c.ShutdownDelay != 0 || c.Journal.Dir == "" {
		t.Errorf("delay %s, folder %q", c.ShutdownDelay, c.Journal.Dir)
	}
}

// A sink in PostgreSQL may share the journal's database, but not its schema. Its URL is a secret.
func TestPostgresSink(t *testing.T) {
	const text = `
journal:
  postgres: {url: "postgres://bridge:s3cret@db1,db2/bridge", replica: one}
sources: [{name: a, connector: retino, auth: {none: {}}}]
sinks:
  - name: warehouse
    postgres: {url: "postgres://other:pass@db2/bridge", schema: %s}
`
	c, err := Parse("bridge.yaml", fmt.Appendf(nil, text, "shop"), os.LookupEnv, known)
	if err != nil {
		t.Fatal(err)
	}
	secrets := c.Secrets()
	if s := c.Sinks[0]; s.Kind() != "postgres" || s.Postgres.Timeout != time.Minute || secrets[len(secrets)-1].Value.Reveal() != s.Postgres.URL.Reveal() {
		t.Errorf("the sink is %+v", s)
	}
	_, err = Parse("bridge.yaml", fmt.Appendf(nil, text, "bridge"), os.LookupEnv, known)
	if err == nil || !strings.Contains(err.Error(), "sinks[0].postgres.schema: is the journal's, in line 3") || strings.Contains(err.Error(), "pass") {
		t.Errorf("the journal's schema: %v", err)
	}
}
