package vendorjson

import (
	"fmt"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Inspect is for messages that arrived in protobuf's own form, not through Unmarshal. It returns the fields that m's type does
// not declare, at any depth, as drifts of kind Unknown. The wire has no names: "$.shipping.field_17" is the field with number
// 17. There is no sample. The error, an [*Error] with offset -1, means that what m declares exceeds the limits of a document; a
// decimal counts as two values. m is not changed.
func Inspect(m proto.Message) ([]Drift, error) {
	s := survey{limit: MaxValues}
	if fault := s.message(m.ProtoReflect(), []byte{'$'}, 1); fault != nil {
		return nil, fault
	}
	return s.drifts, nil
}

// Values counts the values of a message as [Inspect] does, up to a little more than limit.
func Values(m proto.Message, limit int) int {
	s := survey{limit: limit}
	_ = s.message(m.ProtoReflect(), []byte{'$'}, 1) // past the limit, it stops
	return s.values
}

// survey walks a message.
type survey struct {
	// values so far, and the most that are allowed.
	values, limit int
	drifts        []Drift
	// reported has the paths of the drifts.
	reported map[string]bool
}

// message counts a message with all that it holds. path is its own; what follows it in memory may be overwritten.
func (s *survey) message(m protoreflect.Message, path []byte, depth int) *Error {
	if depth > MaxDepth {
		return beyond(path, fmt.Sprintf("is nested deeper than %d", MaxDepth))
	}
	if fault := s.count(1, path); fault != nil {
		return fault
	}
	for unknown := m.GetUnknown(); len(unknown) > 0; {
		number, _, n := protowire.ConsumeField(unknown)
		if n < 0 {
			break // never: it was parsed once
		}
		unknown = unknown[n:]
		s.report(strconv.AppendInt(append(path, ".field_"...), int64(number), 10))
	}
	var fault *Error
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		fault = s.field(f, v, appendName(path, f.JSONName()), depth)
		return fault == nil
	})
	return fault
}

func (s *survey) field(f protoreflect.FieldDescriptor, v protoreflect.Value, path []byte, depth int) *Error {
	switch {
	case f.IsMap(): // which no message has that Prepare takes
		return s.count(1+v.Map().Len(), path)
	case f.IsList():
		return s.list(f, v.List(), append(path, "[]"...), depth+1)
	case f.Message() != nil:
		return s.message(v.Message(), path, depth+1)
	}
	return s.count(1, path)
}

func (s *survey) list(f protoreflect.FieldDescriptor, list protoreflect.List, path []byte, depth int) *Error {
	if f.Message() == nil {
		return s.count(1+list.Len(), path)
	}
	if fault := s.count(1, path); fault != nil {
		return fault
	}
	for i := range list.Len() {
		if fault := s.message(list.Get(i).Message(), path, depth+1); fault != nil {
			return fault
		}
	}
	return nil
}

func (s *survey) count(n int, path []byte) *Error {
	if s.values += n; s.values > s.limit {
		return beyond(path, fmt.Sprintf("is past the document's %d values", s.limit))
	}
	return nil
}

func (s *survey) report(path []byte) {
	if len(s.drifts) == MaxDrifts || s.reported[string(path)] {
		return
	}
	if s.reported == nil {
		s.reported = make(map[string]bool)
	}
	s.reported[string(path)] = true
	s.drifts = append(s.drifts, Drift{Kind: Unknown, Path: string(path)})
}

func beyond(path []byte, problem string) *Error {
	return &Error{Code: CodeLimit, Path: string(path), Offset: -1, Problem: problem}
}
