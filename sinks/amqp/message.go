package amqp

import (
	"fmt"

	rabbit "github.com/rabbitmq/amqp091-go"

	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/cloudevents"
)

// maxKey is the largest routing key, in bytes.
const maxKey = 255

//nolint:gochecknoglobals // a constant that Go cannot write as such
var headers = cloudevents.NewHeaders("cloudEvents:")

// message returns an event as a message, and its routing key. Its errors are permanent.
func (s *Sink) message(r sinks.Record) (key string, m rabbit.Publishing, err error) {
	if key, err = s.parts.key.Expand(&r.Header, nil); err == nil && len(key) > maxKey {
		err = fmt.Errorf("it has %d bytes, more than %d", len(key), maxKey)
	}
	if err != nil {
		return "", m, fmt.Errorf("routing key: %w", err)
	}
	value, mediaType, err := s.config.Format.Encode(r)
	if err != nil {
		return "", m, err
	}
	table := rabbit.Table{}
	for _, a := range cloudevents.Attributes(&r.Header) {
		if a.Boolean() {
			table[headers.Of(a)] = string(a.Value) == "true"
			continue
		}
		table[headers.Of(a)] = string(a.Value)
	}
	if trace := r.Header.Traceparent; len(trace) > 0 {
		table[cloudevents.Traceparent] = string(trace)
	}
	return key, rabbit.Publishing{
		Headers:      table,
		ContentType:  mediaType,
		DeliveryMode: rabbit.Persistent,
		MessageId:    string(r.Header.ID),
		Timestamp:    r.Header.ReceivedAt,
		Type:         string(r.Header.Type),
		AppId:        "bridge",
		Body:         value,
	}, nil
}
