package daemon

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/webhook-bridge/bridge/internal/certs"
	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/internal/handover"
)

// reloadInterval is the time between two looks at the files that hold secrets. A change is taken when two looks agree, so within
// a minute.
const reloadInterval = 10 * time.Second

// reloads reads secrets, certificates and the configuration again while the server runs. Only one goroutine does, so that two reloads never
// mix.
type reloads struct {
	log     *slog.Logger
	secrets *config.Reloader
	// certificates by listener.
	certificates map[string]*certs.Reloader
	// authorities vouch for client certificates. Nil: there are none.
	authorities *certs.Authorities
	// recheck ends the calls whose credential does not count any more.
	recheck func()
	// whole reads the whole configuration again. Nil: it has no file, so only secrets and certificates are read.
	whole func(context.Context) reloaded
	asked chan struct{}
	// calls are reloads whose callers wait. ended is closed when there are no more.
	calls chan reloadCall
	ended chan struct{}
	last  atomic.Pointer[lastReload]
	// manager hears when a reload begins and ends.
	manager serviceManager
}

// reloadCall is a reload that somebody waits for.
type reloadCall struct {
	ctx    context.Context //nolint:containedctx // it goes to another goroutine with the call
	result chan reloaded   // has room for the result
}

// lastReload is the last reload that was tried.
type lastReload struct {
	reloaded

	at time.Time
	// applied and refused are how many there were, appliedAt is when the last one was applied.
	applied, refused int
	appliedAt        time.Time
}

func newReloads(cfg *config.Config, log *slog.Logger) *reloads {
	r := &reloads{
		log: log, secrets: config.NewReloader(cfg), certificates: map[string]*certs.Reloader{}, recheck: func() {},
		asked: make(chan struct{}, 1), calls: make(chan reloadCall), ended: make(chan struct{}), manager: serviceManager{silent: true},
	}
	r.last.Store(&lastReload{appliedAt: time.Now()}) // the start
	return r
}

// Reload asks the server to read its configuration again now, with its secrets and certificates. It does not wait. If that is asked before
// [Server.Run], it happens then.
func (a *Server) Reload() {
	select {
	case a.reloads.asked <- struct{}{}:
	default: // asked already
	}
}

var errNotServing = errors.New("the server is starting or stopping: it reads no configuration now")

// call reloads, and waits for the result.
func (r *reloads) call(ctx context.Context) (reloaded, error) {
	c := reloadCall{ctx, make(chan reloaded, 1)}
	select {
	case r.calls <- c:
		return <-c.result, nil
	case <-r.ended:
		return reloaded{}, errNotServing
	case <-ctx.Done():
		return reloaded{}, ctx.Err()
	}
}

// run reloads until ctx is done.
func (r *reloads) run(ctx context.Context) {
	defer close(r.ended)
	tick := time.NewTicker(reloadInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			r.note(r.secrets.Poll())
		case <-r.asked:
			r.all(ctx)
		case c := <-r.calls:
			c.result <- r.all(c.ctx)
		}
		r.recheck() // also when nothing was read: certificates expire
	}
}

// all reads everything again, and logs it without values. A configuration that is refused leaves everything as it was: then certificates and
// secrets are not read either, until the next tick.
func (r *reloads) all(ctx context.Context) (done reloaded) {
	r.manager.tell(handover.ReloadingState())
	defer r.manager.tell(handover.ReadyState)
	secretsRefused := 0
	if r.whole != nil {
		if done = r.whole(ctx); len(done.problems) > 0 {
			r.noteRefused(done)
			return done
		}
	} else {
		read := r.secrets.Reload()
		r.note(read)
		done.changes.Secrets, secretsRefused = read.Changed, len(read.Refused)
	}
	renewed, failed := r.reloadCertificates()
	r.log.Info("secrets and certificates were read again", "secrets_changed", len(done.changes.Secrets), "secrets_refused", secretsRefused,
		"certificates_changed", renewed, "certificates_refused", failed)
	if r.whole != nil {
		r.noteApplied(done)
	}
	return done
}

func (r *reloads) reloadCertificates() (renewed, failed int) {
	count := func(changed bool, err error) {
		switch {
		case err != nil:
			failed++
		case changed:
			renewed++
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.certificates)) {
		count(r.certificates[name].Reload())
	}
	if r.authorities != nil {
		count(r.authorities.Reload())
	}
	return renewed, failed
}

func (r *reloads) noteRefused(done reloaded) {
	for _, p := range done.problems {
		r.log.Error("configuration refused", "problem", p.String())
	}
	r.log.Error("the configuration was not reloaded: everything stays as it was", "problems", len(done.problems))
	last := *r.last.Load()
	last.reloaded, last.at = done, time.Now()
	last.refused++
	r.last.Store(&last)
}

// changeAttributes are what changed, for the log.
func changeAttributes(c config.Changes) (attributes []any) {
	for _, x := range []struct {
		what  string
		names []string
	}{
		{"sources_added", c.Sources.Added},
		{"sources_removed", c.Sources.Removed},
		{"sources_changed", c.Sources.Changed},
		{"sinks_added", c.Sinks.Added},
		{"sinks_removed", c.Sinks.Removed},
		{"sinks_changed", c.Sinks.Changed},
		{"principals_added", c.Principals.Added},
		{"principals_removed", c.Principals.Removed},
		{"principals_changed", c.Principals.Changed},
		{"keys", c.Keys},
	} {
		if len(x.names) > 0 {
			attributes = append(attributes, x.what, x.names)
		}
	}
	return attributes
}

func (r *reloads) noteApplied(done reloaded) {
	for _, s := range done.changes.Secrets {
		r.log.Info("secret changed", "source", s.Source, "secret", s.Key)
	}
	r.log.Info("configuration reloaded", changeAttributes(done.changes)...)
	last := *r.last.Load()
	last.reloaded, last.at, last.appliedAt = done, time.Now(), time.Now()
	last.applied++
	r.last.Store(&last)
}

// note logs what became of secrets.
func (r *reloads) note(done config.Reloaded) {
	for _, s := range done.Changed {
		r.log.Info("secret changed", "source", s.Source, "secret", s.Key)
	}
	for _, p := range done.Refused {
		r.log.Warn("secret not changed: the old one stays", "secret", p.Path, "problem", p.Reason)
	}
}

// secretCollector reports the use of secrets when metrics are scraped.
type secretCollector struct {
	current       func() *config.Config
	certificates  map[string]*certs.Reloader
	used, refused *prometheus.Desc
	notAfter      *prometheus.Desc
}

// newSecretCollector returns a collector over the secrets of the configuration that is in effect, and over the certificates that are there when it is
// read. The labels have places in the configuration, and nothing of a secret.
func newSecretCollector(current func() *config.Config, certificates map[string]*certs.Reloader) *secretCollector {
	labels := []string{"source", "secret"}
	return &secretCollector{
		current:      current,
		certificates: certificates,
		used: prometheus.NewDesc("bridge_secret_last_used_timestamp_seconds",
			"When the secret was used last; 0 if it was not since it was read.", labels, nil),
		refused: prometheus.NewDesc("bridge_secret_refused",
			"1 while the secret's file has a content that was refused, so that the old secret stays.", labels, nil),
		notAfter: prometheus.NewDesc("bridge_certificate_expiry_timestamp_seconds",
			"When the certificate of the listener expires.", []string{"listener"}, nil),
	}
}

// Describe implements [prometheus.Collector].
func (c *secretCollector) Describe(out chan<- *prometheus.Desc) {
	out <- c.used
	out <- c.refused
	out <- c.notAfter
}

// Collect implements [prometheus.Collector].
func (c *secretCollector) Collect(out chan<- prometheus.Metric) {
	for _, s := range c.current().Secrets() {
		used, refused := 0.0, 0.0
		if at := s.Value.LastUsed(); !at.IsZero() {
			used = float64(at.Unix())
		}
		if s.Value.Refused() {
			refused = 1
		}
		out <- prometheus.MustNewConstMetric(c.used, prometheus.GaugeValue, used, s.Source, s.Key)
		out <- prometheus.MustNewConstMetric(c.refused, prometheus.GaugeValue, refused, s.Source, s.Key)
	}
	for name, r := range c.certificates {
		if at := r.NotAfter(); !at.IsZero() {
			out <- prometheus.MustNewConstMetric(c.notAfter, prometheus.GaugeValue, float64(at.Unix()), name)
		}
	}
}
