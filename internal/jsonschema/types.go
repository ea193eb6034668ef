package jsonschema

import (
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	optionsv1 "github.com/webhook-bridge/bridge/gen/bridge/options/v1"
	"github.com/webhook-bridge/bridge/internal/near"
	"github.com/webhook-bridge/bridge/sinks/pattern"
)

// Wildcards of patterns, and regular expressions for them.
const (
	anySegment  = "*"
	anySegments = "**"
	// segment matches a segment of a type, and wildcard what `**` adds behind a segment.
	segment  = `[a-z][a-z_]*`
	wildcard = `(?:\.` + segment + `)*`
)

// Selection chooses events by patterns of their types. An empty one chooses all events.
type Selection struct{ patterns []pattern.Pattern }

// Select returns the selection of events that match one of the patterns, which are those of subscriptions' filters.
func Select(patterns ...string) (Selection, error) {
	var s Selection
	for _, text := range patterns {
		p, err := pattern.Parse(text)
		if err != nil {
			return Selection{}, err
		}
		s.patterns = append(s.patterns, p)
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
func (s Selection) Type(name string) bool {
	segments := strings.Split(name, ".")
	return s.patterns == nil || slices.ContainsFunc(s.patterns, func(p pattern.Pattern) bool { return p.Matches(segments) })
}

// Missing says that a pattern matches no canonical type, so that no event can be chosen, and which ones may be meant. It is empty for one that
// matches some type, and for one that is malformed.
func Missing(text string) string {
	s, err := Select(text)
	if err != nil || slices.ContainsFunc(Kinds(), s.kind) {
		return ""
	}
	first, rest, _ := strings.Cut(text, ".")
	names := []string{first}
	if all := beginnings(); !slices.Contains(all, first) {
		names = near.Names(first, all)
	}
	for i, name := range names {
		if rest != "" {
			names[i] = name + "." + rest
		} else if name != unmapped {
			names[i] = name + "." + anySegment
		}
	}
	return "matches no type of events" + near.Ask(names)
}

// unmapped is the type of events without a model. It has one segment.
const unmapped = "unmapped"

// beginnings returns the first segments of the canonical types.
func beginnings() (all []string) {
	for _, k := range Kinds() {
		for _, types := range k.Types {
			first, _, _ := strings.Cut(types, ".")
			all = append(all, first)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// kind reports whether some events with the kind of data are chosen.
func (s Selection) kind(k Kind) bool {
	return s.patterns == nil || slices.ContainsFunc(s.patterns, func(p pattern.Pattern) bool {
		return slices.ContainsFunc(k.Types, func(types string) bool { return p.Overlaps(patternOf(types)) })
	})
}

// patternOf returns the pattern of one of [Kind].Types.
func patternOf(types string) pattern.Pattern {
	p := pattern.Pattern(strings.Split(types, "."))
	if p[len(p)-1] == anySegment {
		p = append(p, anySegments)
	}
	return p
}

// expression returns the regular expression of the chosen types, or an empty one for all.
func (s Selection) expression() string {
	if s.patterns == nil {
		return ""
	}
	var alternatives []string
	for _, p := range s.patterns {
		alternatives = append(alternatives, expression(p))
	}
	return "^(?:" + strings.Join(alternatives, "|") + ")$"
}

// expression returns a pattern as a regular expression without anchors.
func expression(p pattern.Pattern) string {
	// Several `**` beside each other are one.
	p = slices.CompactFunc(slices.Clone(p), func(a, b string) bool { return a == anySegments && b == anySegments })
	if len(p) == 1 && p[0] == anySegments {
		return segment + wildcard
	}
	var b strings.Builder
	for i, s := range p {
		switch {
		case s == anySegments && i == 0:
			b.WriteString(`(?:` + segment + `\.)*`)
			continue
		case s == anySegments:
			b.WriteString(wildcard)
			continue
		case i > 0 && (i > 1 || p[0] != anySegments):
			b.WriteString(`\.`)
		}
		if s == anySegment {
			s = segment
		}
		b.WriteString(s)
	}
	return b.String()
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
