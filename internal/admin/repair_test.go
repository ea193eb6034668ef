package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/webhook-bridge/bridge/connectors/kasafik"
	"github.com/webhook-bridge/bridge/connectors/retino"
	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
)

// correctable puts n webhooks in quarantine and starts with a connector that normalizes them. The ids are in order.
func correctable(r *rig, n int) []string {
	r.t.Helper()
	for i := range n {
		r.post("retino/shipping.ordered",
			fmt.Sprintf(`{"event_type":"shipping.ordered","created_at":"2023-01-24T00:00:00Z","shipping":{"id":"%d"},}`, i))
	}
	c := retino.New()
	c.Normalize = normalizePrint
	r.start(c)
	var ids []string
	for _, w := range r.list(quarantined) {
		ids = append(ids, w.GetId())
	}
	slices.Reverse(ids)
	return ids
}

// TestRetryByIDs: each webhook is retried once, for ids in any order and case, and across pages.
func TestRetryByIDs(t *testing.T) {
	r := newRig(t)
	ids := correctable(r, 7)
	asked := []string{ids[6], strings.ToUpper(ids[5]), ids[4], ids[6], strings.ToUpper(ids[3]), ids[2], strings.ToUpper(ids[2]), ids[0], ids[1]}
	var got []string
	for _, result := range r.retry(&adminv1.RetryWebhooksRequest{Ids: asked, PageSize: 2}) {
		if result.GetOutcome() != adminv1.Outcome_OUTCOME_ACCEPTED {
			t.Errorf("%v", result)
		}
		got = append(got, result.GetWebhookId())
	}
	if diff := cmp.Diff(ids, got); diff != "" || len(r.events()) != len(ids) {
		t.Errorf("%d events (-want +got):\n%s", len(r.events()), diff)
	}
}

// TestRetryOfWhatIsGone: a missing webhook has its own result, and the others are retried.
func TestRetryOfWhatIsGone(t *testing.T) {
	r := newRig(t)
	ids := correctable(r, 4)
	if _, err := r.DiscardWebhooks(t.Context(), &adminv1.DiscardWebhooksRequest{Ids: []string{ids[1], ids[3]}}); err != nil {
		t.Fatal(err)
	}
	gone := &adminv1.Fault{Reason: "not_found", Problem: "no such webhook is kept", Offset: -1}
	want := []*adminv1.RetryResult{
		{WebhookId: ids[0], Outcome: adminv1.Outcome_OUTCOME_ACCEPTED, EventCount: 1},
		{WebhookId: ids[1], Fault: gone},
		{WebhookId: ids[2], Outcome: adminv1.Outcome_OUTCOME_ACCEPTED, EventCount: 1},
		{WebhookId: ids[3], Fault: gone},
	}
	if diff := cmp.Diff(want, r.retry(&adminv1.RetryWebhooksRequest{Ids: ids, PageSize: 3}), protocmp.Transform()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	r.wantLog(t, "released=2")
}

// leaving has a webhook discarded between being found and being looked at by itself.
type leaving struct{ Journal }

func (leaving) Webhook(context.Context, string) (*journalv1.Webhook, error) {
	return nil, journal.ErrNotFound
}

// TestRetryOvertakenByDiscard: what is discarded while it is translated is told like what was gone before.
func TestRetryOvertakenByDiscard(t *testing.T) {
	r := newRig(t)
	id := correctable(r, 1)[0]
	w, err := r.journal.Webhook(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.journal.Discard(t.Context(), []string{id}); err != nil {
		t.Fatal(err)
	}
	r.use(leaving{r.journal})
	got, err := r.server.retryOne(t.Context(), w, &adminv1.RetryWebhooksRequest{})
	if err != nil || got.GetFault().GetReason() != "not_found" || got.GetOutcome() != adminv1.Outcome_OUTCOME_UNSPECIFIED {
		t.Errorf("%v %v", got, err)
	}
}

// refusing makes the disk refuse what is of one webhook.
func (r *rig) refusing(id string) {
	r.refuse = func(e journal.Entry) error {
		if e.Webhook.GetId() == id {
			return journal.ErrUnavailable
		}
		return nil
	}
}

// TestRetryTellsWhatIsDone: where the disk refuses in the middle, the answer has what was done, and the next the error.
func TestRetryTellsWhatIsDone(t *testing.T) {
	r := newRig(t)
	ids := correctable(r, 4)
	r.refusing(ids[2])
	done, err := r.RetryWebhooks(t.Context(), &adminv1.RetryWebhooksRequest{})
	if err != nil || len(done.GetResults()) != 2 || done.GetNextPageToken() == "" || len(r.events()) != 2 {
		t.Fatalf("%v %v", done, err)
	}
	rest := &adminv1.RetryWebhooksRequest{PageToken: done.GetNextPageToken()}
	_, err = r.RetryWebhooks(t.Context(), rest)
	wantCode(t, err, codes.Unavailable)
	r.refuse = nil
	if got := r.retry(rest); len(got) != 2 || got[0].GetWebhookId() != ids[2] || len(r.events()) != 4 {
		t.Errorf("%v, %d events", got, len(r.events()))
	}
}

// TestRetranslateTellsWhatIsDone: as a retry does.
func TestRetranslateTellsWhatIsDone(t *testing.T) {
	r := newRig(t)
	ids := correctable(r, 4)
	r.retry(&adminv1.RetryWebhooksRequest{})
	c := retino.New()
	c.Normalize = normalizePrint
	r.start(changed(c, func(all []*eventv1.Event) []*eventv1.Event {
		all[0].SubjectVersion = "another"
		return all
	}))
	r.refusing(ids[2])
	done, err := r.RetranslateWebhooks(t.Context(), &adminv1.RetranslateWebhooksRequest{})
	if err != nil || done.GetExamined() != 2 || len(done.GetChanges()) != 2 || done.GetNextPageToken() == "" || len(r.events()) != 6 {
		t.Fatalf("%v %v", done, err)
	}
	rest := &adminv1.RetranslateWebhooksRequest{PageToken: done.GetNextPageToken()}
	_, err = r.RetranslateWebhooks(t.Context(), rest)
	wantCode(t, err, codes.Unavailable)
	r.refuse = nil
	if got := r.retranslate(rest); got.GetExamined() != 2 || got.GetChanges()[0].GetWebhookId() != ids[2] || len(r.events()) != 8 {
		t.Errorf("%v, %d events", got, len(r.events()))
	}
}

// scant finds pages of two and, while it is ill, discards one webhook of those it is given.
type scant struct {
	Journal

	ill bool
}

func (s *scant) Find(ctx context.Context, q journal.Query) (journal.Page, error) {
	q.Limit = 2
	return s.Journal.Find(ctx, q)
}

func (s *scant) Discard(ctx context.Context, ids []string) (int, error) {
	if !s.ill {
		return s.Journal.Discard(ctx, ids)
	}
	n, err := s.Journal.Discard(ctx, ids[:1])
	return n, errors.Join(err, journal.ErrUnavailable)
}

// discard goes through all pages, and says how many were discarded by each.
func (r *rig) discard(request *adminv1.DiscardWebhooksRequest) []uint64 {
	r.t.Helper()
	var counts []uint64
	for {
		a, err := r.DiscardWebhooks(r.t.Context(), request)
		if err != nil {
			r.t.Fatal(err)
		}
		counts = append(counts, a.GetDiscarded())
		if request.PageToken = a.GetNextPageToken(); request.PageToken == "" {
			return counts
		}
	}
}

// TestDiscardTellsWhatIsDone: what was removed before the disk refused is told, and the next call goes on.
func TestDiscardTellsWhatIsDone(t *testing.T) {
	r := newRig(t)
	ids := correctable(r, 8)
	j := &scant{r.journal, true}
	r.use(j)
	for _, request := range []*adminv1.DiscardWebhooksRequest{{Ids: ids[:3]}, {Filter: quarantined}} {
		done, err := r.DiscardWebhooks(t.Context(), request)
		if err != nil || done.GetDiscarded() != 1 || done.GetNextPageToken() == "" {
			t.Fatalf("%v: %v %v", request, done, err)
		}
		request.PageToken = done.GetNextPageToken()
		j.ill = false
		if got := r.discard(request); len(got) == 0 || got[0] == 0 {
			t.Errorf("%v: %v", request, got)
		}
		j.ill = true
	}
	if left := r.list(nil); len(left) != 0 {
		t.Errorf("%d webhooks left", len(left))
	}
}

// TestDiscardEndsEarly: a call that has taken long ends, and the next goes on where it ended.
func TestDiscardEndsEarly(t *testing.T) {
	r := newRig(t)
	r.patience = time.Nanosecond
	correctable(r, 5)
	r.use(&scant{Journal: r.journal})
	if diff := cmp.Diff([]uint64{2, 2, 1}, r.discard(&adminv1.DiscardWebhooksRequest{Filter: quarantined})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestRetryAfterTheConnectorChanged: another vendor's connector under the source's name does not read what came before it.
func TestRetryAfterTheConnectorChanged(t *testing.T) {
	r := newRig(t)
	correctable(r, 1)
	c := kasafik.New()
	c.Name = "retino"
	r.start(c)
	w := r.list(nil)[0]
	// The source is called what it was; its connector is not.
	r.sources["retino"].Connector.Name = "kasafik"
	got := r.retry(&adminv1.RetryWebhooksRequest{Ids: []string{w.GetId()}})
	want := &adminv1.Fault{Reason: "unknown_source", Problem: "the source has another connector now", Offset: -1}
	if diff := cmp.Diff(want, got[0].GetFault(), protocmp.Transform()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
