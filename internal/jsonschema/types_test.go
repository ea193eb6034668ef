package jsonschema_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/internal/jsonschema"
)

// TestKindsAgreeWithTheRule: [jsonschema.Kinds] names the types that the rule of the event allows for each kind of data, and no
// others.
func TestKindsAgreeWithTheRule(t *testing.T) {
	kinds := jsonschema.Kinds()
	var types []string
	for _, k := range kinds {
		for _, name := range k.Types {
			types = append(types, strings.Replace(name, "*", "changed", 1))
		}
	}
	types = append(types, "orders.changed", "loyalty.changed", "other", "order", "order.line.changed")
	for _, k := range kinds {
		if len(k.Types) == 0 {
			t.Errorf("%s has no types", k.Field.Name())
		}
		for _, name := range types {
			e := &eventv1.Event{Type: name}
			m := e.ProtoReflect()
			m.Set(k.Field, m.NewField(k.Field))
			if got := k.Has(name); got != allows(t, e) {
				t.Errorf("%s: type %s: %v, and the rule says otherwise", k.Field.Name(), name, got)
			}
		}
	}
}

// allows reports whether the event's rule about its type and its data allows it. Other rules do not count.
func allows(t *testing.T, e proto.Message) bool {
	t.Helper()
	err := protovalidate.Validate(e)
	invalid, ok := err.(*protovalidate.ValidationError) //nolint:errorlint // it is not wrapped
	if !ok {
		t.Fatalf("%v", err)
	}
	return !slices.ContainsFunc(invalid.Violations, func(v *protovalidate.Violation) bool { return v.Proto.GetRuleId() == "data.type" })
}

// TestSelect: a pattern chooses the types that a subscription's filter chooses.
func TestSelect(t *testing.T) {
	for _, test := range []struct {
		patterns string
		in, out  string
		kinds    string
	}{
		{"", "order.closed unmapped a.b.c", "", ""},
		{"order.*", "order.closed", "order order.a.b order_line.changed", "order"},
		{"order.closed", "order.closed", "order.changed", "order"},
		{"order.**", "order order.closed order.a.b", "orders.closed", "order"},
		{"order.**.late", "order.late order.a.b.late", "order.a late", "order"},
		{"**.deleted", "deleted order.deleted a.b.deleted", "order.undeleted", "order order_line purchase payment customer supplier shipment " +
			"product product_variant category invoice stock_movement shift credit_note return_case"},
		{"*.level_changed", "loyalty.level_changed", "level_changed a.b.level_changed", "order order_line purchase payment customer supplier " +
			"loyalty_level_change shipment product product_variant category invoice stock_movement shift credit_note return_case"},
		{"bill_payment.* unmapped", "bill_payment.created unmapped", "payment.created", "payment unmapped"},
		{"**.**.*", "a a.b a.b.c", "", ""},
		{"**", "a a.b", "", ""},
	} {
		selection, err := jsonschema.Select(strings.Fields(test.patterns)...)
		if err != nil {
			t.Errorf("%s: %v", test.patterns, err)
			continue
		}
		expression := typesIn(t, selection)
		for _, name := range strings.Fields(test.in) {
			if !selection.Type(name) || !expression.MatchString(name) {
				t.Errorf("%s does not choose %s", test.patterns, name)
			}
		}
		for _, name := range strings.Fields(test.out) {
			if selection.Type(name) || expression.MatchString(name) {
				t.Errorf("%s chooses %s", test.patterns, name)
			}
		}
		if kinds := kindsIn(t, selection); test.kinds != "" && kinds != test.kinds {
			t.Errorf("%s: the schema has %s, want %s", test.patterns, kinds, test.kinds)
		}
	}
	for _, wrong := range []string{"", "order*", "order.", ".order", "Order.*", "a..b", "***"} {
		if _, err := jsonschema.Select(wrong); err == nil {
			t.Errorf("%q is taken for a pattern", wrong)
		}
	}
	nothing, err := jsonschema.Select("hello.world")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := jsonschema.Event(nothing); err == nil {
		t.Error("there is a schema of events that do not exist")
	}
}

// typesIn returns the regular expression of types in the schema of the selection.
func typesIn(t *testing.T, selection jsonschema.Selection) *regexp.Regexp {
	t.Helper()
	s, err := jsonschema.Event(selection)
	if err != nil {
		t.Fatal(err)
	}
	event := s.Defs[0].Schema
	i := slices.IndexFunc(event.Properties, func(p jsonschema.Property) bool { return p.Name == "type" })
	return regexp.MustCompile(event.Properties[i].Schema.Pattern)
}

// kindsIn returns the kinds of data that the schema of the selection has.
func kindsIn(t *testing.T, selection jsonschema.Selection) string {
	t.Helper()
	s, err := jsonschema.Event(selection)
	if err != nil {
		t.Fatal(err)
	}
	event := s.Defs[0].Schema
	var names []string
	for _, k := range jsonschema.Kinds() {
		if slices.ContainsFunc(event.Properties, func(p jsonschema.Property) bool { return p.Name == k.Field.JSONName() }) {
			names = append(names, string(k.Field.Name()))
		}
	}
	return strings.Join(names, " ")
}

// TestMissing: a pattern that matches no canonical type is told, with the one that may be meant.
func TestMissing(t *testing.T) {
	const none = "matches no type of events"
	for text, want := range map[string]string{
		"**": "", "*.created": "", "order.*": "", "unmapped": "", "order.line.changed": "", "Order.*": "",
		"orders.*": none + "; did you mean order.*?", "shipmnet.delivered": none + "; did you mean shipment.delivered?",
		"order": none + "; did you mean order.*?", "unmaped": none + "; did you mean unmapped?", "zzzz.*": none,
	} {
		if got := jsonschema.Missing(text); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
