package parcelino_test

import (
	"testing"
	"time"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/connectortest"

	"example.com/own-connector/parcelino"
)

var source = connectors.Source{Name: "carrier", Zone: time.UTC}

func TestConnector(t *testing.T) { connectortest.Run(t, parcelino.New(), source) }

func FuzzConnector(f *testing.F) { connectortest.Fuzz(f, parcelino.New(), source) }
