package linga_test

import (
	"testing"
	"time"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/connectortest"
	"github.com/webhook-bridge/bridge/connectors/linga"
)

func TestConnector(t *testing.T) {
	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	connectortest.Run(t, linga.New(), connectors.Source{Name: "diner", Currency: "USD", Zone: zone})
}
