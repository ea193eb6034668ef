package admin

import (
	"strings"
	"testing"

	"github.com/webhook-bridge/bridge/connectors/retino"
	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
)

// TestReleaseArray: an array that came before its connector took arrays becomes webhooks of their own, at once, and each is
// dealt with as at receipt.
func TestReleaseArray(t *testing.T) {
	r := newRig(t)
	one := func(id string) string {
		return `{"event_type":"shipping.ordered","created_at":"2023-01-24T00:00:00Z","shipping":{"id":"` + id + `"}}`
	}
	r.post("retino", one("1"))
	array := "[" + one("1") + ", " + one("2") + ",{\"event_type\":\"parcel.lost\"}, 7 ]"
	r.post("retino", array)
	r.post("retino", "[{]")
	before := r.list(nil)
	broken, id := before[0].GetId(), before[1].GetId()
	if got := r.retry(&adminv1.RetryWebhooksRequest{}); len(got) != 2 || got[0].GetFault() == nil || got[1].GetFault() == nil {
		t.Fatalf("without arrays: %v", got)
	}
	c := retino.New()
	c.Batches = true
	r.start(c)
	request := &adminv1.RetryWebhooksRequest{Ids: []string{id, broken}, DryRun: true}
	got := r.retry(request)
	if len(got) != 2 || got[0].GetOutcome() != adminv1.Outcome_OUTCOME_ACCEPTED || len(r.list(nil)) != 3 ||
		got[1].GetFault().GetPath() != "$[0]" {
		t.Fatalf("dry run: %v", got)
	}
	request.DryRun = false
	if got := r.retry(request); got[0].GetEventCount() != 2 {
		t.Errorf("with one duplicate: %v", got)
	}
	r.retry(&adminv1.RetryWebhooksRequest{Ids: []string{id}}) // nothing more
	events := r.events()
	if len(events) != 3 || events[1].GetSubject() != "shipment/2" || events[2].GetType() != "unmapped" {
		t.Fatalf("events %v", events)
	}
	released := r.get(id, false).GetWebhook()
	if released.GetReleasedAt() == nil || released.GetEventCount() != 0 {
		t.Errorf("the array is %v", released)
	}
	for _, w := range r.list(nil)[1:4] {
		if w.GetReceivedAt().AsTime() != released.GetReceivedAt().AsTime() {
			t.Errorf("%v was not received with the array", w)
		}
	}
	if held := r.list(quarantined); len(held) != 2 || held[1].GetBodySize() != 1 {
		t.Errorf("in quarantine: %v", held)
	}
	// The vendor sends the array again. What was released without a key of the vendor's own is not taken for the same.
	r.post("retino", array)
	if n := len(r.events()); n != 4 {
		t.Errorf("%d events", n)
	}
	if strings.Contains(r.log.String(), "parcel.lost") {
		t.Error("the log has content")
	}
}

// TestReleaseNormalizedArray: each webhook is stored as received, so that a redelivery is its duplicate.
func TestReleaseNormalizedArray(t *testing.T) {
	r := newRig(t)
	array := `[{"event_type":"shipping.ordered","created_at":"2023-01-24T00:00:00Z","shipping":{"id":"1",}},]`
	r.post("retino", array)
	c := retino.New()
	c.Batches, c.Normalize = true, normalizePrint
	r.start(c)
	if got := r.retry(&adminv1.RetryWebhooksRequest{}); len(got) != 1 || got[0].GetEventCount() != 1 {
		t.Fatalf("%v", got)
	}
	r.post("retino", array)
	if n := len(r.events()); n != 1 {
		t.Errorf("%d events", n)
	}
	stored := r.get(r.events()[0].GetWebhookId(), true)
	if want := strings.TrimSuffix(strings.TrimPrefix(array, "["), ",]"); stored.GetBody() != want {
		t.Errorf("stored is %s", stored.GetBody())
	}
	if again := r.retranslate(&adminv1.RetranslateWebhooksRequest{}); again.GetUnchanged() != 1 {
		t.Errorf("%v", again)
	}
}
