package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"mime"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
)

const (
	// retryAfter is how long a client waits before it connects again, in milliseconds.
	retryAfter = 1000
	// retrySpread is how much longer some wait after a goodbye, which all clients get at once.
	retrySpread = 2000
)

// format is how messages look on the wire.
type format interface {
	contentType() string
	// key is equal for formats in which events look the same.
	key() any
	// message appends a message. Its events are decoded.
	message(to []byte, m *streamv1.TailResponse) ([]byte, error)
	// failure appends the error that ends a stream.
	failure(to []byte, err error) ([]byte, error)
	// finish appends what says that the stream has reached its stop.
	finish(to []byte) []byte
}

// negotiate returns the format that a client accepts, or nil. Server-sent events must be asked for; lines are for all others.
func negotiate(accept []string) format {
	lines := len(accept) == 0
	for media := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		name, parameters, err := mime.ParseMediaType(media)
		if q, ok := parameters["q"]; err != nil || ok && strings.Trim(q, "0.") == "" {
			continue
		}
		switch name {
		case "text/event-stream":
			return &sse{}
		case "application/x-ndjson", "application/ndjson", "application/jsonl", "application/json", "application/*", "*/*":
			lines = true
		}
	}
	if lines {
		return ndjson{}
	}
	return nil
}

// compact appends a message as JSON without blanks: protojson varies them on purpose.
func compact(to []byte, m proto.Message) ([]byte, error) {
	text, err := protojson.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("web: encode: %w", err)
	}
	b := bytes.NewBuffer(to)
	if err := json.Compact(b, text); err != nil {
		return nil, fmt.Errorf("web: encode: %w", err)
	}
	return b.Bytes(), nil
}

// ndjson is one JSON object a line.
type ndjson struct{}

func (f ndjson) key() any { return f }

func (ndjson) contentType() string { return "application/x-ndjson" }

func (ndjson) message(to []byte, m *streamv1.TailResponse) ([]byte, error) {
	if m.GetEvents() == nil {
		to, err := compact(to, m)
		return append(to, '\n'), err
	}
	for _, d := range m.GetEvents().GetEvents() {
		var err error
		if to, err = compact(to, d); err != nil {
			return nil, err
		}
		to = append(to, '\n')
	}
	return to, nil
}

func (ndjson) failure(to []byte, err error) ([]byte, error) {
	to, err = appendError(append(to, `{"error":`...), err)
	return append(to, "}\n"...), err
}

func (ndjson) finish(to []byte) []byte { return to }

// sse is server-sent events, as the HTML standard has them.
type sse struct {
	// unnamed: events have no name, so that a page gets all of them as `message`.
	unnamed bool
	begun   bool
}

// key leaves out what only the beginning of a stream depends on.
func (s *sse) key() any { return sse{unnamed: s.unnamed, begun: true} }

func (*sse) contentType() string { return "text/event-stream" }

func (s *sse) message(to []byte, m *streamv1.TailResponse) ([]byte, error) {
	if !s.begun {
		s.begun = true
		to = appendRetry(to, retryAfter)
	}
	switch kind := m.GetMessage().(type) {
	case *streamv1.TailResponse_Events:
		for _, d := range kind.Events.GetEvents() {
			name := d.GetEvent().GetType()
			if s.unnamed {
				name = ""
			}
			var err error
			if to, err = appendBlock(to, d.GetToken(), name, dataOf(d)); err != nil {
				return nil, err
			}
		}
		return to, nil
	case *streamv1.TailResponse_Subscribed:
		return appendBlock(to, kind.Subscribed.GetToken(), "subscribed", kind.Subscribed)
	case *streamv1.TailResponse_Heartbeat:
		// Without data a browser dispatches nothing, but it keeps the id, also when the filter lets nothing pass.
		to = append(to, ": heartbeat, lag "...)
		to = strconv.AppendUint(to, kind.Heartbeat.GetLag(), 10)
		to = append(append(to, "\nid: "...), kind.Heartbeat.GetToken()...)
		return append(to, "\n\n"...), nil
	case *streamv1.TailResponse_Goodbye:
		to = appendRetry(to, retryAfter+rand.IntN(retrySpread)) //nolint:gosec // it spreads clients, and hides nothing
		return appendBlock(to, kind.Goodbye.GetToken(), "goodbye", kind.Goodbye)
	}
	return append(to, ": another message\n\n"...), nil
}

// dataOf is the event, or the event with the payload that was asked for.
func dataOf(d *streamv1.DeliveredEvent) proto.Message {
	if d.GetVendor() == nil && d.GetRaw() == nil && d.GetPayloadMissing() == "" {
		return d.GetEvent()
	}
	return d
}

func (*sse) failure(to []byte, err error) ([]byte, error) {
	to, err = appendError(append(to, "event: error\ndata: "...), err)
	return append(to, "\n\n"...), err
}

// finish tells the page that it may close: otherwise a browser connects again.
func (*sse) finish(to []byte) []byte { return append(to, "event: end\ndata: {}\n\n"...) }

func appendRetry(to []byte, milliseconds int) []byte {
	to = strconv.AppendInt(append(to, "retry: "...), int64(milliseconds), 10)
	return append(to, '\n')
}

// lineEnds keeps a name in its line.
var lineEnds = strings.NewReplacer("\r", " ", "\n", " ", "\x00", " ")

func appendBlock(to []byte, id, name string, data proto.Message) ([]byte, error) {
	to = append(append(append(to, "id: "...), id...), '\n')
	if name != "" {
		to = append(append(append(to, "event: "...), lineEnds.Replace(name)...), '\n')
	}
	to, err := compact(append(to, "data: "...), data)
	return append(to, "\n\n"...), err
}
