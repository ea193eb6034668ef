package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/internal/dispatch"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/pebble"
	"github.com/webhook-bridge/bridge/sinks"
)

// push is a configured sink under way: its dispatcher, and one opened sink for each of the dispatcher's lanes.
type push struct {
	name       string
	sinks      []sinks.Sink
	dispatcher *dispatch.Dispatcher
}

// openPush opens a sink and prepares its dispatcher, which begins at cursor.
func openPush(ctx context.Context, s config.Sink, plugins Plugins, j *pebble.Journal, cursor *pebble.Cursor, grace time.Duration, log *slog.Logger) (_ *push, err error) {
	p := &push{name: s.Name}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	for range s.Concurrency {
		lane, err := openLane(ctx, s, plugins)
		if err != nil {
			return nil, fmt.Errorf("sink %s: %w", s.Name, err)
		}
		p.sinks = append(p.sinks, lane)
	}
	p.dispatcher, err = dispatch.New(dispatch.Config{
		Name:        s.Name,
		Log:         j,
		Cursor:      cursor,
		Sinks:       p.sinks,
		Batch:       dispatch.Batch{Count: s.Batch.Count, Bytes: s.Batch.Bytes, Delay: s.Batch.Delay},
		Backoff:     dispatch.Backoff{Min: s.BackoffMin, Max: s.BackoffMax},
		StrictOrder: s.StrictOrder,
		Grace:       grace,
		Logger:      log,
	})
	return p, err
}

// cursorOf registers a sink's place in the journal, which holds retention back from then on.
func cursorOf(s config.Sink, j *pebble.Journal) (*pebble.Cursor, error) {
	from, full := j.Bounds().Earliest, journal.Hold
	if s.Latest {
		from = j.Bounds().Next
	}
	if s.Skip {
		full = journal.Skip
	}
	cursor, err := j.Cursor(s.Name, from, full)
	if err != nil {
		return nil, fmt.Errorf("sink %s: %w", s.Name, err)
	}
	return cursor, nil
}

// openLane opens a required sink. Another is opened when events come for it: opening may take long, and vendors do not
// wait for it.
func openLane(ctx context.Context, s config.Sink, plugins Plugins) (sinks.Sink, error) {
	if s.Required {
		return plugins.openSink(ctx, s)
	}
	return newLateSink(func(ctx context.Context) (sinks.Sink, error) { return plugins.openSink(ctx, s) }), nil
}

// run delivers until ctx is done.
func (p *push) run(ctx context.Context) error {
	if err := p.dispatcher.Run(ctx); err != nil {
		return fmt.Errorf("sink %s: %w", p.name, err)
	}
	return nil
}

func (p *push) close() {
	for _, s := range p.sinks {
		_ = s.Close()
	}
}

// lateSink is opened by the first Deliver that can. Until then Deliver fails in a way that is tried again.
type lateSink struct {
	open func(context.Context) (sinks.Sink, error)
	life context.Context // done when closed
	end  context.CancelFunc

	mu   sync.Mutex
	sink sinks.Sink // nil until opened
}

func newLateSink(open func(context.Context) (sinks.Sink, error)) *lateSink {
	l := &lateSink{open: open}
	l.life, l.end = context.WithCancel(context.Background())
	return l
}

// Deliver implements [sinks.Sink].
func (l *lateSink) Deliver(ctx context.Context, events []sinks.Record) (int, error) {
	s, err := l.opened(ctx)
	if err != nil {
		return 0, err
	}
	return s.Deliver(ctx, events)
}

func (l *lateSink) opened(ctx context.Context) (sinks.Sink, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.life.Err() != nil {
		return nil, sinks.ErrClosed
	}
	if l.sink != nil {
		return l.sink, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.life, cancel)()
	s, err := l.open(ctx)
	if err != nil {
		if l.life.Err() != nil {
			err = sinks.ErrClosed
		}
		return nil, err
	}
	l.sink = s
	return s, nil
}

// Close implements [sinks.Sink].
func (l *lateSink) Close() error {
	l.end()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sink == nil {
		return nil
	}
	return l.sink.Close()
}

// sinkGauge is a metric of a sink that is read when it is asked for.
type sinkGauge struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(dispatch.Stats) float64
}

// sinkCollector reads the dispatchers when metrics are scraped.
type sinkCollector struct {
	pushes []*push
	gauges []sinkGauge
}

func newSinkCollector(pushes []*push) *sinkCollector {
	c := &sinkCollector{pushes: pushes}
	c.add("bridge_sink_lag_events", "Events that the sink has not had.", prometheus.GaugeValue,
		func(s dispatch.Stats) float64 { return float64(s.LagEvents) })
	c.add("bridge_sink_lag_seconds", "Age of the oldest event that the sink has not had.", prometheus.GaugeValue,
		func(s dispatch.Stats) float64 { return s.Lag.Seconds() })
	c.add("bridge_sink_delivered_total", "Events delivered, repeated ones again.", prometheus.CounterValue,
		func(s dispatch.Stats) float64 { return float64(s.Delivered) })
	c.add("bridge_sink_retries_total", "Failed attempts that are tried again.", prometheus.CounterValue,
		func(s dispatch.Stats) float64 { return float64(s.Retries) })
	c.add("bridge_sink_parked_total", "Events set aside because the sink refuses them for good.", prometheus.CounterValue,
		func(s dispatch.Stats) float64 { return float64(s.Parked) })
	c.add("bridge_sink_skipped_total", "Events given up before the sink had them.", prometheus.CounterValue,
		func(s dispatch.Stats) float64 { return float64(s.Skipped) })
	c.add("bridge_sink_held", "Refused events that the sink's order waits at.", prometheus.GaugeValue,
		func(s dispatch.Stats) float64 { return float64(len(s.Held)) })
	c.add("bridge_sink_breaker", "0 while attempts are made, 1 while one is tried, 2 while none is made.", prometheus.GaugeValue,
		func(s dispatch.Stats) float64 { return float64(s.Breaker) })
	return c
}

func (c *sinkCollector) add(name, help string, kind prometheus.ValueType, read func(dispatch.Stats) float64) {
	c.gauges = append(c.gauges, sinkGauge{prometheus.NewDesc(name, help, []string{"sink"}, nil), kind, read})
}

// Describe implements [prometheus.Collector].
func (c *sinkCollector) Describe(out chan<- *prometheus.Desc) {
	for _, g := range c.gauges {
		out <- g.desc
	}
}

// Collect implements [prometheus.Collector].
func (c *sinkCollector) Collect(out chan<- prometheus.Metric) {
	for _, p := range c.pushes {
		s := p.dispatcher.Stats()
		for _, g := range c.gauges {
			out <- prometheus.MustNewConstMetric(g.desc, g.kind, g.read(s), p.name)
		}
	}
}
