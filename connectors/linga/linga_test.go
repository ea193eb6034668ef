package linga_test

import (
	"testing"
	"time"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/connectortest"
	"github.com/webhook-bridge/bridge/connectors/linga"
)

func TestConnector(t *testing.T) { connectortest.Run(t, linga.New(), source(t)) }

func FuzzConnector(f *testing.F) { connectortest.Fuzz(f, linga.New(), source(f)) }

func source(tb testing.TB) connectors.Source {
	tb.Helper()
	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		tb.Fatal(err)
	}
	return connectors.Source{Name: "diner", Currency: "USD", Zone: zone}
}
