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
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/webhook-bridge/bridge/connectors/openloyalty"
	"github.com/webhook-bridge/bridge/connectors/retino"
	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
	"github.com/webhook-bridge/bridge/internal/intake"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// wantLog looks for a line, and for what no line may hold.
func (r *rig) wantLog(t *testing.T, line string, never ...string) {
	t.Helper()
	text := r.log.String()
	if !strings.Contains(text, line) {
		t.Errorf("the log lacks %q:\n%s", line, text)
	}
	for _, s := range never {
		if strings.Contains(text, s) {
			t.Errorf("the log holds %q", s)
		}
	}
}

func TestListWebhooks(t *testing.T) {
	r := newRig(t)
	received(t, r) // two of Retino's, one of Open Loyalty's
	r.post("retino", `{"event_type":"parcel.lost"}`)
	r.post("openloyalty", `{"type":"customer.registered"`)
	newestFirst := r.list(nil)
	if len(newestFirst) != 5 || !slices.IsSortedFunc(newestFirst, func(a, b *adminv1.Webhook) int { return strings.Compare(b.GetId(), a.GetId()) }) {
		t.Fatalf("%v", newestFirst)
	}
	at := func(i int) *timestamppb.Timestamp { return newestFirst[i].GetReceivedAt() }
	for name, test := range map[string]struct {
		filter *adminv1.Filter
		want   []int // of newestFirst
	}{
		"all":          {&adminv1.Filter{}, []int{0, 1, 2, 3, 4}},
		"source":       {&adminv1.Filter{Source: "retino"}, []int{1, 3, 4}},
		"event":        {&adminv1.Filter{VendorEvent: "parcel.lost"}, []int{1}},
		"accepted":     {&adminv1.Filter{Outcome: adminv1.Outcome_OUTCOME_ACCEPTED}, []int{2, 3, 4}},
		"unmapped":     {&adminv1.Filter{Outcome: adminv1.Outcome_OUTCOME_UNMAPPED}, []int{1}},
		"quarantined":  {quarantined, []int{0}},
		"reason":       {&adminv1.Filter{Reason: "malformed_json"}, []int{0}},
		"no reason":    {&adminv1.Filter{Reason: "panic"}, nil},
		"released":     {&adminv1.Filter{Outcome: adminv1.Outcome_OUTCOME_RELEASED}, nil},
		"since":        {&adminv1.Filter{Since: at(1)}, []int{0, 1}},
		"until":        {&adminv1.Filter{Until: at(1)}, []int{2, 3, 4}},
		"both":         {&adminv1.Filter{Since: at(3), Until: at(1)}, []int{2, 3}},
		"long ago":     {&adminv1.Filter{Until: timestamppb.New(time.Unix(-5, 0))}, nil},
		"since ever":   {&adminv1.Filter{Since: timestamppb.New(time.Unix(-5, 0))}, []int{0, 1, 2, 3, 4}},
		"for ever":     {&adminv1.Filter{Until: timestamppb.New(time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC))}, []int{0, 1, 2, 3, 4}},
		"several":      {&adminv1.Filter{Source: "retino", Outcome: adminv1.Outcome_OUTCOME_UNMAPPED}, []int{1}},
		"contradicted": {&adminv1.Filter{Source: "openloyalty", Outcome: adminv1.Outcome_OUTCOME_UNMAPPED}, nil},
	} {
		var want []*adminv1.Webhook
		for _, i := range test.want {
			want = append(want, newestFirst[i])
		}
		if diff := cmp.Diff(want, r.list(test.filter), protocmp.Transform()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	// Without its source, it is unknown whether an event is modelled.
	r.start(openloyalty.New())
	if got := r.list(&adminv1.Filter{VendorEvent: "parcel.lost"}); got[0].GetOutcome() != adminv1.Outcome_OUTCOME_ACCEPTED {
		t.Errorf("%v", got)
	}
}

// TestGetWebhook: what is personal, or undeclared, shows on request alone, and that is logged.
func TestGetWebhook(t *testing.T) {
	r := newRig(t)
	body := strings.Replace(printedBody(t, openloyalty.New(), "customer_registered"), `"gender"`, `"nick": "Johnny", "gender"`, 1)
	r.post("openloyalty/customer.registered", body)
	id := r.list(nil)[0].GetId()
	personal := []string{"jdoe@example.com", "Johnny", "Doe", "444555666", "123456789"}

	masked := r.get(id, false)
	for _, s := range personal {
		if strings.Contains(masked.String(), s) {
			t.Errorf("%q shows", s)
		}
	}
	if masked.RawBody != nil || masked.GetEncoding() != "json" || masked.GetMessageType() != "webhooks.openloyalty.v1.CustomerRegistered" {
		t.Errorf("%v", masked)
	}
	for _, s := range []string{`"customerId": "32c764d9-ddd5-401f-ac13-a7fcba0982ff"`, `"type": "customer.registered"`} {
		if !strings.Contains(masked.GetBody(), s) {
			t.Errorf("the body lacks %s:\n%s", s, masked.GetBody())
		}
	}
	for _, s := range []string{`"customerId":"32c764d9-ddd5-401f-ac13-a7fcba0982ff"`, `"email":"•••"`} {
		if !strings.Contains(masked.GetMessage(), s) {
			t.Errorf("the message lacks %s:\n%s", s, masked.GetMessage())
		}
	}
	if e := masked.GetEvents(); len(e) != 1 || e[0].GetEvent().GetCustomer().GetEmail() != "•••" || e[0].GetPosition() != 1 {
		t.Errorf("events %v", e)
	}
	unknown := &adminv1.DriftField{
		Connector: "openloyalty", VendorEvent: "customer.registered", Kind: "unknown", Field: "$.data.data.nick", Sample: `"xxxxxx"`, WebhookId: id,
	}
	if !slices.ContainsFunc(masked.GetDrift(), func(d *adminv1.DriftField) bool { return cmp.Equal(d, unknown, protocmp.Transform()) }) {
		t.Errorf("drift %v", masked.GetDrift())
	}
	if h := masked.GetHeaders(); len(h) == 0 || h[0].GetName() != "content-type" || h[0].GetValue() != "application/json" {
		t.Errorf("headers %v", h)
	}

	revealed := r.get(id, true)
	if string(revealed.GetRawBody()) != body || revealed.GetBody() != body || revealed.GetEvents()[0].GetEvent().GetCustomer().GetEmail() != "jdoe@example.com" ||
		!strings.Contains(revealed.GetMessage(), `"email":"jdoe@example.com"`) {
		t.Errorf("%v", revealed)
	}
	if n := strings.Count(r.log.String(), "webhook revealed"); n != 1 {
		t.Errorf("%d lines tell of one reveal", n)
	}
	r.wantLog(t, "by=bufconn", personal...)
}

// TestGetBrokenWebhook: what cannot be decoded is masked all the same, and shows how it is broken.
func TestGetBrokenWebhook(t *testing.T) {
	r := newRig(t)
	r.post("openloyalty/customer.registered", `{"type":"customer.registered","data":{"customerId":"7","data":{"email":"jdoe@example.com",}}}`)
	r.post("retino/x", "\x00\xffDoe")
	r.start(openloyalty.New())
	all := r.list(nil)
	broken := r.get(all[1].GetId(), false)
	want := `{"type":"customer.registered","data":{"customerId":"7","data":{"email":"xxxx@xxxxxxx.xxx",`
	if !strings.HasPrefix(broken.GetBody(), want) || broken.GetMessage() != "" {
		t.Errorf("%v", broken)
	}
	binary := r.get(all[0].GetId(), false)
	if strings.Contains(binary.GetBody(), "Doe") || binary.GetMessageType() != "" {
		t.Errorf("%v", binary)
	}
	if shown := r.get(all[0].GetId(), true); shown.GetBody() != "" || string(shown.GetRawBody()) != "\x00\xffDoe" {
		t.Errorf("%v", shown)
	}
}

func TestRequestsThatMakeNoSense(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	id := uuid.Must(uuid.NewV7()).String()
	for name, call := range map[string]func() error{
		"page too large": func() error {
			_, err := r.ListWebhooks(ctx, &adminv1.ListWebhooksRequest{PageSize: 1001})
			return err
		},
		"no such outcome": func() error {
			_, err := r.ListWebhooks(ctx, &adminv1.ListWebhooksRequest{Filter: &adminv1.Filter{Outcome: 99}})
			return err
		},
		"no token": func() error {
			_, err := r.ListWebhooks(ctx, &adminv1.ListWebhooksRequest{PageToken: id})
			return err
		},
		"another version's token": func() error {
			_, err := r.ListWebhooks(ctx, &adminv1.ListWebhooksRequest{PageToken: "Ag" + newToken(id)[2:]})
			return err
		},
		"no webhook's token": func() error {
			_, err := r.ListWebhooks(ctx, &adminv1.ListWebhooksRequest{PageToken: newToken(uuid.NewString())})
			return err
		},
		"no time": func() error {
			_, err := r.ListWebhooks(ctx, &adminv1.ListWebhooksRequest{Filter: &adminv1.Filter{Since: &timestamppb.Timestamp{Nanos: -1}}})
			return err
		},
		"no id": func() error {
			_, err := r.GetWebhook(ctx, &adminv1.GetWebhookRequest{Id: "7"})
			return err
		},
		"retry of what is no id": func() error {
			_, err := r.RetryWebhooks(ctx, &adminv1.RetryWebhooksRequest{Ids: []string{"7"}})
			return err
		},
		"retry of accepted ones": func() error {
			_, err := r.RetryWebhooks(ctx, &adminv1.RetryWebhooksRequest{Filter: &adminv1.Filter{Outcome: adminv1.Outcome_OUTCOME_ACCEPTED}})
			return err
		},
		"discard of nothing said": func() error {
			_, err := r.DiscardWebhooks(ctx, &adminv1.DiscardWebhooksRequest{})
			return err
		},
		"discard of an empty filter": func() error {
			_, err := r.DiscardWebhooks(ctx, &adminv1.DiscardWebhooksRequest{Filter: &adminv1.Filter{}})
			return err
		},
		"discard of released ones": func() error {
			_, err := r.DiscardWebhooks(ctx, &adminv1.DiscardWebhooksRequest{Filter: &adminv1.Filter{Outcome: adminv1.Outcome_OUTCOME_RELEASED}})
			return err
		},
		"drift of no kind": func() error {
			_, err := r.ListDrift(ctx, &adminv1.ListDriftRequest{Kind: "strange"})
			return err
		},
	} {
		if err := call(); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := r.GetWebhook(ctx, &adminv1.GetWebhookRequest{Id: id})
	wantCode(t, err, codes.NotFound)
	_, err = r.GetWebhook(ctx, &adminv1.GetWebhookRequest{Id: uuid.NewString()})
	wantCode(t, err, codes.NotFound)
}

// failing is a journal that cannot be read, or panics.
type failing struct {
	Journal
	err error
}

func (f failing) Find(context.Context, journal.Query) (journal.Page, error) {
	if f.err == nil {
		panic("the secret that a value holds")
	}
	return journal.Page{}, f.err
}

// TestCodes: each error has its code, and no cause is sent.
func TestCodes(t *testing.T) {
	r := newRig(t)
	for _, test := range []struct {
		err  error
		want codes.Code
	}{
		{journal.ErrUnavailable, codes.Unavailable},
		{sinks.ErrClosed, codes.Unavailable},
		{intake.ErrUnavailable, codes.Unavailable},
		{context.DeadlineExceeded, codes.DeadlineExceeded},
		{context.Canceled, codes.Canceled},
		{errors.New("anything"), codes.Internal},
		{nil, codes.Internal},
	} {
		cause := test.err
		if cause != nil {
			cause = fmt.Errorf("the folder /secret: %w", test.err)
		}
		r.use(failing{Journal: r.journal, err: cause})
		_, err := r.ListWebhooks(t.Context(), &adminv1.ListWebhooksRequest{})
		if status.Code(err) != test.want || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v: %v", test.err, err)
		}
	}
	r.wantLog(t, "operator's call panicked", "the secret that a value holds")
}

func TestDiscard(t *testing.T) {
	r := newRig(t)
	received(t, r)
	for i := range 5 {
		r.post("retino/shipping.ordered", fmt.Sprintf(`{"v":%d`, i))
		r.post("openloyalty/customer.registered", fmt.Sprintf(`{"v":%d`, i))
	}
	discard := func(request *adminv1.DiscardWebhooksRequest, want uint64) {
		t.Helper()
		a, err := r.DiscardWebhooks(t.Context(), request)
		if err != nil || a.GetDiscarded() != want {
			t.Errorf("%v: %v %v", request, a, err)
		}
	}
	held := r.list(quarantined)
	ids := []string{held[0].GetId(), held[1].GetId()}
	discard(&adminv1.DiscardWebhooksRequest{Ids: ids}, 2)
	discard(&adminv1.DiscardWebhooksRequest{Ids: ids}, 0)
	accepted := r.list(&adminv1.Filter{Outcome: adminv1.Outcome_OUTCOME_ACCEPTED})
	discard(&adminv1.DiscardWebhooksRequest{Ids: []string{accepted[0].GetId()}}, 0)
	discard(&adminv1.DiscardWebhooksRequest{Filter: &adminv1.Filter{Source: "retino"}}, 4)
	discard(&adminv1.DiscardWebhooksRequest{Filter: quarantined}, 4)
	if left := r.list(nil); len(left) != 3 {
		t.Errorf("%d webhooks left", len(left))
	}
	r.wantLog(t, "quarantined webhooks discarded")
}

// TestRetryChoices: by id, by filter, as another event; what is not there any more is said.
func TestRetryChoices(t *testing.T) {
	r := newRig(t)
	good := `{"event_type":"shipping.ordered","created_at":"2023-01-24T00:00:00Z","shipping":{"id":"2"}}`
	r.post("retino/other.name", good) // two names
	r.post("retino/shipping.ordered", "{")
	held := r.list(quarantined)
	broken, mismatched := held[0].GetId(), held[1].GetId()
	if got := r.retry(&adminv1.RetryWebhooksRequest{Filter: &adminv1.Filter{Reason: "event_mismatch"}}); len(got) != 1 ||
		got[0].GetFault().GetReason() != "event_mismatch" {
		t.Errorf("%v", got)
	}
	got := r.retry(&adminv1.RetryWebhooksRequest{Ids: []string{mismatched, broken, mismatched}, VendorEvent: "no.such", PageSize: 1})
	if len(got) != 2 || got[0].GetFault().GetReason() != "unknown_event" {
		t.Errorf("%v", got)
	}
	got = r.retry(&adminv1.RetryWebhooksRequest{Ids: []string{mismatched}, VendorEvent: "shipping.ordered"})
	if len(got) != 1 || got[0].GetOutcome() != adminv1.Outcome_OUTCOME_ACCEPTED || got[0].GetEventCount() != 1 {
		t.Errorf("%v", got)
	}
	if shown := r.get(mismatched, false); shown.GetWebhook().GetVendorEvent() != "shipping.ordered" || shown.GetMessage() == "" {
		t.Errorf("%v", shown)
	}
	// Its name stays when it is translated again.
	if again := r.retranslate(&adminv1.RetranslateWebhooksRequest{}); again.GetUnchanged() != 1 {
		t.Errorf("%v", again)
	}
	r.start(openloyalty.New())
	if got := r.retry(&adminv1.RetryWebhooksRequest{}); len(got) != 1 || got[0].GetFault().GetReason() != "unknown_source" {
		t.Errorf("without its source: %v", got)
	}
	r.wantLog(t, "quarantined webhooks retried")
}

// TestPagesEndEarly: a page that has taken long ends, and the next goes on where it ended.
func TestPagesEndEarly(t *testing.T) {
	r := newRig(t)
	r.patience = time.Nanosecond
	for i := range 4 {
		r.post("retino/shipping.ordered", fmt.Sprintf(
			`{"event_type":"shipping.ordered","created_at":"2023-01-24T00:00:00Z","shipping":{"id":"%d"}}x`, i))
	}
	c := retino.New()
	c.Normalize = func(b []byte) []byte { return append(b[:len(b)-1:len(b)-1], ' ') }
	r.start(c)
	page, err := r.RetryWebhooks(t.Context(), &adminv1.RetryWebhooksRequest{})
	if err != nil || len(page.GetResults()) != 1 || page.GetNextPageToken() == "" {
		t.Fatalf("%v %v", page, err)
	}
	if rest := r.retry(&adminv1.RetryWebhooksRequest{PageToken: page.GetNextPageToken()}); len(rest) != 3 {
		t.Errorf("%v", rest)
	}
	if all := r.retranslate(&adminv1.RetranslateWebhooksRequest{}); all.GetUnchanged() != 4 {
		t.Errorf("%v", all)
	}
}

func TestListDrift(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"Johnny", "Joe"} {
		r.post("openloyalty/customer.registered", strings.Replace(printedBody(t, openloyalty.New(), "customer_registered"),
			`"gender"`, `"nick": "`+name+`", "gender"`, 1))
	}
	list := func(request *adminv1.ListDriftRequest) []*adminv1.DriftField {
		t.Helper()
		a, err := r.ListDrift(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		return a.GetFields()
	}
	got := list(&adminv1.ListDriftRequest{Connector: "openloyalty", VendorEvent: "customer.registered", Kind: "unknown"})
	if len(got) != 1 {
		t.Fatalf("%v", got)
	}
	want := &adminv1.DriftField{
		Connector: "openloyalty", VendorEvent: "customer.registered", Kind: "unknown", Field: "$.data.data.nick", Count: 2,
		FirstAt: got[0].GetFirstAt(), LastAt: got[0].GetLastAt(), Sample: `"xxxxxx"`, WebhookId: r.list(nil)[0].GetId(),
	}
	if diff := cmp.Diff(want, got[0], protocmp.Transform()); diff != "" || got[0].GetFirstAt() == nil {
		t.Errorf("-want +got:\n%s", diff)
	}
	for name, request := range map[string]*adminv1.ListDriftRequest{
		"another connector": {Connector: "retino"},
		"another event":     {VendorEvent: "customer.updated"},
		"another kind":      {Kind: "type"},
		"later":             {Since: timestamppb.New(time.Now().Add(time.Hour))},
	} {
		if got := list(request); len(got) != 0 {
			t.Errorf("%s: %v", name, got)
		}
	}
}
