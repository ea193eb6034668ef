package kasafik_test

import (
	"testing"
	"time"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/connectortest"
	"github.com/webhook-bridge/bridge/connectors/kasafik"
)

func TestConnector(t *testing.T) {
	connectortest.Run(t, kasafik.New(), connectors.Source{Name: "till", Zone: time.UTC})
}
