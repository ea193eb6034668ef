package openloyalty_test

import (
	"testing"
	"time"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/connectortest"
	"github.com/webhook-bridge/bridge/connectors/openloyalty"
)

func TestConnector(t *testing.T) {
	connectortest.Run(t, openloyalty.New(), connectors.Source{Name: "loyalty", Currency: "EUR", Zone: time.UTC})
}
