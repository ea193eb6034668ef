package grpcstream

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/filter"
	"github.com/webhook-bridge/bridge/sinks/memlog"
)

var began = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// event returns the nth event, as Retino's `shipping.ordered` makes it. They are received a second apart.
func event(n int) *eventv1.Event {
	received := began.Add(time.Duration(n) * time.Second)
	id := fmt.Sprintf("2b20e85f-2201-494a-b3f9-%012d", n)
	return &eventv1.Event{
		Id:             fmt.Sprintf("0d6f2a10-7f5e-5b7e-9d6c-%012d", n),
		Type:           "shipment.ordered",
		Source:         "returns",
		Connector:      "retino",
		VendorEvent:    "shipping.ordered",
		Subject:        "shipment/" + id,
		SubjectVersion: received.Format(time.RFC3339Nano),
		OccurredAt:     timestamppb.New(received.Add(-3 * time.Second)),
		ReceivedAt:     timestamppb.New(received),
		WebhookId:      fmt.Sprintf("0197a3c2-5b1e-7c3d-8e4f-%012d", n),
		Data: &eventv1.Event_Shipment{Shipment: &eventv1.Shipment{
			Id:             id,
			Reference:      fmt.Sprintf("RT%08d", n),
			ServiceName:    "Zásilkovna – na výdejní místo",
			TrackingNumber: fmt.Sprintf("Z%010d", n),
			TrackingUrl:    fmt.Sprintf("https://tracking.packeta.com/cs/?id=Z%010d", n),
			Charges: []*eventv1.ShipmentCharge{{
				Amount:     &money.Money{CurrencyCode: "CZK", Units: 99},
				InvoiceUrl: fmt.Sprintf("https://app.retino.com/invoices/%08d.pdf", n),
			}},
		}},
	}
}

// appendEvents appends the events with the numbers from up to, not including, to.
func appendEvents(tb testing.TB, log *memlog.Log, from, to int) {
	tb.Helper()
	events := make([]*eventv1.Event, 0, to-from)
	for n := from; n < to; n++ {
		events = append(events, event(n))
	}
	add(tb, log, events...)
}

func add(tb testing.TB, log *memlog.Log, events ...*eventv1.Event) {
	tb.Helper()
	if _, err := log.Append(events...); err != nil {
		tb.Error(err)
	}
}

// marker makes the tokens of a log's positions.
type marker struct {
	*tokens
	log sinks.Log
}

func tokensOf(log sinks.Log, f *streamv1.Filter) marker {
	return marker{newTokens(hashLog(log.ID()), filter.Hash(f)), log}
}

func (m marker) at(p sinks.Position) string { return m.token(m.log.Mark(p)) }

func timed(tb testing.TB, f func()) time.Duration {
	tb.Helper()
	began := time.Now()
	f()
	return time.Since(began)
}

// served is a server on loopback, and one client of it.
type served struct {
	*Server
	address string
	client  streamv1.EventStreamServiceClient
	ended   chan struct{} // Gets a value for every call that has ended.
}

func serve(tb testing.TB, s *Server) *served {
	tb.Helper()
	listener, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	v := &served{Server: s, address: listener.Addr().String(), ended: make(chan struct{}, 1000)}
	g := grpc.NewServer(grpc.StreamInterceptor(func(
		srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler,
	) error {
		defer func() { v.ended <- struct{}{} }()
		return handle(srv, stream)
	}))
	streamv1.RegisterEventStreamServiceServer(g, s)
	ended := make(chan error, 1)
	go func() { ended <- g.Serve(listener) }()
	tb.Cleanup(func() {
		g.Stop()
		if err := <-ended; err != nil {
			tb.Error(err)
		}
		// After the connections have closed, no stream may be left.
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			tb.Errorf("streams are left after the server has stopped: %v", err)
		}
	})
	v.client = v.dial(tb)
	return v
}

// dial opens a further connection.
func (v *served) dial(tb testing.TB, options ...grpc.DialOption) streamv1.EventStreamServiceClient {
	tb.Helper()
	options = append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))
	conn, err := grpc.NewClient(v.address, options...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := conn.Close(); err != nil {
			tb.Error(err)
		}
	})
	return streamv1.NewEventStreamServiceClient(conn)
}

// receiver is a stream as a client sees it.
type receiver interface {
	Recv() (*streamv1.TailResponse, error)
}

// fakeStream is a stream without a network, for tests in a synctest bubble. Each message goes through the encoder. Send blocks
// until the client receives the message, or the stream ends.
type fakeStream struct {
	grpc.ServerStream
	ctx  context.Context
	sent chan *streamv1.TailResponse

	cancel context.CancelFunc // Ends the stream, as a client does.
	ended  chan struct{}      // Closed when Tail has returned.
	err    error              // The result of Tail, after ended is closed.
}

// tail calls Tail.
func tail(tb testing.TB, s *Server, req *streamv1.TailRequest) *fakeStream {
	tb.Helper()
	return tailWith(tb, tb.Context(), s, req)
}

// tailWith calls Tail with a context.
func tailWith(tb testing.TB, ctx context.Context, s *Server, req *streamv1.TailRequest) *fakeStream { //nolint:revive // tb is first
	tb.Helper()
	f := &fakeStream{sent: make(chan *streamv1.TailResponse), ended: make(chan struct{})}
	f.ctx, f.cancel = context.WithCancel(ctx)
	go func() {
		defer close(f.ended)
		defer f.cancel() // As gRPC does.
		f.err = s.Tail(req, f)
	}()
	return f
}

func (f *fakeStream) Context() context.Context { return f.ctx }

func (f *fakeStream) Send(m *streamv1.TailResponse) error { return f.SendMsg(m) }

func (f *fakeStream) SendMsg(m any) error {
	wire, err := proto.Marshal(m.(proto.Message))
	if err != nil {
		return err
	}
	received := &streamv1.TailResponse{}
	if err := proto.Unmarshal(wire, received); err != nil {
		return err
	}
	select {
	case f.sent <- received:
		return nil
	case <-f.ctx.Done():
		return status.FromContextError(f.ctx.Err()).Err()
	}
}

func (f *fakeStream) Recv() (*streamv1.TailResponse, error) {
	select {
	case m := <-f.sent:
		return m, nil
	case <-f.ended:
		return nil, f.err
	}
}

func receive(tb testing.TB, r receiver) *streamv1.TailResponse {
	tb.Helper()
	m, err := r.Recv()
	if err != nil {
		tb.Fatalf("receive: %v", err)
	}
	return m
}

func receiveSubscribed(tb testing.TB, r receiver) *streamv1.Subscribed {
	tb.Helper()
	m := receive(tb, r)
	if m.GetSubscribed() == nil {
		tb.Fatalf("first message is %v, want subscribed", m)
	}
	return m.GetSubscribed()
}

func receiveHeartbeat(tb testing.TB, r receiver) *streamv1.Heartbeat {
	tb.Helper()
	m := receive(tb, r)
	if m.GetHeartbeat() == nil {
		tb.Fatalf("received %v, want a heartbeat", m)
	}
	return m.GetHeartbeat()
}

// receiveEvents receives n events and nothing else.
func receiveEvents(tb testing.TB, r receiver, n int) []*streamv1.DeliveredEvent {
	tb.Helper()
	var events []*streamv1.DeliveredEvent
	for len(events) < n {
		m := receive(tb, r)
		if len(m.GetEvents().GetEvents()) == 0 {
			tb.Fatalf("received %v after %d events, want %d", m, len(events), n)
		}
		events = append(events, m.GetEvents().GetEvents()...)
	}
	if len(events) > n {
		tb.Fatalf("received %d events, want %d", len(events), n)
	}
	return events
}

// wantEvents checks that delivered are the events with these numbers, whole.
func wantEvents(tb testing.TB, delivered []*streamv1.DeliveredEvent, numbers ...int) {
	tb.Helper()
	if len(delivered) != len(numbers) {
		tb.Fatalf("%d events, want %d", len(delivered), len(numbers))
	}
	for i, d := range delivered {
		want := event(numbers[i])
		if !proto.Equal(want, d.GetEvent()) { // Diff alone takes seconds for thousands.
			tb.Fatalf("event (-want +got):\n%s", cmp.Diff(want, d.GetEvent(), protocmp.Transform()))
		}
	}
}

// wantEnd checks that the stream has ended with the code, and that the text says why.
func wantEnd(tb testing.TB, r receiver, code codes.Code, text string) *status.Status {
	tb.Helper()
	m, err := r.Recv()
	if status.Code(err) != code || !strings.Contains(status.Convert(err).Message(), text) {
		tb.Fatalf("received %v, error %v, want %v: …%s…", m, err, code, text)
	}
	return status.Convert(err)
}

func fromToken(token string) *streamv1.Start {
	return &streamv1.Start{At: &streamv1.Start_Token{Token: token}}
}

func fromLatest() *streamv1.Start {
	return &streamv1.Start{At: &streamv1.Start_Latest{Latest: &streamv1.Latest{}}}
}

// tail opens a stream over the network, which ends with the test.
func (v *served) tail(tb testing.TB, req *streamv1.TailRequest) receiver {
	tb.Helper()
	stream, err := v.client.Tail(tb.Context(), req)
	if err != nil {
		tb.Fatal(err)
	}
	return stream
}
