package grpcstream

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	grpcencoding "google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/memlog"
	memory "github.com/webhook-bridge/bridge/sinks/tail"
)

const (
	// fanDeliveries is how many events all clients together get in a round.
	fanDeliveries = 2_000_000
	// fanRounds is how often ours and the reference are measured, in turn. The figure is the median of the rounds' ratios.
	fanRounds = 3
	// fanAhead is how far the writer may be ahead of the slowest client, in events. It is less than nearEvents: the clients are live.
	fanAhead = 2048
	// fanGroup is how many events the writer adds at once, as a journal that commits groups does.
	fanGroup = 64
)

// BenchmarkFanOut compares live subscribers with a bare grpc-go stream of messages that were encoded before, in one run. Each client has a
// connection of its own, and does not decode: it counts the events in the bytes. So the figures are those of the server, of gRPC, and
// of a client as cheap as can be, all in this process. The ratio must be at least 0.7 at 100 subscribers.
func BenchmarkFanOut(b *testing.B) {
	for _, clients := range []int{1, 10, 100, 1000} {
		b.Run(strconv.Itoa(clients), func(b *testing.B) {
			events := min(fanDeliveries/clients, 200_000)
			for range b.N {
				var ratios []float64
				var ours, reference measured
				for range fanRounds {
					o, r := fanOurs(b, clients, events), fanReference(b, clients, events)
					ratios = append(ratios, o.rate/r.rate)
					ours, reference = ours.or(o), reference.or(r)
				}
				slices.Sort(ratios)
				ratio := ratios[len(ratios)/2]
				b.Logf("%d subscribers, %d events each: %s; bare stream: %s; ratio %.2f (rounds %.2f)", clients, events, ours, reference, ratio, ratios)
				b.ReportMetric(ours.rate, "events/s")
				b.ReportMetric(float64(ours.cpu.Nanoseconds()), "cpu-ns/event")
				b.ReportMetric(ratio, "of-reference")
				b.ReportMetric(0, "ns/op")
			}
		})
	}
}

// measured is the result of a round: deliveries per second, and processor time for each.
type measured struct {
	rate float64
	cpu  time.Duration
}

func (m measured) or(other measured) measured {
	if other.rate > m.rate {
		return other
	}
	return m
}

func (m measured) String() string { return fmt.Sprintf("%.0f events/s, %v CPU each", m.rate, m.cpu) }

func processorTime(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// fanOurs measures clients of a server whose log grows.
func fanOurs(b *testing.B, clients, events int) measured {
	b.Helper()
	log := newEndless(b)
	newest := memory.New(log, memory.DefaultBytes)
	ctx, cancel := context.WithCancel(b.Context())
	filled := make(chan struct{})
	go func() {
		defer close(filled)
		newest.Run(ctx)
	}()
	defer func() {
		cancel()
		<-filled
	}()
	server := New(newest, Config{Streams: NewStreams(StreamsConfig{Max: clients})})
	return fanOut(b, clients, events, func(g *grpc.Server) { streamv1.RegisterEventStreamServiceServer(g, server) }, func(progress func() int) {
		for n := 0; n < events; n += fanGroup {
			for n-progress() > fanAhead {
				<-time.After(50 * time.Microsecond)
			}
			log.grow(min(fanGroup, events-n))
		}
	})
}

// fanReference measures clients of a server that sends one message again and again, as large as those of Tail.
func fanReference(b *testing.B, clients, events int) measured {
	b.Helper()
	log := memlog.New("bench")
	appendEvents(b, log, 0, readRecords)
	var full batch
	r, err := New(log, Config{}).NewReader(b.Context(), nil)
	if err != nil {
		b.Fatal(err)
	}
	read, err := log.Read(b.Context(), 1, make([]sinks.Record, 0, readRecords))
	if err != nil {
		b.Fatal(err)
	}
	n := 0
	for d := (delivered{event: read[0].Encoded}); !full.full(d); d = (delivered{event: read[n].Encoded}) {
		full.add(r, sinks.Position(n+1), d)
		n++
	}
	var once sync.Once
	var prepared grpc.PreparedMsg
	desc := streamv1.EventStreamService_ServiceDesc
	desc.HandlerType, desc.Methods = nil, nil
	desc.Streams = []grpc.StreamDesc{{StreamName: "Tail", ServerStreams: true, Handler: func(_ any, out grpc.ServerStream) error {
		if err := out.RecvMsg(&streamv1.TailRequest{}); err != nil {
			return err
		}
		if err := out.SendMsg(&streamv1.TailResponse{Message: &streamv1.TailResponse_Subscribed{}}); err != nil {
			return err
		}
		var err error
		once.Do(func() { err = prepared.Encode(out, full.response()) })
		for sent := 0; err == nil && sent < events; sent += n {
			err = out.SendMsg(&prepared)
		}
		return err
	}}}
	return fanOut(b, clients, events, func(g *grpc.Server) { g.RegisterService(&desc, nil) }, func(func() int) {})
}

// fanOut connects clients, lets the writer write, and measures until all clients have the events.
func fanOut(b *testing.B, clients, events int, register func(*grpc.Server), write func(progress func() int)) measured {
	b.Helper()
	listener, err := (&net.ListenConfig{}).Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	g := grpc.NewServer()
	register(g)
	served := make(chan error, 1)
	go func() { served <- g.Serve(listener) }()
	defer func() {
		g.Stop()
		if err := <-served; err != nil {
			b.Error(err)
		}
	}()
	got := make([]atomic.Int64, clients)
	streams := make([]grpc.ClientStream, clients)
	for i := range streams {
		conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close()
		streams[i] = fanSubscribe(b, conn)
	}
	began, cpu := time.Now(), processorTime(b)
	var wg sync.WaitGroup
	for i, stream := range streams {
		wg.Go(func() {
			for counted := 0; counted < events; {
				var m counter
				if err := stream.RecvMsg(&m); err != nil {
					b.Error(err)
					return
				}
				counted += m.events
				got[i].Store(int64(counted))
			}
		})
	}
	write(func() int {
		slowest := got[0].Load()
		for i := range got {
			slowest = min(slowest, got[i].Load())
		}
		return int(slowest)
	})
	wg.Wait()
	took, used := time.Since(began), processorTime(b)-cpu
	all := clients * events
	return measured{rate: float64(all) / took.Seconds(), cpu: used / time.Duration(all)}
}

// fanSubscribe opens a stream and returns it after its first message.
func fanSubscribe(b *testing.B, conn *grpc.ClientConn) grpc.ClientStream {
	b.Helper()
	stream, err := conn.NewStream(b.Context(), &grpc.StreamDesc{ServerStreams: true}, streamv1.EventStreamService_Tail_FullMethodName,
		grpc.ForceCodecV2(countingCodec{grpcencoding.GetCodecV2("proto")}), grpc.MaxCallRecvMsgSize(16<<20))
	if err != nil {
		b.Fatal(err)
	}
	if err := stream.SendMsg(&streamv1.TailRequest{Start: fromLatest()}); err != nil {
		b.Fatal(err)
	}
	if err := stream.CloseSend(); err != nil {
		b.Fatal(err)
	}
	if err := stream.RecvMsg(&counter{}); err != nil {
		b.Fatal(err)
	}
	return stream
}

// counter is a received message: how many events it has.
type counter struct{ events int }

// countingCodec counts the events of responses and decodes nothing.
type countingCodec struct{ grpcencoding.CodecV2 }

func (c countingCodec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(*counter)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	buffer := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer buffer.Free()
	for b := buffer.ReadOnlyData(); len(b) > 0; {
		number, kind, n := protowire.ConsumeTag(b)
		if b = b[n:]; kind != protowire.BytesType {
			return fmt.Errorf("field %d of a response is no message", number)
		}
		value, n := protowire.ConsumeBytes(b)
		b = b[n:]
		for number == 2 && len(value) > 0 {
			_, _, n := protowire.ConsumeField(value)
			value = value[n:]
			m.events++
		}
	}
	return nil
}

// endless is a log whose events are made when they are read, so that it costs as little as a log can.
type endless struct {
	sinks.Log // ID, Mark and Resolve

	templates []sinks.Record
	mu        sync.Mutex
	next      sinks.Position
	grown     chan struct{}
}

func newEndless(tb testing.TB) *endless {
	tb.Helper()
	log := memlog.New("bench")
	appendEvents(tb, log, 0, readRecords)
	templates, err := log.Read(tb.Context(), 1, make([]sinks.Record, 0, readRecords))
	if err != nil {
		tb.Fatal(err)
	}
	return &endless{Log: log, templates: templates, next: 1, grown: make(chan struct{})}
}

func (e *endless) grow(events int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.next += sinks.Position(events)
	close(e.grown)
	e.grown = make(chan struct{})
}

func (e *endless) Bounds() sinks.Bounds {
	e.mu.Lock()
	defer e.mu.Unlock()
	return sinks.Bounds{Earliest: 1, Next: e.next}
}

func (e *endless) Read(ctx context.Context, from sinks.Position, records []sinks.Record) ([]sinks.Record, error) {
	for {
		e.mu.Lock()
		next, grown := e.next, e.grown
		e.mu.Unlock()
		if from < next {
			for p := from; p < next && len(records) < cap(records); p++ {
				r := e.templates[int(p)%len(e.templates)]
				r.Position = p
				records = append(records, r)
			}
			return records, nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return records, ctx.Err()
		}
	}
}
