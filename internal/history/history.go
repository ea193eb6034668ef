// Package history remembers the last hour of the program's own metrics, for people who look at it without a metrics server.
//
// A [Recorder] reads the metrics every ten seconds, as a scrape does, and keeps of each reading only the counters of sources and
// the histogram of ingest. It is bounded: an hour, and [maxSources] sources. It adds nothing to the receipt of webhooks. All is in memory: a
// program that starts anew has no history. Other replicas have their own.
package history

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// Interval is the time between two readings.
	Interval = 10 * time.Second
	// Span is how far back readings are kept.
	Span = time.Hour
	// maxReadings is how many readings are kept: a span has one more than it has intervals.
	maxReadings = int(Span/Interval) + 1
	// maxSources is how many sources are told apart. The totals have all of them.
	maxSources = 200
)

// Counts are what was counted of webhooks in some time.
type Counts struct {
	// Received are requests with any outcome, Accepted those that were answered with success, Refused the others.
	Received, Accepted, Refused float64
	// Duplicates had been received before. Quarantined became no events.
	Duplicates, Quarantined float64
}

// minus returns the difference. It has no negative count: a counter that is made anew begins at 0.
func (c Counts) minus(old Counts) Counts {
	d := func(a, b float64) float64 { return max(a-b, 0) }
	return Counts{
		d(c.Received, old.Received), d(c.Accepted, old.Accepted), d(c.Refused, old.Refused),
		d(c.Duplicates, old.Duplicates), d(c.Quarantined, old.Quarantined),
	}
}

// reading is what is kept of the metrics at one moment.
type reading struct {
	at      time.Time
	total   Counts
	sources map[string]Counts
	refused map[string]map[string]float64 // by source and reason
	// bounds are the upper bounds of ingest's buckets in seconds, and cumulative how many webhooks are below each; count is all.
	bounds     []float64
	cumulative []uint64
	count      uint64
	alerts     map[string][]string
}

// Recorder has the history. It is safe for concurrent use.
type Recorder struct {
	metrics prometheus.Gatherer

	mu       sync.RWMutex
	readings []*reading // the oldest first; guarded by mu
}

// New returns a Recorder of the metrics. It starts nothing.
func New(metrics prometheus.Gatherer) *Recorder { return &Recorder{metrics: metrics} }

// Run reads the metrics, at once and then at each interval, until ctx is done.
func (r *Recorder) Run(ctx context.Context) {
	tick := time.NewTicker(Interval)
	defer tick.Stop()
	for {
		r.read(time.Now())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (r *Recorder) read(now time.Time) {
	next := read(r.metrics, now)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.readings) == maxReadings {
		r.readings = slices.Delete(r.readings, 0, 1)
	}
	r.readings = append(r.readings, next)
}

// Point is what happened between two readings.
type Point struct {
	// At is when it ended, and For how long it was.
	At  time.Time
	For time.Duration
	Counts

	// P99 is the time, in seconds, within which 99 of 100 webhooks were answered with success. It is NaN if there was none.
	P99 float64
}

// Points returns the points of the last hour, the oldest first.
func (r *Recorder) Points() []Point {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var all []Point
	for i := 1; i < len(r.readings); i++ {
		all = append(all, between(r.readings[i-1], r.readings[i]))
	}
	return all
}

func between(a, b *reading) Point {
	return Point{At: b.at, For: b.at.Sub(a.at), Counts: b.total.minus(a.total), P99: quantile(a, b, .99)}
}

// Source is what the history knows of one source.
type Source struct {
	// Rate is how many requests a second came in the last minute.
	Rate float64
	// Hour is what was counted in the last hour, or since the start.
	Hour Counts
	// Refused are the refused requests of that time, by reason.
	Refused map[string]float64
	// Alerts are the names of the alerts that are raised now, in order.
	Alerts []string
}

// Sources returns what is known of the sources, by name.
func (r *Recorder) Sources() map[string]Source {
	r.mu.RLock()
	defer r.mu.RUnlock()
	all := make(map[string]Source)
	if len(r.readings) == 0 {
		return all
	}
	last, first := r.readings[len(r.readings)-1], r.readings[0]
	minute := r.readings[max(0, len(r.readings)-1-int(time.Minute/Interval))]
	for name, now := range last.sources {
		s := Source{Hour: now.minus(first.sources[name]), Refused: map[string]float64{}, Alerts: last.alerts[name]}
		if took := last.at.Sub(minute.at); took > 0 {
			s.Rate = now.minus(minute.sources[name]).Received / took.Seconds()
		}
		for reason, n := range last.refused[name] {
			if d := n - first.refused[name][reason]; d > 0 {
				s.Refused[reason] = d
			}
		}
		all[name] = s
	}
	return all
}

// Since returns when the history begins. It is the zero time if there is none.
func (r *Recorder) Since() time.Time {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if len(r.readings) == 0 {
		return time.Time{}
	}
	return r.readings[0].at
}

// quantile estimates a quantile of the times between two readings, as Prometheus does: evenly spread within a bucket.
func quantile(a, b *reading, q float64) float64 {
	n := b.count - a.count
	if b.count <= a.count || len(a.cumulative) != len(b.cumulative) {
		return math.NaN()
	}
	rank, below, from := q*float64(n), 0.0, 0.0
	for i, bound := range b.bounds {
		upTo := float64(b.cumulative[i] - a.cumulative[i])
		if upTo >= rank {
			return from + (bound-from)*(rank-below)/(upTo-below)
		}
		below, from = upTo, bound
	}
	return from // beyond the last bound
}
