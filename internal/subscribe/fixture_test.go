package subscribe

import (
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/grpcstream"
	"github.com/webhook-bridge/bridge/sinks/memlog"
)

var began = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// subjects is how many subjects the events of tests have.
const subjects = 4

// event returns the nth event. Its subject is one of few.
func event(n int) *eventv1.Event {
	received := began.Add(time.Duration(n) * time.Second)
	return &eventv1.Event{
		Id: fmt.Sprintf("0d6f2a10-7f5e-5b7e-9d6c-%012d", n), Type: "shipment.ordered", Source: "returns", Connector: "retino",
		VendorEvent: "shipping.ordered", Subject: fmt.Sprintf("shipment/%d", n%subjects), ReceivedAt: timestamppb.New(received),
		Data: &eventv1.Event_Shipment{Shipment: &eventv1.Shipment{Reference: fmt.Sprintf("RT%08d", n)}},
	}
}

func appendEvents(tb testing.TB, log *memlog.Log, from, to int) {
	tb.Helper()
	events := make([]*eventv1.Event, 0, to-from)
	for n := from; n < to; n++ {
		events = append(events, event(n))
	}
	if _, err := log.Append(events...); err != nil {
		tb.Fatal(err)
	}
}

// call is a stream of Subscribe without a network, for tests in a synctest bubble. Each message goes through the encoder. A send
// of either side blocks until the other receives, so that nothing is buffered.
type call struct {
	grpc.ServerStream
	tb     testing.TB
	ctx    context.Context
	cancel context.CancelFunc // Ends the stream, as a client does.
	sent   chan *streamv1.SubscribeResponse
	asked  chan *streamv1.SubscribeRequest
	half   chan struct{} // Closed when the client sends no more.
	ended  chan struct{} // Closed when Subscribe has returned.
	err    error         // The result of Subscribe, after ended is closed.
}

// subscribe calls Subscribe.
func subscribe(tb testing.TB, s *Server, start *streamv1.SubscribeStart) *call {
	tb.Helper()
	c := dial(tb, s)
	c.start(start)
	return c
}

func dial(tb testing.TB, s *Server) *call {
	c := &call{
		tb: tb, sent: make(chan *streamv1.SubscribeResponse), asked: make(chan *streamv1.SubscribeRequest),
		half: make(chan struct{}), ended: make(chan struct{}),
	}
	c.ctx, c.cancel = context.WithCancel(tb.Context())
	go func() {
		defer close(c.ended)
		defer c.cancel() // As gRPC does.
		c.err = s.Subscribe(c)
	}()
	return c
}

func (c *call) Context() context.Context { return c.ctx }

func (c *call) Send(m *streamv1.SubscribeResponse) error {
	wire, err := proto.Marshal(m)
	if err != nil {
		return err
	}
	received := &streamv1.SubscribeResponse{}
	if err := proto.Unmarshal(wire, received); err != nil {
		return err
	}
	select {
	case c.sent <- received:
		return nil
	case <-c.ctx.Done():
		return status.FromContextError(c.ctx.Err()).Err()
	}
}

func (c *call) Recv() (*streamv1.SubscribeRequest, error) {
	select {
	case m := <-c.asked:
		return m, nil
	case <-c.half:
		return nil, io.EOF
	case <-c.ctx.Done():
		return nil, status.FromContextError(c.ctx.Err()).Err()
	}
}

// ask sends a message to the server. It reports false when the stream has ended.
func (c *call) ask(m *streamv1.SubscribeRequest) bool {
	select {
	case c.asked <- m:
		return true
	case <-c.ended:
		return false
	}
}

func (c *call) start(s *streamv1.SubscribeStart) {
	c.ask(&streamv1.SubscribeRequest{Message: &streamv1.SubscribeRequest_Start{Start: s}})
}

func (c *call) credit(events uint32, bytes uint64) {
	c.ask(&streamv1.SubscribeRequest{Message: &streamv1.SubscribeRequest_Credit{Credit: &streamv1.Credit{Events: events, Bytes: bytes}}})
}

func (c *call) ack(ids ...string) {
	c.ask(&streamv1.SubscribeRequest{Message: &streamv1.SubscribeRequest_Ack{Ack: &streamv1.Ack{
		Which: &streamv1.Ack_Ids{Ids: &streamv1.DeliveryIds{Ids: ids}},
	}}})
}

func (c *call) ackUpTo(id string) {
	c.ask(&streamv1.SubscribeRequest{Message: &streamv1.SubscribeRequest_Ack{Ack: &streamv1.Ack{Which: &streamv1.Ack_UpTo{UpTo: id}}}})
}

func (c *call) nack(n *streamv1.Nack) {
	c.ask(&streamv1.SubscribeRequest{Message: &streamv1.SubscribeRequest_Nack{Nack: n}})
}

// receive returns the next message.
func (c *call) receive() *streamv1.SubscribeResponse {
	c.tb.Helper()
	select {
	case m := <-c.sent:
		return m
	case <-c.ended:
		c.tb.Fatalf("the stream has ended: %v", c.err)
	}
	return nil
}

func (c *call) subscribed() *streamv1.Subscribed {
	c.tb.Helper()
	m := c.receive()
	if m.GetSubscribed() == nil {
		c.tb.Fatalf("received %v, want subscribed", m)
	}
	return m.GetSubscribed()
}

// deliveries receives n deliveries, and messages of other kinds but heartbeats are errors.
func (c *call) deliveries(n int) []*streamv1.Delivery {
	c.tb.Helper()
	var all []*streamv1.Delivery
	for len(all) < n {
		m := c.receive()
		switch {
		case m.GetBatch() != nil:
			all = append(all, m.GetBatch().GetDeliveries()...)
		case m.GetCaughtUp() != nil, m.GetHeartbeat() != nil:
		default:
			c.tb.Fatalf("received %v after %d deliveries, want %d", m, len(all), n)
		}
	}
	if len(all) > n {
		c.tb.Fatalf("received %d deliveries, want %d", len(all), n)
	}
	return all
}

// someDeliveries receives the next deliveries.
func (c *call) someDeliveries() []*streamv1.Delivery {
	c.tb.Helper()
	for {
		if all := c.receive().GetBatch().GetDeliveries(); len(all) > 0 {
			return all
		}
	}
}

// deliveriesAndResults is deliveries, with results of acknowledgements in between.
func (c *call) deliveriesAndResults(n int) []*streamv1.Delivery {
	c.tb.Helper()
	var all []*streamv1.Delivery
	for len(all) < n {
		all = append(all, c.receive().GetBatch().GetDeliveries()...)
	}
	return all
}

// subscribedAndDiscard receives subscribed.
func (c *call) subscribedAndDiscard() { <-c.sent }

// next receives until a message of the kind that pick chooses.
func next[T any](c *call, pick func(*streamv1.SubscribeResponse) *T) *T {
	c.tb.Helper()
	for {
		m := c.receive()
		if got := pick(m); got != nil {
			return got
		}
		if m.GetBatch() != nil || m.GetGoodbye() != nil {
			c.tb.Fatalf("received %v", m)
		}
	}
}

func (c *call) heartbeat() *streamv1.Heartbeat {
	c.tb.Helper()
	return next(c, (*streamv1.SubscribeResponse).GetHeartbeat)
}

func (c *call) result() *streamv1.AckResult {
	c.tb.Helper()
	return next(c, (*streamv1.SubscribeResponse).GetAckResult)
}

func (c *call) caughtUp() *streamv1.CaughtUp {
	c.tb.Helper()
	return next(c, (*streamv1.SubscribeResponse).GetCaughtUp)
}

func (c *call) goodbye() *streamv1.Goodbye {
	c.tb.Helper()
	return next(c, (*streamv1.SubscribeResponse).GetGoodbye)
}

// nothing checks that no message came by now. It must be called when all goroutines are blocked.
func (c *call) nothing() {
	c.tb.Helper()
	select {
	case m := <-c.sent:
		c.tb.Fatalf("received %v", m)
	case <-c.ended:
		c.tb.Fatalf("the stream has ended: %v", c.err)
	default:
	}
}

// wantEnd receives until the stream ends, and checks its status.
func (c *call) wantEnd(code codes.Code) *status.Status {
	c.tb.Helper()
	for {
		select {
		case <-c.sent:
		case <-c.ended:
			if status.Code(c.err) != code {
				c.tb.Fatalf("the stream ended with %v, want %v", c.err, code)
			}
			return status.Convert(c.err)
		}
	}
}

// wantEvents checks that the deliveries have the events with these numbers, whole.
func wantEvents(tb testing.TB, delivered []*streamv1.Delivery, numbers ...int) {
	tb.Helper()
	if len(delivered) != len(numbers) {
		tb.Fatalf("%d deliveries, want %d", len(delivered), len(numbers))
	}
	for i, d := range delivered {
		if !proto.Equal(event(numbers[i]), d.GetEvent()) {
			tb.Fatalf("delivery %d has %v, want the event %d", i, d.GetEvent(), numbers[i])
		}
	}
}

func numbers(from, to int) (all []int) {
	for n := from; n < to; n++ {
		all = append(all, n)
	}
	return all
}

func newAlone(log sinks.Log, streams *grpcstream.Streams) *Server {
	return New(Config{Log: log, Tail: grpcstream.New(log, grpcstream.Config{Streams: streams})})
}

func fromLatest() *streamv1.Start {
	return &streamv1.Start{At: &streamv1.Start_Latest{Latest: &streamv1.Latest{}}}
}

func fromToken(token string) *streamv1.Start {
	return &streamv1.Start{At: &streamv1.Start_Token{Token: token}}
}

func every(d time.Duration) *durationpb.Duration { return durationpb.New(d) }

// reencoded returns a message as the other side gets it.
func reencoded[T proto.Message](tb testing.TB, m proto.Message, to T) T {
	tb.Helper()
	wire, err := proto.Marshal(m)
	if err != nil {
		tb.Fatal(err)
	}
	if err := proto.Unmarshal(wire, to); err != nil {
		tb.Fatal(err)
	}
	return to
}
