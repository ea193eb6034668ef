package kafka_test

import (
	"context"
	"errors"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/cloudevents/cloudeventstest"
	"github.com/webhook-bridge/bridge/sinks/kafka"
	"github.com/webhook-bridge/bridge/sinks/kafka/kafkatest"
	"github.com/webhook-bridge/bridge/sinks/proxytest"
	"github.com/webhook-bridge/bridge/sinks/sinktest"
)

const topic = "bridge.events"

// fake is a cluster of two brokers in this process, each behind a proxy.
type fake struct {
	*kfake.Cluster
	proxies []*proxytest.Proxy
	left    atomic.Int64 // Number of records that it accepts before it disconnects.
}

// proxied is a listener that reports its proxy's address as its own.
type proxied struct {
	net.Listener
	proxy *proxytest.Proxy
}

func (g proxied) Addr() net.Addr { return g.proxy.Addr() }

func newFake(tb testing.TB, opts ...kfake.Opt) *fake {
	tb.Helper()
	f := &fake{}
	listen := func(network, address string) (net.Listener, error) {
		l, err := net.Listen(network, address)
		if err != nil {
			return nil, err
		}
		proxy, err := proxytest.New()
		if err != nil {
			return nil, errors.Join(err, l.Close())
		}
		proxy.Forward(l.Addr().String())
		f.proxies = append(f.proxies, proxy)
		return proxied{l, proxy}, nil
	}
	cluster, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(2), kfake.ListenFn(listen)}, opts...)...)
	if err != nil {
		tb.Fatal(err)
	}
	f.Cluster = cluster
	f.acceptOnly(math.MaxInt64)
	f.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		if f.left.Add(-int64(countRecords(r.(*kmsg.ProduceRequest)))) < 0 {
			return nil, errors.New("the broker is gone"), true
		}
		return nil, nil, false
	})
	tb.Cleanup(func() {
		for _, g := range f.proxies {
			g.Close()
		}
		cluster.Close()
	})
	return f
}

func (f *fake) brokers() []string {
	var to []string
	for _, g := range f.proxies {
		to = append(to, g.Addr().String())
	}
	return to
}

func (f *fake) each(do func(g *proxytest.Proxy)) func() {
	return func() {
		for _, g := range f.proxies {
			do(g)
		}
	}
}

// acceptOnly makes the cluster disconnect at the batch that exceeds a total number of records.
func (f *fake) acceptOnly(records int) { f.left.Store(int64(records)) }

func countRecords(r *kmsg.ProduceRequest) int {
	n := 0
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			var batch kmsg.RecordBatch
			if batch.ReadFrom(p.Records) == nil {
				n += int(batch.NumRecords)
			}
		}
	}
	return n
}

// received returns the records of a topic as events.
func received(ctx context.Context, config kafka.Config, from string) ([]*eventv1.Event, error) {
	held, err := kafkatest.Read(ctx, config.Brokers, from)
	return decoded(config, held, err)
}

// committed behaves like received for a consumer that reads committed records.
func committed(ctx context.Context, config kafka.Config, from string) ([]*eventv1.Event, error) {
	held, err := kafkatest.ReadCommitted(ctx, config.Brokers, from)
	return decoded(config, held, err)
}

func decoded(config kafka.Config, held []*kgo.Record, err error) ([]*eventv1.Event, error) {
	if err != nil {
		return nil, err
	}
	events := make([]*eventv1.Event, len(held))
	for i, r := range held {
		events[i] = &eventv1.Event{}
		switch config.Format {
		case kafka.FormatJSON:
			err = protojson.Unmarshal(r.Value, events[i])
		case kafka.FormatCloudEvents:
			events[i], err = cloudeventstest.Structured(r.Value)
		default:
			err = proto.Unmarshal(r.Value, events[i])
		}
		if err != nil {
			return nil, err
		}
	}
	return events, nil
}

// harness creates a topic whose records may have most bytes.
func harness(config kafka.Config, most int) func(tb testing.TB) sinktest.Harness {
	return func(tb testing.TB) sinktest.Harness {
		f := newFake(tb)
		if err := f.CreateTopic(topic, 6, map[string]string{"max.message.bytes": strconv.Itoa(most)}); err != nil {
			tb.Fatal(err)
		}
		config.Brokers, config.Topic = f.brokers(), topic
		return sinktest.Harness{
			Open: func(ctx context.Context) (sinks.Sink, error) { return kafka.Open(ctx, config) },
			Received: func(ctx context.Context) ([]*eventv1.Event, error) {
				return received(ctx, config, topic)
			},
			Break:      f.each((*proxytest.Proxy).Disconnect),
			BreakAfter: f.acceptOnly,
			Stall:      f.each((*proxytest.Proxy).Stall),
			Repair: func() {
				f.acceptOnly(math.MaxInt64)
				f.each((*proxytest.Proxy).Resume)()
			},
			Poison: func() sinks.Record { return large(tb, most) },
		}
	}
}

// large returns an event that is too large for a topic whose records may have most bytes.
func large(tb testing.TB, most int) sinks.Record {
	tb.Helper()
	encoded, err := proto.Marshal(&eventv1.Event{Id: "large", Type: "unmapped", Source: "returns", Subject: "x/1", Data: &eventv1.Event_Unmapped{
		Unmapped: &eventv1.Unmapped{Json: strings.Repeat("x", most)},
	}})
	if err != nil {
		tb.Fatal(err)
	}
	r, err := sinks.NewRecord(0, encoded)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// Small requests, so that a partition batch needs several.
func TestSink(t *testing.T) {
	t.Parallel()
	const most = 200 << 10
	sinktest.Run(t, harness(kafka.Config{BatchBytes: 8 << 10}, most), sinktest.Features{MaxEvent: most / 2})
}

// Requests of the default size, events of any size.
func TestSinkOfJSON(t *testing.T) {
	t.Parallel()
	sinktest.Run(t, harness(kafka.Config{Format: kafka.FormatJSON, Compression: "zstd"}, 96<<20), sinktest.Features{})
}

func openSink(tb testing.TB, config kafka.Config) *kafka.Sink {
	tb.Helper()
	s, err := kafka.Open(tb.Context(), config)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

func records(tb testing.TB, events []*eventv1.Event) []sinks.Record {
	tb.Helper()
	to := make([]sinks.Record, len(events))
	for i, e := range events {
		encoded, err := proto.Marshal(e)
		if err != nil {
			tb.Fatal(err)
		}
		if to[i], err = sinks.NewRecord(sinks.Position(i+1), encoded); err != nil {
			tb.Fatal(err)
		}
	}
	return to
}

// push delivers all events as a dispatcher does: it retries, after the accepted ones, for a limited time.
func push(tb testing.TB, s sinks.Sink, events []sinks.Record) {
	tb.Helper()
	var err error
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for range 500 {
		var n int
		n, err = s.Deliver(tb.Context(), events)
		if events = events[n:]; len(events) == 0 {
			return
		}
		<-again.C
	}
	tb.Fatalf("%d events are not delivered: %v", len(events), err)
}

func deliver(tb testing.TB, config kafka.Config, events []*eventv1.Event) {
	tb.Helper()
	push(tb, openSink(tb, config), records(tb, events))
}

// roundTrip delivers the vendors' events to a topic with one partition and reads them back.
func roundTrip(t *testing.T, brokers []string, config kafka.Config) {
	t.Helper()
	config.Brokers = brokers
	config.Topic = "round-trip-" + config.Compression
	config.CreateTopics = &kafka.CreateTopics{Partitions: 1}
	want := kafkatest.Events(t)
	deliver(t, config, want)
	got, err := received(t.Context(), config, config.Topic)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// wantHeaders returns the headers of an event, each as "name: value".
func wantHeaders(e *eventv1.Event, contentType string) []string {
	at := e.GetReceivedAt().AsTime()
	happened := at
	if e.OccurredAt != nil {
		happened = e.GetOccurredAt().AsTime()
	}
	all := []string{
		"ce_specversion: 1.0",
		"ce_id: " + e.GetId(),
		"ce_type: " + e.GetType(),
		"ce_source: " + e.GetSource(),
		"ce_subject: " + e.GetSubject(),
		"ce_time: " + happened.Format(time.RFC3339Nano),
		"ce_connector: " + e.GetConnector(),
		"ce_vendorevent: " + e.GetVendorEvent(),
		"ce_subjectversion: " + e.GetSubjectVersion(),
		"ce_webhookid: " + e.GetWebhookId(),
		"ce_receivedtime: " + at.Format(time.RFC3339Nano),
		"ce_supersedes: " + e.GetSupersedes(),
		"ce_stale: " + map[bool]string{true: "true"}[e.GetStale()],
		"content-type: " + contentType,
	}
	return slices.DeleteFunc(all, func(s string) bool { return strings.HasSuffix(s, ": ") })
}
