package admin

import (
	"fmt"
	"sync"
	"testing"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/openloyalty"
	"github.com/webhook-bridge/bridge/connectors/retino"
	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
)

// TestRepairsAtOnce: several operators who repair the same webhooks at the same instant publish each event once.
func TestRepairsAtOnce(t *testing.T) {
	r := newRig(t)
	const webhooks, operators = 20, 4
	for i := range webhooks {
		r.post("retino/shipping.ordered",
			fmt.Sprintf(`{"event_type":"shipping.ordered","created_at":"2023-01-24T00:00:00Z","shipping":{"id":"%d"},}`, i))
		r.post("openloyalty/customer.updated", fmt.Sprintf(`{"type":"customer.updated","data":{"customerId":"%d",}}`, i))
	}
	normalizing := func() []*connectors.Connector {
		all := []*connectors.Connector{retino.New(), openloyalty.New()}
		for _, c := range all {
			c.Normalize = normalizePrint
		}
		return all
	}
	r.start(normalizing()...)
	atOnce := func(call func() error) {
		t.Helper()
		var wg sync.WaitGroup
		for range operators {
			wg.Go(func() {
				if err := call(); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	atOnce(func() error {
		_, err := r.RetryWebhooks(t.Context(), &adminv1.RetryWebhooksRequest{})
		return err
	})
	if n := len(r.events()); n != 2*webhooks {
		t.Fatalf("%d events of %d webhooks", n, 2*webhooks)
	}

	all := normalizing()
	for _, c := range all {
		changed(c, func(all []*eventv1.Event) []*eventv1.Event {
			all[0].SubjectVersion = "another"
			return all
		})
	}
	r.start(all...)
	atOnce(func() error {
		_, err := r.RetranslateWebhooks(t.Context(), &adminv1.RetranslateWebhooksRequest{})
		return err
	})
	ids := map[string]bool{}
	for _, e := range r.events() {
		ids[e.GetId()] = true
	}
	if n := len(r.events()); n != 4*webhooks || len(ids) != n {
		t.Errorf("%d events with %d ids after corrections", n, len(ids))
	}
}
