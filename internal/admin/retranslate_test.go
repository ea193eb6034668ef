package admin

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/openloyalty"
	"github.com/webhook-bridge/bridge/connectors/retino"
	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks"
)

// changed is a connector that makes something else of its events.
func changed(c *connectors.Connector, change func([]*eventv1.Event) []*eventv1.Event) *connectors.Connector {
	translate := c.Translate
	c.Translate = func(in connectors.Input) (connectors.Translation, error) {
		t, err := translate(in)
		if err == nil {
			t.Events = change(t.Events)
		}
		return t, err
	}
	return c
}

// received sends two shipments and a customer.
func received(t *testing.T, r *rig) {
	t.Helper()
	r.post("retino/shipping.ordered", printedBody(t, retino.New(), "shipping_ordered"))
	r.post("retino/shipping.ordered",
		`{"event_type":"shipping.ordered","created_at":"2023-01-24T00:00:00Z","shipping":{"id":"2","option_name":"Pošta"}}`)
	r.post("openloyalty/customer.registered", printedBody(t, openloyalty.New(), "customer_registered"))
}

// rewritten changes a shipment's reference, and its second charge.
func rewritten(all []*eventv1.Event) []*eventv1.Event {
	s := all[0].GetShipment()
	if s.GetReference() != "" {
		s.Reference = "return/" + s.GetReference()
		s.Charges[0].Amount = &money.Money{CurrencyCode: "CZK", Units: 100}
		s.Charges = append(s.Charges, &eventv1.ShipmentCharge{InvoiceUrl: "https://example.com/2"})
	}
	return all
}

// TestRetranslateShowsWhatChanged: a connector that was changed on purpose. A dry run shows exactly the changed fields, the real
// run publishes corrections that name what they supersede, and a second run publishes nothing.
func TestRetranslateShowsWhatChanged(t *testing.T) {
	r := newRig(t)
	received(t, r)
	before := r.events()
	r.start(changed(retino.New(), rewritten), openloyalty.New())
	request := func(dryRun bool) *adminv1.RetranslateWebhooksRequest {
		return &adminv1.RetranslateWebhooksRequest{DryRun: dryRun, PageSize: 1}
	}
	dry := r.retranslate(request(true))
	want := &adminv1.RetranslateWebhooksResponse{Examined: 3, Unchanged: 2, Changes: []*adminv1.Change{{
		WebhookId: before[0].GetWebhookId(), Source: "retino", VendorEvent: "shipping.ordered",
		Events: []*adminv1.EventChange{{
			Supersedes: before[0].GetId(), Id: dry.GetChanges()[0].GetEvents()[0].GetId(),
			Fields: []*adminv1.FieldChange{
				{Path: "shipment.reference", Published: `"20210001"`, Made: `"return/20210001"`},
				{
					Path:      "shipment.charges[0].amount",
					Published: `{"currencyCode":"CZK","units":"99"}`, Made: `{"currencyCode":"CZK","units":"100"}`,
				},
				{Path: "shipment.charges[1].invoice_url", Made: `"https://example.com/2"`},
			},
		}},
	}}}
	if diff := cmp.Diff(want, dry, protocmp.Transform()); diff != "" {
		t.Errorf("dry run (-want +got):\n%s", diff)
	}
	if len(r.events()) != len(before) {
		t.Fatal("a dry run published events")
	}
	if diff := cmp.Diff(want, r.retranslate(request(false)), protocmp.Transform()); diff != "" {
		t.Errorf("real run (-want +got):\n%s", diff)
	}
	after := r.events()
	if len(after) != len(before)+1 {
		t.Fatalf("%d events", len(after))
	}
	correction := after[len(before)]
	if correction.GetSupersedes() != before[0].GetId() || correction.GetShipment().GetReference() != "return/20210001" ||
		correction.GetWebhookId() != before[0].GetWebhookId() || !correction.GetReceivedAt().AsTime().Equal(before[0].GetReceivedAt().AsTime()) {
		t.Errorf("correction %v", correction)
	}
	shown := r.get(before[0].GetWebhookId(), false).GetEvents()
	if len(shown) != 2 || shown[1].GetEvent().GetSupersedes() != before[0].GetId() || shown[1].GetPosition() != uint64(len(after)) {
		t.Errorf("shown are %v", shown)
	}

	again := r.retranslate(request(false))
	if len(again.GetChanges()) != 0 || again.GetUnchanged() != 3 || len(r.events()) != len(after) {
		t.Errorf("a second run: %v", again)
	}
	// Back to what it was: the correction is corrected.
	r.start(retino.New(), openloyalty.New())
	back := r.retranslate(request(false))
	if len(back.GetChanges()) != 1 || back.GetChanges()[0].GetEvents()[0].GetSupersedes() != correction.GetId() {
		t.Errorf("back: %v", back)
	}
	if got := r.events(); len(got) != len(after)+1 || got[len(after)].GetShipment().GetReference() != "20210001" {
		t.Errorf("%d events after going back", len(got))
	}
}

// TestRetranslateMasksPersonalData: that it differs is told, and how only on request.
func TestRetranslateMasksPersonalData(t *testing.T) {
	r := newRig(t)
	received(t, r)
	r.start(retino.New(), changed(openloyalty.New(), func(all []*eventv1.Event) []*eventv1.Event {
		c := all[0].GetCustomer()
		c.Email, c.Phone, c.LevelId = "other@example.com", "", "gold"
		return all
	}))
	request := &adminv1.RetranslateWebhooksRequest{Filter: &adminv1.Filter{Source: "openloyalty"}, DryRun: true}
	masked := r.retranslate(request)
	want := []*adminv1.FieldChange{
		{Path: "customer.email", Published: "•••", Made: "•••"},
		{Path: "customer.phone", Published: "•••"},
		{Path: "customer.level_id", Published: `"e82c96cf-32a3-43bd-9034-4df343e50000"`, Made: `"gold"`},
	}
	if diff := cmp.Diff(want, masked.GetChanges()[0].GetEvents()[0].GetFields(), protocmp.Transform()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if masked.GetExamined() != 1 {
		t.Errorf("examined %d", masked.GetExamined())
	}
	request.Reveal = true
	want[0].Published, want[0].Made, want[1].Published = `"jdoe@example.com"`, `"other@example.com"`, `"123456789"`
	if diff := cmp.Diff(want, r.retranslate(request).GetChanges()[0].GetEvents()[0].GetFields(), protocmp.Transform()); diff != "" {
		t.Errorf("revealed (-want +got):\n%s", diff)
	}
	r.wantLog(t, "differences revealed", "jdoe@example.com", "other@example.com")
}

// TestRetranslateMoreAndFewerEvents: what was not made before is published, what is not made any more is told.
func TestRetranslateMoreAndFewerEvents(t *testing.T) {
	r := newRig(t)
	received(t, r)
	r.start(changed(retino.New(), func(all []*eventv1.Event) []*eventv1.Event {
		return append(all, &eventv1.Event{
			Type: "shipment.labelled", Subject: all[0].GetSubject(), Data: &eventv1.Event_Shipment{Shipment: &eventv1.Shipment{Id: "x"}},
		})
	}))
	filter := &adminv1.Filter{Source: "retino", Until: timestamppb.New(time.Now().Add(time.Hour))}
	more := r.retranslate(&adminv1.RetranslateWebhooksRequest{Filter: filter})
	if len(more.GetChanges()) != 2 {
		t.Fatalf("%v", more)
	}
	for _, c := range more.GetChanges() {
		if e := c.GetEvents()[0]; e.GetIndex() != 1 || e.GetSupersedes() != "" || e.GetId() == "" {
			t.Errorf("%v", c)
		}
	}
	if got := len(r.events()); got != 5 {
		t.Fatalf("%d events", got)
	}
	if again := r.retranslate(&adminv1.RetranslateWebhooksRequest{Filter: filter}); again.GetUnchanged() != 2 {
		t.Errorf("a second run: %v", again)
	}
	r.start(retino.New())
	fewer := r.retranslate(&adminv1.RetranslateWebhooksRequest{Filter: filter})
	if len(fewer.GetChanges()) != 2 || len(r.events()) != 5 {
		t.Fatalf("%v, %d events", fewer, len(r.events()))
	}
	if again := r.retranslate(&adminv1.RetranslateWebhooksRequest{Filter: filter}); !proto.Equal(again, fewer) || len(r.events()) != 5 {
		t.Errorf("a second run: %v, %d events", again, len(r.events()))
	}
	gone := fewer.GetChanges()[0].GetEvents()[0]
	want := []*adminv1.FieldChange{
		{Path: "type", Published: `"shipment.labelled"`},
		{Path: "subject", Published: `"shipment/2b20e85f-2201-494a-b3f9-85d89721174e"`},
		{Path: "shipment.id", Published: `"x"`},
	}
	if diff := cmp.Diff(want, gone.GetFields(), protocmp.Transform()); diff != "" || gone.GetId() != "" || gone.GetSupersedes() == "" {
		t.Errorf("%v (-want +got):\n%s", gone, diff)
	}
}

// TestRetranslateLeavesOut: what is in quarantine, or was a duplicate when it was released, became no events to compare.
func TestRetranslateLeavesOut(t *testing.T) {
	r := newRig(t)
	broken := printedBody(t, retino.New(), "shipping_ordered") + "x"
	r.post("retino/shipping.ordered", broken)
	normalizing := retino.New()
	normalizing.Normalize = func(b []byte) []byte {
		b[len(b)-1] = ' '
		return b
	}
	if got := r.retranslate(&adminv1.RetranslateWebhooksRequest{}); got.GetExamined() != 0 {
		t.Errorf("quarantined: %v", got)
	}
	r.start(normalizing)
	r.post("retino/shipping.ordered", broken)
	results := r.retry(&adminv1.RetryWebhooksRequest{})
	if len(results) != 1 || results[0].GetOutcome() != adminv1.Outcome_OUTCOME_DUPLICATE {
		t.Fatalf("%v", results)
	}
	if all := r.list(&adminv1.Filter{Outcome: adminv1.Outcome_OUTCOME_DUPLICATE}); len(all) != 1 {
		t.Errorf("duplicates: %v", all)
	}
	if got := r.retranslate(&adminv1.RetranslateWebhooksRequest{}); got.GetExamined() != 1 || got.GetUnchanged() != 1 {
		t.Errorf("with a duplicate: %v", got)
	}
	for _, o := range []adminv1.Outcome{adminv1.Outcome_OUTCOME_QUARANTINED, adminv1.Outcome_OUTCOME_DUPLICATE} {
		_, err := r.RetranslateWebhooks(t.Context(), &adminv1.RetranslateWebhooksRequest{Filter: &adminv1.Filter{Outcome: o}})
		wantCode(t, err, codes.InvalidArgument)
	}
}

// TestRetranslateFaults: what today's connector, or no connector, can translate is told, and nothing is published.
func TestRetranslateFaults(t *testing.T) {
	r := newRig(t)
	received(t, r)
	c := retino.New()
	c.Translate = func(connectors.Input) (connectors.Translation, error) {
		return connectors.Translation{}, connectors.Errorf("$.shipping.id", `is "jdoe@example.com"`)
	}
	r.start(c)
	got := r.retranslate(&adminv1.RetranslateWebhooksRequest{})
	want := &adminv1.Fault{Reason: "untranslatable", Problem: `is "xxxx@xxxxxxx.xxx"`, Path: "$.shipping.id", Offset: -1}
	if len(got.GetChanges()) != 3 || !cmp.Equal(want, got.GetChanges()[0].GetFault(), protocmp.Transform()) {
		t.Errorf("%v", got)
	}
	if f := got.GetChanges()[2].GetFault(); f.GetReason() != "unknown_source" {
		t.Errorf("of a source that is not configured: %v", f)
	}
	if len(r.events()) != 3 {
		t.Errorf("%d events", len(r.events()))
	}
}

// givenUp is a journal that keeps no events before a position any more.
type givenUp struct {
	Journal

	before sinks.Position
}

func (g givenUp) EventAt(ctx context.Context, p sinks.Position) (*eventv1.Event, error) {
	if p < g.before {
		return nil, sinks.ErrExpired
	}
	return g.Journal.EventAt(ctx, p)
}

// TestRetranslateExpired: webhooks whose events are no longer kept are counted, and compared with nothing.
func TestRetranslateExpired(t *testing.T) {
	r := newRig(t)
	received(t, r)
	r.start(changed(retino.New(), rewritten), openloyalty.New())
	r.use(givenUp{r.journal, 3})
	got := r.retranslate(&adminv1.RetranslateWebhooksRequest{})
	want := &adminv1.RetranslateWebhooksResponse{Examined: 3, Unchanged: 1, Expired: 2}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" || len(r.events()) != 3 {
		t.Errorf("%d events (-want +got):\n%s", len(r.events()), diff)
	}
}
