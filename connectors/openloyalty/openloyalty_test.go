package openloyalty_test

import (
	"testing"
	"time"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/connectortest"
	"github.com/webhook-bridge/bridge/connectors/openloyalty"
)

var source = connectors.Source{Name: "loyalty", Currency: "EUR", Zone: time.UTC}

func TestConnector(t *testing.T) { connectortest.Run(t, openloyalty.New(), source) }

func FuzzConnector(f *testing.F) { connectortest.Fuzz(f, openloyalty.New(), source) }
