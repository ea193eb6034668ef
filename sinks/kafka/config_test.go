package kafka_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/webhook-bridge/bridge/sinks/kafka"
)

func TestConfig(t *testing.T) {
	notPEM := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(notPEM, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		config kafka.Config
		want   []string // Keys.
	}{
		"least":           {kafka.Config{Brokers: []string{"127.0.0.1:9092"}, Topic: "t"}, nil},
		"nothing":         {kafka.Config{}, []string{"topic", "brokers"}},
		"bad brokers":     {kafka.Config{Topic: "t", Brokers: []string{"a:1", "b", "kafka://c:1", ":1", "d:0", "[::1]:9092", "e:x"}}, []string{"brokers[1]", "brokers[2]", "brokers[3]", "brokers[4]", "brokers[6]"}},
		"a user":          {kafka.Config{Topic: "t", Brokers: []string{"me@host:1"}}, []string{"brokers[0]"}},
		"format":          {config(func(c *kafka.Config) { c.Format = "avro" }), []string{"format"}},
		"compression":     {config(func(c *kafka.Config) { c.Compression = "brotli" }), []string{"compression"}},
		"open brace":      {config(func(c *kafka.Config) { c.Topic = "a.{type" }), []string{"topic"}},
		"close brace":     {config(func(c *kafka.Config) { c.Topic = "a.type}" }), []string{"topic"}},
		"unknown":         {config(func(c *kafka.Config) { c.Topic = "a.{subject}" }), []string{"topic"}},
		"empty braces":    {config(func(c *kafka.Config) { c.Topic = "a.{}" }), []string{"topic"}},
		"characters":      {config(func(c *kafka.Config) { c.Topic = "a/b" }), []string{"topic"}},
		"dots":            {config(func(c *kafka.Config) { c.Topic = ".." }), []string{"topic"}},
		"long":            {config(func(c *kafka.Config) { c.Topic = strings.Repeat("a", 250) }), []string{"topic"}},
		"key":             {config(func(c *kafka.Config) { c.Key = "{kind}/{subject}" }), nil},
		"unknown key":     {config(func(c *kafka.Config) { c.Key = "{id}" }), []string{"key"}},
		"default key":     {config(func(c *kafka.Config) { c.Key, c.Tombstones = "{source}/{subject}", true }), nil},
		"too wide a key":  {config(func(c *kafka.Config) { c.Key, c.Tombstones = "{source}", true }), []string{"key"}},
		"too close a key": {config(func(c *kafka.Config) { c.Key, c.Tombstones = "{type}/{subject}", true }), []string{"key"}},
		"registry":        {config(func(c *kafka.Config) { c.SchemaRegistry = &kafka.SchemaRegistry{URL: "https://registry.example"} }), nil},
		"no registry":     {config(func(c *kafka.Config) { c.SchemaRegistry = &kafka.SchemaRegistry{} }), []string{"schema_registry.url"}},
		"registry, two forms": {config(func(c *kafka.Config) {
			c.Format = kafka.FormatCloudEvents
			c.SchemaRegistry = &kafka.SchemaRegistry{URL: "http://u:hunter2@a", Username: "u", Token: "hunter2", TLS: &kafka.TLS{CAFile: "/nowhere"}}
		}), []string{"schema_registry.url", "schema_registry.token", "schema_registry", "schema_registry.tls.ca_file"}},
		"registry, no user": {config(func(c *kafka.Config) {
			c.Format = kafka.FormatJSON
			c.SchemaRegistry = &kafka.SchemaRegistry{URL: "http://a", Password: "hunter2"}
		}), []string{"schema_registry.username", "schema_registry"}},
		"negative": {config(func(c *kafka.Config) {
			c.Timeout, c.BatchBytes, c.MaxRecordBytes = -time.Second, -1, -1
			c.CreateTopics = &kafka.CreateTopics{Partitions: -1, Replication: -1}
		}), []string{"batch_bytes", "max_record_bytes", "timeout", "create_topics.partitions", "create_topics.replication"}},
		"no authority":   {config(func(c *kafka.Config) { c.TLS = &kafka.TLS{CAFile: "/nowhere"} }), []string{"tls.ca_file"}},
		"not PEM":        {config(func(c *kafka.Config) { c.TLS = &kafka.TLS{CAFile: notPEM} }), []string{"tls.ca_file"}},
		"half a pair":    {config(func(c *kafka.Config) { c.TLS = &kafka.TLS{KeyFile: notPEM} }), []string{"tls.cert_file"}},
		"other half":     {config(func(c *kafka.Config) { c.TLS = &kafka.TLS{CertFile: notPEM} }), []string{"tls.key_file"}},
		"no pair":        {config(func(c *kafka.Config) { c.TLS = &kafka.TLS{CertFile: notPEM, KeyFile: notPEM} }), []string{"tls.cert_file"}},
		"no credentials": {config(func(c *kafka.Config) { c.SASL = &kafka.SASL{Mechanism: "PLAIN"} }), []string{"sasl.username", "sasl.password"}},
		"mechanism":      {config(func(c *kafka.Config) { c.SASL = &kafka.SASL{Mechanism: "GSSAPI", Username: "u", Password: "p"} }), []string{"sasl.mechanism"}},
		"token": {config(func(c *kafka.Config) {
			c.SASL = &kafka.SASL{Mechanism: "OAUTHBEARER", Token: "a-._~+/1==", Extensions: []string{"a=b c"}}
		}), nil},
		"no token":      {config(func(c *kafka.Config) { c.SASL = &kafka.SASL{Mechanism: "OAUTHBEARER", Username: "u"} }), []string{"sasl.username", "sasl.token"}},
		"no such token": {config(func(c *kafka.Config) { c.SASL = &kafka.SASL{Mechanism: "OAUTHBEARER", Token: "hunter2\x01"} }), []string{"sasl.token"}},
		"extensions": {config(func(c *kafka.Config) {
			c.SASL = &kafka.SASL{Mechanism: "OAUTHBEARER", Token: "t", Extensions: []string{"a", "=b", "a=\x01", "auth=x", "a="}}
		}), []string{"sasl.extensions[0]", "sasl.extensions[1]", "sasl.extensions[2]", "sasl.extensions[3]"}},
		"no client": {config(func(c *kafka.Config) {
			c.SASL = &kafka.SASL{Mechanism: "OAUTHBEARER", Token: "t", OAuth: &kafka.OAuth{TokenURL: "https://u:hunter2@a/"}}
		}), []string{"sasl.token", "sasl.oauth.token_url", "sasl.oauth.client_id", "sasl.oauth.client_secret"}},
		"client": {config(func(c *kafka.Config) {
			c.SASL = &kafka.SASL{Mechanism: "OAUTHBEARER", OAuth: &kafka.OAuth{TokenURL: "https://a/token?v=1", ClientID: "c", ClientSecret: "s"}}
		}), nil},
		"token with PLAIN": {config(func(c *kafka.Config) {
			c.SASL = &kafka.SASL{Mechanism: "PLAIN", Username: "u", Password: "p", Token: "t"}
		}), []string{"sasl.mechanism"}},
		"not for SCRAM": {config(func(c *kafka.Config) {
			c.SASL = &kafka.SASL{Mechanism: "SCRAM-SHA-512", Username: "u", Password: "hunter2\x00"}
		}), []string{"sasl"}},
	} {
		t.Run(name, func(t *testing.T) {
			var keys []string
			for _, problem := range c.config.Check() {
				var at *kafka.KeyError
				if !errors.As(problem, &at) {
					t.Fatalf("%v has no key", problem)
				}
				keys = append(keys, at.Key)
				if strings.Contains(problem.Error(), "hunter2") {
					t.Errorf("%v shows the password", problem)
				}
			}
			if diff := cmp.Diff(c.want, keys); diff != "" {
				t.Errorf("keys (-want +got):\n%s%v", diff, errors.Join(c.config.Check()...))
			}
			s, err := kafka.Open(t.Context(), c.config)
			if (err != nil) != (len(c.want) > 0) {
				t.Errorf("Open: %v", err)
			}
			if err == nil {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func config(change func(c *kafka.Config)) kafka.Config {
	c := kafka.Config{Brokers: []string{"127.0.0.1:9092"}, Topic: "t"}
	change(&c)
	return c
}

func TestPasswordIsNotPrinted(t *testing.T) {
	c := kafka.Config{
		SASL:           &kafka.SASL{Mechanism: "PLAIN", Username: "bridge", Password: "hunter2"},
		SchemaRegistry: &kafka.SchemaRegistry{URL: "https://registry.example", Username: "bridge", Password: "hunter2", Token: "hunter2"},
	}
	oauth := &kafka.OAuth{TokenURL: "https://login.example", ClientID: "bridge", ClientSecret: "hunter2"}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		for _, v := range []any{c, c.SASL, *c.SASL, oauth, *oauth, c.SchemaRegistry, *c.SchemaRegistry} {
			if text := fmt.Sprintf(verb, v); strings.Contains(text, "hunter2") {
				t.Errorf("%s of %T prints %s", verb, v, text)
			}
		}
	}
}
