package alerts

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/source"
)

// How often the counters are read, how far back an alert looks, and how often a lasting alert is logged again.
const (
	interval         = 5 * time.Second
	requestWindow    = 5 * time.Minute
	requestLookBack  = 24 * time.Hour
	quarantineWindow = time.Hour
	reminder         = time.Hour
	// askInterval is how often the newest webhooks are asked for, at most.
	askInterval = 30 * time.Second
)

// minRequests is the number of requests that a percentage needs. If the window has fewer, older requests are added.
const minRequests = 10

// Config configures a [Monitor].
type Config struct {
	// Sources have their alerts in [source.Alerts].
	Sources []source.Source
	// Gatherer has the counters of received, accepted, refused and quarantined webhooks.
	Gatherer prometheus.Gatherer
	// Registerer registers the monitor's own metrics. nil registers them nowhere.
	Registerer prometheus.Registerer
	// Logger receives the alerts. nil discards them.
	Logger *slog.Logger
}

// Instance is an instance of the program over the log.
type Instance struct {
	// ID is new for each start of an instance.
	ID string
	// Started is when it started.
	Started time.Time
	// Self says that it is this instance. Ended says that it counts no more.
	Self, Ended bool
	// Counts are the counters that it reported last.
	Counts []*journalv1.SourceCounts
}

// Log is the log that the instances share.
type Log interface {
	// Newest returns when the newest stored webhook of each source was received, by whichever instance. A source without a known
	// webhook is left out.
	Newest(ctx context.Context) (map[string]time.Time, error)
	// Instances returns the instances that were seen lately, this one among them.
	Instances(ctx context.Context) ([]Instance, error)
}

// Claim is the right to evaluate the alerts. Its note goes from one holder to the next.
type Claim interface {
	Note() []byte
	SaveNote(ctx context.Context, note []byte) error
}

// Monitor evaluates the alerts of all sources while it runs.
type Monitor struct {
	gatherer     prometheus.Gatherer
	log          *slog.Logger
	alarms, last *prometheus.GaugeVec

	// mu guards running, next and, while Run does not run, sources. Otherwise only Run uses sources.
	mu      sync.Mutex
	running bool
	// next are the sources that Replace gave, until they are the current ones.
	next []source.Source

	sources []*sourceMonitor
	// sums are the counters of all instances together.
	sums *sums
	// unread says that the instances could not be read at the last look.
	unread bool
	note   noteWriter
}

// New registers the metrics, with no alert raised. It starts nothing.
func New(c Config) (*Monitor, error) {
	m := &Monitor{gatherer: c.Gatherer, log: c.Logger}
	if m.log == nil {
		m.log = slog.New(slog.DiscardHandler)
	}
	m.alarms = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "bridge_source_alarm", Help: "1 while an alert about the source is raised. An alert that is turned off has no series.",
	}, []string{"source", "alarm"})
	m.last = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "bridge_source_last_webhook_timestamp_seconds", Help: "When the last webhook was accepted, since 1970. 0 while none is known.",
	}, []string{"source"})
	for _, s := range c.Sources {
		m.sources = append(m.sources, newSourceMonitor(s, m.log, m.alarms, m.last))
	}
	if c.Registerer == nil {
		return m, nil
	}
	if err := errors.Join(c.Registerer.Register(m.alarms), c.Registerer.Register(m.last)); err != nil {
		return nil, fmt.Errorf("alerts: metrics: %w", err)
	}
	return m, nil
}

// Run evaluates the alerts until ctx is done. It goes on where the note of the claim ends: an alert that another instance has raised
// stays raised, and is not logged again. It asks for the newest webhooks at the start, and before it calls a source silent. Run may
// be called again after it has returned.
func (m *Monitor) Run(ctx context.Context, log Log, claim Claim) {
	m.begin()
	defer m.end()
	last, ok := m.ask(ctx, log)
	now := time.Now()
	m.start(now, last, claim.Note())
	defer m.stop()
	defer m.note.last(ctx, m, claim)
	asked, answered := now, time.Time{}
	if ok {
		answered = now
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !m.read(ctx, log) {
			continue
		}
		now := time.Now()
		m.refresh(now)
		for _, s := range m.sources {
			s.count(now, m.sums.total[s.Name])
		}
		if m.mustAsk(now, asked, answered) {
			last, ok := m.ask(ctx, log)
			if asked = now; ok {
				answered = now
			}
			for _, s := range m.sources {
				s.heard(now, last[s.Name])
			}
		}
		for _, s := range m.sources {
			s.evaluate(now, answered, m.sums.total[s.Name])
		}
		m.note.save(ctx, now, m, claim)
	}
}

// start sets the first readings, from the note if there is one.
func (m *Monitor) start(now time.Time, last map[string]time.Time, text []byte) {
	note, err := readNote(text)
	if err != nil {
		m.log.Warn("alerts: the note of the last holder cannot be read", "error", err)
	}
	m.sums, m.note = newSums(note, now), noteWriter{at: now}
	states := map[string]*journalv1.SourceAlerts{}
	for _, s := range note.GetSources() {
		states[s.GetSource()] = s
	}
	for _, s := range m.sources {
		s.start(now, last[s.Name], states[s.Name], m.sums.total[s.Name])
	}
}

// read adds what the instances counted since the last look. It reports false if they cannot be read now.
func (m *Monitor) read(ctx context.Context, log Log) bool {
	all, err := log.Instances(ctx)
	if err != nil {
		if !m.unread && ctx.Err() == nil {
			m.log.Warn("alerts: the counters of the instances cannot be read", "error", err)
		}
		m.unread = true
		return false
	}
	m.unread = false
	for i := range all {
		if all[i].Self {
			all[i].Counts = ReadCounts(m.gatherer) // newer than what it reported
		}
	}
	m.sums.add(time.Now(), all)
	return true
}

// mustAsk reports whether to ask for the newest webhooks: at once for a source that became silent since the last answer, and now
// and then while a source is silent. After a failure it waits.
func (m *Monitor) mustAsk(now, asked, answered time.Time) bool {
	failed := answered.Before(asked)
	return slices.ContainsFunc(m.sources, func(s *sourceMonitor) bool {
		return s.isSilent(now) && (now.Sub(asked) >= askInterval || !failed && answered.Before(s.silentFrom()))
	})
}

// stop takes back the alerts that are raised: from now on another instance evaluates them, or none.
func (m *Monitor) stop() {
	for _, s := range m.sources {
		for _, a := range s.alerts() {
			if a.isRaised() {
				a.raised = false
				a.gauge.Set(0)
			}
		}
	}
}

// ask reports whether the log answered which webhooks are the newest.
func (m *Monitor) ask(ctx context.Context, log Log) (last map[string]time.Time, ok bool) {
	last, err := log.Newest(ctx)
	if err != nil && ctx.Err() == nil {
		m.log.Warn("alerts: the newest webhooks cannot be read", "error", err)
	}
	return last, err == nil
}
