// Package amqp is a [sinks.Sink] that publishes to RabbitMQ, or to a broker with AMQP 0-9-1 and publisher confirms.
//
// A message's id is the event's id, its type is the event's type, its timestamp the time of receipt, and its headers are the attributes
// of CloudEvents in their AMQP binding (cloudEvents:id, cloudEvents:type, …). Its body is the event in the configured format. Messages
// are persistent.
//
// # Delivery
//
// At least once. An event is delivered when the broker confirms it: a durable queue has written it to disk, a quorum queue to most of
// its members. The broker drops no duplicates. After a crash, or a lost answer, the events from the first unconfirmed one on are sent
// again, with their old ids.
//
// Messages are mandatory: an event that reaches no queue is no delivered event. See [Config.Unroutable].
//
// # Ordering
//
// Total within a queue. After a failure a suffix is repeated, in order. A broker may still route what it had read from a connection
// that is closed before the repetition, so the old messages can come after some of the new ones.
//
// # Errors
//
// An event is refused permanently if it has no id, if its routing key would be invalid, or if the broker calls it too large. All other
// errors may be retried: no broker, a missing exchange, an event that no queue takes, a broker without disk space.
//
// # Configuration
//
// [Config]. docs/sinks/amqp.md describes each key.
package amqp

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	rabbit "github.com/rabbitmq/amqp091-go"

	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/connections"
)

// drainTimeout is how long Deliver still waits for confirms after its context is done. If it closed the connection at once, it would be
// unknown whether the events were stored.
const drainTimeout = 500 * time.Millisecond

// maxInFlight is the number of messages that wait for their confirms at once.
const maxInFlight = 2048

var (
	errNacked     = errors.New("the broker did not store it")
	errLost       = errors.New("the connection is lost")
	errUnroutable = errors.New("no queue takes it: bind one, or set unroutable: drop")
)

// Sink delivers to an exchange.
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

// connection is a connection to a broker, with one channel. It is not used again once it broke.
type connection struct {
	amqp    *rabbit.Connection
	channel *rabbit.Channel
	// closed gets the reason when the broker closed the channel, and is closed when the channel is. returned gets the messages that no
	// queue takes, before their confirms. It has room for all messages in flight, since the client's reader waits for it.
	closed   chan *rabbit.Error
	returned chan rabbit.Return
}

// Open returns a sink. If the configuration is wrong, the error joins all problems. Only with [Config.Required] it connects, and fails
// unless a broker answers.
func Open(ctx context.Context, c Config) (*Sink, error) {
	parts, problems := c.resolve()
	if len(problems) > 0 {
		return nil, fmt.Errorf("amqp: open: %w", errors.Join(problems...))
	}
	s := &Sink{config: c, parts: parts, connections: parts.connections}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if c.Required {
		if err := s.connect(ctx); err != nil {
			return nil, errors.Join(fmt.Errorf("amqp: open: %w", err), s.Close())
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

	n, err := s.deliverSized(watched, events)
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
	return n, fmt.Errorf("amqp: deliver: event at %d: %w", events[n].Position, err)
}

// deliverSized finds the message that is too large for the broker. The broker closes the channel and does not say which one it was. One at
// a time, the message shows itself.
func (s *Sink) deliverSized(ctx context.Context, events []sinks.Record) (int, error) {
	n, err := s.deliver(ctx, events, maxInFlight)
	if !isTooLarge(err) {
		return n, err
	}
	more, err := s.deliver(ctx, events[n:], 1)
	n += more
	if isTooLarge(err) {
		s.disconnect()
		err = sinks.Permanent(fmt.Errorf("amqp: deliver: event at %d: %w", events[n].Position, err))
	}
	return n, err
}

// isTooLarge reports whether the broker closed the channel because of the size of a message. It has no code of its own for that.
func isTooLarge(err error) bool {
	var refused *rabbit.Error
	return errors.As(err, &refused) && refused.Code == rabbit.PreconditionFailed && strings.Contains(refused.Reason, "size")
}

// deliver publishes the events before the first that is refused, or that fails.
func (s *Sink) deliver(ctx context.Context, events []sinks.Record, inFlight int) (int, error) {
	if err := s.connect(ctx); err != nil {
		return 0, err
	}
	f := flight{conn: s.conn, drop: s.config.Unroutable == Drop, timeout: s.parts.timeout}
	// A broker with an alarm for memory or disk stops reading, and the client's writes have no limit.
	stuck := time.AfterFunc(s.parts.timeout, s.connections.CloseAll)
	defer stuck.Stop()
	for i := range events {
		key, m, err := s.message(events[i])
		if err != nil {
			return f.landAll(sinks.Permanent(fmt.Errorf("amqp: deliver: event at %d: %w", events[i].Position, err)))
		}
		if ctx.Err() != nil {
			return f.landAll(ctx.Err())
		}
		stuck.Reset(s.parts.timeout)
		confirm, err := s.conn.channel.PublishWithDeferredConfirm(s.config.Exchange, key, true, false, m)
		if !stuck.Stop() {
			return f.landAll(fmt.Errorf("the broker has not read for %s: it may have an alarm for memory or disk", s.parts.timeout))
		}
		if err != nil {
			return f.landAll(s.conn.reason(err))
		}
		f.confirms = append(f.confirms, confirmation{confirm, m.MessageId})
		if len(f.confirms) >= inFlight {
			if err := f.land(); err != nil {
				return f.landed, err
			}
		}
	}
	return f.landAll(nil)
}

// confirmation is a confirm that is awaited, and the id of its message.
type confirmation struct {
	*rabbit.DeferredConfirmation
	id string
}

// flight has the messages of a Deliver whose confirms are awaited, in order.
type flight struct {
	conn    *connection
	drop    bool
	timeout time.Duration
	// landed is the number of confirms, all of them good. confirms has those that are awaited after them.
	landed   int
	confirms []confirmation
	// unrouted has the ids of the messages that came back.
	unrouted map[string]bool
}

// land awaits the next confirm.
func (f *flight) land() error {
	next := f.confirms[0]
	late := time.NewTimer(f.timeout)
	defer late.Stop()
	select {
	case <-next.Done():
	case <-late.C:
		return fmt.Errorf("no confirm within %s", f.timeout)
	}
	if !next.Acked() {
		return f.conn.reason(errNacked)
	}
	f.collectReturned()
	if f.unrouted[next.id] && !f.drop {
		return errUnroutable
	}
	f.landed++
	f.confirms = f.confirms[1:]
	return nil
}

// collectReturned notes the messages that came back. The client hands one over before its confirm.
func (f *flight) collectReturned() {
	for {
		select {
		case back, ok := <-f.conn.returned:
			if !ok {
				return
			}
			if f.unrouted == nil {
				f.unrouted = map[string]bool{}
			}
			f.unrouted[back.MessageId] = true
		default:
			return
		}
	}
}

// landAll awaits all confirms. It returns the number of good ones before the first that is not, with the reason, or with the given one if
// all are good.
func (f *flight) landAll(reason error) (int, error) {
	for len(f.confirms) > 0 {
		if err := f.land(); err != nil {
			return f.landed, err
		}
	}
	return f.landed, reason
}

// reason returns why the broker closed the channel, or the given error if it did not.
func (c *connection) reason(err error) error {
	select {
	case why, ok := <-c.closed:
		if ok && why != nil {
			return why
		}
		return errLost
	default:
		return err
	}
}

// connect connects unless there is a connection.
func (s *Sink) connect(ctx context.Context) error {
	if s.conn != nil && !s.conn.channel.IsClosed() {
		return nil
	}
	s.disconnect()
	if err := ctx.Err(); err != nil {
		return err
	}
	var errs []error
	for _, broker := range s.config.Brokers {
		opened, err := rabbit.DialConfig(s.parts.scheme+broker, s.parts.dialing(ctx, s.config))
		if err == nil {
			s.conn = &connection{amqp: opened}
			if err = s.prepare(); err == nil {
				return nil
			}
			s.disconnect()
		}
		s.connections.CloseAll() // The client leaves a connection open that the broker did not accept.
		errs = append(errs, fmt.Errorf("connect to %s: %w", broker, err))
	}
	return errors.Join(errs...)
}

// prepare opens the channel, and declares the exchange if that is configured.
func (s *Sink) prepare() error {
	c := s.conn
	var err error
	if c.channel, err = c.amqp.Channel(); err != nil {
		return err
	}
	c.closed = c.channel.NotifyClose(make(chan *rabbit.Error, 1))
	c.returned = c.channel.NotifyReturn(make(chan rabbit.Return, maxInFlight))
	if s.config.Declare != "" {
		if err := c.channel.ExchangeDeclare(s.config.Exchange, s.config.Declare, true, false, false, false, nil); err != nil {
			return fmt.Errorf("declare exchange %s: %w", s.config.Exchange, err)
		}
	}
	return c.channel.Confirm(false)
}

// disconnect closes the connection. What was under way fails.
func (s *Sink) disconnect() {
	if s.conn == nil {
		return
	}
	s.connections.CloseAll()
	_ = s.conn.amqp.Close() // It is closed already.
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
