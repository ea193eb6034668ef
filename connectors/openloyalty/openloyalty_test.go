package openloyalty_test

import (
	"slices"
	"testing"
	"time"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/connectortest"
	"github.com/webhook-bridge/bridge/connectors/openloyalty"
	openloyaltyv1 "github.com/webhook-bridge/bridge/gen/webhooks/openloyalty/v1"
)

var source = connectors.Source{Name: "loyalty", Currency: "EUR", Zone: time.UTC}

func TestConnector(t *testing.T) { connectortest.Run(t, openloyalty.New(), source) }

func TestExpiringPointsAreBounded(t *testing.T) {
	const most = 10_000
	translate := openloyalty.New().Translate
	in := connectors.Input{Source: source, Event: "account.expiring_points_notification"}
	member := &openloyaltyv1.ExpiringPoints{CustomerId: new("32c764d9")}
	in.Message = &openloyaltyv1.AccountExpiringPointsNotification{Data: slices.Repeat([]*openloyaltyv1.ExpiringPoints{member}, most)}
	if got, err := translate(in); err != nil || len(got.Events) != most {
		t.Errorf("%d members: %d events, error %v", most, len(got.Events), err)
	}
	in.Message = &openloyaltyv1.AccountExpiringPointsNotification{Data: slices.Repeat([]*openloyaltyv1.ExpiringPoints{member}, most+1)}
	const want = "$.data lists 10001 members, more than 10000"
	if got, err := translate(in); err == nil || err.Error() != want || got.Events != nil {
		t.Errorf("%d members: %d events, error %v", most+1, len(got.Events), err)
	}
}

func FuzzConnector(f *testing.F) { connectortest.Fuzz(f, openloyalty.New(), source) }
