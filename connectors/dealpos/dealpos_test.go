package dealpos_test

import (
	"testing"
	"time"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/connectortest"
	"github.com/webhook-bridge/bridge/connectors/dealpos"
)

func TestConnector(t *testing.T) { connectortest.Run(t, dealpos.New(), source(t)) }

func FuzzConnector(f *testing.F) { connectortest.Fuzz(f, dealpos.New(), source(f)) }

func source(tb testing.TB) connectors.Source {
	tb.Helper()
	zone, err := time.LoadLocation("Asia/Jakarta")
	if err != nil {
		tb.Fatal(err)
	}
	return connectors.Source{Name: "erp-jakarta", Currency: "IDR", Zone: zone}
}
