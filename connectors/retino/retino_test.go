package retino_test

import (
	"testing"
	"time"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/connectortest"
	"github.com/webhook-bridge/bridge/connectors/retino"
)

var source = connectors.Source{Name: "returns", Zone: time.UTC}

func TestConnector(t *testing.T) { connectortest.Run(t, retino.New(), source) }

func FuzzConnector(f *testing.F) { connectortest.Fuzz(f, retino.New(), source) }
