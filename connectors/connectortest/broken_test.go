package connectortest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io/fs"
	"maps"
	"math"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	gateway "github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/genproto/googleapis/type/decimal"
	"google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/webhook-bridge/bridge/connectors"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	retinov1 "github.com/webhook-bridge/bridge/gen/webhooks/retino/v1"
)

// spoiled is a connector, or what it is run by, that breaks the contract.
type spoiled struct {
	name  string
	spoil func(c *connectors.Connector)
	// base returns the connector to spoil. nil is [good].
	base func() *connectors.Connector
	// rig spoils the kit instead.
	rig func(k *kit)
	// fails is the only rule that must fail, or the rules.
	fails string
	// chance says that other rules may fail, too: they compare translations.
	chance bool
}

var broken = []spoiled{
	{name: "nothing"},
	{name: "name of two words", fails: "facts", spoil: func(c *connectors.Connector) { c.Name = "two_words" }},
	{name: "no gateway", fails: "facts", spoil: func(c *connectors.Connector) { c.Register = nil }},
	{name: "gateway that does not register", fails: "facts", spoil: func(c *connectors.Connector) {
		c.Register = func(context.Context, *gateway.ServeMux, grpc.ClientConnInterface) error { return errors.New("no") }
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
	{name: "passes everything on", fails: "coverage", spoil: translating(func(connectors.Input) (connectors.Translation, error) {
		return connectors.Translation{}, connectors.ErrUnmapped
	})},
	{name: "ping that no webhook shows", fails: "pings", spoil: pinging(connectors.Ping{Name: "hello", Events: []string{"hello"}})},
	{name: "ping that is an event", fails: "coverage pings", base: odd, spoil: pinging(connectors.Ping{Name: "empty", Events: []string{"shipping.ordered"}})},
	{name: "ping with an answer that is no JSON", fails: "pings", base: odd, spoil: pinging(connectors.Ping{Name: "empty", Events: []string{"x-"}, Answer: "no"})},
	{name: "ping that nothing tells", fails: "pings", base: odd, spoil: pinging(connectors.Ping{Name: "empty"})},
	{name: "ping of three words", fails: "pings", base: odd, spoil: pinging(connectors.Ping{Name: "a b c", Events: []string{"x-"}})},
	{name: "handshake without a challenge", fails: "pings", spoil: shaking(connectors.Handshake{Name: "h", Method: "GET"})},
	{name: "handshake that may be a webhook", fails: "pings", spoil: shaking(connectors.Handshake{Name: "h", Method: "POST", Header: "X"})},
	{name: "handshake with two answers", fails: "pings", spoil: shaking(connectors.Handshake{
		Name: "h", Method: "GET", Query: "c", Reply: connectors.Reply{Field: "a", Header: "b"},
	})},
	{name: "handshake with an unknown HMAC", fails: "pings", spoil: shaking(connectors.Handshake{
		Name: "h", Method: "GET", Query: "c", Reply: connectors.Reply{HMAC: &connectors.ReplyHMAC{Algorithm: "md5"}},
	})},
	{name: "Normalize that changes JSON", base: odd, fails: "normalized", spoil: func(c *connectors.Connector) {
		c.Normalize = func(text []byte) []byte { return bytes.ReplaceAll(normalize(text), []byte("'"), []byte("`")) }
	}},
	{name: "Normalize of quotations", base: odd, fails: "normalized", spoil: func(c *connectors.Connector) {
		c.Normalize = func(text []byte) []byte { return bytes.ReplaceAll(text, []byte(",}"), []byte(" }")) }
	}},
	{name: "Normalize in place", base: odd, fails: "normalized", spoil: func(c *connectors.Connector) {
		c.Normalize = func(text []byte) []byte {
			if i := bytes.Index(text, []byte(",}")); i >= 0 && !wellFormed(text) {
				text[i] = ' '
			}
			return text
		}
	}},
	{name: "Normalize of another length", base: odd, fails: "normalized", spoil: func(c *connectors.Connector) {
		c.Normalize = func(text []byte) []byte {
			if bytes.HasSuffix(text, []byte(",")) {
				return append(slices.Clone(text), '}')
			}
			return normalize(text)
		}
	}},
	{name: "Normalize that panics", base: odd, fails: "normalized", spoil: func(c *connectors.Connector) {
		c.Normalize = func(text []byte) []byte {
			_ = text[0]
			return normalize(text)
		}
	}},
	{name: "Normalize that counts", base: odd, fails: "normalized", spoil: func(c *connectors.Connector) {
		var calls atomic.Int64
		c.Normalize = func(text []byte) []byte {
			if calls.Add(1)%3 == 0 {
				return text
			}
			return normalize(text)
		}
	}},
	{name: "Normalize of nothing", base: odd, fails: "normalized", spoil: func(c *connectors.Connector) {
		c.Normalize = func(text []byte) []byte { return text }
	}},
	{name: "Normalize of halves of characters", base: odd, fails: "added", spoil: func(c *connectors.Connector) {
		c.Normalize = func(text []byte) []byte { return normalize(bytes.ReplaceAll(text, []byte(`\ud83d`), []byte(`\uhalf`))) }
	}},
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
	{name: "currency in small letters", fails: "complete", spoil: translating(charges(func(string, string) *money.Money {
		return &money.Money{CurrencyCode: "eur", Units: 1}
	}))},
	{name: "nothing of no currency", fails: "complete", spoil: translating(charges(func(string, string) *money.Money { return &money.Money{} }))},
	{name: "money of two signs", fails: "complete", spoil: translating(charges(func(_, currency string) *money.Money {
		return &money.Money{CurrencyCode: currency, Units: 1, Nanos: -1}
	}))},
	{name: "drift without a place", fails: "complete", spoil: translating(then(func(_ *retinov1.ShippingOrdered, t *connectors.Translation) {
		t.Drift = []connectors.Drift{{Value: "noon"}}
	}))},
	{name: "decimal without bounds", fails: "bounded", spoil: translating(quantified(func(_ *connectors.Fields, d *decimal.Decimal) *decimal.Decimal { return d }))},
	{name: "decimal within bounds", spoil: translating(quantified(func(f *connectors.Fields, d *decimal.Decimal) *decimal.Decimal {
		return f.Decimal("$.shipping.customer_payment_details[0].amount", d)
	}))},
	{name: "time that is dropped", fails: "understood", spoil: translating(dropping(func(*connectors.Translation, string) {}))},
	{name: "time that is dropped and reported", spoil: translating(dropping(func(t *connectors.Translation, text string) {
		t.Drift = append(t.Drift, connectors.Drift{Path: "$.created_at", Value: text})
	}))},
	{name: "changed message", fails: "pure", spoil: translating(then(func(m *retinov1.ShippingOrdered, _ *connectors.Translation) {
		m.CreatedAt = proto.String("changed")
	}))},
	{name: "memory", fails: "pure", spoil: func(c *connectors.Connector) {
		calls := 0
		c.Translate = event(func(e *eventv1.Event) { calls++; e.SubjectVersion = strconv.Itoa(calls) })
	}},
	{name: "order of chance", fails: "pure", chance: true, spoil: translating(event(func(e *eventv1.Event) {
		e.GetShipment().Charges = nil
		for id := range maps.Keys(map[string]bool{"a": true, "b": true, "c": true}) {
			e.GetShipment().Charges = append(e.GetShipment().Charges, &eventv1.ShipmentCharge{InvoiceUrl: id})
		}
	}))},
	{name: "one event for all calls", fails: "pure", spoil: func(c *connectors.Connector) {
		shared := new(eventv1.Event)
		c.Translate = then(func(_ *retinov1.ShippingOrdered, t *connectors.Translation) {
			proto.Reset(shared)
			proto.Merge(shared, t.Events[0])
			t.Events[0] = shared
		})
	}},
	{name: "memory of another webhook", fails: "pure", spoil: func(c *connectors.Connector) {
		seen := ""
		c.Translate = then(func(m *retinov1.ShippingOrdered, t *connectors.Translation) {
			if m.GetCreatedAt() != "" {
				seen = m.GetShipping().GetId()
			} else {
				t.Events[0].GetShipment().Reference = seen
			}
		})
	}},
	{name: "memory that calls share", fails: "pure", spoil: func(c *connectors.Connector) {
		var calls atomic.Int32
		c.Translate = event(func(e *eventv1.Event) {
			defer calls.Add(-1)
			alone := calls.Add(1) == 1
			for range 100 {
				runtime.Gosched()
				alone = alone && calls.Load() == 1
			}
			if !alone {
				e.SubjectVersion = "2"
			}
		})
	}},
	{name: "clock, by the day", fails: "pure", spoil: translating(event(func(e *eventv1.Event) {
		e.OccurredAt = timestamppb.New(time.Now().Truncate(24 * time.Hour))
	}))},
	{name: "currency of its own", fails: "source", spoil: translating(charges(func(amount, _ string) *money.Money {
		m, _ := connectors.Money(&decimal.Decimal{Value: amount}, "EUR")
		return m
	}))},
	{name: "currency of the source, unsaid", fails: "source", spoil: needy},
	{name: "currency of the source, unsaid and there", fails: "source", spoil: needy, rig: func(k *kit) { k.source.Currency = "EUR" }},
	{name: "currency of the source, unneeded", fails: "source", spoil: func(c *connectors.Connector) { c.NeedsCurrency = true }},
	{name: "time zone of the source, unsaid", fails: "source", spoil: timed(func(s connectors.Source) *time.Location { return s.Zone })},
	{name: "time zone of its own", fails: "source", spoil: func(c *connectors.Connector) {
		timed(func(connectors.Source) *time.Location { return time.UTC })(c)
		c.NeedsTimeZone = true
	}},
	{name: "error without a place", fails: "errors", spoil: failing(errors.New("no"))},
	{name: "error with an empty place", fails: "errors", spoil: failing(connectors.Errorf("", "is missing"))},
	{name: "one key for all", fails: "identity", spoil: translating(then(func(_ *retinov1.ShippingOrdered, t *connectors.Translation) {
		t.Key = connectors.NaturalKey("shipment")
	}))},
	{name: "one further key for all", fails: "identity", spoil: translating(then(func(_ *retinov1.ShippingOrdered, t *connectors.Translation) {
		t.Also = []connectors.Key{connectors.NaturalKey("shipment")}
	}))},
	{name: "a further key", spoil: translating(then(func(m *retinov1.ShippingOrdered, t *connectors.Translation) {
		t.Also = []connectors.Key{connectors.ContentHash(), connectors.OwnID(m.GetCreatedAt())}
	}))},
	{name: "key of the wrong part", fails: "identity", spoil: translating(then(func(m *retinov1.ShippingOrdered, t *connectors.Translation) {
		t.Key = connectors.NaturalKey(m.GetCreatedAt())
	}))},
	{name: "key of the beginning", fails: "identity", spoil: translating(then(func(m *retinov1.ShippingOrdered, t *connectors.Translation) {
		id := m.GetShipping().GetId()
		t.Key = connectors.NaturalKey(id[:min(1, len(id))], m.GetCreatedAt())
	}))},
	{name: "key in small letters", fails: "identity", spoil: translating(then(func(m *retinov1.ShippingOrdered, t *connectors.Translation) {
		t.Key = connectors.NaturalKey(strings.ToLower(m.GetShipping().GetId()), m.GetCreatedAt())
	}))},
	{name: "an id of the occurrence", spoil: translating(then(func(m *retinov1.ShippingOrdered, t *connectors.Translation) {
		t.Key = connectors.OwnID(m.GetCreatedAt())
		t.Events[0].Type = "shipment.changed"
	}))},
	{name: "an id of all occurrences", fails: "identity", spoil: translating(then(func(_ *retinov1.ShippingOrdered, t *connectors.Translation) {
		t.Key = connectors.OwnID("shipment")
	}))},
	{name: "an id of the record for one of the occurrence", fails: "identity", spoil: translating(then(
		func(m *retinov1.ShippingOrdered, t *connectors.Translation) {
			t.Key = connectors.OwnID(m.GetShipping().GetId())
		},
	))},
	{name: "one key for all changes", fails: "identity", spoil: translating(then(func(m *retinov1.ShippingOrdered, t *connectors.Translation) {
		t.Key = connectors.NaturalKey(m.GetShipping().GetId())
		t.Events[0].Type = "shipment.changed"
	}))},
	{name: "one key for all that is unmapped", fails: "unmapped", spoil: func(c *connectors.Connector) {
		c.Envelope.Identify = func(proto.Message) (connectors.Key, string) { return connectors.NaturalKey("x"), "" }
	}},
	{name: "panic in the envelope", fails: "unmapped", spoil: func(c *connectors.Connector) {
		c.Envelope.Identify = func(proto.Message) (connectors.Key, string) { panic("no") }
	}},
	{name: "panic on a missing field", fails: "missing", spoil: translating(then(func(m *retinov1.ShippingOrdered, _ *connectors.Translation) {
		_ = m.GetShipping().GetCustomerPaymentDetails()[0]
	}))},
	{name: "event without a type for a missing field", fails: "missing", spoil: translating(then(func(m *retinov1.ShippingOrdered, t *connectors.Translation) {
		if len(m.GetShipping().GetCustomerPaymentDetails()) == 0 {
			t.Events[0].Type = "shipment"
		}
	}))},
	{name: "panic on a time that is odd", fails: "mutated", spoil: translating(then(func(m *retinov1.ShippingOrdered, _ *connectors.Translation) {
		if strings.HasPrefix(m.GetCreatedAt(), "2023") && len(m.GetCreatedAt()) != len("2023-01-23T10:28:10.010Z") {
			panic(m.GetCreatedAt())
		}
	}))},
	{name: "money by float", fails: "exact", spoil: translating(charges(func(amount, currency string) *money.Money {
		f, _ := strconv.ParseFloat(amount, 64)
		units, fraction := math.Modf(f)
		return &money.Money{CurrencyCode: currency, Units: int64(units), Nanos: int32(fraction * 1e9)}
	}))},
	{name: "money in cents", fails: "exact", spoil: translating(charges(func(amount, currency string) *money.Money {
		m, _ := connectors.Money(&decimal.Decimal{Value: amount}, currency)
		if m != nil {
			m.Nanos -= m.Nanos % 1e7
		}
		return m
	}))},
	{name: "difference in whole units", fails: "exact", spoil: translating(then(func(m *retinov1.ShippingOrdered, t *connectors.Translation) {
		t.Events[0].GetShipment().Charges = nil
		for _, d := range m.GetShipping().GetCustomerPaymentDetails() {
			m, err := connectors.Money(d.GetAmount(), d.GetCurrency())
			m = connectors.SubtractMoney(m, &money.Money{Units: 1, Nanos: 3e8})
			if err == nil && m != nil {
				m.Nanos = 0
				t.Events[0].GetShipment().Charges = append(t.Events[0].GetShipment().GetCharges(), &eventv1.ShipmentCharge{Amount: m})
			}
		}
	}))},
	{name: "money without its sign", fails: "exact", spoil: translating(charges(func(amount, currency string) *money.Money {
		m, _ := connectors.Money(&decimal.Decimal{Value: strings.TrimPrefix(amount, "-")}, currency)
		return m
	}))},
	{name: "id cut to two letters", fails: "exact", spoil: translating(identified(func(id string) string { return id[:min(2, len(id))] }))},
	{name: "id cut to thirty-two letters", fails: "exact", spoil: translating(identified(func(id string) string { return id[:min(32, len(id))] }))},
	{name: "id in small letters", fails: "exact", spoil: translating(identified(strings.ToLower))},
	{name: "id in capitals", fails: "exact", spoil: translating(identified(strings.ToUpper))},
	{name: "money of 32 bits", fails: "exact", spoil: translating(charges(func(amount, currency string) *money.Money {
		m, _ := connectors.Money(&decimal.Decimal{Value: amount}, currency)
		if m != nil {
			m.Units, m.Nanos = int64(int32(m.GetUnits())), 0
		}
		return m
	}))},
	{name: "window shorter than the wait", fails: "window", spoil: func(c *connectors.Connector) {
		c.Window, c.Delivery.Retries = 30*time.Second, []time.Duration{7 * time.Second}
		c.Delivery.Timeout = 30 * time.Second
		c.Translate = then(func(_ *retinov1.ShippingOrdered, t *connectors.Translation) { t.Key = connectors.ContentHash() })
	}},
	{name: "window of a day", fails: "window", spoil: func(c *connectors.Connector) { c.Window = 24 * time.Hour }},
	{name: "window that nothing explains", fails: "window", spoil: func(c *connectors.Connector) {
		c.Window, c.Delivery.Retries = 59*time.Minute, []time.Duration{7 * time.Second}
	}},
	{name: "secret that would be stored", fails: "verification", spoil: func(c *connectors.Connector) {
		c.KeyHeader, c.Verification.Header = "X-Key", "x-key"
	}},
	{name: "secret that would be stored, of lists", base: lists, fails: "verification", spoil: func(c *connectors.Connector) {
		c.KeyHeader, c.Verification.Header = "X-Delivery", "x-delivery"
	}},
	{name: "signature with an unknown placeholder", fails: "verification", spoil: func(c *connectors.Connector) {
		c.Verification.HMAC = &connectors.HMAC{Header: "X-Signature", Signed: "{body}{moon}"}
	}},
}

// quantified makes purchases of shipments. The amounts are quantities, read by read.
func quantified(read func(*connectors.Fields, *decimal.Decimal) *decimal.Decimal) func(connectors.Input) (connectors.Translation, error) {
	return func(in connectors.Input) (connectors.Translation, error) {
		m := in.Message.(*retinov1.ShippingOrdered)
		f := connectors.NewFields(in.Source)
		p := &eventv1.Purchase{Id: f.Need("$.shipping.id", m.GetShipping().GetId())}
		for _, d := range m.GetShipping().GetCustomerPaymentDetails() {
			p.Lines = append(p.Lines, &eventv1.PurchaseLine{Name: d.GetCurrency(), Quantity: read(f, d.GetAmount())})
		}
		e := &eventv1.Event{Type: "purchase.registered", Subject: "purchase/" + p.GetId(), Data: &eventv1.Event_Purchase{Purchase: p}}
		return connectors.Translation{Key: connectors.NaturalKey(p.GetId(), m.GetCreatedAt()), Events: []*eventv1.Event{e}}, f.Err()
	}
}

// dropping reads a time that is not part of the key, and calls dropped if it cannot.
func dropping(dropped func(t *connectors.Translation, text string)) func(connectors.Input) (connectors.Translation, error) {
	return then(func(m *retinov1.ShippingOrdered, t *connectors.Translation) {
		t.Key = connectors.ContentHash()
		at, err := connectors.Time(m.GetCreatedAt(), time.UTC)
		if err != nil && m.GetCreatedAt() != "" {
			dropped(t, m.GetCreatedAt())
		}
		t.Events[0].OccurredAt = at
	})
}

func translating(f func(connectors.Input) (connectors.Translation, error)) func(*connectors.Connector) {
	return func(c *connectors.Connector) { c.Translate = f }
}

// needy takes the source's currency.
func needy(c *connectors.Connector) {
	c.Translate = func(in connectors.Input) (connectors.Translation, error) {
		t, err := translate(in)
		if err != nil {
			return t, err
		}
		f := connectors.NewFields(in.Source)
		for i, d := range in.Message.(*retinov1.ShippingOrdered).GetShipping().GetCustomerPaymentDetails() {
			at := "$.shipping.customer_payment_details[" + strconv.Itoa(i) + "].amount"
			t.Events[0].GetShipment().GetCharges()[i].Amount = f.MoneyIn(at, d.GetAmount(), cmp.Or(in.Source.Currency, d.GetCurrency()))
		}
		return t, f.Err()
	}
}

// timed reads a time without a zone.
func timed(zone func(connectors.Source) *time.Location) func(*connectors.Connector) {
	return translating(func(in connectors.Input) (connectors.Translation, error) {
		t, err := translate(in)
		if err != nil {
			return t, err
		}
		at, err := connectors.Time(strings.TrimSuffix(in.Message.(*retinov1.ShippingOrdered).GetCreatedAt(), "Z"), zone(in.Source))
		if err != nil {
			return t, connectors.Errorf("$.created_at", "%v", err)
		}
		t.Events[0].OccurredAt = at
		return t, nil
	})
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

func pinging(p connectors.Ping) func(*connectors.Connector) {
	return func(c *connectors.Connector) { c.Pings = []connectors.Ping{p} }
}

func shaking(h connectors.Handshake) func(*connectors.Connector) {
	return func(c *connectors.Connector) { c.Handshakes = []connectors.Handshake{h} }
}

func TestRulesFindWhatIsBroken(t *testing.T) {
	proven := map[string]bool{}
	for _, tt := range broken {
		proven[tt.fails] = true
		t.Run(tt.name, func(t *testing.T) {
			base := good
			if tt.base != nil {
				base = tt.base
			}
			c := base()
			folder := c.Samples
			if tt.spoil != nil {
				tt.spoil(c)
			}
			k, err := newKit(c, testSource, folder)
			if err != nil {
				t.Fatal(err)
			}
			k.inAnotherYear = inAnotherYear(t)
			if tt.rig != nil {
				tt.rig(k)
			}
			var fails []string
			for _, r := range rules {
				if err := r.check(k); err != nil && (!tt.chance || r.name == tt.fails) {
					fails = append(fails, r.name)
					t.Logf("%s: %v", r.name, err)
				}
			}
			if diff := gocmp.Diff(tt.fails, strings.Join(fails, " ")); diff != "" {
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
