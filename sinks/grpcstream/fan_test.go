package grpcstream

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/memlog"
	memory "github.com/webhook-bridge/bridge/sinks/tail"
)

// fill keeps the newest events of a log in memory until the test ends.
func fill(t *testing.T, log sinks.Log, bytes int) *memory.Log {
	t.Helper()
	l := memory.New(log, bytes)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return l
}

// Clients that start anywhere, read at any speed, and compress or not, all get everything once, in order, while the log grows.
func TestStreamsShareAndMissNothing(t *testing.T) {
	const clients, end, known = 40, 3000, 500
	log := memlog.New("log")
	appendEvents(t, log, 0, known)
	v := serve(t, New(fill(t, log, 300_000), Config{})) // Room for a few hundred events.
	tokens := tokensOf(log, nil)
	var wg sync.WaitGroup
	for i := range clients {
		rng := rand.New(rand.NewPCG(uint64(i), 3))
		first := rng.IntN(known)
		start := fromToken(tokens.at(sinks.Position(first + 1)))
		var options []grpc.CallOption
		if i%3 == 0 {
			options = append(options, grpc.UseCompressor(gzip.Name))
		}
		wg.Go(func() {
			next := first
			for next < end {
				ctx, cancel := context.WithCancel(t.Context())
				stream, err := v.client.Tail(ctx, &streamv1.TailRequest{Start: start}, options...)
				if err != nil {
					t.Error(err)
					cancel()
					return
				}
				for received := 0; next < end && received < 600; {
					m, err := stream.Recv()
					if err != nil {
						t.Error(err)
						cancel()
						return
					}
					for _, d := range m.GetEvents().GetEvents() {
						if want := event(next).GetId(); d.GetEvent().GetId() != want {
							t.Errorf("client %d got %s, want %s", i, d.GetEvent().GetId(), want)
							cancel()
							return
						}
						next++
						received++
						start = fromToken(d.GetToken())
					}
					for range rng.IntN(3) * 1000 { // Some read slowly.
						rng.Uint64()
					}
				}
				cancel()
			}
		})
	}
	for n := known; n < end; n += 7 {
		appendEvents(t, log, n, min(n+7, end))
	}
	wg.Wait()
}

// Streams of one kind near the end make each batch once, whatever it takes.
func TestStreamsOfAKindShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const clients, rounds = 30, 20
		var masked atomic.Int64
		log := memlog.New("log")
		l := fill(t, log, memory.DefaultBytes)
		who := []narrow{
			{kind: "shipment.ordered", source: "returns", asked: new(int)}, {kind: "shipment.ordered", source: "erp", asked: new(int)},
		}
		type turn struct{}
		server := New(l, Config{
			Viewer: func(ctx context.Context) Viewer { return quiet{who[ctx.Value(turn{}).(int)]} },
			Masked: func(r sinks.Record) ([]byte, error) {
				masked.Add(1)
				return r.Encoded, nil
			},
		})
		synctest.Wait()
		var streams []*fakeStream
		for i := range clients {
			streams = append(streams, tailWith(t, context.WithValue(t.Context(), turn{}, i%2), server, &streamv1.TailRequest{}))
			receiveSubscribed(t, streams[i])
		}
		if n := len(server.fans.open); n != 2 {
			t.Errorf("there are %d kinds", n)
		}
		for n := range rounds {
			e := event(n)
			e.Source = []string{"returns", "erp"}[n%2]
			add(t, log, e)
			for i, s := range streams {
				if i%2 == n%2 {
					if got := receiveEvents(t, s, 1)[0].GetEvent(); got.GetId() != e.GetId() || got.GetSource() != e.GetSource() {
						t.Fatalf("stream %d got %v", i, got)
					}
				}
			}
		}
		if n := masked.Load(); n != rounds {
			t.Errorf("%d events were masked %d times", rounds, n)
		}
		for _, s := range streams {
			s.cancel()
			<-s.ended
		}
		synctest.Wait()
		if n := len(server.fans.open); n != 0 {
			t.Errorf("%d kinds are left", n)
		}
	})
}

// quiet is a viewer that may be asked by several goroutines.
type quiet struct{ narrow }

func (q quiet) MaySeeSource(source string) bool { return source == q.source }
func (q quiet) MaySeeType(kind string) bool     { return kind == q.kind }
func (q quiet) Rules() any                      { return q.source }

// A fan makes a batch again only if it would be much larger, cuts batches where others end, and keeps to its size.
func TestFan(t *testing.T) {
	var all fans
	k := kind{filter: "f"}
	f := all.join(k)
	if all.join(k) != f || all.join(kind{filter: "g"}) == f {
		t.Fatal("streams do not join by kind")
	}
	made := 0
	// get takes the batch from a position while the log ends at next. Batches hold ten events.
	get := func(from, next sinks.Position) sinks.Position {
		t.Helper()
		s, err := f.get(t.Context(), from, next, func(from, end sinks.Position) (batch, sinks.Position, error) {
			made++
			to := min(end, from+10)
			return batch{wire: make([]byte, 2000*(to-from))}, to, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return s.next
	}
	for _, c := range []struct {
		name             string
		from, next, want sinks.Position
		made             int
	}{
		{"first", 1, 4, 4, 1},
		{"shared", 1, 4, 4, 1},
		{"hardly more", 1, 9, 4, 1},
		{"much more", 1, 50, 11, 2},
		{"goes on", 11, 50, 21, 3},
		{"shared again", 11, 60, 21, 3},
		{"begins in the middle, is cut", 13, 60, 21, 4},
		{"begins near the end of another one", 20, 60, 30, 5},
		{"is cut there", 21, 60, 30, 6},
	} {
		if got := get(c.from, c.next); got != c.want || made != c.made {
			t.Errorf("%s: batch ends at %d after %d were made, want %d and %d", c.name, got, made, c.want, c.made)
		}
	}
	for p := sinks.Position(100); p < 3000; p += 10 {
		get(p, 4000)
		if limit := 2 * fanBytesPerStream; f.bytes > limit || f.bytes < 0 || len(f.at) > len(f.order) || len(f.ends) > len(f.order) {
			t.Fatalf("%d bytes in %d batches, %d starts and %d ends", f.bytes, len(f.order), len(f.at), len(f.ends))
		}
	}
}

// A batch whose maker has ended, for whatever reason, is made by another stream. Other errors are all streams'.
func TestFanFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			ended        bool
			failed, want error
		}{
			{true, fmt.Errorf("gone: %w", context.Canceled), nil},
			{true, context.DeadlineExceeded, nil},
			{true, sinks.ErrUnavailable, nil},
			{false, sinks.ErrUnavailable, sinks.ErrUnavailable},
		} {
			var all fans
			f := all.join(kind{})
			fail := make(chan struct{})
			first, second := make(chan error, 1), make(chan error, 1)
			maker, end := context.WithCancel(t.Context())
			go func() {
				_, err := f.get(maker, 1, 2, func(from, _ sinks.Position) (batch, sinks.Position, error) {
					<-fail
					if c.ended {
						end()
					}
					return batch{}, from, c.failed
				})
				first <- err
			}()
			synctest.Wait()
			go func() {
				_, err := f.get(t.Context(), 1, 2, func(_, end sinks.Position) (batch, sinks.Position, error) { return batch{}, end, nil })
				second <- err
			}()
			short, cancel := context.WithTimeout(t.Context(), time.Second)
			if _, err := f.get(short, 1, 2, nil); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a stream that waits for another one gets %v at its end", err)
			}
			cancel()
			close(fail)
			if err := <-first; !errors.Is(err, c.failed) {
				t.Errorf("the maker gets %v", err)
			}
			if err := <-second; !errors.Is(err, c.want) {
				t.Errorf("%v: the other one gets %v", c.failed, err)
			}
			end()
		}
	})
}

// A client whose time is over while it makes a batch for others ends alone.
func TestDeadlineOfOneEndsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New("log")
		appendEvents(t, log, 0, 3)
		server := New(slowLog{log, 3 * time.Second}, Config{})
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		hasty := tailWith(t, short, server, &streamv1.TailRequest{})
		receiveSubscribed(t, hasty)
		synctest.Wait()
		patient := tail(t, server, &streamv1.TailRequest{})
		receiveSubscribed(t, patient)
		wantEnd(t, hasty, codes.DeadlineExceeded, "")
		wantEvents(t, receiveEvents(t, patient, 3), 0, 1, 2)
	})
}

// transport is what formatOf looks at of a call.
type transport struct {
	grpc.ServerTransportStream
	subtype, compressor string
}

func (t transport) ContentSubtype() string { return t.subtype }
func (t transport) SendCompress() string   { return t.compressor }

// Clients choose the subtype of their content. They cannot make the server keep a batch in more formats than it has.
func TestFormatsAreFew(t *testing.T) {
	for subtype, want := range map[string]format{"": {"proto", "gzip"}, "proto": {"proto", "gzip"}, "x-of-my-own": {"proto", "gzip"}} {
		ctx := grpc.NewContextWithServerTransportStream(t.Context(), transport{subtype: subtype, compressor: "gzip"})
		if got, ok := formatOf(ctx); !ok || got != want {
			t.Errorf("the format of %q is %v, %t; want %v", subtype, got, ok, want)
		}
	}
	if f, ok := formatOf(t.Context()); ok {
		t.Errorf("a call without a transport has the format %v", f)
	}
}

// What streams without gRPC make of a batch is made once for each form, and counts as the batch's memory.
func TestSharedTexts(t *testing.T) {
	var all fans
	f := all.join(kind{})
	all.join(kind{})
	made := 0
	get := func(from sinks.Position) *Shared {
		t.Helper()
		s, err := f.get(t.Context(), from, from+1, func(_, end sinks.Position) (batch, sinks.Position, error) {
			return batch{wire: make([]byte, 1000)}, end, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return &Shared{s.batch.response(), s}
	}
	once := func(m *Shared, form string, size int) {
		t.Helper()
		text, err := m.Once(form, func() ([]byte, error) {
			made++
			return make([]byte, size), nil
		})
		if err != nil || len(text) != size {
			t.Fatalf("text of %d bytes, %v", len(text), err)
		}
	}
	before := f.bytes
	for range 3 {
		once(get(1), "lines", 3000)
		once(get(1), "events", 4000)
	}
	if got := f.bytes - before; made != 2 || got < 7000+2*1000 {
		t.Errorf("%d texts were made, of %d bytes with the batch", made, got)
	}
	old := get(1)
	for p := sinks.Position(2); p < 100; p++ {
		once(get(p), "lines", 30_000)
		if limit := 2 * fanBytesPerStream; f.bytes > limit || f.bytes < 0 {
			t.Fatalf("%d bytes are kept", f.bytes)
		}
	}
	made = 0
	once(old, "lines", 3000)
	once(old, "lines", 3000)
	if made != 2 {
		t.Errorf("a batch that is kept no more keeps a text")
	}
}

// An event that is larger than all that is kept is encoded once for the streams that get to it, too, and goes with the next one.
func TestFanSharesLargeEvents(t *testing.T) {
	var all fans
	f := all.join(kind{})
	made := 0
	get := func(from sinks.Position, size int) {
		t.Helper()
		if _, err := f.get(t.Context(), from, from+1, func(_, end sinks.Position) (batch, sinks.Position, error) {
			made++
			return batch{wire: make([]byte, size)}, end, nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	get(1, fanBytes)
	if f.bytes != 0 {
		t.Errorf("a stream that is alone keeps %d bytes", f.bytes)
	}
	all.join(kind{})
	made = 0
	for range 3 {
		get(1, fanBytes)
	}
	if made != 1 {
		t.Errorf("a large event was encoded %d times", made)
	}
	get(2, 1000)
	if f.bytes > 4000 || len(f.order) != 1 {
		t.Errorf("%d batches of %d bytes are kept after it", len(f.order), f.bytes)
	}
}
