// Package webhook is a [sinks.Sink] that sends each event as an HTTP POST request, signed as Standard Webhooks describes.
//
// A request has the headers webhook-id, webhook-timestamp and webhook-signature of Standard Webhooks, the attributes of
// CloudEvents 1.0 in their HTTP binding (ce-id, ce-type, …), and an Idempotency-Key. Its body is the event in the configured
// [Format].
//
// # Delivery
//
// At least once. An event is delivered when the answer's status is 2xx. If an answer is lost, the request is sent again, with the
// same webhook-id and Idempotency-Key, which is the event's id. A replay adds its own id to both: it is meant to arrive again.
//
// A sink has one address. Several addresses are several sinks, each with its own cursor and circuit breaker, so that an address that
// fails blocks no other.
//
// # Ordering
//
// A sink has one request under way at a time, and sends the next event after the answer. Several sinks, one for each lane of the
// dispatcher, send events of different subjects in parallel. When a request is cut off, the receiver may still be processing it
// while the next attempt arrives.
//
// # Errors
//
// The answers 400, 413 and 422 are about the event: it is refused permanently. 410 means that the receiver wants no more events:
// [sinks.ErrDisabled]. 429 and 503 with Retry-After are a [*sinks.RetryAfterError]. Every other answer is about the receiver's
// condition, and may be retried: a redirect too, which is never followed. An event that has no id or cannot be encoded is refused
// permanently.
//
// Errors name the host, never the rest of the URL, and never text that the receiver sent.
//
// # Addresses
//
// The sink connects to public addresses only, and to those in [Config.Allow]. It checks the address itself, each time it connects,
// after the name was resolved. So a name cannot lead it into a private network, also not one that changes its address.
//
// # Configuration
//
// [Config]. docs/sinks/webhook.md describes each key.
package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/cloudevents"
	"github.com/webhook-bridge/bridge/sinks/connections"
)

const (
	// drainBytes and drainTimeout bound how much of an answer's body is read, so that the connection can be used again.
	drainBytes   = 64 << 10
	drainTimeout = time.Second
)

// Sink sends events to one address.
type Sink struct {
	format    Format
	timeout   time.Duration
	current   func() (target, error)
	transport *http.Transport
	open      *connections.Set

	delivering sync.Mutex      // Held by Deliver.
	ctx        context.Context // Done when the sink is closed.
	cancel     context.CancelFunc
}

// Open returns a sink. It connects to nothing. If the configuration is wrong, the error joins all problems, each a
// [*sinks.KeyError].
func Open(_ context.Context, c Config) (*Sink, error) {
	parts, problems := c.resolve()
	if len(problems) > 0 {
		return nil, fmt.Errorf("webhook: open: %w", errors.Join(problems...))
	}
	s := &Sink{format: c.Format, timeout: parts.timeout, current: parts.current, transport: parts.transport, open: parts.open}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// Deliver implements [sinks.Sink].
func (s *Sink) Deliver(ctx context.Context, events []sinks.Record) (int, error) {
	s.delivering.Lock()
	defer s.delivering.Unlock()
	if s.ctx.Err() != nil {
		return 0, sinks.ErrClosed
	}
	if len(events) == 0 {
		return 0, nil
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	to, err := s.current()
	if err != nil {
		return 0, fmt.Errorf("webhook: deliver: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	for i := range events {
		err := s.send(ctx, to, events[i])
		switch {
		case err == nil:
			continue
		case s.ctx.Err() != nil:
			return i, sinks.ErrClosed
		case ctx.Err() != nil:
			return i, ctx.Err()
		}
		return i, fmt.Errorf("webhook: deliver: %w", err)
	}
	return len(events), nil
}

// send sends one event, and returns nil if the receiver has accepted it.
func (s *Sink) send(ctx context.Context, to target, r sinks.Record) error {
	if len(r.Header.ID) == 0 {
		return sinks.Permanent(fmt.Errorf("event at %d has no id", r.Position))
	}
	body, header, err := s.encode(r)
	if err != nil {
		return sinks.Permanent(fmt.Errorf("event at %d: %w", r.Position, err))
	}
	for _, h := range to.headers {
		header.Set(h.Name, h.Value)
	}
	id := idOf(&r.Header)
	now := time.Now()
	header.Set("Idempotency-Key", id)
	header.Set("Webhook-Id", id)
	header.Set("Webhook-Timestamp", strconv.FormatInt(now.Unix(), 10))
	if len(to.keys) > 0 {
		header.Set("Webhook-Signature", sign(to.keys, id, now, body))
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, to.url.String(), bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%s: the request cannot be made", to.name)
	}
	request.Header = header
	// Without http.Client, nothing follows redirects and nothing puts the URL into errors.
	answer, err := s.transport.RoundTrip(request)
	if err != nil {
		return &connectionError{to.name, s.timeout, err}
	}
	defer answer.Body.Close()
	slow := time.AfterFunc(drainTimeout, cancel)
	_, _ = io.CopyN(io.Discard, answer.Body, drainBytes) // The status alone counts.
	slow.Stop()
	return judge(to.name, r.Position, answer, now)
}

// idOf returns what makes a delivery unique: the event's id, and that of the replay.
func idOf(h *sinks.Header) string {
	id := cloudevents.HeaderValue(h.ID)
	if len(h.Replay) > 0 {
		id += ":" + cloudevents.HeaderValue(h.Replay)
	}
	return id
}

var headerNames = cloudevents.NewHeaders("ce-")

// encode returns an event's body, which is memory of its own, and its headers.
func (s *Sink) encode(r sinks.Record) ([]byte, http.Header, error) {
	header := http.Header{"User-Agent": {"bridge"}, "Content-Type": {cloudevents.DataContentType}}
	attributes := cloudevents.Attributes(&r.Header)
	var body []byte
	switch s.format {
	case FormatCloudEvents:
		header.Set("Content-Type", cloudevents.ContentType)
		text, err := cloudevents.Structured(r)
		if err != nil {
			return nil, nil, err
		}
		body = text
	case FormatCloudEventsBinary:
		data, err := cloudevents.DataOf(r)
		if err != nil {
			return nil, nil, err
		}
		body, attributes = data.JSON, append(attributes, data.Attribute())
	default:
		event, err := r.Decoded()
		if err != nil {
			return nil, nil, err
		}
		if body, err = cloudevents.JSON(event); err != nil {
			return nil, nil, err
		}
	}
	for _, a := range attributes {
		header.Set(headerNames.Of(a), cloudevents.HeaderValue(a.Value))
	}
	if trace := r.Header.Traceparent; len(trace) > 0 {
		header.Set(cloudevents.Traceparent, cloudevents.HeaderValue(trace))
	}
	return body, header, nil
}

// Close implements [sinks.Sink]. It waits for a running Deliver, which ends soon.
func (s *Sink) Close() error {
	s.cancel()
	s.delivering.Lock()
	defer s.delivering.Unlock()
	s.transport.CloseIdleConnections()
	s.open.CloseAll() // A connection whose last answer was just read counts as busy for a moment.
	return nil
}
