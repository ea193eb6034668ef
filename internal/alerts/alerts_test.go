package alerts

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/webhook-bridge/bridge/internal/source"
)

// rig is a running monitor over counters that a test changes. It runs in a synctest bubble, with fake time.
type rig struct {
	t           *testing.T
	registry    *prometheus.Registry
	received    *prometheus.CounterVec
	accepted    *prometheus.CounterVec
	refused     *prometheus.CounterVec
	quarantined *prometheus.CounterVec
	pings       *prometheus.CounterVec
	log         lockedBuffer
	start       time.Time
	newest      atomic.Pointer[func() map[string]time.Time]
	monitor     *Monitor
}

// lockedBuffer receives the monitor's log while the test reads it.
type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) drain() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.text.Reset()
	return b.text.String()
}

// withMonitor runs test in a bubble with a monitor of the sources.
func withMonitor(t *testing.T, last map[string]time.Duration, sources []source.Source, test func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		counter := func(name string, labels ...string) *prometheus.CounterVec {
			return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name}, labels)
		}
		r := &rig{
			t: t, registry: prometheus.NewRegistry(), start: time.Now(),
			received:    counter("bridge_webhooks_received_total", "source"),
			accepted:    counter("bridge_webhooks_taken_total", "source"),
			refused:     counter("bridge_webhooks_refused_total", "source", "reason"),
			quarantined: counter("bridge_quarantined_total", "source"),
			pings:       counter("bridge_pings_total", "source", "ping"),
		}
		r.registry.MustRegister(r.received, r.accepted, r.refused, r.quarantined, r.pings, counter("bridge_duplicates_total", "source"))
		m, err := New(Config{
			Sources: sources, Gatherer: r.registry, Registerer: r.registry, Logger: slog.New(slog.NewJSONHandler(&r.log, nil)),
		})
		if err != nil {
			t.Fatal(err)
		}
		r.monitor = m
		known := map[string]time.Time{}
		for name, ago := range last {
			known[name] = r.start.Add(-ago)
		}
		r.setNewest(func() map[string]time.Time { return known })
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			m.Run(ctx, r, &note{})
		}()
		test(r)
		cancel()
		<-ended
	})
}

// Newest implements [Log].
func (r *rig) Newest(context.Context) (map[string]time.Time, error) { return (*r.newest.Load())(), nil }

// Instances implements [Log], with one instance.
func (r *rig) Instances(context.Context) ([]Instance, error) {
	return []Instance{{ID: "one", Started: r.start, Self: true}}, nil
}

// note is a claim's note.
type note struct {
	text []byte
	// lost says that the claim is lost.
	lost bool
}

func (n *note) Note() []byte { return n.text }

func (n *note) SaveNote(_ context.Context, text []byte) error {
	if n.lost {
		return errors.New("lost")
	}
	n.text = text
	return nil
}

// setNewest sets the function that the monitor asks for the newest webhooks.
func (r *rig) setNewest(newest func() map[string]time.Time) { r.newest.Store(&newest) }

// pass lets time pass and waits until the monitor did the work of that time.
func (r *rig) pass(d time.Duration) {
	r.t.Helper()
	timer := time.NewTimer(d)
	<-timer.C
	synctest.Wait()
}

// accept counts n accepted requests. refuse counts n requests that were refused for the reason.
func (r *rig) accept(source string, n int) {
	r.received.WithLabelValues(source).Add(float64(n))
	r.accepted.WithLabelValues(source).Add(float64(n))
}

func (r *rig) refuse(source, reason string, n int) {
	r.received.WithLabelValues(source).Add(float64(n))
	r.refused.WithLabelValues(source, reason).Add(float64(n))
}

func (r *rig) ping(source, name string) {
	r.received.WithLabelValues(source).Inc()
	r.pings.WithLabelValues(source, name).Inc()
}

func (r *rig) quarantine(source string, n int) {
	r.accept(source, n)
	r.quarantined.WithLabelValues(source).Add(float64(n))
}

// logged returns the log's lines since the last call, without their time.
func (r *rig) logged() []string {
	r.t.Helper()
	var lines []string
	for _, line := range strings.Split(strings.TrimSpace(r.log.drain()), "\n") {
		if line == "" {
			continue
		}
		var fields struct {
			Level, Msg, Source, Alert, Within string
			SilentFor                         string `json:"silent_for"`
			Unauthorized, Requests            int
			Quarantined                       int
		}
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			r.t.Fatal(err)
		}
		why := ""
		switch fields.Alert {
		case "silent":
			why = fields.SilentFor
		case "unauthorized":
			why = fmt.Sprintf("%d of %d within %s", fields.Unauthorized, fields.Requests, fields.Within)
		case "quarantine":
			why = fmt.Sprintf("%d within %s", fields.Quarantined, fields.Within)
		}
		lines = append(lines, strings.Join([]string{fields.Level, fields.Msg, fields.Source, fields.Alert, why}, " "))
	}
	return lines
}

// expect compares what was logged since the last call.
func (r *rig) expect(want ...string) {
	r.t.Helper()
	if diff := cmp.Diff(want, r.logged()); diff != "" {
		r.t.Errorf("after %v (-want +got):\n%s", time.Since(r.start), diff)
	}
}

// metrics compares the monitor's own metrics, one on each line.
func (r *rig) metrics(want string) {
	r.t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	var got strings.Builder
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if strings.HasPrefix(f.GetName(), "bridge_source_") {
				fmt.Fprintf(&got, "%s %s %s %.3f\n", strings.TrimPrefix(f.GetName(), "bridge_source_"), label(m, "source"), label(m, "alarm"), m.GetGauge().GetValue())
			}
		}
	}
	if diff := cmp.Diff(want, got.String()); diff != "" {
		r.t.Errorf("metrics after %v (-want +got):\n%s", time.Since(r.start), diff)
	}
}

func (r *rig) unix(d time.Duration) string {
	return fmt.Sprintf("%.3f", float64(r.start.Add(d).UnixMilli())/1000)
}

// Silence starts at the last accepted webhook. It is logged once, then every hour, and when it ends.
func TestSilent(t *testing.T) {
	withMonitor(t, nil, []source.Source{{Name: "till", Alerts: source.Alerts{SilentAfter: time.Minute}}, {Name: "other"}}, func(r *rig) {
		r.pass(40 * time.Second)
		r.accept("till", 1)
		r.pass(time.Minute)
		r.expect()
		r.metrics("alarm till silent 0.000\nlast_webhook_timestamp_seconds other  0.000\nlast_webhook_timestamp_seconds till  " + r.unix(45*time.Second) + "\n")
		r.pass(10 * time.Second)
		r.expect("WARN alert raised till silent 1m0s")
		r.metrics("alarm till silent 1.000\nlast_webhook_timestamp_seconds other  0.000\nlast_webhook_timestamp_seconds till  " + r.unix(45*time.Second) + "\n")
		r.pass(59 * time.Minute)
		r.expect()
		r.pass(62 * time.Minute)
		r.expect("WARN alert lasts till silent 1h1m0s", "WARN alert lasts till silent 2h1m0s")
		r.accept("till", 1)
		r.pass(10 * time.Second)
		r.expect("INFO alert cleared till silent 0s")
		r.metrics("alarm till silent 0.000\nlast_webhook_timestamp_seconds other  0.000\nlast_webhook_timestamp_seconds till  " + r.unix(122*time.Minute+55*time.Second) + "\n")
	})
}

// A ping proves the secret, and clears the alert about it. It does not end a silence: the facts are still missing.
func TestPingsAndAlerts(t *testing.T) {
	till := source.Source{Name: "till", Alerts: source.Alerts{SilentAfter: time.Minute, UnauthorizedPercent: 50}}
	withMonitor(t, nil, []source.Source{till}, func(r *rig) {
		r.pass(30 * time.Second)
		r.ping("till", "empty")
		r.pass(40 * time.Second)
		r.expect("WARN alert raised till silent 1m0s")
		r.ping("till", "test")
		r.pass(20 * time.Second)
		r.expect()
		r.refuse("till", "unauthorized", 20)
		r.pass(10 * time.Second)
		r.expect("WARN alert raised till unauthorized 20 of 22 within 5m0s")
		r.pass(48 * time.Hour)
		r.logged() // reminders
		r.ping("till", "test")
		r.pass(10 * time.Second)
		r.expect("INFO alert cleared till unauthorized 0 of 1 within 5m0s")
	})
}

// A webhook that another instance stored prevents the alert, and ends it.
func TestSilentEverywhere(t *testing.T) {
	withMonitor(t, nil, []source.Source{{Name: "till", Alerts: source.Alerts{SilentAfter: time.Minute}}}, func(r *rig) {
		var last atomic.Int64 // 0 is always ten seconds ago
		r.setNewest(func() map[string]time.Time {
			if at := last.Load(); at > 0 {
				return map[string]time.Time{"till": time.Unix(0, at)}
			}
			return map[string]time.Time{"till": time.Now().Add(-10 * time.Second)}
		})
		logged := func(prefix string) {
			t.Helper()
			if lines := r.logged(); len(lines) != 1 || !strings.HasPrefix(lines[0], prefix) {
				t.Errorf("logged %q, want one line that starts with %q", lines, prefix)
			}
		}
		r.pass(time.Hour)
		r.expect()
		last.Store(time.Now().UnixNano())
		r.pass(2 * time.Minute)
		logged("WARN alert raised till silent")
		last.Store(time.Now().UnixNano())
		r.pass(askInterval + interval)
		logged("INFO alert cleared till silent")
	})
}

// A refused request does not end the silence: not if it is refused at once, not while it is in flight, and not if every reading has both.
func TestRefusedIsSilence(t *testing.T) {
	for name, refuse := range map[string]func(r *rig, source string){
		"at once": func(r *rig, source string) { r.refuse(source, "unauthorized", 3) },
		"slowly": func(r *rig, source string) {
			r.received.WithLabelValues(source).Inc()
			r.pass(12 * time.Second)
			r.refused.WithLabelValues(source, "slow_body").Inc()
		},
		"one after the other": func(r *rig, source string) {
			r.received.WithLabelValues(source).Inc()
			for range 3 {
				r.pass(interval)
				r.received.WithLabelValues(source).Inc()
				r.refused.WithLabelValues(source, "unauthorized").Inc()
			}
			r.pass(interval)
			r.refused.WithLabelValues(source, "unauthorized").Inc()
		},
	} {
		t.Run(name, func(t *testing.T) {
			withMonitor(t, nil, []source.Source{{Name: "till", Alerts: source.Alerts{SilentAfter: 59 * time.Minute}}}, func(r *rig) {
				for time.Since(r.start) < time.Hour {
					r.pass(28 * time.Second)
					refuse(r, "till")
				}
				r.expect("WARN alert raised till silent 59m0s")
			})
		})
	}
}

// Silence continues across a restart.
func TestSilentSinceBefore(t *testing.T) {
	last := map[string]time.Duration{"quiet": 50 * time.Minute, "gone": 90 * time.Minute}
	sources := []source.Source{{Name: "quiet", Alerts: source.Alerts{SilentAfter: time.Hour}}, {Name: "gone", Alerts: source.Alerts{SilentAfter: time.Hour}}, {Name: "new", Alerts: source.Alerts{SilentAfter: time.Hour}}}
	withMonitor(t, last, sources, func(r *rig) {
		r.pass(interval)
		r.expect("WARN alert raised gone silent 1h30m5s")
		r.pass(10 * time.Minute)
		r.expect("WARN alert raised quiet silent 1h0m0s")
		r.pass(50 * time.Minute)
		r.expect("WARN alert raised new silent 1h0m0s", "WARN alert lasts gone silent 2h30m5s")
	})
}

// The percentage of refused secrets needs ten requests. If the last five minutes have ten, older ones do not count.
func TestUnauthorized(t *testing.T) {
	withMonitor(t, nil, []source.Source{{Name: "till", Alerts: source.Alerts{UnauthorizedPercent: 50}}, {Name: "all", Alerts: source.Alerts{UnauthorizedPercent: 100}}}, func(r *rig) {
		r.refuse("till", "unauthorized", 9)
		r.pass(interval)
		r.expect() // too few
		r.accept("till", 10)
		r.refuse("till", "rate", 100)
		r.refuse("all", "unauthorized", 10)
		r.pass(interval)
		r.expect("WARN alert raised all unauthorized 10 of 10 within 5m0s")
		r.refuse("till", "unauthorized", 120)
		r.accept("all", 1)
		r.pass(interval)
		r.expect("WARN alert raised till unauthorized 129 of 239 within 5m0s", "INFO alert cleared all unauthorized 10 of 11 within 5m0s")
		r.pass(5 * time.Minute)
		r.accept("till", 9)
		r.pass(interval)
		r.expect() // nine are too few to leave out the older ones
		r.accept("till", 1)
		r.pass(interval)
		r.expect("INFO alert cleared till unauthorized 0 of 10 within 5m0s")
	})
}

// A quiet source that is locked out raises the alert as a busy one does.
func TestUnauthorizedNowAndThen(t *testing.T) {
	withMonitor(t, nil, []source.Source{{Name: "till", Alerts: source.Alerts{UnauthorizedPercent: 50}}}, func(r *rig) {
		for range 9 {
			r.refuse("till", "unauthorized", 1)
			r.pass(time.Hour)
		}
		r.expect()
		r.refuse("till", "unauthorized", 1)
		r.pass(interval)
		r.expect("WARN alert raised till unauthorized 10 of 10 within 9h0m0s")
		for range 5 {
			r.accept("till", 1)
			r.pass(time.Minute)
		}
		r.expect()
		r.accept("till", 1)
		r.pass(interval)
		r.expect("INFO alert cleared till unauthorized 4 of 10 within 3h5m5s")
	})
}

// The alert lasts when the vendor gives up. Once a webhook is accepted, refusals older than a day do not count.
func TestUnauthorizedUntilLetIn(t *testing.T) {
	withMonitor(t, nil, []source.Source{{Name: "till", Alerts: source.Alerts{UnauthorizedPercent: 50}}}, func(r *rig) {
		r.refuse("till", "unauthorized", 10)
		r.pass(interval)
		r.expect("WARN alert raised till unauthorized 10 of 10 within 5m0s")
		r.pass(25 * time.Hour)
		if lines := r.logged(); len(lines) != 25 || lines[24] != "WARN alert lasts till unauthorized 0 of 0 within 5m0s" {
			t.Errorf("after a day: %q", lines)
		}
		r.refuse("till", "rate", 10)
		r.pass(interval)
		r.expect()
		r.accept("till", 1)
		r.pass(interval)
		r.expect("INFO alert cleared till unauthorized 0 of 11 within 5m0s")
	})
}

// A quarantined webhook counts for an hour.
func TestQuarantine(t *testing.T) {
	withMonitor(t, nil, []source.Source{{Name: "till", Alerts: source.Alerts{Quarantined: 3}}, {Name: "off"}}, func(r *rig) {
		r.quarantine("off", 100)
		r.quarantine("till", 2)
		r.pass(30 * time.Minute)
		r.expect()
		r.quarantine("till", 1)
		r.pass(interval)
		r.expect("WARN alert raised till quarantine 3 within 1h0m0s")
		r.pass(30*time.Minute - interval)
		r.expect()
		r.pass(interval)
		r.expect("INFO alert cleared till quarantine 1 within 1h0m0s")
		r.metrics("alarm till quarantine 0.000\nlast_webhook_timestamp_seconds off  " + r.unix(interval) +
			"\nlast_webhook_timestamp_seconds till  " + r.unix(30*time.Minute+interval) + "\n")
	})
}

// A window keeps only the readings that its span needs, and its growth is exact.
func TestWindow(t *testing.T) {
	w := window{span: time.Hour}
	now := time.Unix(0, 0)
	for i := range 10_000 {
		got, _ := w.add(now.Add(time.Duration(i)*interval), counts{quarantined: float64(i)})
		if got.quarantined > 720 || i >= 720 && got.quarantined != 720 {
			t.Fatalf("reading %d: %v", i, got)
		}
	}
	if n := len(w.readings); n > 721 {
		t.Errorf("%d readings are kept", n)
	}
}

// A window that looks further back keeps few readings too: only those in which a counter changed.
func TestWindowLooksBack(t *testing.T) {
	w := window{span: 5 * time.Minute, minRequests: 10, maxAge: 24 * time.Hour}
	now := time.Unix(0, 0)
	var sent float64
	for i := range 100_000 {
		if i%12 == 0 { // a request a minute
			sent++
		}
		got, _ := w.add(now.Add(time.Duration(i)*interval), counts{received: sent})
		if i > 12*10 && got.received != 10 {
			t.Fatalf("reading %d: %v", i, got)
		}
		if n := len(w.readings); n > 12 {
			t.Fatalf("%d readings are kept", n)
		}
	}
}

// A second monitor on one registry is an error, not a panic.
func TestMetricsTwice(t *testing.T) {
	registry := prometheus.NewRegistry()
	c := Config{Sources: []source.Source{{Name: "till", Alerts: source.Alerts{Quarantined: 1}}}, Gatherer: registry, Registerer: registry}
	if _, err := New(c); err != nil {
		t.Fatal(err)
	}
	if _, err := New(c); err == nil || !strings.HasPrefix(err.Error(), "alerts: ") {
		t.Errorf("got %v", err)
	}
}
