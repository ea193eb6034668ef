package kasafik_test

import (
	"testing"
	"time"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/connectortest"
	"github.com/webhook-bridge/bridge/connectors/kasafik"
)

var source = connectors.Source{Name: "till", Zone: time.UTC}

func TestConnector(t *testing.T) { connectortest.Run(t, kasafik.New(), source) }

func FuzzConnector(f *testing.F) { connectortest.Fuzz(f, kasafik.New(), source) }
