// Package template makes names from events: a topic, a subject, a key, a routing key. "events.{source}.{type}" is a template.
package template

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/webhook-bridge/bridge/sinks"
)

// Template is a name, or a text in which fields of the event take the place of {source}, {connector}, {type}, {kind} (the kind of the
// subject, such as "shipment") and {subject}. Make one with [Parse].
type Template struct {
	// texts has one text more than there are fields: a field stands between two texts.
	texts  []string
	fields []field
}

type field struct {
	name string
	of   func(*sinks.Header) []byte
}

var fields = []field{
	{"source", func(h *sinks.Header) []byte { return h.Source }},
	{"connector", func(h *sinks.Header) []byte { return h.Connector }},
	{"type", func(h *sinks.Header) []byte { return h.Type }},
	{"kind", kind},
	{"subject", func(h *sinks.Header) []byte { return h.Subject }},
}

func kind(h *sinks.Header) []byte {
	kind, _, _ := bytes.Cut(h.Subject, []byte("/"))
	return kind
}

// Parse returns a template that may use the named fields. Its errors say what is wrong, without a prefix.
func Parse(text string, allowed ...string) (Template, error) {
	if text == "" {
		return Template{}, errors.New("is missing")
	}
	var t Template
	for rest := text; ; {
		literal, after, found := strings.Cut(rest, "{")
		if strings.Contains(literal, "}") {
			return Template{}, errors.New("has a } without a {")
		}
		t.texts = append(t.texts, literal)
		if !found {
			return t, nil
		}
		name, behind, closed := strings.Cut(after, "}")
		if !closed {
			return Template{}, errors.New("has a { without a }")
		}
		f, ok := lookUp(name, allowed)
		if !ok {
			return Template{}, fmt.Errorf("{%s} is none of {%s}", name, strings.Join(allowed, "}, {"))
		}
		t.fields = append(t.fields, f)
		rest = behind
	}
}

func lookUp(name string, allowed []string) (field, bool) {
	for _, a := range allowed {
		for _, f := range fields {
			if f.name == name && a == name {
				return f, true
			}
		}
	}
	return field{}, false
}

// Fixed returns the name if it is the same for all events, and otherwise "".
func (t Template) Fixed() string {
	if len(t.fields) > 0 || len(t.texts) == 0 {
		return ""
	}
	return t.texts[0]
}

// Matches reports whether a name can be one of the template's.
func (t Template) Matches(name string) bool {
	if len(t.fields) == 0 {
		return name == t.Fixed()
	}
	last := t.texts[len(t.fields)]
	rest, found := strings.CutPrefix(name, t.texts[0])
	for _, text := range t.texts[1:len(t.fields)] {
		// A field has at least one character. The first place for a text leaves the most for the others.
		if !found || rest == "" {
			return false
		}
		_, rest, found = strings.Cut(rest[1:], text)
	}
	return found && len(rest) > len(last) && strings.HasSuffix(rest, last)
}

// With returns the name with the same value in each field. So the fixed parts can be checked before there is an event.
func (t Template) With(value string) string { return strings.Join(t.texts, value) }

// Expand returns the name for an event. The function escape, if it is not nil, replaces each field's value. An event without one of
// the fields has no name.
func (t Template) Expand(h *sinks.Header, escape func([]byte) string) (string, error) {
	if len(t.fields) == 0 {
		return t.Fixed(), nil
	}
	var name strings.Builder
	for i, f := range t.fields {
		value := f.of(h)
		if len(value) == 0 {
			return "", fmt.Errorf("the event has no %s", f.name)
		}
		name.WriteString(t.texts[i])
		if escape == nil {
			name.Write(value)
		} else {
			name.WriteString(escape(value))
		}
	}
	name.WriteString(t.texts[len(t.fields)])
	return name.String(), nil
}
