package jsonschema_test

import (
	"encoding/json"
	"strings"
	"testing"

	"buf.build/go/protovalidate"
	validator "github.com/santhosh-tekuri/jsonschema/v6"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/internal/jsonschema"
	"github.com/webhook-bridge/bridge/internal/jsonschema/schematest"
)

// connectors is the folder of the connectors.
const connectors = "../../connectors"

// document returns the schema of the events with types of the patterns, as it is printed.
func document(t *testing.T, patterns ...string) []byte {
	t.Helper()
	selection, err := jsonschema.Select(patterns...)
	if err != nil {
		t.Fatal(err)
	}
	s, err := jsonschema.Event(selection)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// compile reads a schema with a validator, which checks it against the schema of its draft. If closed, an object with a property
// that its schema does not have is invalid.
func compile(t *testing.T, data []byte, closed bool) *validator.Schema {
	t.Helper()
	text := schematest.JSON(t, data)
	if closed {
		for _, def := range text.(map[string]any)["$defs"].(map[string]any) {
			if object := def.(map[string]any); object["properties"] != nil {
				object["additionalProperties"] = false
			}
		}
	}
	return schematest.Compile(t, text, "", validator.Draft2020)
}

// TestGoldens: every event of the connectors' testdata fits the schema, has no property that the schema does not know, and fits the
// schema of its own type alone.
func TestGoldens(t *testing.T) {
	closed := compile(t, document(t), true)
	own := map[string]*validator.Schema{}
	for _, g := range schematest.Goldens(t, connectors) {
		name := g.Event.GetType()
		first := own[name] == nil
		if first {
			own[name] = compile(t, document(t, name), true)
		}
		for _, s := range []*validator.Schema{closed, own[name]} {
			if err := schematest.Check(t, s, g.Event); err != nil {
				t.Errorf("%s: %s: %v", g.Name, name, err)
			}
		}
		for other, s := range own {
			if first && other != name && schematest.Check(t, s, g.Event) == nil {
				t.Errorf("%s: an event of the type %s fits the schema of %s", g.Name, name, other)
			}
		}
	}
	if len(own) < 30 {
		t.Errorf("only %d types", len(own))
	}
}

// TestNotStricterThanTheRules: an event that the rules of the schema allow fits the JSON Schema: each golden event, without each of its
// fields in turn, and with another value of each text.
func TestNotStricterThanTheRules(t *testing.T) {
	s := compile(t, document(t), true)
	allowed, refused, caught := 0, 0, 0
	try := func(name string, e *eventv1.Event) {
		fits := schematest.Check(t, s, e)
		switch rules := protovalidate.Validate(e); {
		case rules == nil && fits != nil:
			t.Errorf("%s: the rules allow it: %v", name, fits)
		case rules == nil:
			allowed++
		default:
			refused++
			if fits != nil {
				caught++
			}
		}
	}
	for i, g := range schematest.Goldens(t, connectors) {
		if i%4 == 0 { // a quarter of them has all kinds of data, and is fast
			vary(g.Event, g.Event.ProtoReflect(), func(path string) { try(g.Name+" "+path, g.Event) })
		}
	}
	t.Logf("the rules allow %d events and refuse %d, of which the JSON Schema refuses %d", allowed, refused, caught)
	if allowed < 1000 || caught < 1000 {
		t.Error("the test tried too little")
	}
}

// vary changes one field of m, calls try, and puts the field back; for each field that is set, and in the messages in it.
func vary(root proto.Message, m protoreflect.Message, try func(path string)) {
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		path := string(fd.FullName())
		if !fd.IsList() && (fd.ContainingOneof() == nil || fd.HasOptionalKeyword()) {
			m.Clear(fd)
			try("without " + path)
			m.Set(fd, v)
		}
		switch {
		case fd.IsList() && fd.Message() != nil:
			vary(root, v.List().Get(0).Message(), try)
		case fd.IsList():
		case fd.Message() != nil:
			vary(root, v.Message(), try)
		case fd.Kind() == protoreflect.StringKind:
			for _, text := range []string{"x", "🙂", "-0", "CZK", "a/b", strings.Repeat("é", 300), "01890A5D-AC96-774B-BCCE-B302099A8057"} {
				m.Set(fd, protoreflect.ValueOfString(text))
				try(path + " = " + text)
			}
			m.Set(fd, v)
		case fd.Kind() == protoreflect.EnumKind:
			for i := range fd.Enum().Values().Len() {
				m.Set(fd, protoreflect.ValueOfEnum(fd.Enum().Values().Get(i).Number()))
				try(path)
			}
			m.Set(fd, v)
		}
		return true
	})
}

// TestRefused: the schema refuses texts that are no events, each for its reason.
func TestRefused(t *testing.T) {
	s := compile(t, document(t), false)
	const envelope = `"id":"` + schematest.UUID + `","webhookId":"` + schematest.UUID + `","source":"s","connector":"c","vendorEvent":"e","receivedAt":"2026-01-02T03:04:05.5Z"`
	const good = `{` + envelope + `,"type":"stock.adjusted","subject":"adjustment/1","stockMovement":{"id":"1","kind":"STOCK_MOVEMENT_KIND_ADJUSTMENT"}}`
	if err := s.Validate(schematest.JSON(t, []byte(good))); err != nil {
		t.Fatal(err)
	}
	for name, replace := range map[string][2]string{
		"no id":                        {`"id":"` + schematest.UUID + `",`, ``},
		"an id that is none":           {`"id":"` + schematest.UUID, `"id":"1`},
		"a time with an offset":        {`05.5Z`, `05.5+01:00`},
		"data of another kind":         {`stock.adjusted`, `order.closed`},
		"no data":                      {`,"stockMovement":{"id":"1","kind":"STOCK_MOVEMENT_KIND_ADJUSTMENT"}`, ``},
		"data of two kinds":            {`"stockMovement"`, `"order":{"id":"1"},"stockMovement"`},
		"an enum's number":             {`"STOCK_MOVEMENT_KIND_ADJUSTMENT"`, `3`},
		"a name that the enum lacks":   {`KIND_ADJUSTMENT`, `KIND_ADJUSTED`},
		"data without its kind":        {`,"kind":"STOCK_MOVEMENT_KIND_ADJUSTMENT"`, ``},
		"a type in upper case":         {`stock.adjusted`, `stock.Adjusted`},
		"a subject without an id":      {`adjustment/1`, `adjustment/`},
		"a text where a list is":       {`"kind"`, `"lines":"x","kind"`},
		"a Boolean that is a text":     {`"type"`, `"stale":"true","type"`},
		"a decimal with an exponent":   {`"kind"`, `"lines":[{"quantity":{"value":"1e3"}}],"kind"`},
		"a decimal that is a number":   {`"kind"`, `"lines":[{"quantity":{"value":1}}],"kind"`},
		"a subject that is a long one": {`adjustment/1`, `adjustment/` + strings.Repeat("1", 512)},
	} {
		text := strings.Replace(good, replace[0], replace[1], 1)
		if text == good {
			t.Errorf("%s: nothing is replaced", name)
		}
		if s.Validate(schematest.JSON(t, []byte(text))) == nil {
			t.Errorf("%s fits the schema: %s", name, text)
		}
	}
}

// TestDescribed: everything in the schema is described, in particular by the comments of the .proto files.
func TestDescribed(t *testing.T) {
	selection, err := jsonschema.Select()
	if err != nil {
		t.Fatal(err)
	}
	s, err := jsonschema.Event(selection)
	if err != nil {
		t.Fatal(err)
	}
	fields := 0
	for _, def := range s.Defs {
		if def.Schema.Description == "" {
			t.Errorf("%s has no description", def.Name)
		}
		for _, property := range def.Schema.Properties {
			fields++
			if property.Schema.Description == "" {
				t.Errorf("%s.%s has no description", def.Name, property.Name)
			}
		}
	}
	if fields < 200 {
		t.Errorf("only %d fields", fields)
	}
}
