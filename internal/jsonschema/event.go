package jsonschema

import (
	"fmt"

	"google.golang.org/protobuf/reflect/protoreflect"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
)

// Draft is the version of JSON Schema of [Event].
const Draft = "https://json-schema.org/draft/2020-12/schema"

// about introduces the schema of events.
const about = "Events of Bridge, as `bridge tail --json` and the JSON formats of its sinks print them: bridge.event.v1.Event in protobuf's " +
	"JSON form. A field with its default value is left out: 0, false, an empty text or list, the first name of an enumeration. " +
	"64-bit integers are strings. Later versions of Bridge add fields, types and names to enumerations."

// Event returns the schema of the chosen events, of draft 2020-12: the envelope, and each kind of data.
func Event(of Selection) (*Schema, error) {
	b, err := NewBuilder("#/$defs/", false)
	if err != nil {
		return nil, err
	}
	md := (*eventv1.Event)(nil).ProtoReflect().Descriptor()
	chosen := map[protoreflect.FullName]Kind{}
	for _, k := range Kinds() {
		if of.kind(k) {
			chosen[k.Field.FullName()] = k
		}
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("no kind of event has a type that matches %s", of)
	}
	ref, err := b.once(md, func(s *Schema) error {
		err := b.object(s, md, func(fd protoreflect.FieldDescriptor) bool {
			_, ok := chosen[fd.FullName()]
			return fd.ContainingOneof() != nil && !ok
		})
		for i, p := range s.Properties {
			k, ok := chosen[md.Fields().ByJSONName(p.Name).FullName()]
			if ok {
				s.OneOf = append(s.OneOf, &Schema{Title: p.Name, Required: []string{p.Name}})
				s.Dependent = append(s.Dependent, Property{p.Name, &Schema{Properties: Properties{{"type", k.types()}}}})
			}
			if text := of.expression(); p.Name == "type" && text != "" {
				s.Properties[i].Schema.Pattern = text
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return &Schema{Draft: Draft, Title: "BridgeEvent", Description: about, Ref: ref.Ref, Defs: b.Named()}, nil
}

// Envelope returns a reference to the schema of the fields that all events have.
func (b *Builder) Envelope() (*Schema, error) {
	const name = "Envelope"
	md := (*eventv1.Event)(nil).ProtoReflect().Descriptor()
	ref := &Schema{Ref: b.prefix + name}
	if _, ok := b.origin[name]; ok {
		return ref, nil
	}
	b.origin[name] = md.FullName()
	s := &Schema{Title: name, Description: b.comments.of(md)}
	b.named = append(b.named, Property{name, s})
	return ref, b.object(s, md, func(fd protoreflect.FieldDescriptor) bool { return fd.ContainingOneof() != nil })
}

// Typed returns the schema of the events of one type, whose data is of the kind k. It has only keywords of draft 7.
func (b *Builder) Typed(name string, k Kind) (*Schema, error) {
	envelope, err := b.Envelope()
	if err != nil {
		return nil, err
	}
	data, _, err := b.field(k.Field)
	if err != nil {
		return nil, err
	}
	field := k.Field.JSONName()
	return &Schema{
		Type:       "object",
		AllOf:      []*Schema{envelope},
		Properties: Properties{{"type", &Schema{Const: name}}, {field, data}},
		Required:   []string{field},
	}, nil
}
