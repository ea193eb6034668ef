package admin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// waits is the state of a sink that waits at an event.
func waits() *journalv1.SinkNote {
	since := timestamppb.New(time.Date(2026, 3, 4, 0, 0, 0, 0, time.UTC))
	return &journalv1.SinkNote{Breaker: "open", Problem: "no topic", Blocked: []*journalv1.BlockedEvent{
		{Position: 1, Reason: "no room", Since: since},
		{Position: 9, Reason: "past the end", Since: since, PastEnd: true},
	}}
}

// withSinks is a rig with the readers orders, which waits at an event, and totals, which is not configured.
func withSinks(t *testing.T) (*rig, map[string]journal.Claim) {
	t.Helper()
	r := newRig(t)
	r.sinks = []Sink{{Name: "orders", Kind: "kafka", StrictOrder: true, State: waits}}
	r.backup = func(_ context.Context, dir string) (sinks.Position, uint64, error) {
		switch dir {
		case "/there":
			return 0, 0, fmt.Errorf("journal: %w", fs.ErrExist)
		case "/full":
			return 0, 0, &fs.PathError{Op: "link", Path: "/full/secret", Err: errors.New("no space left")}
		}
		return 4, 1234, nil
	}
	r.start()
	claims := map[string]journal.Claim{}
	for _, name := range []string{"orders", "totals"} {
		if err := r.journal.Register(t.Context(), name, 1, journal.Hold); err != nil {
			t.Fatal(err)
		}
		c, err := r.journal.Claim(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		claims[name] = c
	}
	return r, claims
}

func parkedEvent(t *testing.T, p uint64) *journalv1.Parked {
	t.Helper()
	encoded, err := proto.Marshal(&eventv1.Event{
		Id: fmt.Sprint("id-", p), Type: "customer.changed", Source: "till",
		Data: &eventv1.Event_Unmapped{Unmapped: &eventv1.Unmapped{Json: `{"name": "Jan Novak"}`}},
	})
	if err != nil {
		t.Fatal(err)
	}
	at := timestamppb.New(time.Date(2026, 3, 4, 12, 0, int(p), 0, time.UTC))
	return &journalv1.Parked{
		Position: p, Event: encoded, Reason: "no room", FirstAttemptAt: at, LastAttemptAt: at, AttemptCount: 1,
		Attempts: []*journalv1.Attempt{{At: at, Error: "no room"}},
	}
}

func same(t *testing.T, what string, got, want any, options ...cmp.Option) {
	t.Helper()
	if d := cmp.Diff(want, got, append(options, protocmp.Transform())...); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func TestSinks(t *testing.T) {
	r, claims := withSinks(t)
	ctx := t.Context()
	if _, err := claims["orders"].RecordGap(ctx, 1, 4); err != nil {
		t.Fatal(err)
	}
	a, err := r.ListSinks(ctx, &adminv1.ListSinksRequest{})
	if err != nil {
		t.Fatal(err)
	}
	since := timestamppb.New(time.Date(2026, 3, 4, 0, 0, 0, 0, time.UTC))
	orders := &adminv1.Sink{
		Name: "orders", Kind: "kafka", Position: 1, Claimed: true, Breaker: "open", Problem: "no topic", StrictOrder: true, Missed: 3,
		Blocked: []*adminv1.BlockedEvent{
			{Position: 1, Reason: "no room", Since: since}, {Position: 9, Reason: "past the end", Since: since, PastEnd: true},
		},
	}
	same(t, "sinks", a.GetSinks(), []*adminv1.Sink{orders, {Name: "totals", Position: 1, Claimed: true}})

	one, err := r.GetSink(ctx, &adminv1.GetSinkRequest{Name: "orders"})
	if err != nil || len(one.GetGaps()) != 1 || one.GetGaps()[0].GetTo() != 4 {
		t.Errorf("show: %v, %v", one, err)
	}
	paused, err := r.PauseSink(ctx, &adminv1.PauseSinkRequest{Name: "totals"})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "paused", paused.GetSink(), &adminv1.Sink{Name: "totals", Position: 1, Paused: true})
	<-claims["totals"].Lost()
	resumed, err := r.ResumeSink(ctx, &adminv1.ResumeSinkRequest{Name: "totals"})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "resumed", resumed.GetSink(), &adminv1.Sink{Name: "totals", Position: 1})
	if log := r.log.String(); !strings.Contains(log, "change=paused") || !strings.Contains(log, "by=") {
		t.Errorf("log: %s", log)
	}
	if _, err := r.PassEvent(ctx, &adminv1.PassEventRequest{Name: "orders", Position: 1}); err != nil {
		t.Error(err)
	}
	requests, err := claims["orders"].Requests(ctx)
	same(t, "requests", requests, journal.Requests{Pass: []sinks.Position{1}})
	if err != nil {
		t.Error(err)
	}
}

func TestSinkErrors(t *testing.T) {
	r, _ := withSinks(t)
	ctx := t.Context()
	for name, x := range map[string]struct {
		call func() error
		want codes.Code
	}{
		"show missing":   {func() error { _, err := r.GetSink(ctx, &adminv1.GetSinkRequest{Name: "x"}); return err }, codes.NotFound},
		"show no name":   {func() error { _, err := r.GetSink(ctx, &adminv1.GetSinkRequest{}); return err }, codes.InvalidArgument},
		"pause missing":  {func() error { _, err := r.PauseSink(ctx, &adminv1.PauseSinkRequest{Name: "x"}); return err }, codes.NotFound},
		"resume missing": {func() error { _, err := r.ResumeSink(ctx, &adminv1.ResumeSinkRequest{Name: "x"}); return err }, codes.NotFound},
		"pass elsewhere": {func() error {
			_, err := r.PassEvent(ctx, &adminv1.PassEventRequest{Name: "orders", Position: 2})
			return err
		}, codes.FailedPrecondition},
		"pass past the end": {func() error {
			_, err := r.PassEvent(ctx, &adminv1.PassEventRequest{Name: "orders", Position: 9})
			return err
		}, codes.FailedPrecondition},
		"seek nowhere": {func() error { _, err := r.SeekSink(ctx, &adminv1.SeekSinkRequest{Name: "orders"}); return err }, codes.InvalidArgument},
		"seek too far": {func() error {
			_, err := r.SeekSink(ctx, &adminv1.SeekSinkRequest{Name: "orders", To: &adminv1.SeekSinkRequest_Position{Position: 2}})
			return err
		}, codes.OutOfRange},
		"seek to never": {func() error {
			_, err := r.SeekSink(ctx, &adminv1.SeekSinkRequest{Name: "orders", To: &adminv1.SeekSinkRequest_Latest{}})
			return err
		}, codes.InvalidArgument},
		"parked of missing": {func() error {
			_, err := r.ListParked(ctx, &adminv1.ListParkedRequest{Filter: &adminv1.ParkedFilter{Sink: "x"}})
			return err
		}, codes.NotFound},
		"parked position alone": {func() error {
			_, err := r.ListParked(ctx, &adminv1.ListParkedRequest{Filter: &adminv1.ParkedFilter{Position: 3}})
			return err
		}, codes.InvalidArgument},
		"parked token": {func() error { _, err := r.ListParked(ctx, &adminv1.ListParkedRequest{PageToken: "AQ"}); return err }, codes.InvalidArgument},
		"show not parked": {func() error {
			_, err := r.GetParked(ctx, &adminv1.GetParkedRequest{Sink: "orders", Position: 1})
			return err
		}, codes.NotFound},
		"discard all":     {func() error { _, err := r.DiscardParked(ctx, &adminv1.DiscardParkedRequest{}); return err }, codes.InvalidArgument},
		"backup relative": {func() error { _, err := r.BackupJournal(ctx, &adminv1.BackupJournalRequest{Path: "x"}); return err }, codes.InvalidArgument},
		"backup there": {func() error {
			_, err := r.BackupJournal(ctx, &adminv1.BackupJournalRequest{Path: "/there"})
			return err
		}, codes.AlreadyExists},
		"backup full": {func() error {
			_, err := r.BackupJournal(ctx, &adminv1.BackupJournalRequest{Path: "/full/"})
			return err
		}, codes.FailedPrecondition},
	} {
		if err := x.call(); status.Code(err) != x.want || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %v", name, err, x.want)
		}
	}
	b, err := r.BackupJournal(ctx, &adminv1.BackupJournalRequest{Path: "/new/./copy"})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "backup", b, &adminv1.BackupJournalResponse{Path: "/new/copy", Position: 4, Bytes: 1234})
}

// Pages of all sinks' events leave out nothing and give nothing twice; each is masked unless revealed.
func TestParkedEvents(t *testing.T) {
	r, claims := withSinks(t)
	ctx := t.Context()
	for p := uint64(1); p <= 5; p++ {
		for _, name := range []string{"totals", "orders"} {
			if err := claims[name].Park(ctx, parkedEvent(t, p)); err != nil {
				t.Fatal(err)
			}
		}
	}
	list := func(f *adminv1.ParkedFilter) (all []string) {
		t.Helper()
		for q := (&adminv1.ListParkedRequest{Filter: f, PageSize: 2}); ; {
			page, err := r.ListParked(ctx, q)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range page.GetEvents() {
				all = append(all, fmt.Sprint(p.GetSink(), " ", p.GetPosition(), " ", p.GetEventId()))
			}
			if q.PageToken = page.GetNextPageToken(); q.PageToken == "" {
				return all
			}
		}
	}
	same(t, "all", list(nil), []string{
		"orders 1 id-1", "orders 2 id-2", "orders 3 id-3", "orders 4 id-4", "orders 5 id-5",
		"totals 1 id-1", "totals 2 id-2", "totals 3 id-3", "totals 4 id-4", "totals 5 id-5",
	})
	same(t, "one", list(&adminv1.ParkedFilter{Sink: "totals", Position: 3}), []string{"totals 3 id-3"})
	soon := timestamppb.New(time.Now().Add(time.Hour))
	same(t, "later", list(&adminv1.ParkedFilter{Since: soon}), []string(nil))
	same(t, "earlier", len(list(&adminv1.ParkedFilter{Until: soon})), 10)

	for _, reveal := range []bool{false, true} {
		a, err := r.GetParked(ctx, &adminv1.GetParkedRequest{Sink: "orders", Position: 2, Reveal: reveal})
		if err != nil {
			t.Fatal(err)
		}
		same(t, "shown", strings.Contains(a.GetEvent().String(), "Novak"), reveal)
		same(t, "logged", strings.Contains(r.log.String(), "parked event revealed"), reveal)
		same(t, "attempts", len(a.GetAttempts()), 1)
	}

	retried, err := r.RetryParked(ctx, &adminv1.RetryParkedRequest{Filter: &adminv1.ParkedFilter{Sink: "orders"}})
	if err != nil || retried.GetRequested() != 5 || retried.GetNextPageToken() != "" {
		t.Errorf("retry: %v, %v", retried, err)
	}
	requests, err := claims["orders"].Requests(ctx)
	if err != nil || len(requests.Retry) != 5 {
		t.Errorf("requests: %v, %v", requests, err)
	}
	discarded, err := r.DiscardParked(ctx, &adminv1.DiscardParkedRequest{Filter: &adminv1.ParkedFilter{Sink: "orders", Position: 4}})
	if err != nil || discarded.GetDiscarded() != 1 {
		t.Errorf("discard: %v, %v", discarded, err)
	}
	same(t, "left", len(list(&adminv1.ParkedFilter{Sink: "orders"})), 4)
}

// A call that has taken long answers with what it did, and a token to go on.
func TestDiscardParkedByPages(t *testing.T) {
	r, claims := withSinks(t)
	for p := uint64(1); p <= 3; p++ {
		if err := claims["orders"].Park(t.Context(), parkedEvent(t, p)); err != nil {
			t.Fatal(err)
		}
	}
	r.patience = time.Nanosecond
	r.start()
	q, calls := &adminv1.DiscardParkedRequest{Filter: &adminv1.ParkedFilter{Sink: "orders"}}, 0
	for ; calls == 0 || q.GetPageToken() != ""; calls++ {
		a, err := r.DiscardParked(t.Context(), q)
		if err != nil || a.GetDiscarded() > 1 {
			t.Fatalf("%v, %v", a, err)
		}
		q.PageToken = a.GetNextPageToken()
	}
	same(t, "calls", calls >= 3, true)
	all, err := r.journal.Parked(t.Context(), "orders", 0, 10)
	if err != nil || len(all) > 0 {
		t.Errorf("left: %v, %v", all, err)
	}
}

func TestSinksByHTTP(t *testing.T) {
	r, _ := withSinks(t)
	h, err := Handler(r.server)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		method, path, body string
		code               int
		want               string
	}{
		{"GET", "/v1/sinks", "", 200, `"name":"orders"`},
		{"GET", "/v1/sinks/orders", "", 200, `"breaker":"open"`},
		{"GET", "/v1/sinks/missing", "", 404, "no sink"},
		{"POST", "/v1/sinks/totals:pause", "{}", 200, `"paused":true`},
		{"POST", "/v1/sinks/totals:resume", "{}", 200, `"paused":false`},
		{"POST", "/v1/sinks/totals:seek", `{"earliest": true}`, 200, `"position":"1"`},
		{"POST", "/v1/sinks/totals:seek", `{"position": "7"}`, 400, "past the log"},
		{"POST", "/v1/sinks/orders:pass", `{"position": "1"}`, 200, "{}"},
		{"GET", "/v1/parked?filter.sink=orders&page_size=3", "", 200, `"events":[]`},
		{"GET", "/v1/parked?filter.sinks=orders", "", 400, "no parameter"},
		{"GET", "/v1/parked/orders/3", "", 404, "is parked at 3"},
		{"POST", "/v1/parked:retry", `{"filter": {"sink": "orders"}}`, 200, `"requested":"0"`},
		{"POST", "/v1/parked:discard", `{}`, 400, "must select something"},
		{"POST", "/v1/journal:backup", `{"path": "/there"}`, 409, "exists"},
	} {
		req := httptest.NewRequest(x.method, x.path, strings.NewReader(x.body))
		if x.method == http.MethodPost {
			req.Header.Set("Content-Type", "application/json")
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		if text := strings.ReplaceAll(w.Body.String(), ": ", ":"); w.Code != x.code || !strings.Contains(strings.ReplaceAll(text, ", ", ","), x.want) {
			t.Errorf("%s %s: %d %s, want %d and %s", x.method, x.path, w.Code, w.Body, x.code, x.want)
		}
	}
}

// What the holder of a sink tells is shown by every replica, and only for as long as there is a holder.
func TestSinkOfAnotherReplica(t *testing.T) {
	r, claims := withSinks(t)
	ctx := t.Context()
	r.server.sinks()[0].State = func() *journalv1.SinkNote { return nil }
	note, err := proto.Marshal(waits())
	if err != nil {
		t.Fatal(err)
	}
	if err := claims["orders"].SaveNote(ctx, note); err != nil {
		t.Fatal(err)
	}
	a, err := r.GetSink(ctx, &adminv1.GetSinkRequest{Name: "orders"})
	if err != nil || a.GetSink().GetBreaker() != "open" || len(a.GetSink().GetBlocked()) != 2 || !a.GetSink().GetBlocked()[1].GetPastEnd() {
		t.Errorf("a sink that another replica holds: %v, %v", a, err)
	}
	if _, err := r.PassEvent(ctx, &adminv1.PassEventRequest{Name: "orders", Position: 1}); err != nil {
		t.Errorf("pass at a replica that does not hold the sink: %v", err)
	}
	if err := claims["orders"].Release(ctx); err != nil {
		t.Fatal(err)
	}
	a, err = r.GetSink(ctx, &adminv1.GetSinkRequest{Name: "orders"})
	if err != nil || a.GetSink().GetBreaker() != "" || a.GetSink().GetBlocked() != nil {
		t.Errorf("a sink without a holder: %v, %v", a, err)
	}
}

func TestReplicas(t *testing.T) {
	r, _ := withSinks(t)
	a, err := r.ListReplicas(t.Context(), &adminv1.ListReplicasRequest{})
	if err != nil || len(a.GetReplicas()) != 1 {
		t.Fatalf("replicas: %v, %v", a, err)
	}
	got := a.GetReplicas()[0]
	if got.GetState() != "running" || !got.GetSelf() || got.GetId() == "" || got.GetLastSeenAt() == nil || !slices.Equal(got.GetClaims(), []string{"orders", "totals"}) {
		t.Errorf("replica: %v", got)
	}
}

// A replica is gone when nothing is heard of it, and ended when it said so.
func TestReplicaStates(t *testing.T) {
	now := time.Now()
	for _, x := range []struct {
		replica journal.Replica
		want    string
	}{
		{journal.Replica{Seen: now}, "running"},
		{journal.Replica{Seen: now.Add(-goneAfter - time.Second)}, "gone"},
		{journal.Replica{Seen: now.Add(-goneAfter - time.Second), Self: true}, "running"},
		{journal.Replica{Seen: now.Add(-time.Minute), Ended: true}, "ended"},
	} {
		if got := replicaOf(x.replica, now).GetState(); got != x.want {
			t.Errorf("%+v is %s, want %s", x.replica, got, x.want)
		}
	}
}

// TestReplicasOfAnotherClock: the clock of the machine that is asked says nothing of the other replicas.
func TestReplicasOfAnotherClock(t *testing.T) {
	for _, off := range []time.Duration{-time.Hour, time.Hour} {
		seen := time.Now().Add(off)
		got := replicasOf([]journal.Replica{
			{Name: "here", Seen: seen, Self: true},
			{Name: "there", Seen: seen.Add(-4 * time.Second)},
			{Name: "dead", Seen: seen.Add(-time.Minute)},
		})
		for i, want := range []string{"running", "running", "gone"} {
			if got[i].GetState() != want {
				t.Errorf("clock off by %s: replica %s is %s, want %s", off, got[i].GetName(), got[i].GetState(), want)
			}
		}
	}
}
