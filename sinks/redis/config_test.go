package redis_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/clienttls"
	"github.com/webhook-bridge/bridge/sinks/redis"
)

// TestCheck: all problems are reported at once, each with its key.
func TestCheck(t *testing.T) {
	c := redis.Config{Addresses: []string{"redis://h:1", "h:2"}, Stream: "s.{source}", Username: "u", Format: "xml", MaxLength: -1, Database: 3, TLS: &clienttls.Files{CertFile: "c.pem"}}
	var keys []string
	for _, err := range c.Check() {
		var at *sinks.KeyError
		if !errors.As(err, &at) {
			t.Errorf("without a key: %v", err)
			continue
		}
		keys = append(keys, at.Key)
	}
	slices.Sort(keys)
	if diff := cmp.Diff([]string{"addresses[0]", "database", "format", "max_length", "password", "stream", "tls.key_file"}, keys); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
