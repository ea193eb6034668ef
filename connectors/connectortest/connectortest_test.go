package connectortest

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/sample"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	retinov1 "github.com/webhook-bridge/bridge/gen/webhooks/retino/v1"
)

var testSource = connectors.Source{Name: "test", Zone: time.UTC}

// good returns a connector that keeps to the contract. Its vendor is Retino, of whose events it knows one.
func good() *connectors.Connector {
	return &connectors.Connector{
		Name:    "fake",
		Service: service(),
		Register: func(ctx context.Context, mux *runtime.ServeMux, conn grpc.ClientConnInterface) error {
			return retinov1.RegisterRetinoWebhookServiceHandlerClient(ctx, mux, retinov1.NewRetinoWebhookServiceClient(conn))
		},
		EventField: "event_type",
		Answer:     `{"status":"accepted"}`,
		Samples:    os.DirFS("."),
		Translate:  translate,
		Envelope: &connectors.Envelope{
			New:      func() proto.Message { return new(retinov1.ShippingOrdered) },
			Identify: func(proto.Message) (connectors.Key, string) { return connectors.ContentHash(), "" },
		},
	}
}

// service is Retino's, with one of its events.
func service() protoreflect.ServiceDescriptor {
	file := protodesc.ToFileDescriptorProto(retinov1.File_webhooks_retino_v1_retino_proto)
	file.Service[0].Method = slices.DeleteFunc(file.GetService()[0].GetMethod(), func(m *descriptorpb.MethodDescriptorProto) bool {
		return m.GetName() != "ShippingOrdered"
	})
	fd, err := protodesc.NewFile(file, protoregistry.GlobalFiles)
	if err != nil {
		panic(err) // what was generated is well formed
	}
	return fd.Services().Get(0)
}

func translate(in connectors.Input) (connectors.Translation, error) {
	f := connectors.NewFields(in.Source)
	m, ok := in.Message.(*retinov1.ShippingOrdered)
	if !ok {
		return connectors.Translation{}, connectors.Errorf("$", "is a %T", in.Message)
	}
	s := &eventv1.Shipment{Id: f.Need("$.shipping.id", m.GetShipping().GetId())}
	for i, d := range m.GetShipping().GetCustomerPaymentDetails() {
		at := "$.shipping.customer_payment_details[" + strconv.Itoa(i) + "].amount"
		s.Charges = append(s.Charges, &eventv1.ShipmentCharge{Amount: f.MoneyIn(at, d.GetAmount(), d.GetCurrency())})
	}
	return connectors.Translation{
		Key: connectors.NaturalKey(s.GetId(), m.GetCreatedAt()),
		Events: []*eventv1.Event{{
			Type:    "shipment.ordered",
			Subject: "shipment/" + s.GetId(),
			Data:    &eventv1.Event_Shipment{Shipment: s},
		}},
	}, f.Err()
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

func event(change func(e *eventv1.Event)) func(connectors.Input) (connectors.Translation, error) {
	return then(func(_ *retinov1.ShippingOrdered, t *connectors.Translation) { change(t.Events[0]) })
}

// charges changes every amount.
func charges(change func(amount, currency string) *money.Money) func(connectors.Input) (connectors.Translation, error) {
	return then(func(m *retinov1.ShippingOrdered, t *connectors.Translation) {
		for i, d := range m.GetShipping().GetCustomerPaymentDetails() {
			if d.GetAmount() != nil {
				t.Events[0].GetShipment().GetCharges()[i].Amount = change(d.GetAmount().GetValue(), d.GetCurrency())
			}
		}
	})
}

// identified changes how a shipment is called, wherever it is.
func identified(change func(id string) string) func(connectors.Input) (connectors.Translation, error) {
	return then(func(m *retinov1.ShippingOrdered, t *connectors.Translation) {
		s := t.Events[0].GetShipment()
		s.Id = change(s.GetId())
		t.Events[0].Subject = "shipment/" + s.GetId()
		t.Key = connectors.NaturalKey(s.GetId(), m.GetCreatedAt())
	})
}

// odd returns a good connector whose vendor delivers in every way that there is.
func odd() *connectors.Connector {
	c := good()
	c.EventField = ""
	c.EventHeader, c.KeyHeader = "X-Event", "x-delivery"
	c.FormField, c.Batches, c.Normalize = "payload", true, normalize
	c.Samples = os.DirFS("testdata/odd")
	c.Verification = connectors.Verification{
		Header: "X-Secret",
		HMAC: &connectors.HMAC{
			Header: "X-Signature", Prefix: "v1,", Separator: " ", SecretPrefix: "whsec_", SecretEncoding: "base64",
			TimestampHeader: "X-Timestamp", Signed: "{header.X-Delivery}.{timestamp}.{body}",
		},
	}
	return c
}

// lists is odd, of a vendor who sends nothing but lists.
func lists() *connectors.Connector {
	c := odd()
	all, err := read(c.Samples)
	if err != nil {
		panic(err) // the repository's own
	}
	c.Samples = fstest.MapFS{"testdata/list.txtar": {Data: all["testdata/list.txtar"]}}
	c.Verification, c.Normalize = connectors.Verification{Header: "X-Secret"}, nil
	return c
}

// normalize replaces a comma before a brace by a space, except in strings.
func normalize(text []byte) []byte {
	normalized, quoted := bytes.Clone(text), false
	for i := 0; i+1 < len(text); i++ {
		switch {
		case quoted && text[i] == '\\':
			i++
		case text[i] == '"':
			quoted = !quoted
		case !quoted && text[i] == ',' && text[i+1] == '}':
			normalized[i] = ' '
		}
	}
	return normalized
}

func TestGoodConnectors(t *testing.T) {
	Run(t, good(), testSource)
	t.Run("odd", func(t *testing.T) {
		// Its testdata are where Run does not look.
		t.Chdir("testdata/odd")
		c := odd()
		c.Samples = os.DirFS(".")
		Run(t, c, testSource)
	})
}

func TestRulesAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("connectortest.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules {
		if !strings.Contains(string(doc), "\n//\t"+r.name+" ") {
			t.Errorf("the package comment does not mention the rule %q", r.name)
		}
	}
}

func TestFuzzFindsWhatIsBroken(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(c *connectors.Connector)
		fails bool
	}{
		{"nothing", func(*connectors.Connector) {}, false},
		{"panic", translating(func(connectors.Input) (connectors.Translation, error) { panic("no") }), true},
		{"event that Bridge cannot take", translating(event(func(e *eventv1.Event) { e.GetShipment().Id = "\xff" })), true},
		{"panic on what no testdata have", translating(then(func(m *retinov1.ShippingOrdered, _ *connectors.Translation) {
			if m.CreatedAt != nil && m.GetCreatedAt() != "2023-01-23T10:28:10.010Z" {
				panic(m.GetCreatedAt())
			}
		})), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := good()
			tt.spoil(c)
			k, err := newKit(c, testSource, os.DirFS("."))
			if err != nil {
				t.Fatal(err)
			}
			found := false
			for _, d := range k.documents {
				err := k.fuzz("", d.body)
				found = found || err != nil
			}
			if found != tt.fails {
				t.Errorf("found something: %t", found)
			}
		})
	}
}

func TestHangingRule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		err := within(func() error { <-release; return nil })
		if err == nil {
			t.Error("waited for what does not end")
		}
		close(release)
	})
}

func TestHangingConnector(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		c := good()
		c.Translate = func(connectors.Input) (connectors.Translation, error) {
			<-release
			return connectors.Translation{}, nil
		}
		k, err := newKit(c, testSource, os.DirFS("."))
		if err != nil {
			t.Fatal(err)
		}
		if err := k.checkExpectations(k.webhooks[len(k.webhooks)-1]); err == nil || !strings.Contains(err.Error(), "does not end") {
			t.Errorf("error %v", err)
		}
		close(release)
	})
}

func TestGoldenOfAList(t *testing.T) {
	p, err := newPipeline(odd(), testSource)
	if err != nil {
		t.Fatal(err)
	}
	w := sample.Webhook{Event: "shipping.ordered", ContentType: sample.JSON, Body: []byte(`[{"created_at":"2023","shipping":{"id":"s1","x":1}},7]`)}
	files, err := expectations(p, w)
	if err != nil || len(files) != 1 || files[0].Name != sample.Events {
		t.Fatalf("%v, %v", files, err)
	}
	var got []struct {
		Key        string
		Quarantine *quarantine
		Drift      []drifted
		Events     []json.RawMessage
	}
	if err := json.Unmarshal(files[0].Data, &got); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].Key == "" || len(got[0].Events) != 1 || len(got[0].Drift) != 1 || got[0].Quarantine != nil ||
		got[1].Quarantine == nil || got[1].Events != nil {
		t.Errorf("got %s", files[0].Data)
	}
	var e eventv1.Event
	if err := protojson.Unmarshal(got[0].Events[0], &e); err != nil {
		t.Error(err)
	}
}
