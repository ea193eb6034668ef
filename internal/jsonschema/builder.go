package jsonschema

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	optionsv1 "github.com/webhook-bridge/bridge/gen/bridge/options/v1"
)

// Builder makes the schemas of messages, and of the messages and enums in them.
type Builder struct {
	// prefix of references to named schemas, such as "#/$defs/".
	prefix string
	// draft7 means that keywords beside a $ref do not count.
	draft7   bool
	comments *comments
	named    Properties
	// origin has the descriptor behind each name.
	origin map[string]protoreflect.FullName
}

// NewBuilder returns a builder. References to its schemas begin with prefix. With draft7, readers of the schemas may ignore keywords
// beside a $ref, as draft 7 says.
func NewBuilder(prefix string, draft7 bool) (*Builder, error) {
	c, err := readComments()
	if err != nil {
		return nil, err
	}
	return &Builder{prefix: prefix, draft7: draft7, comments: c, origin: map[string]protoreflect.FullName{}}, nil
}

// Named returns the schemas so far that others refer to, each after the ones that refer to it.
func (b *Builder) Named() Properties { return b.named }

// Message returns a reference to the schema of md.
func (b *Builder) Message(md protoreflect.MessageDescriptor) (*Schema, error) {
	return b.once(md, func(s *Schema) error { return b.object(s, md, nil) })
}

// once returns a reference to the schema of d, which fill completes at the first time.
func (b *Builder) once(d protoreflect.Descriptor, fill func(*Schema) error) (*Schema, error) {
	name := string(d.Name())
	ref := &Schema{Ref: b.prefix + name}
	known, ok := b.origin[name]
	switch {
	case ok && known == d.FullName():
		return ref, nil
	case ok:
		return nil, fmt.Errorf("jsonschema: %s and %s have the same name", known, d.FullName())
	}
	b.origin[name] = d.FullName()
	s := &Schema{Title: name, Description: b.comments.of(d)}
	b.named = append(b.named, Property{name, s})
	return ref, fill(s)
}

// object makes s the schema of an object with the fields of md, except those that skip selects.
func (b *Builder) object(s *Schema, md protoreflect.MessageDescriptor, skip func(protoreflect.FieldDescriptor) bool) error {
	s.Type = "object"
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		if skip != nil && skip(fd) {
			continue
		}
		property, always, err := b.field(fd)
		if err != nil {
			return fmt.Errorf("%s: %w", fd.FullName(), err)
		}
		s.Properties = append(s.Properties, Property{fd.JSONName(), property})
		if always {
			s.Required = append(s.Required, fd.JSONName())
		}
	}
	return nil
}

// field returns the schema of a field, and whether it is always there.
func (b *Builder) field(fd protoreflect.FieldDescriptor) (*Schema, bool, error) {
	rules := rulesOf(fd)
	s, err := b.value(fd, rules)
	if err != nil {
		return nil, false, err
	}
	always, err := applyRules(s, fd, rules)
	if err != nil {
		return nil, false, err
	}
	options, _ := proto.GetExtension(fd.Options(), optionsv1.E_Field).(*optionsv1.Field)
	return b.described(s, b.comments.of(fd), options.GetPersonal()), always, nil
}

// described adds to s what is said of one use of it.
func (b *Builder) described(s *Schema, text string, personal bool) *Schema {
	if s.Ref != "" && b.draft7 && (text != "" || personal) {
		s = &Schema{AllOf: []*Schema{s}}
	}
	if s.Description != "" && text != "" {
		text += " " + s.Description
	}
	if text != "" {
		s.Description = text
	}
	s.Personal = personal
	return s
}

// value returns the schema of the values of fd, which may be a list or a map of them.
func (b *Builder) value(fd protoreflect.FieldDescriptor, rules fieldRules) (*Schema, error) {
	switch {
	case fd.IsMap():
		values, err := b.value(fd.MapValue(), fieldRules{})
		return &Schema{Type: "object", Values: values}, err
	case fd.IsList():
		items, err := b.single(fd, rules.items())
		return &Schema{Type: "array", Items: items}, err
	default:
		return b.single(fd, rules)
	}
}

// single returns the schema of one value of fd, in protobuf's JSON mapping.
func (b *Builder) single(fd protoreflect.FieldDescriptor, rules fieldRules) (*Schema, error) {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return &Schema{Type: "boolean"}, nil
	case protoreflect.StringKind:
		return &Schema{Type: "string"}, nil
	case protoreflect.BytesKind:
		return &Schema{Type: "string", ContentEncoding: "base64"}, nil
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return &Schema{Type: "integer", Format: "int32"}, nil
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return &Schema{Type: "integer", Minimum: new(int64)}, nil
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		// JavaScript's numbers would lose digits.
		return &Schema{Type: "string", Pattern: "^-?[0-9]{1,19}$"}, nil
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return &Schema{Type: "string", Pattern: "^[0-9]{1,20}$"}, nil
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return &Schema{AnyOf: []*Schema{{Type: "number"}, {Type: "string", Enum: []string{"NaN", "Infinity", "-Infinity"}}}}, nil
	case protoreflect.EnumKind:
		return b.enum(fd.Enum(), rules)
	case protoreflect.MessageKind:
		return b.message(fd.Message())
	case protoreflect.GroupKind:
	}
	return nil, fmt.Errorf("jsonschema: no schema for the kind %v", fd.Kind())
}

// enum returns a reference to the schema of an enum: its names. A value without a name is a number in JSON, so the rule that there is
// none must be there.
func (b *Builder) enum(ed protoreflect.EnumDescriptor, rules fieldRules) (*Schema, error) {
	if !rules.FieldRules.GetEnum().GetDefinedOnly() {
		return nil, fmt.Errorf("jsonschema: a field of the enum %s allows numbers without a name", ed.FullName())
	}
	return b.once(ed, func(s *Schema) error {
		s.Type = "string"
		for i := range ed.Values().Len() {
			v := ed.Values().Get(i)
			s.Enum = append(s.Enum, string(v.Name()))
			s.Description += fmt.Sprintf("\n%s: %s", v.Name(), b.comments.of(v))
		}
		s.Description = strings.TrimSpace(s.Description)
		return nil
	})
}

// message returns the schema of a message, or a reference to it.
func (b *Builder) message(md protoreflect.MessageDescriptor) (*Schema, error) {
	switch name := md.FullName(); {
	case name == "google.protobuf.Timestamp":
		return &Schema{
			Type: "string", Format: "date-time",
			Pattern: `^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?Z$`,
		}, nil
	case name == "google.protobuf.Duration":
		return &Schema{Type: "string", Pattern: `^-?[0-9]+(\.[0-9]{1,9})?s$`}, nil
	case name == "google.protobuf.Any":
		return &Schema{Type: "object", Properties: Properties{{"@type", &Schema{Type: "string"}}}, Required: []string{"@type"}}, nil
	case strings.HasPrefix(string(name), "google.protobuf."):
		return nil, fmt.Errorf("jsonschema: no schema for %s", name)
	default:
		return b.Message(md)
	}
}
