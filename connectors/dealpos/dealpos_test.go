package dealpos_test

import (
	"testing"
	"time"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/connectortest"
	"github.com/webhook-bridge/bridge/connectors/dealpos"
)

func TestConnector(t *testing.T) {
	zone, err := time.LoadLocation("Asia/Jakarta")
	if err != nil {
		t.Fatal(err)
	}
	connectortest.Run(t, dealpos.New(), connectors.Source{Name: "erp-jakarta", Currency: "IDR", Zone: zone})
}
