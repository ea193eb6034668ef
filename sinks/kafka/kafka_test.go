package kafka_test

import (
	"context"
	"errors"
	"math"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/kafka"
	"github.com/webhook-bridge/bridge/sinks/kafka/kafkatest"
	"github.com/webhook-bridge/bridge/sinks/sinktest"
)

const topic = "bridge.events"

// fake is a cluster of two brokers in process, each behind a gate.
type fake struct {
	*kfake.Cluster
	gates []*kafkatest.Gate
	left  atomic.Int64 // Records that it takes before it is gone.
}

// gated is a listener that says it is where its gate is.
type gated struct {
	net.Listener
	gate *kafkatest.Gate
}

func (g gated) Addr() net.Addr { return g.gate.Addr() }

func newFake(tb testing.TB, opts ...kfake.Opt) *fake {
	tb.Helper()
	f := &fake{}
	listen := func(network, address string) (net.Listener, error) {
		l, err := net.Listen(network, address)
		if err != nil {
			return nil, err
		}
		gate, err := kafkatest.NewGate()
		if err != nil {
			return nil, errors.Join(err, l.Close())
		}
		gate.Lead(l.Addr().String())
		f.gates = append(f.gates, gate)
		return gated{l, gate}, nil
	}
	cluster, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(2), kfake.ListenFn(listen)}, opts...)...)
	if err != nil {
		tb.Fatal(err)
	}
	f.Cluster = cluster
	f.takeOnly(math.MaxInt64)
	f.ControlKey(int16(kmsg.Produce), f.take)
	tb.Cleanup(func() {
		for _, g := range f.gates {
			g.Close()
		}
		cluster.Close()
	})
	return f
}

func (f *fake) brokers() []string {
	var to []string
	for _, g := range f.gates {
		to = append(to, g.Addr().String())
	}
	return to
}

func (f *fake) each(do func(g *kafkatest.Gate)) func() {
	return func() {
		for _, g := range f.gates {
			do(g)
		}
	}
}

// takeOnly makes the cluster hang up on batches that exceed, with those before, a number of records.
func (f *fake) takeOnly(records int) { f.left.Store(int64(records)) }

func (f *fake) take(r kmsg.Request) (kmsg.Response, error, bool) {
	f.KeepControl()
	if f.left.Add(-int64(countRecords(r.(*kmsg.ProduceRequest)))) < 0 {
		return nil, errors.New("the broker is gone"), true
	}
	return nil, nil, false
}

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

func received(ctx context.Context, brokers []string, format kafka.Format) ([]*eventv1.Event, error) {
	records, err := kafkatest.Read(ctx, brokers, topic)
	if err != nil {
		return nil, err
	}
	var events []*eventv1.Event
	for _, r := range records {
		e := &eventv1.Event{}
		if format == kafka.FormatJSON {
			err = protojson.Unmarshal(r.Value, e)
		} else {
			err = proto.Unmarshal(r.Value, e)
		}
		if err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	return events, nil
}

// harness has a topic whose records may have most bytes.
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
				return received(ctx, config.Brokers, config.Format)
			},
			Break:      f.each((*kafkatest.Gate).Shut),
			BreakAfter: f.takeOnly,
			Stall:      f.each((*kafkatest.Gate).Silence),
			Repair: func() {
				f.takeOnly(math.MaxInt64)
				f.each((*kafkatest.Gate).Open)()
			},
			Poison: func() sinks.Record { return large(tb, most) },
		}
	}
}

// large returns an event too large for a topic whose records may have most bytes.
func large(tb testing.TB, most int) sinks.Record {
	tb.Helper()
	encoded, err := proto.Marshal(&eventv1.Event{Id: "large", Type: "unmapped", Source: "returns", Subject: "x/1", Data: &eventv1.Event_Unmapped{
		Unmapped: &eventv1.Unmapped{Json: strings.Repeat("x", most)},
	}})
	if err != nil {
		tb.Fatal(err)
	}
	return sinks.Record{Encoded: encoded}
}

func TestSink(t *testing.T) {
	const most = 200 << 10
	sinktest.Run(t, harness(kafka.Config{}, most), sinktest.Features{MaxEvent: most / 2})
}
