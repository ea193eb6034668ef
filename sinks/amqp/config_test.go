package amqp_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/amqp"
)

// TestCheck: all problems are reported at once, each with its key.
func TestCheck(t *testing.T) {
	c := amqp.Config{Brokers: []string{"amqp://u:p@h:1/"}, RoutingKey: "{id}", Declare: "topics", Unroutable: "keep", Format: "xml", Username: "u", Timeout: -1}
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
	if diff := cmp.Diff([]string{"brokers[0]", "declare", "exchange", "format", "password", "routing_key", "timeout", "unroutable"}, keys); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
