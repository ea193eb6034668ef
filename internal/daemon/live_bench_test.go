package daemon

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	grpcencoding "google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/sinks"
)

const (
	// liveClients follow the journal's end; behindEvents is how far the slow one is behind it.
	liveClients, behindEvents = 100, 1_000_000
	// liveRate is how many webhooks a second arrive, for livePhase, and liveRounds is how often each case is measured. The phases are short
	// and change their order, so that what else the machine does weighs on both cases alike.
	liveRate, livePhase, liveRounds = 200, time.Second, 36
)

// BenchmarkLiveBesideSlow measures the time from a webhook's receipt to each of a hundred live subscribers, with nobody else, and beside one that
// reads a million events and one that never reads. The 99th percentile beside them must be at most 1.2 times that without, and the memory
// must not grow. With -short, the slow subscriber is behind by less.
func BenchmarkLiveBesideSlow(b *testing.B) {
	behind := behindEvents
	if testing.Short() {
		behind /= 20
	}
	dir := b.TempDir()
	writeJournal(b, dir, behind)
	a := startServer(b, retinoConfig(dir)+"streams: {tail: 4Mi}\n") // Full from the start, so that it does not look like growth.
	for range b.N {
		live := newLive(b, a)
		live.run(b, time.Second) // Warm.
		var ratios []float64
		var without, with []phase
		for i := range liveRounds {
			var alone, beside phase
			for _, slow := range []bool{i%2 == 0, i%2 != 0} {
				if !slow {
					alone = live.run(b, livePhase)
					continue
				}
				stop := startSlow(b, a, behind)
				beside = live.run(b, livePhase)
				stop()
			}
			without, with = append(without, alone), append(with, beside)
			ratios = append(ratios, float64(beside.p99)/float64(alone.p99))
		}
		b.Logf("%d live subscribers, %d webhooks/s:\nwithout %v\nwith    %v\nratios of the 99th percentiles %.2f", liveClients, liveRate, without, with, ratios)
		b.ReportMetric(median(ratios), "of-alone")
		b.ReportMetric(0, "ns/op")
	}
}

// phase is what was measured while webhooks arrived for a time.
type phase struct {
	p50, p99 time.Duration
	heap     uint64 // The largest, in bytes.
}

func (p phase) String() string {
	return fmt.Sprintf("p50 %.1f ms, p99 %.1f ms, heap %d MiB;", p.p50.Seconds()*1e3, p.p99.Seconds()*1e3, p.heap>>20)
}

// live is subscribers that note how long ago the events that they get were received.
type live struct {
	url string
	n   int

	got    atomic.Int64
	mu     sync.Mutex
	delays []time.Duration
}

func newLive(b *testing.B, a *Server) *live {
	b.Helper()
	l := &live{url: "http://" + a.Addr("webhooks") + "/webhooks/returns"}
	for range liveClients {
		stream := openRaw(b, a, &streamv1.TailRequest{Start: &streamv1.Start{At: &streamv1.Start_Latest{Latest: &streamv1.Latest{}}}})
		if err := stream.RecvMsg(new(rawEvents)); err != nil {
			b.Fatal(err)
		}
		go func() {
			for {
				var m rawEvents
				if stream.RecvMsg(&m) != nil {
					return
				}
				now := time.Now()
				l.mu.Lock()
				for _, received := range m.received {
					l.delays = append(l.delays, now.Sub(received))
				}
				l.mu.Unlock()
				l.got.Add(int64(len(m.received)))
			}
		}()
	}
	return l
}

// run sends webhooks for a time, waits until all subscribers have them, and returns their delays.
func (l *live) run(b *testing.B, length time.Duration) phase {
	b.Helper()
	l.mu.Lock()
	l.delays = nil
	l.mu.Unlock()
	runtime.GC()
	l.got.Store(0)
	var p phase
	var m runtime.MemStats
	ticks := time.NewTicker(time.Second / liveRate)
	defer ticks.Stop()
	var posts sync.WaitGroup
	var sent int64
	for end := time.Now().Add(length); time.Now().Before(end); sent++ {
		<-ticks.C
		l.n++
		n := l.n
		posts.Go(func() { l.post(b, n) })
		if sent%(liveRate/4) == 0 {
			runtime.ReadMemStats(&m)
			p.heap = max(p.heap, m.HeapInuse)
		}
	}
	posts.Wait()
	for l.got.Load() < sent*liveClients {
		<-time.After(time.Millisecond)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	slices.Sort(l.delays)
	p.p50, p.p99 = l.delays[len(l.delays)/2], l.delays[len(l.delays)*99/100]
	return p
}

func (l *live) post(b *testing.B, n int) {
	body := fmt.Appendf(nil, `{"event_type":"shipping.ordered","created_at":"2026-01-23T10:28:10.010Z","shipping":{`+
		`"id":"3b20e85f-2201-494a-b3f9-%012d","client_reference":"20210001","option_name":"Zásilkovna - Na výdejní místo",`+
		`"tracking_number":"Z3824826667","tracking_url":"https://www.zasilkovna.cz/vyhledavani?number=Z3824826667",`+
		`"customer_payment_details":[{"amount":"99.00","currency":"CZK","invoice_url":"https://example.com/invoice/123456.pdf"}]}}`, n)
	r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, l.url, bytes.NewReader(body))
	if err != nil {
		b.Error(err)
		return
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Retino-Secret", "a-secret-for-tests")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		b.Error(err)
		return
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil || answer.StatusCode != http.StatusOK {
		b.Errorf("answer %d, %v", answer.StatusCode, err)
	}
}

// startSlow starts a subscriber that reads everything, again and again, and one that never reads, until the result is called.
func startSlow(b *testing.B, a *Server, behind int) (stop func()) {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	stuck := openRawWith(ctx, b, a, &streamv1.TailRequest{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			stream := openRawWith(ctx, b, a, &streamv1.TailRequest{})
			for n := 0; n < behind; {
				m := rawEvents{skip: true}
				if stream.RecvMsg(&m) != nil {
					return
				}
				n += m.events
			}
		}
	})
	return func() {
		cancel()
		wg.Wait()
		for stuck.RecvMsg(new(rawEvents)) == nil {
		}
	}
}

func openRaw(b *testing.B, a *Server, req *streamv1.TailRequest) grpc.ClientStream {
	b.Helper()
	return openRawWith(b.Context(), b, a, req)
}

// openRawWith opens a stream on a connection of its own.
func openRawWith(ctx context.Context, b *testing.B, a *Server, req *streamv1.TailRequest) grpc.ClientStream {
	b.Helper()
	conn, err := grpc.NewClient(a.Addr("grpc"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	context.AfterFunc(ctx, func() { _ = conn.Close() })
	b.Cleanup(func() { _ = conn.Close() })
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, streamv1.EventStreamService_Tail_FullMethodName,
		grpc.ForceCodecV2(rawCodec{grpcencoding.GetCodecV2("proto")}), grpc.MaxCallRecvMsgSize(16<<20))
	if err != nil {
		b.Fatal(err)
	}
	if err := stream.SendMsg(req); err != nil {
		b.Fatal(err)
	}
	if err := stream.CloseSend(); err != nil {
		b.Fatal(err)
	}
	return stream
}

// rawEvents is a response of which only this much was read.
type rawEvents struct {
	skip     bool // Do not look at the events.
	events   int
	received []time.Time
}

// rawCodec reads when the events of a response were received, and decodes nothing else, so that clients cost little.
type rawCodec struct{ grpcencoding.CodecV2 }

func (c rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(*rawEvents)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	buffer := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer buffer.Free()
	return eachField(buffer.ReadOnlyData(), 2, func(events []byte) error {
		return eachField(events, 1, func(delivered []byte) error {
			m.events++
			if m.skip {
				return nil
			}
			return eachField(delivered, 2, func(event []byte) error {
				r, err := sinks.NewRecord(1, event)
				m.received = append(m.received, r.Header.ReceivedAt)
				return err
			})
		})
	})
}

// eachField calls f with each message in a field of a message.
func eachField(encoded []byte, field protowire.Number, f func([]byte) error) error {
	for len(encoded) > 0 {
		number, kind, n := protowire.ConsumeTag(encoded)
		if n < 0 {
			return protowire.ParseError(n)
		}
		length := protowire.ConsumeFieldValue(number, kind, encoded[n:])
		if length < 0 {
			return protowire.ParseError(length)
		}
		if number == field && kind == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(encoded[n:])
			if err := f(value); err != nil {
				return err
			}
		}
		encoded = encoded[n+length:]
	}
	return nil
}
