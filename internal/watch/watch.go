package watch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// How often counters are read, how far back they count, and how often an alarm that lasts is told again.
const (
	interval         = 5 * time.Second
	requestWindow    = 5 * time.Minute
	requestLookBack  = 24 * time.Hour
	quarantineWindow = time.Hour
	reminder         = time.Hour
)

// leastRequests is how many requests a share is taken of: fewer say nothing. Where the window has fewer, older ones count.
const leastRequests = 10

// Source is what to watch of one source. Zeros are no alarm.
type Source struct {
	// Name is the source's label in the counters.
	Name string
	// SilentAfter is how long no webhook may be taken in.
	SilentAfter time.Duration
	// UnauthorizedPercent is the share of requests that may not be refused for their secret.
	UnauthorizedPercent int
	// Quarantined is how many webhooks may not be quarantined in an hour.
	Quarantined int
}

// Config is what a [Watch] is made of.
type Config struct {
	Sources []Source
	// Gatherer has the counters of what was received, taken in, refused and quarantined.
	Gatherer prometheus.Gatherer
	// Registerer for the watch's own metrics. nil registers nowhere.
	Registerer prometheus.Registerer
	// Logger for alarms. nil discards.
	Logger *slog.Logger
}

// Watch watches sources while it runs.
type Watch struct {
	gatherer prometheus.Gatherer
	log      *slog.Logger
	sources  []*watched
}

// New registers the metrics, which say that all is well, and starts nothing.
func New(c Config) (*Watch, error) {
	w := &Watch{gatherer: c.Gatherer, log: c.Logger}
	if w.log == nil {
		w.log = slog.New(slog.DiscardHandler)
	}
	alarms := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "bridge_source_alarm", Help: "1 while an alarm about the source is raised. Alarms that are not set are not there.",
	}, []string{"source", "alarm"})
	last := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "bridge_source_last_webhook_timestamp_seconds", Help: "When the last webhook was taken in, since 1970. 0 while none is known.",
	}, []string{"source"})
	for _, s := range c.Sources {
		w.sources = append(w.sources, newWatched(s, w.log, alarms, last))
	}
	if c.Registerer == nil {
		return w, nil
	}
	if err := errors.Join(c.Registerer.Register(alarms), c.Registerer.Register(last)); err != nil {
		return nil, fmt.Errorf("watch: metrics: %w", err)
	}
	return w, nil
}

// Run watches until ctx is done. last says, by source, when the last webhook was stored that came before the counters began;
// sources of which that is not known are left out. Run is called once.
func (w *Watch) Run(ctx context.Context, last map[string]time.Time) {
	now := time.Now()
	for _, s := range w.sources {
		s.begin(now, last[s.Name])
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		all := read(w.gatherer)
		now := time.Now()
		for _, s := range w.sources {
			s.look(now, all[s.Name])
		}
	}
}

// watched is a source under watch.
type watched struct {
	Source

	silent, unauthorized, quarantine *alarm

	// lastAt is when the last webhook was taken in, or the start. gauge has it, unless it is the start.
	lastAt time.Time
	gauge  prometheus.Gauge
	// taken is how many webhooks had been taken in when the counters were last read, and takenBefore how many when unauthorized
	// was raised, or also when they were last read.
	taken, takenBefore float64

	requests, kept window
}

func newWatched(s Source, log *slog.Logger, alarms, last *prometheus.GaugeVec) *watched {
	w := &watched{
		Source:   s,
		gauge:    last.WithLabelValues(s.Name),
		requests: window{span: requestWindow, least: leastRequests, most: requestLookBack},
		kept:     window{span: quarantineWindow},
	}
	log = log.With("source", s.Name)
	for _, x := range []struct {
		to   **alarm
		name string
		set  bool
	}{
		{&w.silent, "silent", s.SilentAfter > 0},
		{&w.unauthorized, "unauthorized", s.UnauthorizedPercent > 0},
		{&w.quarantine, "quarantine", s.Quarantined > 0},
	} {
		if x.set {
			*x.to = &alarm{log: log.With("alarm", x.name), gauge: alarms.WithLabelValues(s.Name, x.name)}
		}
	}
	return w
}

// begin starts the watch: counters begin at 0.
func (w *watched) begin(now, last time.Time) {
	w.lastAt = now
	if !last.IsZero() {
		w.tookAt(last)
	}
	w.requests.add(now, counts{})
	w.kept.add(now, counts{})
}

func (w *watched) tookAt(t time.Time) {
	w.lastAt = t
	w.gauge.Set(float64(t.UnixMilli()) / 1000)
}

// look judges what the counters say now.
func (w *watched) look(now time.Time, c counts) {
	if c.taken > w.taken {
		w.tookAt(now)
	}
	w.taken = c.taken

	silence := now.Sub(w.lastAt)
	w.silent.judge(now, silence >= w.SilentAfter, "silent_for", silence.Round(time.Second).String())

	w.lookAtSecrets(now, c)

	kept, within := w.kept.add(now, c)
	w.quarantine.judge(now, kept.quarantined >= float64(w.Quarantined),
		"quarantined", int(kept.quarantined), "within", within.String())
}

// lookAtSecrets judges how many requests were refused for their secret.
func (w *watched) lookAtSecrets(now time.Time, c counts) {
	if !w.unauthorized.isRaised() {
		w.takenBefore = c.taken
	}
	latest, within := w.requests.add(now, c)
	bad := latest.received >= leastRequests && latest.unauthorized*100 >= latest.received*float64(w.UnauthorizedPercent)
	lockedOut := w.unauthorized.isRaised() && c.taken == w.takenBefore
	w.unauthorized.judge(now, bad || lockedOut,
		"unauthorized", int(latest.unauthorized), "requests", int(latest.received), "within", within.String())
}

// alarm is raised or not. A nil one is not set, and never raised.
type alarm struct {
	log    *slog.Logger
	gauge  prometheus.Gauge
	raised bool
	told   time.Time
}

func (a *alarm) isRaised() bool { return a != nil && a.raised }

// judge raises or clears the alarm. The attributes say why, in what is logged.
func (a *alarm) judge(now time.Time, bad bool, attributes ...any) {
	switch {
	case a == nil:
	case bad && !a.raised:
		a.raised, a.told = true, now
		a.gauge.Set(1)
		a.log.Warn("alarm raised", attributes...)
	case bad && now.Sub(a.told) >= reminder:
		a.told = now
		a.log.Warn("alarm lasts", attributes...)
	case !bad && a.raised:
		a.raised = false
		a.gauge.Set(0)
		a.log.Info("alarm cleared", attributes...)
	}
}

// window is how much counters have grown of late: within a span of time or, where these are fewer, by the least number of
// requests, none of which is older than most.
type window struct {
	span  time.Duration
	least float64
	most  time.Duration
	// readings that differ, the oldest first: the last one before the window, and all in it.
	readings []reading
}

type reading struct {
	at time.Time
	counts
}

// add notes what the counters say and returns their growth, and within which time that was.
func (w *window) add(now time.Time, c counts) (grown counts, within time.Duration) {
	if n := len(w.readings); n == 0 || w.readings[n-1].counts != c {
		w.readings = append(w.readings, reading{now, c})
	}
	within = w.span
	// What the oldest reading counted was before it.
	old := len(w.readings) - 1
	for ; old > 0; old-- {
		age := now.Sub(w.readings[old].at)
		if age >= w.span && (c.received-w.readings[old].received >= w.least || age >= w.most) {
			break
		}
		within = max(within, age.Round(time.Second))
	}
	w.readings = w.readings[old:]
	return c.minus(w.readings[0].counts), within
}
