package kafka

import (
	"errors"
	"fmt"

	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/template"
)

// maxTopic is the greatest length of a topic's name.
const maxTopic = 249

// topicTemplate is a topic's name, or a template of names.
type topicTemplate struct{ template.Template }

func parseTopic(text string) (topicTemplate, error) {
	t, err := template.Parse(text, "source", "connector", "type", "kind")
	if err != nil {
		return topicTemplate{}, err
	}
	// The fixed parts are checked now, the parts from events when they are known.
	return topicTemplate{t}, checkTopic(t.With("x"))
}

// fixed returns the name if it is the same for all events, and otherwise "".
func (t topicTemplate) fixed() string { return t.Fixed() }

// name returns the topic of an event.
func (t topicTemplate) name(h *sinks.Header) (string, error) {
	name, err := t.Expand(h, nil)
	if err == nil && t.fixed() == "" {
		err = checkTopic(name)
	}
	if err != nil {
		return "", fmt.Errorf("topic: %w", err)
	}
	return name, nil
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
