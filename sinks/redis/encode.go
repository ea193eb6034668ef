package redis

import (
	"fmt"

	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/cloudevents"
)

// batch is the keys and arguments of the script that delivers. deliver.lua describes them.
type batch struct {
	keys   []string
	args   []any
	events int
	bytes  int
	// streams has the number of each stream in keys.
	streams map[string]int
}

// encode returns the batch of the first events, as many as one script may have. If it ends before an event that is refused for good, it
// also returns why.
func (s *Sink) encode(events []sinks.Record) (batch, error) {
	b := batch{
		keys:    []string{s.key},
		args:    []any{s.opening, s.origin.Log.ID(), positionText(s.reached), s.maxLength},
		streams: map[string]int{},
	}
	for _, r := range events {
		if b.events == scriptEvents || b.events > 0 && b.bytes+len(r.Encoded) > scriptBytes {
			break
		}
		if err := s.add(&b, r); err != nil {
			return b, sinks.Permanent(fmt.Errorf("redis: deliver: event at %d: %w", r.Position, err))
		}
	}
	return b, nil
}

func (s *Sink) add(b *batch, r sinks.Record) error {
	stream, err := s.stream.Expand(&r.Header, nil)
	if err != nil {
		return fmt.Errorf("stream: %w", err)
	}
	value, mediaType, err := s.format.Encode(r)
	if err != nil {
		return err
	}
	if b.streams[stream] == 0 {
		b.keys = append(b.keys, stream)
		b.streams[stream] = len(b.keys)
	}
	at := s.origin.Reached(r.Position + 1)
	attributes := cloudevents.Attributes(&r.Header)
	b.args = append(b.args, b.streams[stream], epochText(at.Mark), positionText(at.Mark.Position), 2*len(attributes)+4)
	for _, a := range attributes {
		b.args = append(b.args, a.Name(), a.Value)
	}
	b.args = append(b.args, "contenttype", mediaType, "value", value)
	b.events++
	b.bytes += len(value)
	return nil
}
