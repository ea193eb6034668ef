package alerts

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/source"
)

// cluster has instances over one log. One of them at a time evaluates the alerts. It runs in a synctest bubble.
type cluster struct {
	t *testing.T
	// mu guards what the instances report: the one that evaluates reads it.
	mu        sync.Mutex
	instances []*instance
	claim     *note
	log       lockedBuffer
	stop      func()
}

// instance is one of a cluster.
type instance struct {
	rig
	id      string
	monitor *Monitor
	// gone says that the instance is not listed any more. started is when it started.
	gone, ended bool
	started     time.Time
	last        []*journalv1.SourceCounts
}

// add starts an instance, which does not evaluate the alerts.
func (c *cluster) add(sources ...source.Source) *instance {
	c.t.Helper()
	counter := func(name string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name}, labels)
	}
	in := &instance{id: fmt.Sprint("instance ", len(c.instances)), started: time.Now(), rig: rig{
		t: c.t, registry: prometheus.NewRegistry(), start: time.Now(),
		received:    counter("bridge_webhooks_received_total", "source"),
		accepted:    counter("bridge_webhooks_taken_total", "source"),
		refused:     counter("bridge_webhooks_refused_total", "source", "reason"),
		quarantined: counter("bridge_quarantined_total", "source"),
		pings:       counter("bridge_pings_total", "source", "ping"),
	}}
	in.registry.MustRegister(in.received, in.accepted, in.refused, in.quarantined, in.pings)
	var err error
	in.monitor, err = New(Config{Sources: sources, Gatherer: in.registry, Registerer: in.registry, Logger: slog.New(slog.NewTextHandler(&c.log, nil))})
	if err != nil {
		c.t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.instances = append(c.instances, in)
	return in
}

// view is the log as one instance sees it.
type view struct {
	*cluster
	self *instance
}

// Newest implements [Log]. The counters alone say what was accepted.
func (v view) Newest(context.Context) (map[string]time.Time, error) { return nil, nil }

// Instances implements [Log]. The counts of the others are those of their last report.
func (v view) Instances(context.Context) (all []Instance, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, in := range v.instances {
		if !in.gone {
			all = append(all, Instance{ID: in.id, Started: in.started, Self: in == v.self, Ended: in.ended, Counts: in.last})
		}
	}
	return all, nil
}

// evaluates has an instance hold the claim in place of the last one.
func (c *cluster) evaluates(in *instance) {
	if c.stop != nil {
		c.stop()
	}
	ctx, cancel := context.WithCancel(c.t.Context())
	ended := make(chan struct{})
	claim := &note{text: c.claim.text}
	c.claim = claim
	go func() {
		defer close(ended)
		in.monitor.Run(ctx, view{c, in}, claim)
	}()
	synctest.Wait()
	c.stop = func() { cancel(); <-ended }
}

// pass reports the counts of all instances, and lets time pass.
func (c *cluster) pass(d time.Duration) {
	c.mu.Lock()
	for _, in := range c.instances {
		if !in.gone && !in.ended {
			in.last = ReadCounts(in.registry)
		}
	}
	c.mu.Unlock()
	c.instances[0].pass(d)
}

// change changes what the instances report.
func (c *cluster) change(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

// expect compares the alerts that were logged since the last call: what happened, and to which alert.
func (c *cluster) expect(want ...string) {
	c.t.Helper()
	var got []string
	for line := range strings.SplitSeq(c.log.drain(), "\n") {
		_, message, found := strings.Cut(line, `msg="alert `)
		if !found {
			continue
		}
		happened, _, _ := strings.Cut(message, `"`)
		_, name, _ := strings.Cut(message, "alert=")
		got = append(got, happened+" "+strings.Fields(name)[0])
	}
	if diff := cmp.Diff(want, got); diff != "" {
		c.t.Errorf("alerts (-want +got):\n%s", diff)
	}
}

// raised lists the alerts that the gauge of an instance shows.
func (in *instance) raised() (names []string) {
	families, _ := in.registry.Gather()
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "bridge_source_alarm" && m.GetGauge().GetValue() == 1 {
				names = append(names, label(m, "alarm"))
			}
		}
	}
	return names
}

func withCluster(t *testing.T, test func(c *cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{t: t, claim: &note{}}
		test(c)
		if c.stop != nil {
			c.stop()
		}
	})
}

var shared = source.Source{Name: "till", Alerts: source.Alerts{SilentAfter: time.Hour, UnauthorizedPercent: 50, Quarantined: 3}}

// Each instance alone has too few requests and too few quarantined webhooks. All together have enough.
func TestAlertsOverAllInstances(t *testing.T) {
	withCluster(t, func(c *cluster) {
		a, b, d := c.add(shared), c.add(shared), c.add(shared)
		c.evaluates(a)
		a.refuse("till", "unauthorized", 4)
		b.refuse("till", "unauthorized", 3)
		d.quarantine("till", 2)
		c.pass(2 * interval)
		c.expect()
		b.refuse("till", "unauthorized", 3)
		a.quarantine("till", 1)
		c.pass(2 * interval)
		c.expect("raised unauthorized", "raised quarantine")
		if got, want := a.raised(), []string{"quarantine", "unauthorized"}; !slices.Equal(got, want) {
			t.Errorf("the holder shows %q, want %q", got, want)
		}
		if got := slices.Concat(b.raised(), d.raised()); got != nil {
			t.Errorf("instances that do not evaluate the alerts show %q", got)
		}
		d.accept("till", 30) // what another one accepts clears the alert
		c.pass(2 * interval)
		c.expect("cleared unauthorized")
	})
}

// What one instance accepts ends the silence at all.
func TestSilenceOverAllInstances(t *testing.T) {
	withCluster(t, func(c *cluster) {
		a, b := c.add(shared), c.add(shared)
		c.evaluates(a)
		for range 10 {
			b.accept("till", 1)
			c.pass(50 * time.Minute)
		}
		c.expect()
		c.pass(20 * time.Minute)
		c.expect("raised silent")
	})
}

// An alert that is raised stays raised when another instance takes over, and is not logged again.
func TestRaisedAcrossHandOver(t *testing.T) {
	withCluster(t, func(c *cluster) {
		a, b := c.add(shared), c.add(shared)
		c.evaluates(a)
		a.refuse("till", "unauthorized", 12)
		b.quarantine("till", 3)
		c.pass(2 * interval)
		c.expect("raised unauthorized", "raised quarantine")
		c.evaluates(b)
		if got := b.raised(); len(got) != 2 {
			t.Errorf("the next holder shows %q", got)
		}
		if got := a.raised(); got != nil {
			t.Errorf("the last holder still shows %q", got)
		}
		c.pass(2 * time.Hour)
		c.expect("raised silent", "lasts unauthorized", "cleared quarantine", "lasts silent", "lasts unauthorized")
		c.evaluates(a)
		a.accept("till", 10)
		c.pass(2 * interval)
		c.expect("cleared silent", "cleared unauthorized")
		if got := slices.Concat(a.raised(), b.raised()); got != nil {
			t.Errorf("cleared, and shown as %q", got)
		}
	})
}

// Ten requests within a day count, however often the evaluation changes its place meanwhile, and each once.
func TestWindowAcrossHandOver(t *testing.T) {
	withCluster(t, func(c *cluster) {
		only := source.Source{Name: "till", Alerts: source.Alerts{UnauthorizedPercent: 50}}
		a, b := c.add(only), c.add(only)
		for i := range 9 {
			in := c.instances[i%2]
			c.evaluates(in)
			c.instances[(i/2)%2].refuse("till", "unauthorized", 1)
			c.pass(time.Hour)
		}
		c.expect()
		c.evaluates(a)
		b.refuse("till", "unauthorized", 1)
		c.pass(2 * interval)
		c.expect("raised unauthorized")
	})
}

// A holder that dies leaves its last note. What was counted since is counted by the next one, once. A silence goes on.
func TestHolderDies(t *testing.T) {
	withCluster(t, func(c *cluster) {
		a, b := c.add(shared), c.add(shared)
		c.evaluates(a)
		c.pass(30 * time.Minute)
		a.quarantine("till", 1)
		c.pass(noteInterval + interval)
		c.claim.lost = true
		b.quarantine("till", 1)
		c.pass(2 * interval) // a counts it, and cannot tell
		c.change(func() { a.gone = true })
		c.evaluates(b)
		c.pass(2 * interval)
		c.expect()
		b.quarantine("till", 1)
		c.pass(2 * interval)
		c.expect("raised quarantine")
		c.pass(time.Hour)
		c.expect("cleared quarantine", "raised silent")
	})
}

// The counts of an instance that ended count until they leave the window. A new instance begins at 0.
func TestInstancesComeAndGo(t *testing.T) {
	withCluster(t, func(c *cluster) {
		a := c.add(shared)
		c.evaluates(a)
		for range 3 {
			in := c.add(shared)
			in.quarantine("till", 1)
			c.pass(interval)
			c.change(func() { in.last, in.ended = ReadCounts(in.registry), true })
			c.pass(interval)
			c.change(func() { in.gone = true })
		}
		c.pass(interval)
		c.expect("raised quarantine")
		c.pass(4 * rememberGone)
		c.log.drain()
		if n := len(a.monitor.sums.known); n != 1 {
			t.Errorf("%d instances are remembered", n)
		}
	})
}

// Without a note, what a long-running instance counted before is not new.
func TestNoNote(t *testing.T) {
	withCluster(t, func(c *cluster) {
		a, b := c.add(shared), c.add(shared)
		a.quarantine("till", 50)
		b.quarantine("till", 50)
		c.change(func() { a.started, b.started = a.started.Add(-time.Hour), b.started.Add(-time.Hour) })
		c.claim.text = []byte("not a note")
		c.evaluates(a)
		c.pass(2 * interval)
		c.expect()
		b.quarantine("till", 3)
		c.pass(2 * interval)
		c.expect("raised quarantine")
	})
}

// The note of many sources stays small.
func TestNoteIsSmall(t *testing.T) {
	withCluster(t, func(c *cluster) {
		sources := make([]source.Source, 50)
		for i := range sources {
			sources[i] = shared
			sources[i].Name = fmt.Sprint("source-", i)
		}
		a := c.add(sources...)
		c.evaluates(a)
		for range 200 {
			for _, s := range sources {
				a.refuse(s.Name, "unauthorized", 3)
				a.accept(s.Name, 300)
			}
			c.pass(interval)
		}
		if n := len(c.claim.text); n > 128<<10 {
			t.Errorf("the note has %d bytes", n)
		}
		if n := len(c.claim.text); n < 10<<10 {
			t.Errorf("the note has only %d bytes: the load was not made", n)
		}
	})
}
