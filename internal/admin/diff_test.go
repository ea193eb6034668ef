package admin

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/type/decimal"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
)

func TestDiff(t *testing.T) {
	order := func(o *eventv1.Order) *eventv1.Event {
		return &eventv1.Event{Type: "order.changed", Data: &eventv1.Event_Order{Order: o}}
	}
	line := func(quantity string) *eventv1.OrderLine {
		return &eventv1.OrderLine{Name: "Tea", Quantity: &decimal.Decimal{Value: quantity}}
	}
	for name, test := range map[string]struct {
		published, made *eventv1.Event
		want            []*adminv1.FieldChange
	}{
		"equal":      {order(&eventv1.Order{Id: "1"}), order(&eventv1.Order{Id: "1"}), nil},
		"both empty": {&eventv1.Event{}, &eventv1.Event{}, nil},
		"an element of a list": {
			order(&eventv1.Order{Lines: []*eventv1.OrderLine{line("1"), line("2"), line("3")}}),
			order(&eventv1.Order{Lines: []*eventv1.OrderLine{line("1"), line("2"), line("4")}}),
			[]*adminv1.FieldChange{{Path: "order.lines[2].quantity", Published: `{"value":"3"}`, Made: `{"value":"4"}`}},
		},
		"a shorter list": {
			order(&eventv1.Order{Lines: []*eventv1.OrderLine{line("1"), line("2")}}),
			order(&eventv1.Order{Lines: []*eventv1.OrderLine{line("1")}}),
			[]*adminv1.FieldChange{
				{Path: "order.lines[1].name", Published: `"Tea"`},
				{Path: "order.lines[1].quantity", Published: `{"value":"2"}`},
			},
		},
		"scalars": {
			&eventv1.Event{Data: &eventv1.Event_Product{Product: &eventv1.Product{Tags: []string{"a", "b"}, Discontinued: proto.Bool(false)}}},
			&eventv1.Event{Data: &eventv1.Event_Product{Product: &eventv1.Product{Tags: []string{"a", "<c>"}, Deleted: true}}},
			[]*adminv1.FieldChange{
				{Path: "product.discontinued", Published: "false"},
				{Path: "product.tags[1]", Published: `"b"`, Made: `"<c>"`},
				{Path: "product.deleted", Made: "true"},
			},
		},
		"enums and numbers": {
			&eventv1.Event{Data: &eventv1.Event_Shift{Shift: &eventv1.Shift{InvoiceCount: proto.Int64(1 << 60)}}},
			&eventv1.Event{Data: &eventv1.Event_Purchase{Purchase: &eventv1.Purchase{Kind: eventv1.PurchaseKind_PURCHASE_KIND_RETURN}}},
			[]*adminv1.FieldChange{
				{Path: "purchase.kind", Made: `"PURCHASE_KIND_RETURN"`},
				{Path: "shift.invoice_count", Published: `"1152921504606846976"`},
			},
		},
		"a time": {
			&eventv1.Event{OccurredAt: &timestamppb.Timestamp{Seconds: 1}},
			&eventv1.Event{OccurredAt: &timestamppb.Timestamp{Seconds: 1, Nanos: 1}},
			[]*adminv1.FieldChange{{Path: "occurred_at", Published: `"1970-01-01T00:00:01Z"`, Made: `"1970-01-01T00:00:01.000000001Z"`}},
		},
		"an empty message": {
			&eventv1.Event{}, order(&eventv1.Order{}),
			[]*adminv1.FieldChange{{Path: "type", Made: `"order.changed"`}, {Path: "order", Made: "{}"}},
		},
		"a whole message that is personal": {
			&eventv1.Event{Data: &eventv1.Event_Unmapped{Unmapped: &eventv1.Unmapped{Json: `{"email":"a@b.c"}`}}},
			order(&eventv1.Order{Id: "1"}),
			[]*adminv1.FieldChange{
				{Path: "type", Made: `"order.changed"`},
				{Path: "order.id", Made: `"1"`},
				{Path: "unmapped.json", Published: "•••"},
			},
		},
	} {
		if diff := cmp.Diff(test.want, diff(test.published, test.made, false), protocmp.Transform()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
