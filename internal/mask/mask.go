// Package mask hides personal data before something is shown: fields with the mark `personal` in the option
// bridge.options.v1.field, and undeclared parts of a vendor's text.
//
// There are two ways to hide a value. [Message] replaces it by [Mark], or clears it. [JSON] and [Shape] keep its shape, with
// letters as x and digits as 0: they show text that could not be read, and its shape explains why.
//
// Masked text is for people, not for programs: a shaped number is not JSON. Lengths stay visible.
package mask

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	optionsv1 "github.com/webhook-bridge/bridge/gen/bridge/options/v1"
)

// Mark replaces a hidden string.
const Mark = "•••"

// Personal reports whether the values of a field are personal data.
func Personal(fd protoreflect.FieldDescriptor) bool { return optionsOf(fd).GetPersonal() }

func optionsOf(fd protoreflect.FieldDescriptor) *optionsv1.Field {
	o, _ := proto.GetExtension(fd.Options(), optionsv1.E_Field).(*optionsv1.Field)
	return o
}

// Message returns a copy of m without personal data, at any depth. In personal fields, strings become [Mark], also in lists,
// and all other values are cleared: numbers, messages, and maps with their keys. Fields marked verbatim, which have any JSON,
// keep its shape. Fields unknown to m's type are dropped, because their content is undeclared. m is not changed.
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

// replace masks the strings of a field that is set, and clears a field of another kind.
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
