package asyncapi_test

import (
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	validator "github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/webhook-bridge/bridge/internal/asyncapi"
	"github.com/webhook-bridge/bridge/internal/jsonschema/schematest"
)

// document returns the document for the types, as it is printed.
func document(t *testing.T, types []string) any {
	t.Helper()
	d, err := asyncapi.New(asyncapi.Options{Version: "1.2.3", Types: types, Topic: "events.{source}.{type}"})
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return schematest.JSON(t, data)
}

// goldenTypes returns the events of the testdata by their type.
func goldenTypes(t *testing.T) map[string][]schematest.Golden {
	t.Helper()
	types := map[string][]schematest.Golden{}
	for _, g := range schematest.Goldens(t, "../../connectors") {
		types[g.Event.GetType()] = append(types[g.Event.GetType()], g)
	}
	return types
}

// TestMessages: every event of the connectors' testdata fits the payload of its type's message, and the first of each type no other.
func TestMessages(t *testing.T) {
	types := goldenTypes(t)
	d := document(t, slices.Collect(maps.Keys(types)))
	for name := range types {
		s := schematest.Compile(t, d, "#/components/messages/"+name+"/payload", validator.Draft7)
		for other, goldens := range types {
			for i, g := range goldens {
				switch err := schematest.Check(t, s, g.Event); {
				case other == name && err != nil:
					t.Errorf("%s: %s: %v", g.Name, name, err)
				case other != name && i > 0:
				case other != name && err == nil:
					t.Errorf("%s: an event of the type %s fits the message of %s", g.Name, other, name)
				}
			}
		}
	}
}

// TestReferences: each reference of the document leads to something in it, and each type has its channel, topic and filter.
func TestReferences(t *testing.T) {
	d := document(t, []string{"order.closed", "bill_payment.created", "unmapped"})
	references := 0
	each(d, func(object map[string]any) {
		ref, ok := object["$ref"].(string)
		if !ok {
			return
		}
		references++
		if at(d, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...) == nil {
			t.Errorf("%s leads nowhere", ref)
		}
	})
	if references < 30 {
		t.Errorf("only %d references", references)
	}
	channel := at(d, "channels", "bill_payment.created")
	want := map[string]any{
		"address": "bill_payment.created",
		"topic":   "events.{source}.bill_payment.created",
		"filter":  []any{"bill_payment.created"},
	}
	got := map[string]any{
		"address": at(channel, "address"), "topic": at(channel, "bindings", "kafka", "topic"),
		"filter": at(channel, "x-grpc", "request", "filter", "types"),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("channel (-want +got):\n%s", diff)
	}
	if _, err := asyncapi.New(asyncapi.Options{Types: []string{"hello.world"}}); err == nil {
		t.Error("a type without data is described")
	}
}

// TestHeaders: the headers are the attributes of docs/sinks/cloudevents.md, except those of data without the envelope.
func TestHeaders(t *testing.T) {
	page, err := os.ReadFile("../../docs/sinks/cloudevents.md")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"content-type"}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z]+)` \\|").FindAllStringSubmatch(string(page), -1) {
		if name := row[1]; name != "dataschema" && name != "datacontenttype" {
			want = append(want, "ce_"+name)
		}
	}
	d := document(t, []string{"unmapped"})
	properties, _ := at(d, "components", "messageTraits", "record", "headers", "properties").(map[string]any)
	slices.Sort(want)
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(properties))); diff != "" {
		t.Errorf("headers (-page +document):\n%s", diff)
	}
}

// TestSpecification validates the document with the JSON Schema that the authors of AsyncAPI publish; .ci/schemas has it.
func TestSpecification(t *testing.T) {
	path := os.Getenv("BRIDGE_TEST_ASYNCAPI")
	if path == "" {
		t.Skip("BRIDGE_TEST_ASYNCAPI names the JSON Schema of AsyncAPI 3.0.0; .ci/schemas sets it")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := schematest.Compile(t, schematest.JSON(t, data), "", validator.Draft7)
	d := document(t, slices.Collect(maps.Keys(goldenTypes(t))))
	if err := s.Validate(d); err != nil {
		t.Error(err)
	}
	// The schema refuses what is wrong.
	d.(map[string]any)["channels"].(map[string]any)["unmapped"].(map[string]any)["messages"] = "none"
	if s.Validate(d) == nil {
		t.Error("the schema of AsyncAPI accepts a channel with a text as its messages")
	}
}

// each calls f for every object in v.
func each(v any, f func(map[string]any)) {
	switch v := v.(type) {
	case map[string]any:
		f(v)
		for _, inner := range v {
			each(inner, f)
		}
	case []any:
		for _, inner := range v {
			each(inner, f)
		}
	}
}

// at returns the value at a path of names; nil if there is none.
func at(v any, path ...string) any {
	for _, name := range path {
		object, _ := v.(map[string]any)
		v = object[name]
	}
	return v
}
