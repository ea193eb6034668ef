// Package mask hides what tells of natural persons before something is shown: the fields that the option
// bridge.options.v1.field marks personal, and in text of a vendor's whatever nobody has declared.
//
// There are two ways to hide a value. [Message] puts [Mark] in its place, or clears it. [JSON] and [Shape] keep its shape,
// letters as x and digits as 0, since they show what could not be read, and the shape is what says why.
//
// What is masked is for people, and nothing is to be made of it: a shaped number is no JSON any more. Lengths show.
package mask

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	optionsv1 "github.com/webhook-bridge/bridge/gen/bridge/options/v1"
)

// Mark stands for a string that is hidden.
const Mark = "•••"

// Personal says whether the values of a field tell something of a natural person.
func Personal(fd protoreflect.FieldDescriptor) bool { return optionsOf(fd).GetPersonal() }

func optionsOf(fd protoreflect.FieldDescriptor) *optionsv1.Field {
	o, _ := proto.GetExtension(fd.Options(), optionsv1.E_Field).(*optionsv1.Field)
	return o
}

// Message returns a copy of m without what is personal, at any depth. Of personal fields, strings become [Mark], those of
// a list each, and all else is cleared: numbers, messages, maps with their keys. Of a field that holds any JSON, marked
// verbatim, the shape stays. Fields that m's type does not know are dropped: nobody has said what they are. m is not
// changed.
func Message(m proto.Message) proto.Message {
	if m == nil {
		return nil
	}
	c := proto.Clone(m)
	message(c.ProtoReflect())
	return c
}

func message(m protoreflect.Message) {
	if len(m.GetUnknown()) > 0 {
		m.SetUnknown(nil)
	}
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch o := optionsOf(fd); {
		case o.GetPersonal():
			replace(m, fd, func(string) string { return Mark })
		case o.GetVerbatim():
			replace(m, fd, func(s string) string { return string(JSON([]byte(s), nil)) })
		case fd.IsMap() && fd.MapValue().Message() != nil:
			v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
				message(v.Message())
				return true
			})
		case fd.IsMap() || fd.Message() == nil:
		case fd.IsList():
			for i := range v.List().Len() {
				message(v.List().Get(i).Message())
			}
		default:
			message(v.Message())
		}
		return true
	})
}

// replace changes the strings of a field that is set, and clears one of another kind.
func replace(m protoreflect.Message, fd protoreflect.FieldDescriptor, change func(string) string) {
	switch {
	case fd.Kind() != protoreflect.StringKind || fd.IsMap():
		m.Clear(fd)
	case fd.IsList():
		list := m.Mutable(fd).List()
		for i := range list.Len() {
			list.Set(i, protoreflect.ValueOfString(change(list.Get(i).String())))
		}
	default:
		m.Set(fd, protoreflect.ValueOfString(change(m.Get(fd).String())))
	}
}
