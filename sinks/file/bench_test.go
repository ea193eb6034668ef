package file

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"google.golang.org/genproto/googleapis/type/money"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks"
)

const (
	// drained is the number of events that a round of BenchmarkDrain writes.
	drained = 50_000
	// batch is the number of events in a Deliver: as many as a dispatcher reads from a backlog at once.
	batch = 1000
)

// BenchmarkDrain compares the sink with a buffered writer that writes the same records and syncs as often, in turns. The ratio
// must be at least 0.7, although the sink's records have a position, and the bare writer's do not. For JSON Lines the bare writer makes the same JSON from the same encoded events.
func BenchmarkDrain(b *testing.B) {
	for _, c := range variants[:2] {
		b.Run(c.String(), func(b *testing.B) {
			records := backlog(b)
			s, err := Open(b.Context(), c.in(b.TempDir()), sinks.Origin{Log: steps("0f5a52c1e7b94d3c8a60d1f2b3c4e5f6"), Sink: "archive"})
			must(b, err)
			defer s.Close()
			bare, err := os.Create(filepath.Join(b.TempDir(), "bare"))
			if err != nil {
				b.Fatal(err)
			}
			defer bare.Close()
			w := &bareWriter{Writer: bufio.NewWriterSize(bare, 1<<20), file: bare, format: c.Format}
			var ours, theirs time.Duration
			for b.Loop() {
				for range drained / batch {
					began := time.Now()
					mustDeliver(b, s, records)
					between := time.Now()
					if err := w.write(records); err != nil {
						b.Fatal(err)
					}
					ours, theirs = ours+between.Sub(began), theirs+time.Since(between)
				}
			}
			rate := func(d time.Duration) float64 { return float64(b.N) * drained / d.Seconds() }
			b.ReportMetric(rate(ours), "events/s")
			b.ReportMetric(rate(theirs), "bare-events/s")
			b.ReportMetric(rate(ours)/rate(theirs), "ratio")
		})
	}
}

// backlog returns a batch of events of typical size.
func backlog(tb testing.TB) []sinks.Record {
	tb.Helper()
	records := make([]sinks.Record, batch)
	for n := range records {
		e := event(n)
		encoded, err := proto.Marshal(e)
		if err != nil {
			tb.Fatal(err)
		}
		if records[n], err = sinks.NewRecord(sinks.Position(n+1), encoded); err != nil {
			tb.Fatal(err)
		}
	}
	return records
}

// bareWriter writes records without a sink.
type bareWriter struct {
	*bufio.Writer
	file   *os.File
	format Format
}

func (w *bareWriter) write(records []sinks.Record) error {
	var prefix []byte
	for _, r := range records {
		line := r.Encoded
		if w.format == JSONL {
			e, err := r.Event()
			if err != nil {
				return err
			}
			if line, err = protojson.Marshal(e); err != nil {
				return err
			}
			line = append(line, '\n')
		} else {
			prefix = binary.AppendUvarint(prefix[:0], uint64(len(line)))
		}
		if _, err := w.Write(prefix); err != nil {
			return err
		}
		if _, err := w.Write(line); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return w.file.Sync()
}

func event(n int) *eventv1.Event {
	at := timestamppb.New(time.Date(2026, 3, 1, 12, 0, n, 0, time.UTC))
	id := fmt.Sprintf("7c0b6f2e-41d7-4f0e-9f3a-%012d", n)
	return &eventv1.Event{
		Id: fmt.Sprintf("0d6f2a10-7f5e-5b7e-9d6c-%012d", n), Type: "payment.created", Source: "erp-jakarta", Connector: "dealpos",
		VendorEvent: "paymentCreated", Subject: "payment/" + id, OccurredAt: at, ReceivedAt: at,
		WebhookId: fmt.Sprintf("0197a3c2-5b1e-7c3d-8e4f-%012x", n),
		Data: &eventv1.Event_Payment{Payment: &eventv1.Payment{
			Id: id, InvoiceId: id, Number: fmt.Sprintf("PAY/2026/%d", n), Method: "QRIS", Outlet: "Jakarta Pusat",
			Amount: &money.Money{CurrencyCode: "IDR", Units: 150_000}, CreatedAt: at, CreatedBy: "Siti", CreatedById: id,
		}},
	}
}
