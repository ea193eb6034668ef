package grpcstream

import (
	"testing"
	"time"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/filter"
	"github.com/webhook-bridge/bridge/sinks/memlog"
)

// BenchmarkCatchUp compares one client that catches up over loopback with reading the same log in process, both down to
// decoded events, in one run. The result is the ratio of the two: it must be at least 0.5.
func BenchmarkCatchUp(b *testing.B) {
	const events = 50_000
	log := memlog.New("bench")
	appendEvents(b, log, 0, events)
	client := serve(b, New(log, Config{})).client

	var inProcess, streamed time.Duration
	n := 0
	for b.Loop() {
		n += events
		inProcess += timed(b, func() { readAll(b, log, events) })
		streamed += timed(b, func() {
			stream, err := client.Tail(b.Context(), &streamv1.TailRequest{})
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
		})
	}
	b.ReportMetric(float64(n)/inProcess.Seconds(), "read-events/s")
	b.ReportMetric(float64(n)/streamed.Seconds(), "tail-events/s")
	b.ReportMetric(inProcess.Seconds()/streamed.Seconds(), "ratio")
}

func readAll(b *testing.B, log sinks.Log, events int) {
	b.Helper()
	records := make([]sinks.Record, 0, readRecords)
	for n := 0; n < events; {
		read, err := log.Read(b.Context(), sinks.Position(n+1), records)
		if err != nil {
			b.Fatal(err)
		}
		for _, r := range read {
			if _, err := r.Event(); err != nil {
				b.Fatal(err)
			}
		}
		n += len(read)
	}
}

func BenchmarkToken(b *testing.B) {
	s := newTokens(hashLog("bench"), filter.Hash(nil))
	var dst []byte
	for n := 0; b.Loop(); n++ {
		dst = s.appendToken(dst[:0], sinks.Mark{Epoch: 7, Position: sinks.Position(n)})
	}
}
