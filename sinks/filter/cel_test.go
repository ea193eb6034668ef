package filter

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/sinks"
)

func TestCELPasses(t *testing.T) {
	shipped, moved := record(t, shipment()), record(t, stock())
	for _, c := range []struct {
		text           string
		shipped, moved bool
	}{
		{`true`, true, true},
		{`event.type == 'shipment.ordered'`, true, false},
		{`event.type.startsWith('stock.') || event.source in ['a', 'returns']`, true, true},
		{`has(event.shipment)`, true, false},
		{`event.shipment.charges.exists(c, c.amount.currency_code == 'CZK' && c.amount.units > 50)`, true, false},
		{`event.shipment.charges.all(c, c.amount.units > 99)`, false, true}, // No charges: all of them.
		{`event.shipment.charges.size() == 1 && event.shipment.charges[0].amount.units == 99`, true, false},
		{`event.shipment.service_name.contains('výdejní') && size(event.shipment.service_name) == 29`, true, false},
		{`event.stock_movement.lines.exists(l, double(l.quantity.value) > 12)`, false, true},
		{`event.received_at > timestamp('2026-03-01T11:59:59Z')`, true, false},
		{`event.received_at.getHours() == 12`, true, false},
		{`event.subject.matches('^shipment/2b20e85f-')`, true, false},
		{`event.stock_movement.kind == bridge.event.v1.StockMovementKind.STOCK_MOVEMENT_KIND_TRANSFER`, false, false},
		{`!event.stale`, true, true},
	} {
		f, err := New(&streamv1.Filter{Cel: c.text}, nil)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if got := f.Passes(&shipped); got != c.shipped {
			t.Errorf("%s passes a shipment: %v", c.text, got)
		}
		if got := f.Passes(&moved); got != c.moved {
			t.Errorf("%s passes a movement of stock: %v", c.text, got)
		}
	}
}

func TestCELComesAfterTheRest(t *testing.T) {
	r := record(t, shipment())
	for want, f := range map[bool]*streamv1.Filter{
		true:  {Types: []string{"shipment.*"}, Cel: "event.shipment.charges[0].amount.units == 99"},
		false: {Types: []string{"order.*"}, Cel: "event.shipment.charges[7].amount.units == 99"},
	} {
		var failed atomic.Uint64
		c, err := New(f, &failed)
		if err != nil {
			t.Fatal(err)
		}
		if !c.NeedsData() || c.Passes(&r) != want || c.PassesHeader(&r.Header) != want {
			t.Errorf("%v passes: %v", f, !want)
		}
		if failed.Load() != 0 {
			t.Errorf("%v: the expression was tried", f)
		}
	}
}

// An event for which the expression fails does not pass, and is counted.
func TestCELFails(t *testing.T) {
	many := shipment()
	for range 2000 {
		many.GetShipment().Charges = append(many.GetShipment().GetCharges(), many.GetShipment().GetCharges()[0])
	}
	for _, c := range []struct{ name, text string }{
		{"no such element", `event.shipment.charges[5001].amount.units == 99 || true == false`},
		{"not a number", `double(event.shipment.reference) > 1.0`},
		{"division", `1 / event.shipment.charges.filter(c, false).size() == 1`},
		{"cost", `event.shipment.charges.all(c, c.amount.units == 99 && c.amount.currency_code == 'CZK' && c.invoice_url == '')`},
	} {
		var failed atomic.Uint64
		f, err := New(&streamv1.Filter{Cel: c.text}, &failed)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		r := record(t, many)
		if f.Passes(&r) || failed.Load() != 1 {
			t.Errorf("%s: it passes, or %d failures are counted", c.name, failed.Load())
		}
		chosen, err := f.Decide(&r)
		if chosen || err == nil || failed.Load() != 1 {
			t.Errorf("%s: %v, %v, %d failures are counted", c.name, chosen, err, failed.Load())
		}
		if reference := many.GetShipment().GetReference(); err != nil && (strings.HasSuffix(err.Error(), "for this event") || reference != "" && strings.Contains(err.Error(), reference)) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	var failed atomic.Uint64
	f, err := New(&streamv1.Filter{Cel: "true"}, &failed)
	if err != nil {
		t.Fatal(err)
	}
	if f.Passes(&sinks.Record{Encoded: []byte("\n\x05half")}) || failed.Load() != 1 {
		t.Errorf("an event that cannot be decoded passes, or %d failures are counted", failed.Load())
	}
}

// What does not compile, gives no bool, or may cost too much is refused, with the place.
func TestCELRefused(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"syntax", "event.type ==", "filter.cel: 1:14: "},
		{"second line", "event.stale &&\n  event.nope == 1", "2:8: undefined field 'nope'"},
		{"a name of JSON", "event.vendorEvent == ''", "undefined field 'vendorEvent'; did you mean vendor_event?"},
		{"a name of JSON below", "event.shipment.charges.exists(c, c.invoiceUrl == '')", "undefined field 'invoiceUrl'; did you mean invoice_url?"},
		{"unknown name", "order.stale", "1:1: undeclared reference to 'order'"},
		{"types", "event.type == 1", "1:12: found no matching overload"},
		{"an enumeration", "event.order.status == 'closed'", "bridge.event.v1.OrderStatus.ORDER_STATUS_CLOSED"},
		{"one of enumerations", "event.order.status in ['closed', 'open']", "bridge.event.v1.OrderStatus.ORDER_STATUS_CLOSED"},
		{"not bool", "event.type", "gives string"},
		{"dynamic", "dyn(event.type)", "gives dyn"},
		{"literal", "event.received_at > timestamp('yesterday')", "1:31: invalid timestamp argument"},
		{"regexp", "event.type.matches('(')", "1:20: error parsing regexp: missing closing )"},
		{"large regexp", "event.type.matches('(a{400}b{400}){2}')", "1:20: the regular expression is too large"},
		{"regexp of the event", "event.type.matches(event.source)", "1:25: the regular expression must be a literal"},
		{"nested comprehensions", "[1].exists(a, [1].exists(b, [1].exists(c, a == b && b == c)))", "comprehension exceeds nesting limit"},
		{"cost", "event.shipment.charges.all(c, event.shipment.charges.all(d, c.invoice_url.contains(d.invoice_url)))", "too costly"},
		{"parentheses", strings.Repeat("(", 200) + "true" + strings.Repeat(")", 200), "recursion"},
		{"lists", strings.Repeat("[", 200) + strings.Repeat("]", 200) + " == []", "recursion"},
		{"length", "true" + strings.Repeat(" ", maxExpression), "more than 4096 characters"},
		{"nodes", "true" + strings.Repeat("||true", 600) + "||[1].exists(a,[1].exists(b,a==b" + strings.Repeat("||a==b", 60) + "))", ""},
	} {
		_, err := New(&streamv1.Filter{Cel: c.text}, nil)
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "filter.cel: ") {
			t.Errorf("%s: %v, want …%s…", c.name, err, c.want)
		} else if len(err.Error()) > 3000 {
			t.Errorf("%s: the error has %d characters", c.name, len(err.Error()))
		}
	}
}

// The documented expressions compile.
func TestDocumentedExpressions(t *testing.T) {
	page, err := os.ReadFile("../../docs/subscribing.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "| expression | passes |\n| --- | --- |\n")
	table, _, _ = strings.Cut(table, "\n\n")
	n := 0
	for row := range strings.Lines(table) {
		_, text, _ := strings.Cut(row, "`")
		text, _, _ = strings.Cut(text, "`")
		text = strings.ReplaceAll(text, `\|`, "|")
		if _, err := New(&streamv1.Filter{Cel: text}, nil); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		n++
	}
	if n < 3 {
		t.Errorf("%d expressions are documented", n)
	}
}

// An expression never makes New panic, and what New takes can be applied.
func FuzzCEL(f *testing.F) {
	for _, text := range []string{
		"event.type == 'a'", "event.shipment.charges.exists(c, c.amount.units > 1)", "[[1]].all(a, a[0] > 0)", "{'a': 1}[event.type] == 1",
		"event.type.matches('^(a|b{2,3})+?$')", "has(event.order) ? true : event.stale", "duration('1s') < duration('2s')", "'\\u00e1' in [event.type]",
		"bridge.event.v1.Event{type: 'a'} == event", "bytes(event.type) == b'a'", "uint(1) + 18446744073709551615u > 0u",
	} {
		f.Add(text)
	}
	r := record(f, shipment())
	f.Fuzz(func(t *testing.T, text string) {
		var failed atomic.Uint64
		c, err := New(&streamv1.Filter{Cel: text}, &failed)
		if err != nil {
			return
		}
		if c.Passes(&r) && failed.Load() > 0 {
			t.Error("an event passes and fails")
		}
	})
}

// The hash of a filter covers its expression, and without one it is what it was when there were none: clients have stored tokens.
func TestCELInHash(t *testing.T) {
	plain := &streamv1.Filter{Types: []string{"order.*"}}
	if got := fmt.Sprintf("%x", Hash(plain)); got != "33f60fd7d1d92f" {
		t.Errorf("the hash of a filter without an expression is %s", got)
	}
	if got := fmt.Sprintf("%x", Hash(nil)); got != "709e80c88487a2" {
		t.Errorf("the hash of no filter is %s", got)
	}
	yes, no := true, false
	seen := make(map[string]*streamv1.Filter)
	for _, f := range []*streamv1.Filter{
		plain,
		{Types: plain.Types, Cel: "true"},
		{Types: plain.Types, Cel: "false"},
		{Cel: "true"},
		{Subjects: []string{"true"}},
		{Cel: "true", Stale: &yes},
		{Cel: "true", Stale: &no},
		{Cel: "\x01true"},
		{Cel: "\x02true"},
	} {
		c := string(canonical(f))
		if twin, ok := seen[c]; ok {
			t.Errorf("%v and %v have one encoding", f, twin)
		}
		seen[c] = f
	}
	c, err := New(&streamv1.Filter{Cel: "true"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Hash() != Hash(&streamv1.Filter{Cel: "true"}) || !bytes.Equal(c.Canonical(), canonical(&streamv1.Filter{Cel: "true"})) {
		t.Error("New and Hash differ")
	}
}

func BenchmarkFilter(b *testing.B) {
	for name, f := range map[string]*streamv1.Filter{
		"header": {Types: []string{"order.*", "**.deleted"}, Sources: []string{"returns"}},
		"cel":    {Cel: "event.shipment.charges.exists(c, c.amount.currency_code == 'EUR')"},
	} {
		b.Run(name, func(b *testing.B) {
			c, err := New(f, nil)
			if err != nil {
				b.Fatal(err)
			}
			r := record(b, shipment())
			b.ReportAllocs()
			for b.Loop() {
				if c.Passes(&r) {
					b.Fatal("a shipment passed")
				}
			}
		})
	}
}

// BenchmarkCostliest measures the evaluation that ends at the limit of the cost.
func BenchmarkCostliest(b *testing.B) {
	many := shipment()
	for range 3000 {
		many.GetShipment().Charges = append(many.GetShipment().GetCharges(), many.GetShipment().GetCharges()[0])
	}
	r := record(b, many)
	event, err := r.Event()
	if err != nil {
		b.Fatal(err)
	}
	for _, text := range []string{
		`event.shipment.charges.all(c, c.amount.units == 99)`,
		`event.shipment.charges.map(c, c.amount.units).size() == 0`,
	} {
		e, err := compile(text, nil)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(text, func(b *testing.B) {
			for b.Loop() {
				if _, err := e.eval(event); err == nil {
					b.Fatal("it ended")
				}
			}
		})
	}
}
