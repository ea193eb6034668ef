package retino_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/connectortest"
	"github.com/webhook-bridge/bridge/connectors/retino"
)

var source = connectors.Source{Name: "returns", Zone: time.UTC}

func TestConnector(t *testing.T) { connectortest.Run(t, retino.New(), source) }

// TestRetries compares the schedule with the vendor's page: 2, 4, 8, 16 minutes and so on up to an hour, for 72 hours.
func TestRetries(t *testing.T) {
	waits := retino.New().Delivery.Retries
	first := []time.Duration{2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 16 * time.Minute, 32 * time.Minute, time.Hour}
	if diff := cmp.Diff(first, waits[:len(first)]); diff != "" {
		t.Error(diff)
	}
	passed := time.Duration(0)
	for _, wait := range waits {
		passed += wait
	}
	if waits[len(waits)-1] != time.Hour || passed > 72*time.Hour || passed <= 71*time.Hour {
		t.Errorf("%d retries in %v", len(waits), passed)
	}
}

func FuzzConnector(f *testing.F) { connectortest.Fuzz(f, retino.New(), source) }
