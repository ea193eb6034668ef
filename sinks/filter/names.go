package filter

import (
	"regexp"
	"sync"

	"google.golang.org/protobuf/reflect/protoreflect"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
)

// undefined matches the text with which CEL refuses a field.
var undefined = regexp.MustCompile(`undefined field '(\w+)'`)

// enumeration matches the text with which CEL refuses to compare an enumeration, an int to CEL, with texts.
var enumeration = regexp.MustCompile(`no matching overload for '(?:_==_|_!=_|@in)' applied to '\(int, (?:string|list\(string\))\)'`)

// meant says what the author of an expression may have meant; it is empty for most problems. Expressions have the names of the .proto files, and
// people read events as JSON.
func meant(problem string) string {
	if enumeration.MatchString(problem) {
		return "; if it is an enumeration, write the value like bridge.event.v1.OrderStatus.ORDER_STATUS_CLOSED"
	}
	match := undefined.FindStringSubmatch(problem)
	if match == nil {
		return ""
	}
	name, ok := jsonNames()[match[1]]
	if !ok {
		return ""
	}
	return "; did you mean " + name + "?"
}

// jsonNames returns the names in .proto files of the fields of events whose name in JSON is another one.
var jsonNames = sync.OnceValue(func() map[string]string {
	names := map[string]string{}
	seen := map[protoreflect.FullName]bool{}
	var visit func(protoreflect.MessageDescriptor)
	visit = func(m protoreflect.MessageDescriptor) {
		if seen[m.FullName()] {
			return
		}
		seen[m.FullName()] = true
		for i := range m.Fields().Len() {
			f := m.Fields().Get(i)
			if name := string(f.Name()); f.JSONName() != name {
				names[f.JSONName()] = name
			}
			if f.Message() != nil {
				visit(f.Message())
			}
		}
	}
	visit((&eventv1.Event{}).ProtoReflect().Descriptor())
	return names
})
