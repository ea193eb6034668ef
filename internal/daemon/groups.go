package daemon

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/webhook-bridge/bridge/internal/groups"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/subscribe"
)

// openGroups makes the service of subscriptions, over the streams that Tail has, and the manager of its groups.
func (a *Server) openGroups(metrics prometheus.Registerer) (err error) {
	a.groups, err = groups.New(groups.Config{
		Groups: a.journal, Letters: a.journal, Log: a.newest, Compile: subscribe.Compile(a.streams.Streams), Logger: a.log,
		MaxGroups: a.config().Streams.MaxGroups, MaxMembers: a.config().Streams.MaxMembers,
	})
	if err != nil {
		return err
	}
	a.subscriptions = subscribe.New(subscribe.Config{Log: a.newest, Tail: a.streams, Groups: a.groups, Tracer: a.telemetry.Tracer(), Logger: a.log})
	metrics.MustRegister(newGroupCollector(a.groups, a.journal))
	return nil
}

// managing is the run of the groups' manager.
type managing struct {
	stop  context.CancelFunc
	ended chan error
}

// startManaging runs the manager of groups, until stopManaging.
func (a *Server) startManaging(ctx context.Context) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	a.managing = managing{stop: cancel, ended: make(chan error, 1)}
	go func() { a.managing.ended <- a.groups.Run(ctx) }()
}

// stopManaging gives back the groups' shares, so that other replicas take them at once.
func (a *Server) stopManaging(ctx context.Context) {
	a.managing.stop()
	select {
	case err := <-a.managing.ended:
		if err != nil {
			a.log.Error("groups ended", "error", err)
		}
	case <-ctx.Done():
		a.log.Warn("the groups' last acknowledgements were not written in time")
	}
}

// stopStreams says goodbye to the subscribers, then stops the servers of the gRPC port and cuts off subscribers that do not read. The calls
// of HTTP's clients go through the gRPC server. So their server stops first.
func (a *Server) stopStreams(ctx context.Context) {
	defer a.stopManaging(ctx)
	a.groups.Drain() // it ends the pulls that wait, too
	err := a.streams.Shutdown(ctx)
	_ = a.shared.Close()
	if err != nil {
		a.log.Warn("subscribers that do not read were cut off")
		_ = a.web.Close()
		a.grpc.Stop()
		return
	}
	stop := context.AfterFunc(ctx, a.grpc.Stop)
	defer stop()
	stopHTTP(ctx, a.web)
	a.grpc.GracefulStop()
}

const (
	// maxGroupMetrics is how many groups have metrics, and groupsRefresh how old these may be: they are read from the journal.
	maxGroupMetrics = 200
	groupsRefresh   = 15 * time.Second
	// groupsPatience bounds the time that a scrape waits for the journal.
	groupsPatience = 5 * time.Second
)

// groupGauge is a metric of a group.
type groupGauge struct {
	desc *prometheus.Desc
	read func(groupState) float64
}

// groupState is a group as the journal has it: each replica reports the same.
type groupState struct {
	groups.Info

	// age of the first event that the group has not dealt with.
	age time.Duration
}

// groupCounter counts events of a group at this replica.
type groupCounter struct {
	desc *prometheus.Desc
	read func(groups.Stats) uint64
}

// groupSource has the groups. A [groups.Manager] is one.
type groupSource interface {
	List(ctx context.Context, after string, limit int) ([]groups.Info, error)
	Stats() []groups.Stats
}

// groupCollector reads the groups when metrics are scraped.
type groupCollector struct {
	source   groupSource
	log      journal.Reader
	gauges   []groupGauge
	counters []groupCounter

	mu     sync.Mutex
	readAt time.Time
	known  []groupState
}

func newGroupCollector(source groupSource, log journal.Reader) *groupCollector {
	c := &groupCollector{source: source, log: log}
	gauge := func(name, help string, read func(groupState) float64) {
		c.gauges = append(c.gauges, groupGauge{prometheus.NewDesc(name, help, []string{"group"}, nil), read})
	}
	gauge("bridge_group_lag_events", "Events that the group has not dealt with, before filtering.",
		func(s groupState) float64 { return float64(s.Lag) })
	gauge("bridge_group_lag_seconds", "Age of the oldest event that the group has not dealt with.",
		func(s groupState) float64 { return s.age.Seconds() })
	gauge("bridge_group_outstanding", "Deliveries that are not acknowledged.",
		func(s groupState) float64 { return float64(s.Outstanding) })
	gauge("bridge_group_oldest_unacked_seconds", "Age of the delivery that is not acknowledged for the longest time; 0 if there is none.",
		func(s groupState) float64 {
			if s.OldestAt.IsZero() {
				return 0
			}
			return max(time.Since(s.OldestAt), 0).Seconds()
		})
	gauge("bridge_group_parked_events", "Dead letters of the group.", func(s groupState) float64 { return float64(s.Parked) })
	gauge("bridge_group_members", "Members of the group, on all replicas.", func(s groupState) float64 { return float64(len(s.Members)) })
	c.addCounters()
	return c
}

func (c *groupCollector) addCounters() {
	counter := func(name, help string, read func(groups.Stats) uint64) {
		c.counters = append(c.counters, groupCounter{prometheus.NewDesc(name, help, []string{"group"}, nil), read})
	}
	counter("bridge_group_delivered_total", "Deliveries to members at this replica.", func(s groups.Stats) uint64 { return s.Delivered })
	counter("bridge_group_redelivered_total", "Deliveries of a second and later attempt among them.",
		func(s groups.Stats) uint64 { return s.Redelivered })
	counter("bridge_group_acknowledged_total", "Events that were acknowledged.", func(s groups.Stats) uint64 { return s.Acknowledged })
	counter("bridge_group_failed_total", "Deliveries that failed: by a negative acknowledgement, at their deadline, or because the member left.",
		func(s groups.Stats) uint64 { return s.Failed })
	counter("bridge_group_stale_total", "Acknowledgements of deliveries that were no longer outstanding.",
		func(s groups.Stats) uint64 { return s.Stale })
	counter("bridge_group_parked_total", "Events that became dead letters.", func(s groups.Stats) uint64 { return s.Parked })
	counter("bridge_group_skipped_total", "Events that members left out for good.", func(s groups.Stats) uint64 { return s.Skipped })
	counter("bridge_group_missed_total", "Events that were no longer kept when the group came to them.",
		func(s groups.Stats) uint64 { return s.Missed })
}

// Describe implements [prometheus.Collector].
func (c *groupCollector) Describe(out chan<- *prometheus.Desc) {
	for _, g := range c.gauges {
		out <- g.desc
	}
	for _, n := range c.counters {
		out <- n.desc
	}
}

// Collect implements [prometheus.Collector]. While the journal does not answer, the gauges are the last ones that it gave.
func (c *groupCollector) Collect(out chan<- prometheus.Metric) {
	for _, s := range c.states() {
		for _, g := range c.gauges {
			out <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, g.read(s), s.Name)
		}
	}
	for _, s := range c.source.Stats() {
		name := s.Group
		if name == "" {
			name = "(others)" // no group can have this name
		}
		for _, n := range c.counters {
			out <- prometheus.MustNewConstMetric(n.desc, prometheus.CounterValue, float64(n.read(s)), name)
		}
	}
}

// states reads the groups, unless it did so a moment ago.
func (c *groupCollector) states() []groupState {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.readAt.IsZero() && time.Since(c.readAt) < groupsRefresh {
		return c.known
	}
	ctx, cancel := context.WithTimeout(context.Background(), groupsPatience)
	defer cancel()
	all, err := c.source.List(ctx, "", maxGroupMetrics)
	if err != nil {
		return c.known // it is asked again at the next scrape
	}
	c.known = make([]groupState, 0, len(all))
	for _, info := range all {
		c.known = append(c.known, groupState{Info: info, age: c.age(ctx, info)})
	}
	c.readAt = time.Now()
	return c.known
}

// age returns how long ago the first event was committed that a group has not dealt with. 0 if there is none, or it is no longer kept.
func (c *groupCollector) age(ctx context.Context, g groups.Info) time.Duration {
	if g.Lag == 0 {
		return 0
	}
	at, err := c.log.CommittedAt(ctx, max(g.Position, c.log.Bounds().Earliest))
	if err != nil {
		return 0
	}
	return max(time.Since(at), 0)
}
