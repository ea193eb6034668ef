package nats_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/nats"
)

// TestCheck: all problems are reported at once, each with its key.
func TestCheck(t *testing.T) {
	c := nats.Config{Servers: []string{"h"}, Subject: "a..b", Format: "xml", Username: "u", Token: func() string { return "t" }, CreateStream: &nats.CreateStream{Name: "a.b", Replicas: 9}, Timeout: -1}
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
	if diff := cmp.Diff([]string{"create_stream.name", "create_stream.replicas", "format", "password", "servers[0]", "subject", "timeout", "username"}, keys); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
