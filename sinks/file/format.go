package file

import (
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/webhook-bridge/bridge/sinks"
)

// encode appends an event, at its place, in the configured format. With an error it returns b unchanged.
func (s *Sink) encode(b []byte, r *sinks.Record, at place) ([]byte, error) {
	switch {
	case len(r.Encoded) == 0:
		return b, sinks.Permanent(fmt.Errorf("file: event at %d is empty", r.Position))
	case len(r.Encoded) > sinks.LargestEvent:
		return b, sinks.Permanent(fmt.Errorf("file: event at %d has %d bytes", r.Position, len(r.Encoded)))
	case s.config.Format == JSONL:
		return s.appendLine(b, r, at)
	}
	// A later start must be able to tell records from damage.
	if err := checkFields(r.Encoded); err != nil {
		return b, sinks.Permanent(fmt.Errorf("file: event at %d: %w", r.Position, err))
	}
	return s.appendDelimited(b, r.Encoded, at), nil
}

func (s *Sink) appendLine(b []byte, r *sinks.Record, at place) ([]byte, error) {
	e, err := r.Event()
	if err != nil {
		return b, sinks.Permanent(fmt.Errorf("file: %w", err))
	}
	line, err := protojson.MarshalOptions{}.MarshalAppend(b, e)
	if err != nil {
		return b, sinks.Permanent(fmt.Errorf("file: event at %d: %w", r.Position, err))
	}
	return append(s.appendJSON(compact(line, len(b)), at), '\n'), nil
}

// compact removes the spaces between tokens, from b[from] on. protojson varies them between builds, but programs that compare
// lines need them equal.
func compact(b []byte, from int) []byte {
	out, quoted := from, false
	for i := from; i < len(b); i++ {
		c := b[i]
		switch {
		case c == '"':
			quoted = !quoted
		case c == '\\':
			b[out] = c
			out++
			i++
			c = b[i]
		case c == ' ' && !quoted:
			continue
		}
		b[out] = c
		out++
	}
	return b[:out]
}

var errFields = errors.New("not a protobuf message")

// checkFields returns nil for a message, io.ErrUnexpectedEOF for the beginning of one, and errFields for anything else. It
// checks only the outermost fields.
func checkFields(b []byte) error {
	for len(b) > 0 {
		// Most fields have a tag and a length of one byte each.
		if len(b) > 1 && b[0] < 1<<7 && b[0] >= 1<<3 && protowire.Type(b[0]&7) == protowire.BytesType && b[1] < 1<<7 && len(b)-2 >= int(b[1]) {
			b = b[2+int(b[1]):]
			continue
		}
		_, _, n := protowire.ConsumeField(b)
		if n < 0 && errors.Is(protowire.ParseError(n), io.ErrUnexpectedEOF) {
			return io.ErrUnexpectedEOF
		}
		if n < 0 {
			return errFields
		}
		b = b[n:]
	}
	return nil
}
