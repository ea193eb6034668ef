package retino_test

import (
	"testing"
	"time"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/connectortest"
	"github.com/webhook-bridge/bridge/connectors/retino"
)

func TestConnector(t *testing.T) {
	connectortest.Run(t, retino.New(), connectors.Source{Name: "returns", Zone: time.UTC})
}
