package connectortest

import (
	"errors"
	"testing"

	"buf.build/go/protovalidate"
	"google.golang.org/genproto/googleapis/type/decimal"
	"google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
)

// TestSchemaForgetsNoField holds canonical messages to rules that each of them must list its fields for: money and decimals
// that are none, and words that an enumeration does not have, are found wherever they are.
func TestSchemaForgetsNoField(t *testing.T) {
	fields := 0
	protoregistry.GlobalFiles.RangeFilesByPackage("bridge.event.v1", func(file protoreflect.FileDescriptor) bool {
		for i := range file.Messages().Len() {
			md := file.Messages().Get(i)
			for j := range md.Fields().Len() {
				fd := md.Fields().Get(j)
				bad, rule := badValue(fd)
				if rule == "" {
					continue
				}
				fields++
				m := newMessage(t, md)
				m.Set(fd, bad)
				if !breaks(m.Interface(), rule) {
					t.Errorf("%s: the rule %q does not know it", fd.FullName(), rule)
				}
			}
		}
		return true
	})
	if fields < 40 {
		t.Errorf("only %d fields were looked at", fields)
	}
}

func newMessage(t *testing.T, md protoreflect.MessageDescriptor) protoreflect.Message {
	t.Helper()
	mt, err := protoregistry.GlobalTypes.FindMessageByName(md.FullName())
	if err != nil {
		t.Fatal(err)
	}
	return mt.New()
}

// badValue is a value that a field must not have, and the rule that says so.
func badValue(fd protoreflect.FieldDescriptor) (protoreflect.Value, string) {
	switch {
	case fd.IsList() || fd.Enum() == nil && fd.Message() == nil:
	case fd.Enum() != nil:
		return protoreflect.ValueOfEnum(99), "enum.defined_only"
	case fd.Message().FullName() == "google.type.Money":
		return protoreflect.ValueOfMessage((&money.Money{CurrencyCode: "EUR", Units: 1, Nanos: -1}).ProtoReflect()), "money"
	case isDecimal(fd):
		return protoreflect.ValueOfMessage((&decimal.Decimal{Value: "1,5"}).ProtoReflect()), "decimal"
	}
	return protoreflect.Value{}, ""
}

func breaks(m proto.Message, rule string) bool {
	err, _ := errors.AsType[*protovalidate.ValidationError](protovalidate.Validate(m))
	if err == nil {
		return false
	}
	for _, v := range err.Violations {
		if v.Proto.GetRuleId() == rule {
			return true
		}
	}
	return false
}

// whole is an event that keeps to all rules.
func whole() *eventv1.Event {
	return &eventv1.Event{
		Id: anyUUID, Type: "shipment.ordered", Source: "returns", Connector: "retino", VendorEvent: "shipping.ordered",
		Subject: "shipment/1", ReceivedAt: timestamppb.Now(), WebhookId: anyUUID,
		Data: &eventv1.Event_Shipment{Shipment: &eventv1.Shipment{Id: "1"}},
	}
}

func TestSchemaOfTheEnvelope(t *testing.T) {
	if err := protovalidate.Validate(whole()); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(e *eventv1.Event){
		"no id":                   func(e *eventv1.Event) { e.Id = "" },
		"id that is no UUID":      func(e *eventv1.Event) { e.Id = "1" },
		"no type":                 func(e *eventv1.Event) { e.Type = "" },
		"type in capitals":        func(e *eventv1.Event) { e.Type = "Shipment.ordered" },
		"type that ends in a dot": func(e *eventv1.Event) { e.Type = "shipment." },
		"type of other data":      func(e *eventv1.Event) { e.Type = "order.changed" },
		"no source":               func(e *eventv1.Event) { e.Source = "" },
		"no connector":            func(e *eventv1.Event) { e.Connector = "" },
		"no vendor's event":       func(e *eventv1.Event) { e.VendorEvent = "" },
		"subject without kind":    func(e *eventv1.Event) { e.Subject = "/1" },
		"subject without id":      func(e *eventv1.Event) { e.Subject = "shipment/" },
		"long subject":            func(e *eventv1.Event) { e.Subject = "shipment/" + string(make([]byte, 512)) },
		"long version":            func(e *eventv1.Event) { e.SubjectVersion = string(make([]byte, 513)) },
		"no time of receipt":      func(e *eventv1.Event) { e.ReceivedAt = nil },
		"time past its end":       func(e *eventv1.Event) { e.OccurredAt = &timestamppb.Timestamp{Seconds: 1 << 40} },
		"no webhook":              func(e *eventv1.Event) { e.WebhookId = "" },
		"supersedes nothing":      func(e *eventv1.Event) { e.Supersedes = "x" },
		"no data":                 func(e *eventv1.Event) { e.Data = nil },
		"data without id":         func(e *eventv1.Event) { e.GetShipment().Id = "" },
		"payment without id": func(e *eventv1.Event) {
			e.Type, e.Data = "payment.created", &eventv1.Event_Payment{Payment: &eventv1.Payment{Number: "1"}}
		},
	} {
		e := whole()
		spoil(e)
		if protovalidate.Validate(e) == nil {
			t.Errorf("%s: no rule minds", name)
		}
	}
}

func TestCheckMessage(t *testing.T) {
	for name, e := range map[string]*eventv1.Event{
		"time that is none": {Data: &eventv1.Event_Shift{Shift: &eventv1.Shift{OpenedAt: &timestamppb.Timestamp{Nanos: -1}}}},
		"nothing, but money": {Data: &eventv1.Event_Order{Order: &eventv1.Order{
			Lines: []*eventv1.OrderLine{{}, {Total: &money.Money{}}},
		}}},
	} {
		if checkMessage(e.ProtoReflect()) == nil {
			t.Errorf("%s: not found", name)
		}
	}
	if err := checkMessage(whole().ProtoReflect()); err != nil {
		t.Error(err)
	}
}

func isDecimal(fd protoreflect.FieldDescriptor) bool {
	return fd.Message() != nil && fd.Message().FullName() == "google.type.Decimal"
}
