package kafka

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/webhook-bridge/bridge/sinks"
)

// maxTopic is the greatest length of a topic's name.
const maxTopic = 249

// topicTemplate is a topic's name, or a template of names: texts, with a field after each but the last.
type topicTemplate struct {
	texts  []string
	fields []field
}

// field is a field of an event that a template may use.
type field struct {
	name string
	of   func(*sinks.Header) []byte
}

var fields = []field{
	{"source", func(h *sinks.Header) []byte { return h.Source }},
	{"connector", func(h *sinks.Header) []byte { return h.Connector }},
	{"type", func(h *sinks.Header) []byte { return h.Type }},
	{"kind", func(h *sinks.Header) []byte {
		kind, _, _ := bytes.Cut(h.Subject, []byte("/"))
		return kind
	}},
}

func parseTopic(text string) (topicTemplate, error) {
	if text == "" {
		return topicTemplate{}, errors.New("is missing")
	}
	var t topicTemplate
	rest := text
	for {
		literal, after, found := strings.Cut(rest, "{")
		if strings.Contains(literal, "}") {
			return t, errors.New("has a } without a {")
		}
		t.texts = append(t.texts, literal)
		if !found {
			break
		}
		name, behind, closed := strings.Cut(after, "}")
		if !closed {
			return t, errors.New("has a { without a }")
		}
		f, ok := lookup(name)
		if !ok {
			return t, fmt.Errorf("{%s} is none of {source}, {connector}, {type}, {kind}", name)
		}
		t.fields = append(t.fields, f)
		rest = behind
	}
	// The fixed parts are checked now, the parts from events when they are known.
	probe := strings.Join(t.texts, "x")
	if err := checkTopic(probe); err != nil {
		return t, err
	}
	return t, nil
}

func lookup(name string) (field, bool) {
	for _, f := range fields {
		if f.name == name {
			return f, true
		}
	}
	return field{}, false
}

// fixed returns the name if it is the same for all events, and otherwise "".
func (t topicTemplate) fixed() string {
	if len(t.fields) > 0 {
		return ""
	}
	return t.texts[0]
}

// name returns the topic of an event.
func (t topicTemplate) name(h *sinks.Header) (string, error) {
	if fixed := t.fixed(); fixed != "" {
		return fixed, nil
	}
	var name strings.Builder
	for i, f := range t.fields {
		value := f.of(h)
		if len(value) == 0 {
			return "", fmt.Errorf("topic: the event has no %s", f.name)
		}
		name.WriteString(t.texts[i])
		name.Write(value)
	}
	name.WriteString(t.texts[len(t.fields)])
	if err := checkTopic(name.String()); err != nil {
		return "", fmt.Errorf("topic: %w", err)
	}
	return name.String(), nil
}

// checkTopic returns an error unless Kafka allows a topic of that name.
func checkTopic(name string) error {
	if len(name) > maxTopic {
		return fmt.Errorf("its name has %d characters, more than %d", len(name), maxTopic)
	}
	if name == "." || name == ".." {
		return errors.New("a name of dots alone is not allowed")
	}
	for i := range len(name) {
		c := name[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && c != '.' && c != '_' && c != '-' {
			return fmt.Errorf("%q has a character that is not a letter, a digit, '.', '_' or '-'", name)
		}
	}
	return nil
}
