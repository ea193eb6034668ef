package vendorjson

import (
	"fmt"
	"hash/maphash"
	"sync"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	optionsv1 "github.com/webhook-bridge/bridge/gen/bridge/options/v1"
)

// table has the decoder's data about a message type. It is read-only once built.
type table struct {
	fields []field
	// byName has each field by its JSON name only. The name in the schema is Bridge's own: a vendor that uses it means another
	// field.
	byName map[string]int
	// words is the number of words of seen that an open message needs.
	words int
	// always has a bit, as seen has, for each field that the vendor says is always there. Nil if there is none.
	always []uint64
}

// field has the decoder's data about a field.
type field struct {
	// name in JSON.
	name string
	// hash of name, for telling drifts apart.
	hash uint64
	// tag is the field's number and wire type, as on the wire.
	tag  uint64
	form form
	kind protoreflect.Kind
	list bool
	// accepts has a bit for each JsonForm that is expected.
	accepts uint8
	// always: the vendor says that it is always there.
	always bool
	// message is the table of a field of form message.
	message *table
	// enum describes a field of kind EnumKind.
	enum protoreflect.EnumDescriptor
}

// form is the way of reading a field, coarser than its kind.
type form uint8

const (
	formString form = iota
	formVerbatim
	formDecimal
	formMessage
	formBool
	formNumber
	formEnum
	formBytes
)

// noun names a form in errors.
var noun = [...]string{
	formString: "a string", formVerbatim: "any value", formDecimal: "a decimal number", formMessage: "an object",
	formBool: "a bool", formNumber: "a number", formEnum: "the name of an enumeration's value", formBytes: "base64",
}

// tables has a *table for each protoreflect.MessageDescriptor that was met. Descriptors are few and live for ever.
var tables sync.Map

func tableOf(md protoreflect.MessageDescriptor) (*table, error) {
	if t, ok := tables.Load(md); ok {
		return t.(*table), nil
	}
	b := builder{}
	if _, err := b.message(md); err != nil {
		return nil, fmt.Errorf("vendorjson: %w", err)
	}
	for d, t := range b {
		tables.LoadOrStore(d, t)
	}
	t, _ := tables.Load(md)
	return t.(*table), nil
}

// builder has the tables under construction, so that a message may contain itself.
type builder map[protoreflect.MessageDescriptor]*table

func (b builder) message(md protoreflect.MessageDescriptor) (*table, error) {
	if t, ok := b[md]; ok {
		return t, nil
	}
	if md.FullName().Parent() == "google.protobuf" {
		return nil, fmt.Errorf("%s is not supported: its JSON form is its own", md.FullName())
	}
	n := md.Fields().Len()
	t := &table{fields: make([]field, n), byName: make(map[string]int, n), words: (n + 63) / 64}
	b[md] = t
	for i := range n {
		f, err := b.field(md.Fields().Get(i))
		if err != nil {
			return nil, err
		}
		t.fields[i] = f
		t.byName[f.name] = i
		if f.always {
			if t.always == nil {
				t.always = make([]uint64, t.words)
			}
			t.always[i>>6] |= 1 << (i & 63)
		}
	}
	return t, nil
}

func (b builder) field(fd protoreflect.FieldDescriptor) (field, error) {
	if o := fd.ContainingOneof(); o != nil && !o.IsSynthetic() {
		return field{}, fmt.Errorf("%s is not supported: it is in a oneof", fd.FullName())
	}
	if fd.IsMap() {
		return field{}, fmt.Errorf("%s is not supported: it is a map", fd.FullName())
	}
	options, _ := proto.GetExtension(fd.Options(), optionsv1.E_Field).(*optionsv1.Field)
	f := field{
		name: fd.JSONName(),
		hash: maphash.String(seed, fd.JSONName()),
		kind: fd.Kind(),
		list: fd.IsList(),

		always: options.GetAlways(),
	}
	for _, accepted := range options.GetAccepts() {
		f.accepts |= 1 << accepted
	}
	wire := protowire.BytesType
	switch fd.Kind() {
	case protoreflect.StringKind:
		f.form = formString
	case protoreflect.BytesKind:
		f.form = formBytes
	case protoreflect.BoolKind:
		f.form, wire = formBool, protowire.VarintType
	case protoreflect.EnumKind:
		f.form, f.enum, wire = formEnum, fd.Enum(), protowire.VarintType
	case protoreflect.Fixed32Kind, protoreflect.Sfixed32Kind, protoreflect.FloatKind:
		f.form, wire = formNumber, protowire.Fixed32Type
	case protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind, protoreflect.DoubleKind:
		f.form, wire = formNumber, protowire.Fixed64Type
	case protoreflect.MessageKind:
		if err := b.nested(&f, fd.Message()); err != nil {
			return field{}, err
		}
	case protoreflect.GroupKind:
		return field{}, fmt.Errorf("%s is not supported: it is a group", fd.FullName())
	default:
		f.form, wire = formNumber, protowire.VarintType
	}
	if options.GetVerbatim() {
		if f.form != formString {
			return field{}, fmt.Errorf("%s is marked verbatim but is no string", fd.FullName())
		}
		f.form = formVerbatim
	}
	f.tag = protowire.EncodeTag(fd.Number(), wire)
	return f, nil
}

func (b builder) nested(f *field, md protoreflect.MessageDescriptor) (err error) {
	if md.FullName() == "google.type.Decimal" {
		f.form = formDecimal
		return nil
	}
	f.form = formMessage
	f.message, err = b.message(md)
	return err
}

// ahead is the number of fields that are tried in the order of the schema, which most vendors follow.
const ahead = 3

// lookup finds a field by its name in the text; -1 if there is none. guess is its index if the text follows the order of the
// schema; with fields left out, it is a little later.
func (t *table) lookup(name []byte, guess int) int {
	for i := guess; i < len(t.fields) && i < guess+ahead; i++ {
		if t.fields[i].name == string(name) {
			return i
		}
	}
	if i, ok := t.byName[string(name)]; ok {
		return i
	}
	return -1
}
