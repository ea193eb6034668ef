// Package nats is a [sinks.Sink] that publishes to streams of NATS JetStream.
//
// A message's headers are the attributes of CloudEvents in their binding for NATS (ce-id, ce-type, …), Content-Type, and Nats-Msg-Id,
// which has the sink's name and the event's id. Its data is the event in the configured format.
//
// # Delivery
//
// At least once. An event is delivered when the stream has acknowledged it, so as durable as the stream's replicas and the server's
// sync_interval make it. The stream drops a message whose Nats-Msg-Id it has seen within its duplicate window (two minutes unless it is
// configured otherwise). So a crash makes no duplicate, unless Bridge is away for longer.
//
// # Ordering
//
// For each source and subject of events. Messages are published without waiting for the answers, except that an event waits for the
// answer to the event before it of the same source and subject. Otherwise the stream could refuse the first, store the second, and drop
// the second as a duplicate when both are sent again.
//
// # Errors
//
// An event is refused permanently if it has no id, if its subject would be invalid, or if it is larger than the server's or the stream's
// limit. All other errors may be retried: no server, no stream for the subject, a full stream.
//
// # Configuration
//
// [Config]. docs/sinks/nats.md describes each key.
package nats

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/connections"
)

// drainTimeout is how long Deliver still waits for answers after its context is done. If it closed the connection at once, it would be
// unknown whether the events were stored.
const drainTimeout = 500 * time.Millisecond

// maxInFlight is the number of messages that wait for their answers at once.
const maxInFlight = 4096

// tooLarge is JetStream's code for a message that is larger than the stream's limit.
const tooLarge jetstream.ErrorCode = 10054

// errLost is the error of what was under way when the connection broke.
var errLost = errors.New("the connection is lost")

// Sink delivers to streams.
type Sink struct {
	config      Config
	parts       resolved
	connections *connections.Set

	delivering sync.Mutex      // Held by Deliver.
	ctx        context.Context // Done when the sink is closed.
	cancel     context.CancelFunc
	// conn is nil while there is no connection.
	conn *connection
}

// connection is a connection to a server. It is not used again once it broke.
type connection struct {
	nats   *natsgo.Conn
	stream jetstream.JetStream
	lost   chan struct{} // Closed when it broke.
}

// Open returns a sink. If the configuration is wrong, the error joins all problems. Only with [Config.Required] it connects, and fails
// unless a server answers.
func Open(ctx context.Context, c Config) (*Sink, error) {
	parts, problems := c.resolve()
	if len(problems) > 0 {
		return nil, fmt.Errorf("nats: open: %w", errors.Join(problems...))
	}
	s := &Sink{config: c, parts: parts, connections: parts.connections}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if c.Required {
		if err := s.connect(ctx); err != nil {
			return nil, errors.Join(fmt.Errorf("nats: open: %w", err), s.Close())
		}
	}
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
	watched, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	defer s.connections.CloseAfter(watched, drainTimeout)()

	n, err := s.deliver(watched, events)
	if err == nil || errors.Is(err, sinks.ErrPermanent) {
		return n, err
	}
	s.disconnect()
	switch {
	case s.ctx.Err() != nil:
		return n, sinks.ErrClosed
	case ctx.Err() != nil:
		return n, ctx.Err()
	}
	return n, fmt.Errorf("nats: deliver: event at %d: %w", events[n].Position, err)
}

// deliver publishes the events before the first that is refused, or that fails.
func (s *Sink) deliver(ctx context.Context, events []sinks.Record) (int, error) {
	if err := s.connect(ctx); err != nil {
		return 0, err
	}
	f := flight{conn: s.conn, latest: map[key]int{}}
	for i := range events {
		m, err := s.message(events[i])
		if err != nil {
			return f.landAll(sinks.Permanent(fmt.Errorf("nats: deliver: event at %d: %w", events[i].Position, err)))
		}
		if ctx.Err() != nil {
			return f.landAll(ctx.Err())
		}
		if err := f.awaitBefore(keyOf(&events[i].Header)); err != nil {
			return f.landed, err
		}
		if err := f.publish(keyOf(&events[i].Header), m); err != nil {
			return f.landAll(err)
		}
	}
	return f.landAll(nil)
}

// key is an event's source and subject.
type key struct{ source, subject string }

func keyOf(h *sinks.Header) key { return key{string(h.Source), string(h.Subject)} }

// flight has the messages of a Deliver whose answers are awaited, in order.
type flight struct {
	conn *connection
	// landed is the number of answers, all of them good. answers has those that are awaited after them.
	landed  int
	answers []jetstream.PubAckFuture
	// latest is the number of the last message of each key.
	latest map[key]int
}

func (f *flight) publish(k key, m *natsgo.Msg) error {
	answer, err := f.conn.stream.PublishMsgAsync(m)
	if err != nil {
		return err
	}
	f.latest[k] = f.landed + len(f.answers)
	f.answers = append(f.answers, answer)
	return nil
}

// awaitBefore awaits the answers up to the last message with a key, and some if very many are awaited.
func (f *flight) awaitBefore(k key) error {
	for before, ok := f.latest[k]; ok && f.landed <= before; {
		if err := f.land(); err != nil {
			return err
		}
	}
	if len(f.answers) == maxInFlight {
		return f.land()
	}
	return nil
}

// land awaits the next answer.
func (f *flight) land() error {
	answer := f.answers[0]
	select {
	case <-answer.Ok():
	case err := <-answer.Err():
		return explain(err)
	case <-f.conn.lost:
		return errLost
	}
	f.landed++
	f.answers = f.answers[1:]
	return nil
}

// landAll awaits all answers. It returns the number of good ones before the first that is not, with the reason, or with the given one if
// all are good.
func (f *flight) landAll(reason error) (int, error) {
	for len(f.answers) > 0 {
		if err := f.land(); err != nil {
			return f.landed, err
		}
	}
	return f.landed, reason
}

// explain adds to a server's error what an operator needs, and marks the errors that are about the event.
func explain(err error) error {
	var api *jetstream.APIError
	switch {
	case errors.Is(err, jetstream.ErrNoStreamResponse), errors.Is(err, natsgo.ErrNoResponders):
		return fmt.Errorf("%w: no stream has the subject; create one, or set create_stream", err)
	case errors.As(err, &api) && api.ErrorCode == tooLarge:
		return sinks.Permanent(fmt.Errorf("nats: deliver: %w", err))
	}
	return err
}

// connect connects unless there is a connection.
func (s *Sink) connect(ctx context.Context) error {
	if s.conn != nil && s.conn.nats.IsConnected() {
		return nil
	}
	s.disconnect()
	if err := ctx.Err(); err != nil {
		return err
	}
	c := &connection{lost: make(chan struct{})}
	options := s.parts.options
	options.CustomDialer = dialer{ctx, s.connections}
	options.ClosedCB = func(*natsgo.Conn) { close(c.lost) }
	var err error
	if c.nats, err = options.Connect(); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	s.conn = c
	c.stream, err = jetstream.New(c.nats, jetstream.WithPublishAsyncTimeout(s.parts.timeout), jetstream.WithPublishAsyncMaxPending(maxInFlight))
	if err == nil && s.config.CreateStream != nil {
		err = s.createStream(ctx)
	}
	if err != nil {
		s.disconnect()
	}
	return err
}

// createStream creates the stream unless there is one of its name, which stays as it is.
func (s *Sink) createStream(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.parts.timeout)
	defer cancel()
	_, err := s.conn.stream.CreateStream(ctx, s.parts.newStream)
	if err != nil && !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		return fmt.Errorf("create stream %s: %w", s.parts.newStream.Name, err)
	}
	return nil
}

// disconnect closes the connection. What was under way fails.
func (s *Sink) disconnect() {
	if s.conn == nil {
		return
	}
	s.connections.CloseAll()
	s.conn.nats.Close()
	s.conn = nil
}

// Close implements [sinks.Sink]. It waits for a running Deliver, which ends soon.
func (s *Sink) Close() error {
	s.cancel()
	s.delivering.Lock()
	defer s.delivering.Unlock()
	s.disconnect()
	return nil
}

// dialer opens connections of the set for the client.
type dialer struct {
	ctx context.Context //nolint:containedctx // the client's dialer gets none
	set *connections.Set
}
