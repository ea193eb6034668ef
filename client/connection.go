package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
)

// connectPatience is how long a server may take until it confirms a subscription.
const connectPatience = 30 * time.Second

// errSilent ends a connection over which nothing comes any more.
var errSilent = errors.New("client: two heartbeats were missed")

// errUnconfirmed ends a connection over which the server did not confirm the subscription.
var errUnconfirmed = errors.New("client: the server did not confirm the subscription in time")

// errOver ends a connection whose context is done, once everything was confirmed.
var errOver = errors.New("client: the subscription is over")

// connection is one stream: a goroutine that receives, one that sends, and the handlers.
type connection struct {
	s      *subscription
	stream grpc.BidiStreamingClient[streamv1.SubscribeRequest, streamv1.SubscribeResponse]
	queue  *queue
	outbox *outbox
	// over is done when no further handler may begin. handling is done when running handlers must end.
	over, handling context.Context
	// cut ends the stream, and handling.
	cut context.CancelCauseFunc
	// subscribed says that the server confirmed the subscription.
	subscribed atomic.Bool
	// dead ends the connection unless it is put off.
	dead     *time.Timer
	interval time.Duration
}

func newConnection(s *subscription) *connection {
	return &connection{s: s, queue: newQueue(), outbox: newOutbox()}
}

// run runs the stream until it ends, and returns why.
func (c *connection) run(ctx context.Context) error {
	// The stream outlives ctx for as long as handlers and confirmations may take.
	life, cut := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cut(nil)
	c.over, c.handling, c.cut = ctx, life, cut
	c.dead = time.AfterFunc(connectPatience, func() { cut(c.silence()) })
	defer c.dead.Stop()
	if err := c.open(); err != nil {
		return err
	}
	c.outbox.start(c.s.request())

	var parts sync.WaitGroup
	parts.Go(func() { c.end(c.receive()) })
	parts.Go(func() { c.end(c.send()) })
	var handlers sync.WaitGroup
	for range c.s.cfg.Concurrency {
		handlers.Go(func() { c.end(c.work()) })
	}
	stop := context.AfterFunc(ctx, func() { c.finish(&handlers) })
	handlers.Wait()
	parts.Wait()
	if !stop() && errors.Is(context.Cause(life), errOver) {
		return ctx.Err()
	}
	return context.Cause(life)
}

// open opens the stream. It waits for the network, and ends with the context too.
func (c *connection) open() (err error) {
	stop := context.AfterFunc(c.over, func() { c.cut(errOver) })
	c.stream, err = c.s.api.Subscribe(c.handling, grpc.MaxCallRecvMsgSize(c.s.cfg.MaxMessage))
	switch {
	case !stop():
		return c.over.Err()
	case c.handling.Err() != nil:
		return context.Cause(c.handling)
	}
	return err
}

// silence returns why a connection ends over which nothing comes.
func (c *connection) silence() error {
	if c.subscribed.Load() {
		return errSilent
	}
	return errUnconfirmed
}

// end ends the connection for an error. The first one counts.
func (c *connection) end(err error) {
	if err != nil {
		c.cut(err)
		c.queue.close()
		c.outbox.close()
	}
}

// finish ends the connection in order: it lets the handlers that run come to their end, and waits for the confirmations.
func (c *connection) finish(handlers *sync.WaitGroup) {
	c.queue.close()
	grace := time.AfterFunc(c.s.cfg.Grace, func() { c.end(errOver) })
	defer grace.Stop()
	handlers.Wait()
	c.outbox.drained()
	c.end(errOver)
}

// request is the first message of a stream.
func (s *subscription) request() *streamv1.SubscribeStart {
	start := &streamv1.SubscribeStart{
		Group: s.cfg.Group, Label: s.cfg.Label, Filter: s.cfg.Filter, From: s.cfg.From, Policy: s.cfg.Policy, Payload: s.cfg.Payload,
		OnExpired: s.cfg.OnExpired, HeartbeatInterval: durationpb.New(s.cfg.Heartbeat),
		Credit: &streamv1.Credit{Events: uint32(s.cfg.Outstanding)},
	}
	if s.token != "" {
		start.From = &streamv1.Start{At: &streamv1.Start_Token{Token: s.token}}
	}
	return start
}

// receive puts what comes into the queue.
func (c *connection) receive() error {
	for {
		m, err := c.stream.Recv()
		if errors.Is(err, io.EOF) {
			return errors.New("client: the server ended the stream")
		}
		if err != nil {
			return err
		}
		if err := c.take(m); err != nil {
			return err
		}
		if c.subscribed.Load() {
			c.dead.Reset(2 * c.interval)
		}
	}
}

// take deals with one message of the server.
func (c *connection) take(m *streamv1.SubscribeResponse) error {
	switch m := m.GetMessage().(type) {
	case *streamv1.SubscribeResponse_Subscribed:
		return c.begin(m.Subscribed)
	case *streamv1.SubscribeResponse_Batch:
		for _, d := range m.Batch.GetDeliveries() {
			c.queue.add(&item{delivery: d})
		}
		c.s.board.count(func(st *Status) { st.Outstanding += len(m.Batch.GetDeliveries()) })
	case *streamv1.SubscribeResponse_Heartbeat:
		if c.s.cfg.Group == "" {
			c.queue.add(&item{token: m.Heartbeat.GetToken()})
		}
		c.s.board.change(func(st *Status) {
			st.Position, st.Lag = m.Heartbeat.GetPosition(), m.Heartbeat.GetLag()
			st.OldestUnacked = m.Heartbeat.GetOldestUnackedAge().AsDuration()
		})
	case *streamv1.SubscribeResponse_AckResult:
		return c.confirm(m.AckResult)
	case *streamv1.SubscribeResponse_CaughtUp:
		c.s.board.change(func(st *Status) { st.CaughtUp, st.Lag = true, 0 })
	case *streamv1.SubscribeResponse_FellBehind:
		c.s.board.change(func(st *Status) { st.CaughtUp, st.Lag = false, m.FellBehind.GetLag() })
	case *streamv1.SubscribeResponse_Goodbye:
		return &goodbyeError{cause: m.Goodbye.GetCause(), reason: m.Goodbye.GetReason()}
	}
	return nil
}

// begin notes that the server confirmed the subscription, or moved it over events that are no longer kept.
func (c *connection) begin(m *streamv1.Subscribed) error {
	first := !c.subscribed.Swap(true)
	c.interval = m.GetHeartbeatInterval().AsDuration()
	if c.interval <= 0 {
		return fmt.Errorf("client: the server declared a heartbeat interval of %v", c.interval)
	}
	if c.s.cfg.Group == "" {
		if first {
			// Also if the connection breaks before anything comes, the next one must begin at this place. No handler runs yet.
			c.s.token = m.GetToken()
		}
		c.queue.add(&item{token: m.GetToken()})
	}
	c.s.board.change(func(st *Status) {
		st.Connected, st.Err, st.Member = true, nil, m.GetMember()
		st.Position, st.Lag = m.GetPosition(), m.GetLag()
		if first {
			st.Connections++
		}
	})
	return nil
}

// confirm counts the answer to the oldest acknowledgement without one.
func (c *connection) confirm(r *streamv1.AckResult) error {
	handled, n, ok := c.outbox.answered()
	if !ok {
		return errors.New("client: the server answered an acknowledgement that it did not get")
	}
	c.s.board.count(func(st *Status) {
		st.Outstanding -= n
		st.Stale += uint64(len(r.GetStale()))
		if handled {
			st.Handled += uint64(r.GetAccepted())
		} else {
			st.Failed += uint64(r.GetAccepted())
		}
	})
	return nil
}

// send sends what the outbox has, until it is closed.
func (c *connection) send() error {
	for {
		m := c.outbox.next()
		if m == nil {
			return c.stream.CloseSend()
		}
		if err := c.stream.Send(m); err != nil {
			return nil //nolint:nilerr // the receiver gets the status
		}
	}
}
