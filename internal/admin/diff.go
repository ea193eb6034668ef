package admin

import (
	"encoding/json"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
	"github.com/webhook-bridge/bridge/internal/mask"
)

// diff lists the fields in which two messages of one type differ, in the order of the schema, lists element by element.
// Unless revealed, personal values are [mask.Mark]: that they differ is told, and not how.
func diff(published, made proto.Message, reveal bool) []*adminv1.FieldChange {
	d := differ{reveal: reveal}
	d.message("", published.ProtoReflect(), made.ProtoReflect())
	return d.changes
}

type differ struct {
	reveal  bool
	changes []*adminv1.FieldChange
}

// side is a value on one side, if there is one.
type side struct {
	value protoreflect.Value
	set   bool
}

func sideOf(m protoreflect.Message, f protoreflect.FieldDescriptor) side {
	return side{value: m.Get(f), set: m.Has(f)}
}

func (s side) element(i int) side {
	if list := s.value.List(); i < list.Len() {
		return side{value: list.Get(i), set: true}
	}
	return side{}
}

func (d *differ) message(path string, a, b protoreflect.Message) {
	fields := a.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		inner := string(f.Name())
		if path != "" {
			inner = path + "." + inner
		}
		x, y := sideOf(a, f), sideOf(b, f)
		if !f.IsList() {
			d.field(inner, a, f, x, y)
			continue
		}
		for i := range max(x.value.List().Len(), y.value.List().Len()) {
			d.field(inner+"["+strconv.Itoa(i)+"]", a, f, x.element(i), y.element(i))
		}
	}
}

// field compares the two sides of a field, or of an element of a list. parent is any message that has the field.
func (d *differ) field(path string, parent protoreflect.Message, f protoreflect.FieldDescriptor, x, y side) {
	if x.set == y.set && (!x.set || x.value.Equal(y.value)) {
		return
	}
	if !d.reveal && mask.Personal(f) || !isPart(f) {
		d.changes = append(d.changes, &adminv1.FieldChange{Path: path, Published: d.text(parent, f, x), Made: d.text(parent, f, y)})
		return
	}
	before := len(d.changes)
	d.message(path, d.part(parent, f, x), d.part(parent, f, y))
	if len(d.changes) == before {
		// All that differs is that it is there.
		d.changes = append(d.changes, &adminv1.FieldChange{Path: path, Published: empty(x), Made: empty(y)})
	}
}

// isPart says whether a field holds a message whose own fields are compared. Those of google.type and google.protobuf are
// values.
func isPart(f protoreflect.FieldDescriptor) bool {
	return f.Message() != nil && !f.IsMap() && !strings.HasPrefix(string(f.Message().FullName()), "google.")
}

// part is the message on one side, an empty one where there is none.
func (d *differ) part(parent protoreflect.Message, f protoreflect.FieldDescriptor, s side) protoreflect.Message {
	switch {
	case s.set:
		return s.value.Message()
	case f.IsList():
		return parent.NewField(f).List().NewElement().Message()
	default:
		return parent.NewField(f).Message()
	}
}

func empty(s side) string {
	if !s.set {
		return ""
	}
	return "{}"
}

// text is a value as protobuf's JSON has it.
func (d *differ) text(parent protoreflect.Message, f protoreflect.FieldDescriptor, s side) string {
	if !s.set {
		return ""
	}
	if !d.reveal && mask.Personal(f) {
		return mask.Mark
	}
	// protojson writes messages: one that holds the value and nothing else.
	m := parent.New()
	if f.IsList() {
		m.Mutable(f).List().Append(s.value)
	} else {
		m.Set(f, s.value)
	}
	text, err := protojson.Marshal(m.Interface())
	if err != nil {
		return "?"
	}
	var holder map[string]json.RawMessage
	if err := json.Unmarshal(text, &holder); err != nil || len(holder) != 1 {
		return "?"
	}
	value := holder[f.JSONName()]
	var list []json.RawMessage
	if f.IsList() && json.Unmarshal(value, &list) == nil && len(list) == 1 {
		value = list[0]
	}
	return compact(value)
}
