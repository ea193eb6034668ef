package jsonschema

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	optionsv1 "github.com/webhook-bridge/bridge/gen/bridge/options/v1"
)

// Patterns of types, as in the filters of subscriptions.
const (
	anySegment  = "*"
	anySegments = "**"
	// segment is the regular expression of a segment of a type, and wildcard of what `**` adds behind a segment.
	segment  = `[a-z][a-z_]*`
	wildcard = `(?:\.` + segment + `)*`
)

var (
	patternForm = regexp.MustCompile(`^(?:\*{1,2}|[a-z][a-z_]*)(?:\.(?:\*{1,2}|[a-z][a-z_]*))*$`)
	repeated    = regexp.MustCompile(`\*\*(?:\.\*\*)+`)
)

// Selection chooses events by patterns of their types: `*` stands for one segment of a type, `**` for any number. An empty one
// chooses all events.
type Selection struct {
	patterns [][]string
	types    *regexp.Regexp
}

// Select returns the selection of events that match one of the patterns.
func Select(patterns ...string) (Selection, error) {
	var s Selection
	var alternatives []string
	for _, p := range patterns {
		if !patternForm.MatchString(p) {
			return Selection{}, fmt.Errorf("%q is no pattern of types such as `order.*` or `**.deleted`: `*` and `**` stand for whole segments", p)
		}
		segments := strings.Split(repeated.ReplaceAllString(p, anySegments), ".")
		s.patterns = append(s.patterns, segments)
		alternatives = append(alternatives, expression(segments))
	}
	if len(patterns) > 0 {
		s.types = regexp.MustCompile("^(?:" + strings.Join(alternatives, "|") + ")$")
	}
	return s, nil
}

// String returns the patterns.
func (s Selection) String() string {
	var texts []string
	for _, p := range s.patterns {
		texts = append(texts, strings.Join(p, "."))
	}
	return strings.Join(texts, ", ")
}

// Type reports whether events of the type are chosen.
func (s Selection) Type(name string) bool { return s.types == nil || s.types.MatchString(name) }

// kind reports whether some events with the kind of data are chosen.
func (s Selection) kind(k Kind) bool {
	return s.patterns == nil || slices.ContainsFunc(s.patterns, func(p []string) bool {
		return slices.ContainsFunc(k.Types, func(types string) bool { return overlap(p, strings.Split(types, ".")) })
	})
}

// expression returns a pattern as a regular expression without anchors.
func expression(pattern []string) string {
	if len(pattern) == 1 && pattern[0] == anySegments {
		return segment + wildcard
	}
	var b strings.Builder
	for i, s := range pattern {
		switch {
		case s == anySegments && i == 0:
			b.WriteString(`(?:` + segment + `\.)*`)
			continue
		case s == anySegments:
			b.WriteString(wildcard)
			continue
		case i > 0 && (i > 1 || pattern[0] != anySegments):
			b.WriteString(`\.`)
		}
		if s == anySegment {
			s = segment
		}
		b.WriteString(s)
	}
	return b.String()
}

// overlap reports whether some type matches both the pattern and types of a kind, where a last `*` stands for one segment or more.
func overlap(pattern, types []string) bool {
	switch {
	case len(types) == 1 && types[0] == anySegment:
		return len(pattern) > 0
	case len(pattern) == 0:
		return len(types) == 0
	case pattern[0] == anySegments:
		return overlap(pattern[1:], types) || len(types) > 0 && overlap(pattern, types[1:])
	case len(types) == 0:
		return false
	default:
		return (pattern[0] == anySegment || pattern[0] == types[0]) && overlap(pattern[1:], types[1:])
	}
}

// Kind is a kind of data: a field of the oneof of [eventv1.Event].
type Kind struct {
	Field protoreflect.FieldDescriptor
	// Types of the events that have it: a type, or `<kind>.*`, which has all types that begin with the kind.
	Types []string
}

// Kinds returns all kinds of data.
func Kinds() []Kind {
	fields := oneofs().ByName("data").Fields()
	kinds := make([]Kind, fields.Len())
	for i := range kinds {
		options, _ := proto.GetExtension(fields.Get(i).Options(), optionsv1.E_Field).(*optionsv1.Field)
		kinds[i] = Kind{fields.Get(i), options.GetTypes()}
	}
	return kinds
}

func oneofs() protoreflect.OneofDescriptors {
	return (*eventv1.Event)(nil).ProtoReflect().Descriptor().Oneofs()
}

// Has reports whether events of the type have this kind of data.
func (k Kind) Has(name string) bool {
	return slices.ContainsFunc(k.Types, func(types string) bool {
		prefix, open := strings.CutSuffix(types, anySegment)
		return types == name || open && strings.HasPrefix(name, prefix)
	})
}

// types returns the schema of the types of the events that have this kind of data.
func (k Kind) types() *Schema {
	if len(k.Types) == 1 && !strings.HasSuffix(k.Types[0], anySegment) {
		return &Schema{Const: k.Types[0]}
	}
	var alternatives []string
	for _, types := range k.Types {
		prefix, open := strings.CutSuffix(types, anySegment)
		text := regexp.QuoteMeta(prefix)
		if !open {
			text += "$"
		}
		alternatives = append(alternatives, text)
	}
	return &Schema{Pattern: "^(?:" + strings.Join(alternatives, "|") + ")"}
}
