package grpcstream

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
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

// fill appends the events from up to, not including, to.
func fill(tb testing.TB, log *memlog.Log, from, to int) {
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
		tb.Fatal(err)
	}
}

func encode(tb testing.TB, e *eventv1.Event) []byte {
	tb.Helper()
	encoded, err := proto.Marshal(e)
	if err != nil {
		tb.Fatal(err)
	}
	return encoded
}

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
}

func serve(tb testing.TB, s *Server) *served {
	tb.Helper()
	listener, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	g := grpc.NewServer()
	streamv1.RegisterEventStreamServiceServer(g, s)
	ended := make(chan error, 1)
	go func() { ended <- g.Serve(listener) }()
	tb.Cleanup(func() {
		g.Stop()
		if err := <-ended; err != nil {
			tb.Error(err)
		}
		// Nothing of any stream may be left once the connections are gone.
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			tb.Errorf("streams are left after the server has stopped: %v", err)
		}
	})
	v := &served{Server: s, address: listener.Addr().String()}
	v.client = v.dial(tb)
	return v
}

// dial opens a further connection.
func (v *served) dial(tb testing.TB) streamv1.EventStreamServiceClient {
	tb.Helper()
	conn, err := grpc.NewClient(v.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
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
