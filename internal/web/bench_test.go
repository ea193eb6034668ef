package web

import (
	"context"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
)

// BenchmarkPort compares Tail over gRPC on the port that all protocols share with Tail on a plain gRPC server, in one run. The result is
// the ratio of the two: it must be about 1.
func BenchmarkPort(b *testing.B) {
	const events = 50_000
	s := serve(b, nil)
	s.add(b, 0, events)
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	plain := grpc.NewServer(grpc.StaticStreamWindowSize(64<<10), grpc.StaticConnWindowSize(1<<20))
	streamv1.RegisterEventStreamServiceServer(plain, s.streams)
	ended := make(chan error, 1)
	go func() { ended <- plain.Serve(raw) }()
	defer func() {
		plain.Stop()
		<-ended
	}()
	var bare, shared time.Duration
	n := 0
	for b.Loop() {
		n += events
		// In turns, so that what else the machine does weighs on both.
		bare += tailAll(b, raw.Addr().String(), events)
		shared += tailAll(b, s.url[len("http://"):], events)
		shared += tailAll(b, s.url[len("http://"):], events)
		bare += tailAll(b, raw.Addr().String(), events)
	}
	b.ReportMetric(float64(2*n)/bare.Seconds(), "plain-events/s")
	b.ReportMetric(float64(2*n)/shared.Seconds(), "shared-events/s")
	b.ReportMetric(bare.Seconds()/shared.Seconds(), "ratio")
}

func tailAll(b *testing.B, addr string, events int) time.Duration {
	b.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(b.Context(), "authorization", "Bearer "+token))
	defer cancel()
	began := time.Now()
	stream, err := streamv1.NewEventStreamServiceClient(conn).Tail(ctx, &streamv1.TailRequest{})
	if err != nil {
		b.Fatal(err)
	}
	for n := 0; n < events; {
		m, err := stream.Recv()
		if err != nil {
			b.Fatal(err)
		}
		n += len(m.GetEvents().GetEvents())
	}
	return time.Since(began)
}
