package daemon

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/retino"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/pebble"
	"github.com/webhook-bridge/bridge/sinks"
)

const (
	catchUpEvents = 100_000
	// catchUpRounds is how often each contender reads the whole journal, in turn; the figure is the median of the rounds'
	// ratios.
	catchUpRounds = 7
	// catchUpRead is how many events the reference reads at a time: more are not faster.
	catchUpRead = 512
)

// BenchmarkCatchUp measures one client that catches up over loopback with all that a journal on disk holds, from the
// program as it serves, against reading the same open journal in process, both down to decoded events.
func BenchmarkCatchUp(b *testing.B) {
	dir := b.TempDir()
	writeJournal(b, dir, catchUpEvents)
	a := startServer(b, retinoConfig(dir))
	client := dial(b, a)
	for range b.N {
		var streamed, direct, ratios []float64
		for range catchUpRounds {
			reference := eventsPerSecond(func() { readJournal(b, a.journal, catchUpEvents) })
			ours := eventsPerSecond(func() { readStream(b, client, catchUpEvents) })
			streamed, direct, ratios = append(streamed, ours), append(direct, reference), append(ratios, ours/reference)
		}
		b.Logf("catch-up, one client, %d events on disk: stream %.0f/s, in process %.0f/s, ratio %.2f (rounds %.2f)",
			catchUpEvents, median(streamed), median(direct), median(ratios), ratios)
		b.ReportMetric(median(streamed), "tail-events/s")
		b.ReportMetric(median(direct), "read-events/s")
		b.ReportMetric(median(ratios), "of-reference")
		b.ReportMetric(0, "ns/op")
	}
}

func eventsPerSecond(read func()) float64 {
	began := time.Now()
	read()
	return catchUpEvents / time.Since(began).Seconds()
}

// readJournal reads and decodes all events.
func readJournal(b *testing.B, j journal.Journal, events int) {
	b.Helper()
	records := make([]sinks.Record, 0, catchUpRead)
	for n := 0; n < events; {
		read, err := j.Read(b.Context(), sinks.Position(n+1), records)
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

// readStream receives all events.
func readStream(b *testing.B, client streamv1.EventStreamServiceClient, events int) {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	stream, err := client.Tail(ctx, &streamv1.TailRequest{})
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
}

// startServer runs the program in this process, with its journal at hand, until the benchmark ends.
func startServer(b *testing.B, text string) *Server {
	b.Helper()
	path := filepath.Join(b.TempDir(), "bridge.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	plugins := Plugins{Connectors: []*connectors.Connector{retino.New()}}
	cfg, err := plugins.LoadConfig(path, os.LookupEnv)
	if err != nil {
		b.Fatal(err)
	}
	a, err := Open(b.Context(), cfg, plugins, Place{}, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	b.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	})
	return a
}

// dial connects as `bridge tail` does.
func dial(b *testing.B, a *Server) streamv1.EventStreamServiceClient {
	b.Helper()
	conn, err := grpc.NewClient(a.Addr("grpc"), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(128<<20)))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	return streamv1.NewEventStreamServiceClient(conn)
}

// writeJournal writes webhooks with one event each, and closes the journal, so that all are on disk when it is opened again.
func writeJournal(b *testing.B, dir string, events int) {
	b.Helper()
	body, err := os.ReadFile("../../connectors/retino/testdata/shipping_ordered.txtar")
	if err != nil {
		b.Fatal(err)
	}
	j, err := pebble.Open(b.Context(), pebble.Config{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	numbers := make(chan int)
	var writers sync.WaitGroup
	for range 512 { // Entries that are written at the same time become one group.
		writers.Go(func() {
			for n := range numbers {
				if _, err := j.Append(b.Context(), shipmentEntry(n, body)); err != nil {
					b.Error(err)
				}
			}
		})
	}
	for n := range events {
		numbers <- n
	}
	close(numbers)
	writers.Wait()
	if err := j.Close(); err != nil {
		b.Fatal(err)
	}
}

// shipmentEntry is the nth webhook, with a body like those of Retino, with the event that Retino's `shipping.ordered` makes.
func shipmentEntry(n int, body []byte) journal.Entry {
	received := time.Now()
	webhook := uuid.Must(uuid.NewV7()).String()
	id := fmt.Sprintf("2b20e85f-2201-494a-b3f9-%012d", n)
	event := &eventv1.Event{
		Id:             uuid.NewString(),
		Type:           "shipment.ordered",
		Source:         "returns",
		Connector:      "retino",
		VendorEvent:    "shipping.ordered",
		Subject:        "shipment/" + id,
		SubjectVersion: received.Format(time.RFC3339Nano),
		OccurredAt:     timestamppb.New(received.Add(-3 * time.Second)),
		ReceivedAt:     timestamppb.New(received),
		WebhookId:      webhook,
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
	encoded, err := proto.Marshal(event)
	if err != nil {
		panic(err)
	}
	sum := sha256.Sum256(encoded)
	return journal.Entry{
		Webhook: &journalv1.Webhook{
			Id:          webhook,
			Source:      "returns",
			Connector:   "retino",
			VendorEvent: "shipping.ordered",
			ReceivedAt:  timestamppb.New(received),
			Body:        body,
		},
		Events: [][]byte{encoded},
		Keys:   []journal.Key{{Hash: journal.Hash(sum[:16]), Window: time.Hour}},
		Bytes:  journal.Hash(sum[:16]),
	}
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// retinoConfig is a configuration with one source, whose journal is in dir.
func retinoConfig(dir string) string {
	return fmt.Sprintf(`
listen: {webhooks: "127.0.0.1:0", ops: "127.0.0.1:0", grpc: "127.0.0.1:0", admin: "127.0.0.1:0"}
journal: {dir: %q, min_free: 1Mi}
sources:
  - name: returns
    connector: retino
    auth: {header: {name: X-Retino-Secret, values: [a-secret-for-tests]}}
`, dir)
}
