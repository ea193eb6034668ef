package admin

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
	"github.com/webhook-bridge/bridge/sinks"
)

// TestSubject: the webhooks of a subject are found, the latest first, page by page; what made no event is not.
func TestSubject(t *testing.T) {
	r := newRig(t)
	for i := range 7 {
		r.post("retino", fmt.Sprintf(`{"event_type":"shipping.ordered","created_at":"2023-01-24T00:00:0%dZ","shipping":{"id":"%d"}}`, i, i%2))
	}
	found := r.list(&adminv1.Filter{Subject: "shipment/0"})
	if len(found) != 4 {
		t.Fatalf("%d webhooks", len(found))
	}
	for i := 1; i < len(found); i++ {
		if found[i].GetId() >= found[i-1].GetId() {
			t.Error("not the latest first")
		}
	}
	if n := len(r.list(&adminv1.Filter{Subject: "shipment/0", Source: "kasafik"})); n != 0 {
		t.Errorf("%d webhooks of another source", n)
	}
	page, err := r.ListWebhooks(t.Context(), &adminv1.ListWebhooksRequest{Filter: &adminv1.Filter{Subject: "shipment/0"}, PageSize: 1})
	if err != nil || page.GetExamined() != 1 || page.GetExaminedTo() == nil || page.GetNextPageToken() == "" {
		t.Errorf("a page of one: %v, %v", page, err)
	}
	_, err = r.RetryWebhooks(t.Context(), &adminv1.RetryWebhooksRequest{Filter: &adminv1.Filter{Subject: "shipment/0"}})
	wantCode(t, err, codes.InvalidArgument)
	_, err = r.ListWebhooks(t.Context(), &adminv1.ListWebhooksRequest{Filter: &adminv1.Filter{Subject: "a/b"}, PageToken: newToken(found[0].GetId())})
	wantCode(t, err, codes.InvalidArgument)
}

// holed is a journal that lost the events from one position up to another, which is excluded.
type holed struct {
	Journal

	from, to sinks.Position
}

func (h holed) Read(ctx context.Context, from sinks.Position, records []sinks.Record) ([]sinks.Record, error) {
	if from >= h.from && from < h.to {
		return records, &sinks.LostError{From: from, To: h.to}
	}
	if from < h.from {
		room := min(cap(records)-len(records), int(h.from-from))
		records = records[: len(records) : len(records)+room]
	}
	return h.Journal.Read(ctx, from, records)
}

// TestSubjectBesideLost: events that were lost hide no others of a subject, and change no order.
func TestSubjectBesideLost(t *testing.T) {
	const events = 2*subjectChunk + 100
	for _, lost := range []sinks.Position{20, subjectChunk + 50} {
		r := newRig(t)
		for i := range events {
			r.post("retino", fmt.Sprintf(`{"event_type":"shipping.ordered","created_at":"2023-01-24T00:00:00Z","number":%d,"shipping":{"id":"%d"}}`, i, i))
		}
		r.use(holed{r.journal, events - 150, events - 150 + lost})
		for _, i := range []int{0, 1, subjectChunk, events - 160, events - 10, events - 1} {
			if i+1 >= events-150 && i+1 < events-150+int(lost) {
				continue
			}
			if n := len(r.list(&adminv1.Filter{Subject: fmt.Sprintf("shipment/%d", i)})); n != 1 {
				t.Errorf("%d lost: %d webhooks of shipment %d", lost, n, i)
			}
		}
	}
}

// TestText: the stored body is searched, and a list says how far it has looked.
func TestText(t *testing.T) {
	r := newRig(t)
	for i := range 5 {
		r.post("retino", fmt.Sprintf(`{"event_type":"shipping.ordered","created_at":"2023-01-24T00:00:00Z","shipping":{"id":"id-%d"}}`, i))
	}
	if n := len(r.list(&adminv1.Filter{Text: `"id-3"`})); n != 1 {
		t.Errorf("%d webhooks", n)
	}
	page, err := r.ListWebhooks(t.Context(), &adminv1.ListWebhooksRequest{Filter: &adminv1.Filter{Text: "id-"}, PageSize: 2})
	if err != nil || page.GetExamined() != 2 || !page.GetExaminedTo().AsTime().Equal(page.GetWebhooks()[1].GetReceivedAt().AsTime()) &&
		page.GetExaminedTo().AsTime().Sub(page.GetWebhooks()[1].GetReceivedAt().AsTime()).Abs().Seconds() > 1 {
		t.Errorf("%v, %v", page, err)
	}
}

// TestBodyOffset: the place of a problem is the same character in the masked body.
func TestBodyOffset(t *testing.T) {
	r := newRig(t)
	r.post("retino", `{"event_type":"shipping.ordered","žluťoučký":"kůň","shipping":{"id":"1"} "mail":"jdoe@example.com"}`)
	id := r.list(quarantined)[0].GetId()
	for _, reveal := range []bool{false, true} {
		shown := r.get(id, reveal)
		at := shown.GetBodyOffset()
		if at < 0 || !strings.HasPrefix(shown.GetBody()[at:], `"`) || !strings.HasSuffix(shown.GetBody()[:at], `} `) {
			t.Errorf("reveal %v: the place is %d in %s", reveal, at, shown.GetBody())
		}
	}
}
