package connectortest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/genproto/googleapis/type/decimal"
	"google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/sample"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	retinov1 "github.com/webhook-bridge/bridge/gen/webhooks/retino/v1"
	"github.com/webhook-bridge/bridge/internal/intake"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/vendorjson"
)

var source = connectors.Source{Name: "test", Zone: time.UTC}

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
func charges(change func(amount string) *money.Money) func(connectors.Input) (connectors.Translation, error) {
	return then(func(m *retinov1.ShippingOrdered, t *connectors.Translation) {
		for i, d := range m.GetShipping().GetCustomerPaymentDetails() {
			if d.GetAmount() != nil {
				t.Events[0].GetShipment().GetCharges()[i].Amount = change(d.GetAmount().GetValue())
			}
		}
	})
}

// odd returns a good connector whose vendor delivers in every way that there is.
func odd() *connectors.Connector {
	c := good()
	c.EventField = ""
	c.EventHeader, c.KeyHeader = "X-Event", "x-delivery"
	c.FormField, c.Batches = "payload", true
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

func TestGoodConnectors(t *testing.T) {
	Run(t, good(), source)
	t.Run("odd", func(t *testing.T) {
		// Its testdata are where Run does not look.
		t.Chdir("testdata/odd")
		c := odd()
		c.Samples = os.DirFS(".")
		Run(t, c, source)
	})
}

// spoiled is a connector, or what it is run by, that breaks the contract.
type spoiled struct {
	name  string
	spoil func(c *connectors.Connector)
	// rig spoils the kit instead.
	rig func(k *kit)
	// fails is the only rule that must fail.
	fails string
}

var broken = []spoiled{
	{name: "nothing"},
	{name: "name of two words", fails: "facts", spoil: func(c *connectors.Connector) { c.Name = "two_words" }},
	{name: "no gateway", fails: "facts", spoil: func(c *connectors.Connector) { c.Register = nil }},
	{name: "gateway that does not register", fails: "facts", spoil: func(c *connectors.Connector) {
		c.Register = func(context.Context, *runtime.ServeMux, grpc.ClientConnInterface) error { return errors.New("no") }
	}},
	{name: "answer that is no JSON", fails: "answer", spoil: func(c *connectors.Connector) { c.Answer = "ok" }},
	{name: "answer that is not the RPC's", fails: "answer", spoil: func(c *connectors.Connector) { c.Answer = `{"state":"accepted"}` }},
	{name: "no samples", fails: "samples", spoil: func(c *connectors.Connector) { c.Samples = nil }},
	{name: "samples of another kind", fails: "samples", spoil: func(c *connectors.Connector) { c.Samples = os.DirFS("testdata") }},
	{name: "sample too many", fails: "samples", spoil: func(c *connectors.Connector) {
		c.Samples = with(c.Samples, "testdata/more.txtar", "more\n-- body.json --\n{}\n")
	}},
	{name: "sample of yesterday", fails: "samples", spoil: func(c *connectors.Connector) {
		c.Samples = with(c.Samples, "testdata/shipment.txtar", "less\n-- body.json --\n{}\n")
	}},
	{name: "event that nothing shows", fails: "coverage", spoil: func(c *connectors.Connector) { c.EventField = "created_at" }},
	{name: "no events", fails: "complete", spoil: func(c *connectors.Connector) {
		c.Translate = then(func(_ *retinov1.ShippingOrdered, t *connectors.Translation) { t.Events = nil })
	}},
	{name: "no type", fails: "complete", spoil: translating(event(func(e *eventv1.Event) { e.Type = "" }))},
	{name: "data of another type", fails: "complete", spoil: translating(event(func(e *eventv1.Event) { e.Type = "order.changed" }))},
	{name: "no data", fails: "complete", spoil: translating(event(func(e *eventv1.Event) { e.Data = nil }))},
	{name: "subject without id", fails: "complete", spoil: translating(event(func(e *eventv1.Event) { e.Subject = "shipment/" }))},
	{name: "data without id", fails: "complete", spoil: translating(event(func(e *eventv1.Event) { e.GetShipment().Id = "" }))},
	{name: "time that is none", fails: "complete", spoil: translating(event(func(e *eventv1.Event) {
		e.OccurredAt = &timestamppb.Timestamp{Nanos: -1}
	}))},
	{name: "text that protobuf refuses", fails: "complete", spoil: translating(event(func(e *eventv1.Event) { e.GetShipment().Id += "\xff" }))},
	{name: "id of its own making", fails: "complete", spoil: translating(event(func(e *eventv1.Event) { e.Id = anyUUID }))},
	{name: "currency in small letters", fails: "complete", spoil: translating(charges(func(string) *money.Money {
		return &money.Money{CurrencyCode: "eur", Units: 1}
	}))},
	{name: "nothing of no currency", fails: "complete", spoil: translating(charges(func(string) *money.Money { return &money.Money{} }))},
	{name: "money of two signs", fails: "complete", spoil: translating(charges(func(string) *money.Money {
		return &money.Money{CurrencyCode: "EUR", Units: 1, Nanos: -1}
	}))},
	{name: "changed message", fails: "pure", spoil: translating(then(func(m *retinov1.ShippingOrdered, _ *connectors.Translation) {
		m.CreatedAt = proto.String("changed")
	}))},
	{name: "memory", fails: "pure", spoil: func(c *connectors.Connector) {
		calls := 0
		c.Translate = event(func(e *eventv1.Event) { calls++; e.SubjectVersion = strconv.Itoa(calls) })
	}},
	{name: "order of chance", fails: "pure", spoil: translating(event(func(e *eventv1.Event) {
		e.GetShipment().Charges = nil
		for id := range maps.Keys(map[string]bool{"a": true, "b": true, "c": true}) {
			e.GetShipment().Charges = append(e.GetShipment().Charges, &eventv1.ShipmentCharge{InvoiceUrl: id})
		}
	}))},
	{name: "error without a place", fails: "errors", spoil: failing(errors.New("no"))},
	{name: "error with an empty place", fails: "errors", spoil: failing(connectors.Errorf("", "is missing"))},
	{name: "one key for all", fails: "identity", spoil: translating(then(func(_ *retinov1.ShippingOrdered, t *connectors.Translation) {
		t.Key = connectors.NaturalKey("shipment")
	}))},
	{name: "panic in the envelope", fails: "unmapped", spoil: func(c *connectors.Connector) {
		c.Envelope.Identify = func(proto.Message) (connectors.Key, string) { panic("no") }
	}},
	{name: "decoder that makes up the rest", fails: "truncated", rig: func(k *kit) {
		k.decode = func(body []byte, m proto.Message) ([]vendorjson.Drift, error) {
			drift, err := vendorjson.Unmarshal(body, m)
			if err != nil && bytes.Contains(body, []byte(`"id"`)) {
				m.(*retinov1.ShippingOrdered).Shipping = &retinov1.Shipping{Id: proto.String("s1")}
				return nil, nil
			}
			return drift, err
		}
	}},
	{name: "panic on what is missing", fails: "missing", spoil: translating(then(func(m *retinov1.ShippingOrdered, _ *connectors.Translation) {
		_ = m.GetShipping().GetCustomerPaymentDetails()[0]
	}))},
	{name: "event without type for what is missing", fails: "missing", spoil: translating(then(func(m *retinov1.ShippingOrdered, t *connectors.Translation) {
		if len(m.GetShipping().GetCustomerPaymentDetails()) == 0 {
			t.Events[0].Type = "shipment"
		}
	}))},
	{name: "panic on a time that is odd", fails: "mutated", spoil: translating(then(func(m *retinov1.ShippingOrdered, _ *connectors.Translation) {
		if strings.HasPrefix(m.GetCreatedAt(), "2023") && len(m.GetCreatedAt()) != len("2023-01-23T10:28:10.010Z") {
			panic(m.GetCreatedAt())
		}
	}))},
	{name: "decoder that forgets a field", fails: "mutated", rig: func(k *kit) {
		k.decode = func(body []byte, m proto.Message) ([]vendorjson.Drift, error) {
			drift, err := vendorjson.Unmarshal(body, m)
			m.(*retinov1.ShippingOrdered).EventType = nil
			return drift, err
		}
	}},
	{name: "decoder that takes a key twice", fails: "mutated", rig: func(k *kit) {
		k.decode = func(body []byte, m proto.Message) ([]vendorjson.Drift, error) {
			drift, err := vendorjson.Unmarshal(body, m)
			if err != nil && json.Valid(body) {
				return nil, nil
			}
			return drift, err
		}
	}},
	{name: "decoder that refuses new fields", fails: "unknown", rig: func(k *kit) {
		k.decode = func(body []byte, m proto.Message) ([]vendorjson.Drift, error) {
			drift, err := vendorjson.Unmarshal(body, m)
			if err == nil && bytes.Contains(body, []byte(newField)) {
				err = errors.New("new field")
			}
			return drift, err
		}
	}},
	{name: "decoder that is silent about new fields", fails: "unknown", rig: func(k *kit) {
		k.decode = func(body []byte, m proto.Message) ([]vendorjson.Drift, error) {
			drift, err := vendorjson.Unmarshal(body, m)
			return slices.DeleteFunc(drift, func(d vendorjson.Drift) bool { return strings.Contains(d.Path, newField) }), err
		}
	}},
	{name: "money by float", fails: "exact", spoil: translating(charges(func(amount string) *money.Money {
		f, _ := strconv.ParseFloat(amount, 64)
		units, fraction := math.Modf(f)
		return &money.Money{CurrencyCode: "EUR", Units: int64(units), Nanos: int32(fraction * 1e9)}
	}))},
	{name: "money in cents", fails: "exact", spoil: translating(charges(func(amount string) *money.Money {
		m, _ := connectors.Money(&decimal.Decimal{Value: amount}, "EUR")
		if m != nil {
			m.Nanos -= m.Nanos % 1e7
		}
		return m
	}))},
	{name: "money of 32 bits", fails: "exact", spoil: translating(charges(func(amount string) *money.Money {
		m, _ := connectors.Money(&decimal.Decimal{Value: amount}, "EUR")
		if m != nil {
			m.Units, m.Nanos = int64(int32(m.GetUnits())), 0
		}
		return m
	}))},
	{name: "journal that cannot commit", fails: "received", rig: journaled(func(intake.Journal, journal.Entry) (journal.Receipt, error) {
		return journal.Receipt{}, journal.ErrUnavailable
	})},
	{name: "journal that loses events", fails: "received", rig: journaled(func(j intake.Journal, e journal.Entry) (journal.Receipt, error) {
		e.Events = nil
		return j.Append(context.Background(), e)
	})},
	{name: "journal that forgets keys", fails: "redelivered", rig: func(k *kit) {
		appended := 0
		journaled(func(j intake.Journal, e journal.Entry) (journal.Receipt, error) {
			appended++
			e.Key = journal.Hash([]byte(fmt.Sprintf("%016d", appended)))
			return j.Append(context.Background(), e)
		})(k)
	}},
	{name: "journal that knows keys for a minute", fails: "redelivered", rig: journaled(func(j intake.Journal, e journal.Entry) (journal.Receipt, error) {
		e.Window = min(e.Window, time.Minute)
		return j.Append(context.Background(), e)
	})},
	{name: "window of a day", fails: "repeated", spoil: func(c *connectors.Connector) { c.Window = 24 * time.Hour }},
	{name: "journal that swallows revisions", fails: "revised", rig: journaled(func(j intake.Journal, e journal.Entry) (journal.Receipt, error) {
		r, err := j.Append(context.Background(), e)
		if errors.Is(err, journal.ErrRevised) {
			return journal.Receipt{Duplicate: true}, nil
		}
		return r, err
	})},
	{name: "secret that would be stored", fails: "secrets", spoil: func(c *connectors.Connector) {
		c.KeyHeader, c.Verification.Header = "X-Key", "x-key"
	}},
	{name: "signature of what nobody knows", fails: "secrets", spoil: func(c *connectors.Connector) {
		c.Verification.HMAC = &connectors.HMAC{Header: "X-Signature", Signed: "{body}{moon}"}
	}},
}

func translating(f func(connectors.Input) (connectors.Translation, error)) func(*connectors.Connector) {
	return func(c *connectors.Connector) { c.Translate = f }
}

// failing has every refusal be another error.
func failing(as error) func(*connectors.Connector) {
	return translating(func(in connectors.Input) (connectors.Translation, error) {
		t, err := translate(in)
		if err != nil {
			err = as
		}
		return t, err
	})
}

// with is fsys with another file.
func with(fsys fs.FS, file, text string) fs.FS {
	all, err := read(fsys)
	if err != nil {
		panic(err) // the repository's own
	}
	changed := fstest.MapFS{file: {Data: []byte(text)}}
	for name, data := range all {
		if name != file {
			changed[name] = &fstest.MapFile{Data: data}
		}
	}
	return changed
}

// journaled has webhooks appended by f.
func journaled(f func(intake.Journal, journal.Entry) (journal.Receipt, error)) func(*kit) {
	return func(k *kit) { k.journal = func(j intake.Journal) intake.Journal { return brokenJournal{j, f} } }
}

type brokenJournal struct {
	intake.Journal

	append func(intake.Journal, journal.Entry) (journal.Receipt, error)
}

func (j brokenJournal) Append(_ context.Context, e journal.Entry) (journal.Receipt, error) {
	return j.append(j.Journal, e)
}

func TestRulesFindWhatIsBroken(t *testing.T) {
	proven := map[string]bool{}
	for _, tt := range broken {
		proven[tt.fails] = true
		t.Run(tt.name, func(t *testing.T) {
			c := good()
			if tt.spoil != nil {
				tt.spoil(c)
			}
			k, err := newKit(c, source, os.DirFS("."))
			if err != nil {
				t.Fatal(err)
			}
			if tt.rig != nil {
				tt.rig(k)
			}
			var fails []string
			for _, r := range rules {
				if err := r.check(k); err != nil {
					fails = append(fails, r.name)
					t.Logf("%s: %v", r.name, err)
				}
			}
			if diff := cmp.Diff(tt.fails, strings.Join(fails, " ")); diff != "" {
				t.Errorf("rules that fail (-want +got):\n%s", diff)
			}
		})
	}
	for _, r := range rules {
		if !proven[r.name] {
			t.Errorf("nothing shows that the rule %q finds anything", r.name)
		}
	}
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
			k, err := newKit(c, source, os.DirFS("."))
			if err != nil {
				t.Fatal(err)
			}
			found := false
			for _, d := range k.documents {
				err := k.survive("", d.body)
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
		err := within(patience, func() error { <-release; return nil })
		if err == nil {
			t.Error("waited for what does not end")
		}
		close(release)
	})
}

func TestAgree(t *testing.T) {
	message := func() *retinov1.ShippingOrdered {
		return &retinov1.ShippingOrdered{
			CreatedAt: proto.String("2023"),
			Shipping: &retinov1.Shipping{
				Id:                     proto.String("s1"),
				CustomerPaymentDetails: []*retinov1.CustomerPaymentDetail{{Amount: &decimal.Decimal{Value: "1.50"}}},
			},
		}
	}
	const body = `{"created_at":"2023","shipping":{"id":"s1","customer_payment_details":[{"amount":1.50},null],"new":1}}`
	root, err := parse([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	if err := agree(root, message().ProtoReflect(), "$"); err != nil {
		t.Error(err)
	}
	for _, tt := range []struct {
		path   string
		change func(m *retinov1.ShippingOrdered)
	}{
		{"$.created_at", func(m *retinov1.ShippingOrdered) { m.CreatedAt = proto.String("2024") }},
		{"$.event_type", func(m *retinov1.ShippingOrdered) { m.EventType = proto.String("") }},
		{"$.shipping.id", func(m *retinov1.ShippingOrdered) { m.Shipping.Id = nil }},
		{"$.shipping.customer_payment_details", func(m *retinov1.ShippingOrdered) { m.Shipping.CustomerPaymentDetails = nil }},
		{"$.shipping.customer_payment_details[0].amount", func(m *retinov1.ShippingOrdered) {
			m.Shipping.CustomerPaymentDetails[0].Amount.Value = "1.5"
		}},
	} {
		m := message()
		tt.change(m)
		err := agree(root, m.ProtoReflect(), "$")
		if err == nil || !strings.HasPrefix(err.Error(), tt.path+" ") {
			t.Errorf("%s: error %v", tt.path, err)
		}
	}
}

func TestParseIsStrict(t *testing.T) {
	for _, body := range []string{``, `{`, `{}{}`, `{"a":1,"a":1}`, `{"b":[{"a":1,"\u0061":1}]}`, `{"a":01}`, `[1,]`} {
		if v, err := parse([]byte(body)); err == nil {
			t.Errorf("%s is %v", body, v)
		}
	}
}

func TestGoldenOfAList(t *testing.T) {
	p, err := newPipeline(odd(), source)
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
