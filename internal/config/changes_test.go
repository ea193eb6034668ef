package config

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// loadText writes a configuration file and loads it.
func loadText(t *testing.T, path, text string) *Config {
	t.Helper()
	write(t, path, text)
	cfg, err := Load(path, os.LookupEnv, known)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

const running = `
listen: {webhooks: "127.0.0.1:8080"}
sources:
  - {name: a, connector: retino, auth: {header: {values: ["first-of-a", "${file:DIR/secret}"]}}}
  - {name: b, connector: retino, auth: {none: {}}}
sinks:
  - {name: disk, file: {path: DIR/out.jsonl}}
  - name: broker
    kafka: {brokers: ["127.0.0.1:9092"], topic: t, sasl: {mechanism: PLAIN, username: u, password: "${file:DIR/secret}"}}
`

// TestReread: the changes between two readings of a file, whatever the order of its lists.
func TestReread(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "bridge.yaml")
	write(t, filepath.Join(dir, "secret"), "from-a-file-1")
	in := func(text string) string { return strings.ReplaceAll(text, "DIR", dir) }
	old := loadText(t, path, in(running))
	a := old.Sources[0].Auth.Values
	a[0].Use(time.Unix(100, 0))
	password := old.Sinks[1].Kafka.SASL.Password

	next, err := old.Reread()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Changes{}, next.ChangesFrom(old)); diff != "" {
		t.Errorf("the same file (-want +got):\n%s", diff)
	}
	if next.Fingerprint() != old.Fingerprint() {
		t.Error("the same file has another fingerprint")
	}
	next.TakeOver(old)

	write(t, filepath.Join(dir, "secret"), "from-a-file-2")
	write(t, path, in(`
shutdown_timeout: 20s
listen: {webhooks: "127.0.0.1:8080", public_url: "https://hooks.example"}
sources:
  - {name: c, connector: retino, auth: {none: {}}}
  - {name: a, connector: retino, auth: {header: {values: ["${file:DIR/secret}", "first-of-a"]}}}
sinks:
  - name: broker
    kafka: {brokers: ["127.0.0.1:9092"], topic: t, sasl: {mechanism: PLAIN, username: u, password: "${file:DIR/secret}"}}
  - {name: disk, from: earliest, batch: {count: 7}, file: {path: DIR/out.jsonl}}
access: {principals: [{name: p, tokens: [0123456789abcdef], sources: ["*"], types: ["**"]}]}
`))
	last, err := next.Reread()
	if err != nil {
		t.Fatal(err)
	}
	changes := last.ChangesFrom(next)
	if len(changes.Secrets) != 2 { // two copies of the file's; the added principal's is no change
		t.Errorf("%d secrets have changed", len(changes.Secrets))
	}
	changes.Secrets = nil
	want := Changes{
		Sources:    NamedChanges{Added: []string{"c"}, Removed: []string{"b"}, Changed: []string{"a"}},
		Sinks:      NamedChanges{Changed: []string{"disk"}},
		Principals: NamedChanges{Added: []string{"p"}},
		Keys:       []string{"listen.public_url", "shutdown_timeout"},
	}
	if diff := cmp.Diff(want, changes); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	if last.Fingerprint() == old.Fingerprint() {
		t.Error("another file has the same fingerprint")
	}
	last.TakeOver(next)
	if got := password.Reveal(); got != "from-a-file-2" || password.Place() != "sinks[0].kafka.sasl.password" {
		t.Errorf("the sink's first password is now %q of %s", got, password.Place())
	}
	if got := last.Sources[1].Auth.Values[1].LastUsed(); got != time.Unix(100, 0) {
		t.Errorf("a secret that moved in its list was used at %v", got)
	}
}

// TestFingerprint: it is the same for files that mean the same, and has no secret and nothing that is a replica's own.
func TestFingerprint(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bridge.yaml")
	const source = "sources: [{name: a, connector: retino, auth: {header: {values: [first]}}}]\n"
	of := func(text string) string { return loadText(t, path, text).Fingerprint() }
	plain := of(source)
	for _, same := range []string{
		"shutdown_timeout: 10000ms\n" + source,
		"streams: {tail: 65536Ki, max_open: 256}\nlisten: {}\n" + source,
		strings.Replace(source, "first", "second", 1),
	} {
		if of(same) != plain {
			t.Errorf("another fingerprint with\n%s", same)
		}
	}
	for _, other := range []string{
		"shutdown_timeout: 11s\n" + source,
		strings.Replace(source, "first", "first, second", 1),
		strings.Replace(source, "name: a", "name: b", 1),
	} {
		if of(other) == plain {
			t.Errorf("the same fingerprint with\n%s", other)
		}
	}
	const replica = "journal: {postgres: {url: 'postgres://localhost/', replica: NAME}}\n"
	if of(strings.Replace(replica, "NAME", "one", 1)+source) != of(strings.Replace(replica, "NAME", "two", 1)+source) {
		t.Error("the fingerprint has the replica's name")
	}
	if len(plain) != 16 {
		t.Errorf("the fingerprint is %q", plain)
	}
}

// TestRereadRefuses: a file with a problem is refused, with all problems. So is one that changes what a running server cannot change.
func TestRereadRefuses(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "bridge.yaml")
	write(t, filepath.Join(dir, "secret"), "from-a-file-1")
	running := strings.ReplaceAll(running, "DIR", dir)
	old := loadText(t, path, running)
	for _, tt := range []struct {
		name, text string
		keys       []string
	}{
		{
			"problems", strings.NewReplacer("retino", "nobody", "PLAIN", "none").Replace(running),
			[]string{"sinks[1].kafka.sasl.mechanism", "sources[0].connector", "sources[1].connector"},
		},
		{"no YAML", "{", []string{""}},
		{
			"fixed", strings.Replace(running, "8080", "8090", 1) + "journal: {dir: elsewhere, retention: {age: 2h}}\nlog: {level: debug}\n",
			[]string{"journal.dir", "journal.retention.age", "listen.webhooks", "log.level"},
		},
		{
			"postgres", strings.Replace(running, "name: disk", "name: disk, replica: r", 1) + "journal: {postgres: {url: 'postgres://localhost/'}}\n",
			[]string{"journal.postgres"},
		},
	} {
		write(t, path, tt.text)
		_, err := old.Reread()
		var problems *Error
		if !errors.As(err, &problems) {
			t.Errorf("%s: the error is %v", tt.name, err)
			continue
		}
		var keys []string
		for _, p := range problems.Problems {
			keys = append(keys, p.Path)
			if p.Line == 0 || p.File != path {
				t.Errorf("%s: %s has no place", tt.name, p)
			}
		}
		slices.Sort(keys)
		if diff := cmp.Diff(tt.keys, keys); diff != "" {
			t.Errorf("%s: keys (-want +got):\n%s%v", tt.name, diff, err)
		}
	}
	write(t, path, running+"streams: {max_open: 256}\njournal: {retention: {size: 8192Mi}}\n")
	if _, err := old.Reread(); err != nil {
		t.Errorf("defaults that are written out: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := old.Reread(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a file: %v", err)
	}
	memory, err := Parse("x", []byte("sources: [{name: a, connector: retino, auth: {none: {}}}]"), os.LookupEnv, known)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := memory.Reread(); !errors.Is(err, errNoFile) {
		t.Errorf("a configuration of memory: %v", err)
	}
}
