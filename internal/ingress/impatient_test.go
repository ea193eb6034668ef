package ingress

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/webhook-bridge/bridge/connectors/openloyalty"
)

// TestImpatientSender: a vendor that hangs up before the disk is done, and never tries again, loses nothing.
func TestImpatientSender(t *testing.T) {
	patience := openloyalty.New().Delivery.Timeout
	synctest.Test(t, func(t *testing.T) {
		e := newEdge(t)
		ctx, hangUp := context.WithTimeout(t.Context(), patience)
		defer hangUp()
		e.book.Before = func(commit context.Context) error {
			<-ctx.Done()
			return commit.Err()
		}
		body := sample(t, "openloyalty", "account_expiring_level_notification")
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/webhooks/loyalty", bytes.NewReader(body))
		r.Header = secretOf("loyalty")
		e.ServeHTTP(httptest.NewRecorder(), r)
		if ctx.Err() == nil || patience != time.Second {
			t.Fatalf("the sender was still there, with the patience of %v", patience)
		}
		if got := e.book.last(t); len(got.Events) == 0 || got.Webhook.GetQuarantine() != nil {
			t.Errorf("stored: %v with %d events", got.Webhook, len(got.Events))
		}
	})
}
