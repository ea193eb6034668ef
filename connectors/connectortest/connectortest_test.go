package connectortest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"golang.org/x/tools/txtar"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/webhook-bridge/bridge/connectors"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	retinov1 "github.com/webhook-bridge/bridge/gen/webhooks/retino/v1"
)

// good returns a connector that keeps to the contract.
func good() *connectors.Connector {
	return &connectors.Connector{
		Name:    "fake",
		Service: oneEvent(),
		Register: func(ctx context.Context, mux *runtime.ServeMux, conn grpc.ClientConnInterface) error {
			return retinov1.RegisterRetinoWebhookServiceHandlerClient(ctx, mux, retinov1.NewRetinoWebhookServiceClient(conn))
		},
		EventField: "event_type",
		Answer:     `{"status":"accepted"}`,
		Translate:  translate,
		Envelope: &connectors.Envelope{
			New:      func() proto.Message { return new(retinov1.ShippingOrdered) },
			Identify: func(proto.Message) (connectors.Key, string) { return connectors.ContentHash(), "" },
		},
	}
}

// oneEvent is Retino's service without its events but shipping.ordered.
func oneEvent() protoreflect.ServiceDescriptor {
	file := protodesc.ToFileDescriptorProto(retinov1.File_webhooks_retino_v1_retino_proto)
	service := file.GetService()[0]
	service.Method = slices.DeleteFunc(service.GetMethod(), func(m *descriptorpb.MethodDescriptorProto) bool {
		return m.GetName() != "ShippingOrdered"
	})
	fd, err := protodesc.NewFile(file, protoregistry.GlobalFiles)
	if err != nil {
		panic(err)
	}
	return fd.Services().Get(0)
}

func translate(in connectors.Input) (connectors.Translation, error) {
	m := in.Message.(*retinov1.ShippingOrdered)
	id := m.GetShipping().GetId()
	if id == "" {
		return connectors.Translation{}, connectors.Errorf("$.shipping.id", "is missing")
	}
	return connectors.Translation{Events: []*eventv1.Event{{
		Type:    "shipment.ordered",
		Subject: "shipment/" + id,
		Data:    &eventv1.Event_Shipment{Shipment: &eventv1.Shipment{Id: id}},
	}}}, nil
}

// then changes what the good translation gives.
func then(change func(m *retinov1.ShippingOrdered, t *connectors.Translation)) func(connectors.Input) (connectors.Translation, error) {
	return func(in connectors.Input) (connectors.Translation, error) {
		t, err := translate(in)
		if err == nil {
			change(in.Message.(*retinov1.ShippingOrdered), &t)
		}
		return t, err
	}
}

func TestRulesFindWhatIsBroken(t *testing.T) {
	calls := 0
	event := func(change func(e *eventv1.Event)) func(connectors.Input) (connectors.Translation, error) {
		return then(func(_ *retinov1.ShippingOrdered, t *connectors.Translation) { change(t.Events[0]) })
	}
	tests := []struct {
		name  string
		spoil func(c *connectors.Connector)
		fails string
	}{
		{"nothing", func(*connectors.Connector) {}, ""},
		{"name of two words", func(c *connectors.Connector) { c.Name = "two words" }, "facts unmapped"},
		{"no gateway", func(c *connectors.Connector) { c.Register = nil }, "facts"},
		{"gateway that does not register", func(c *connectors.Connector) {
			c.Register = func(context.Context, *runtime.ServeMux, grpc.ClientConnInterface) error { return errors.New("no") }
		}, "facts"},
		{"answer that is no JSON", func(c *connectors.Connector) { c.Answer = "ok" }, "answer"},
		{"answer that is not the RPC's", func(c *connectors.Connector) { c.Answer = `{"state":"accepted"}` }, "answer"},
		{"event that nothing shows", func(c *connectors.Connector) { c.EventField = "created_at" }, "coverage"},
		{"no events", func(c *connectors.Connector) {
			c.Translate = then(func(_ *retinov1.ShippingOrdered, t *connectors.Translation) { t.Events = nil })
		}, "coverage complete missing"},
		{"no type", func(c *connectors.Connector) {
			c.Translate = event(func(e *eventv1.Event) { e.Type = "" })
		}, "coverage complete missing"},
		{"data of another type", func(c *connectors.Connector) {
			c.Translate = event(func(e *eventv1.Event) { e.Type = "order.changed" })
		}, "complete missing"},
		{"no data", func(c *connectors.Connector) {
			c.Translate = event(func(e *eventv1.Event) { e.Data = nil })
		}, "complete missing"},
		{"subject without id", func(c *connectors.Connector) {
			c.Translate = event(func(e *eventv1.Event) { e.Subject = "shipment/" })
		}, "complete missing"},
		{"time that is none", func(c *connectors.Connector) {
			c.Translate = event(func(e *eventv1.Event) { e.OccurredAt = &timestamppb.Timestamp{Nanos: -1} })
		}, "complete missing"},
		{"text that protobuf refuses", func(c *connectors.Connector) {
			c.Translate = event(func(e *eventv1.Event) { e.GetShipment().Id += "\xff" })
		}, "complete missing"},
		{"id of its own making", func(c *connectors.Connector) {
			c.Translate = event(func(e *eventv1.Event) { e.Id = "1" })
		}, "complete missing"},
		{"changed message", func(c *connectors.Connector) {
			c.Translate = then(func(m *retinov1.ShippingOrdered, _ *connectors.Translation) { m.CreatedAt = nil })
		}, "pure"},
		{"memory", func(c *connectors.Connector) {
			c.Translate = event(func(e *eventv1.Event) { calls++; e.SubjectVersion = strconv.Itoa(calls) })
		}, "pure"},
		{"error without a place", func(c *connectors.Connector) {
			c.Translate = func(in connectors.Input) (connectors.Translation, error) {
				t, err := translate(in)
				if err != nil {
					return t, errors.New("no")
				}
				return t, nil
			}
		}, "errors"},
		{"error with an empty place", func(c *connectors.Connector) {
			c.Translate = func(in connectors.Input) (connectors.Translation, error) {
				t, err := translate(in)
				if err != nil {
					return t, connectors.Errorf("", "is missing")
				}
				return t, nil
			}
		}, "errors"},
		{"panic on what is missing", func(c *connectors.Connector) {
			c.Translate = then(func(m *retinov1.ShippingOrdered, _ *connectors.Translation) {
				_ = m.GetShipping().GetCustomerPaymentDetails()[0]
			})
		}, "missing"},
		{"panic in the envelope", func(c *connectors.Connector) {
			c.Envelope.Identify = func(proto.Message) (connectors.Key, string) { panic("no") }
		}, "unmapped"},
	}
	archives := readArchives(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := good()
			tt.spoil(c)
			p, err := newPipeline(c, connectors.Source{Name: "test", Zone: time.UTC})
			if err != nil {
				t.Fatal(err)
			}
			var fails []string
			for _, r := range rules {
				if r.check(p, archives) != nil {
					fails = append(fails, r.name)
				}
			}
			if diff := cmp.Diff(tt.fails, strings.Join(fails, " ")); diff != "" {
				t.Errorf("rules that fail (-want +got):\n%s", diff)
			}
		})
	}
}

func TestArchive(t *testing.T) {
	const whole = "What it shows.\n-- event --\nclose\n-- body.json --\n{}\n"
	a, err := parseArchive("testdata/close.txtar", []byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	if a.name != "close" || a.event != "close" || string(a.body) != "{}" {
		t.Errorf("name %q, event %q, body %q", a.name, a.event, a.body)
	}
	for _, bad := range []string{
		"-- body.json --\n{}\n",
		"What it shows.\n-- event --\nclose\n",
		"What it shows.\n-- body.json --\n{}\n-- event.json --\n{}\n",
	} {
		if _, err := parseArchive("bad.txtar", []byte(bad)); err == nil {
			t.Errorf("accepted:\n%s", bad)
		}
	}
}

func TestUpdateKeepsTheWebhook(t *testing.T) {
	file := filepath.Join(t.TempDir(), "close.txtar")
	body := "{\n\xff \u00a0}"
	a := archive{file: file, comment: []byte("What it shows.\n"), event: "close", body: []byte(body)}
	if err := a.write([]txtar.File{{Name: "events.json", Data: []byte("[]\n")}}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseArchive(file, data)
	if err != nil {
		t.Fatal(err)
	}
	if got.event != "close" || string(got.body) != body || string(got.comment) != "What it shows.\n" {
		t.Errorf("got event %q, body %q, comment %q", got.event, got.body, got.comment)
	}
	if len(got.expected) != 1 || string(got.expected[0].Data) != "[]\n" {
		t.Errorf("got %v", got.expected)
	}
}
