package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
)

const durationName = "google.protobuf.Duration"

// reader converts YAML nodes to a message, by the message's descriptor. It stores the place of each field in the file, and
// reports keys that the message does not have.
type reader struct {
	*report
	expander
}

// root reads the document's top node. It reports false after a problem that makes further checks impossible.
func (r reader) root(n *yaml.Node, m protoreflect.Message) bool {
	if n.Kind == 0 || isNull(n) {
		return true
	}
	if !r.expect(n, yaml.MappingNode, "") {
		return false
	}
	r.message(n, "", m)
	return true
}

// message reads the mapping n into m, which is the field at path.
func (r reader) message(n *yaml.Node, path string, m protoreflect.Message) {
	if !r.expect(n, yaml.MappingNode, path) {
		return
	}
	first := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := place{key.Line, key.Column}
		if !isPlain(key) || key.Kind != yaml.ScalarNode {
			r.addAtf(at, path, "a key must be a plain word")
			continue
		}
		inner := join(path, shorten(key.Value))
		if line, twice := first[key.Value]; twice {
			r.addAtf(at, inner, "is set twice, first in line %d", line)
			continue
		}
		first[key.Value] = key.Line
		field := m.Descriptor().Fields().ByName(protoreflect.Name(key.Value))
		if field == nil {
			r.addUnknown(at, path, key.Value, m.Descriptor())
			continue
		}
		r.places[inner] = at
		r.field(value, inner, m, field)
	}
}

// addUnknown reports a key that the schema does not have.
func (r reader) addUnknown(at place, path, key string, d protoreflect.MessageDescriptor) {
	known := make([]string, d.Fields().Len())
	for i := range known {
		known[i] = string(d.Fields().Get(i).Name())
	}
	allowed := "known here are " + strings.Join(known, ", ")
	if len(known) == 0 {
		allowed = "nothing may stand here"
	}
	r.addAtf(at, join(path, shorten(key)), "unknown key %q; %s", shorten(key), allowed)
}

func shorten(key string) string {
	const most = 40
	if len(key) <= most {
		return key
	}
	return strings.ToValidUTF8(key[:most], "") + "…"
}

// field reads n into one field of m. A null leaves the field unset.
func (r reader) field(n *yaml.Node, path string, m protoreflect.Message, field protoreflect.FieldDescriptor) {
	empty := field.Message() != nil && field.Message().Fields().Len() == 0
	if isNull(n) && !empty {
		return
	}
	if !isNull(n) {
		r.places[path] = place{n.Line, n.Column}
	}
	if oneof := field.ContainingOneof(); oneof != nil && !oneof.IsSynthetic() {
		if other := m.WhichOneof(oneof); other != nil {
			r.addf(path, "cannot stand beside %s: give only one", other.Name())
			return
		}
	}
	switch {
	case field.IsList():
		r.list(n, path, m.Mutable(field).List(), field)
	case field.Message() != nil && field.Message().FullName() != durationName:
		inner := m.Mutable(field).Message()
		if !isNull(n) {
			r.message(n, path, inner)
		}
	default:
		if value, ok := r.scalar(n, path, field); ok {
			m.Set(field, value)
		}
	}
}

// list reads the sequence n. For an element that cannot be read it appends an empty one, so that indexes stay right.
func (r reader) list(n *yaml.Node, path string, list protoreflect.List, field protoreflect.FieldDescriptor) {
	if !r.expect(n, yaml.SequenceNode, path) {
		return
	}
	for i, item := range n.Content {
		inner := fmt.Sprintf("%s[%d]", path, i)
		r.places[inner] = place{item.Line, item.Column}
		value := list.NewElement()
		switch {
		case isNull(item):
			r.addf(inner, "is empty")
		case field.Message() != nil:
			r.message(item, inner, value.Message())
		default:
			if v, ok := r.scalar(item, inner, field); ok {
				value = v
			}
		}
		list.Append(value)
	}
}

// scalar expands the references in n and converts it to the field's type. It reports false when there is no value to set.
func (r reader) scalar(n *yaml.Node, path string, field protoreflect.FieldDescriptor) (protoreflect.Value, bool) {
	var none protoreflect.Value
	if !r.expect(n, yaml.ScalarNode, path) {
		return none, false
	}
	x := r.expander
	x.referred = func(file string) { r.files[path] = append(r.files[path], file) }
	text, err := x.expand(n.Value)
	if err != nil {
		r.addf(path, "%s", err)
		return none, false
	}
	if !utf8.ValidString(text) {
		r.addf(path, "is not UTF-8 text")
		return none, false
	}
	if text == "" {
		return none, false
	}
	r.texts[path] = scalarSource{n.Value, n.Style}
	value, want := scalarValue(text, field)
	if want != "" {
		r.addf(path, "must be %s", want)
		return none, false
	}
	return value, true
}

// scalarValue converts text to the field's type. When it cannot, want describes a valid value.
func scalarValue(text string, field protoreflect.FieldDescriptor) (value protoreflect.Value, want string) {
	switch field.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(text), ""
	case protoreflect.BoolKind:
		if text != "true" && text != "false" {
			return value, "true or false"
		}
		return protoreflect.ValueOfBool(text == "true"), ""
	case protoreflect.Uint32Kind:
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return value, "a whole number"
		}
		return protoreflect.ValueOfUint32(uint32(n)), ""
	default: // A duration: the schema's only message that is written as a scalar. A test checks this.
		d, err := time.ParseDuration(text)
		if err != nil {
			return value, `a duration, such as "90s" or "168h"`
		}
		return protoreflect.ValueOfMessage(durationpb.New(d).ProtoReflect()), ""
	}
}

// expect reports whether n has the kind, and no anchor, alias or tag. It adds a problem otherwise.
func (r reader) expect(n *yaml.Node, kind yaml.Kind, path string) bool {
	switch {
	case !isPlain(n):
		r.addAtf(place{n.Line, n.Column}, path, "anchors, aliases and tags are not supported")
		return false
	case n.Kind != kind:
		words := map[yaml.Kind]string{
			yaml.MappingNode:  "must be a mapping of keys to values",
			yaml.SequenceNode: "must be a list",
			yaml.ScalarNode:   "must be a single value",
		}
		r.addAtf(place{n.Line, n.Column}, path, "%s", words[kind])
		return false
	}
	return true
}

func isPlain(n *yaml.Node) bool {
	return n.Kind != yaml.AliasNode && n.Anchor == "" && n.Style&yaml.TaggedStyle == 0
}

func isNull(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Tag == "!!null" && isPlain(n)
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
