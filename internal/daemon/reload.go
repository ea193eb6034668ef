package daemon

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/webhook-bridge/bridge/internal/certs"
	"github.com/webhook-bridge/bridge/internal/config"
)

// reloadInterval is the time between two looks at the files that hold secrets. A change is taken when two looks agree, so within
// a minute.
const reloadInterval = 10 * time.Second

// reloads reads secrets and certificates again while the server runs.
type reloads struct {
	log     *slog.Logger
	secrets *config.Reloader
	// certificates by listener.
	certificates map[string]*certs.Reloader
	// authorities vouch for client certificates. Nil: there are none.
	authorities *certs.Authorities
	// recheck ends the calls whose credential does not count any more.
	recheck func()
	asked   chan struct{}
}

func newReloads(cfg *config.Config, log *slog.Logger) *reloads {
	return &reloads{
		log: log, secrets: config.NewReloader(cfg), certificates: map[string]*certs.Reloader{}, asked: make(chan struct{}, 1),
		recheck: func() {},
	}
}

// Reload asks the server to read its secrets and certificates again now. It does not wait. If that is asked before [Server.Run],
// it happens then.
func (a *Server) Reload() {
	select {
	case a.reloads.asked <- struct{}{}:
	default: // asked already
	}
}

// run reloads until ctx is done.
func (r *reloads) run(ctx context.Context) {
	tick := time.NewTicker(reloadInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			r.note(r.secrets.Poll())
		case <-r.asked:
			r.all()
		}
		r.recheck() // also when nothing was read: certificates expire
	}
}

// all reads everything again, and logs it without values.
func (r *reloads) all() {
	done := r.secrets.Reload()
	r.note(done)
	renewed, failed := 0, 0
	for _, name := range slices.Sorted(maps.Keys(r.certificates)) {
		switch changed, err := r.certificates[name].Reload(); {
		case err != nil:
			failed++
		case changed:
			renewed++
		}
	}
	if r.authorities != nil {
		switch changed, err := r.authorities.Reload(); {
		case err != nil:
			failed++
		case changed:
			renewed++
		}
	}
	r.log.Info("secrets and certificates were read again", "secrets_changed", len(done.Changed), "secrets_refused", len(done.Refused),
		"certificates_changed", renewed, "certificates_refused", failed)
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
	secrets       []config.Secret
	certificates  map[string]*certs.Reloader
	used, refused *prometheus.Desc
	notAfter      *prometheus.Desc
}

// newSecretCollector returns a collector over the secrets of a configuration, and over the certificates that are there when it is
// read. The labels have places in the configuration, and nothing of a secret.
func newSecretCollector(cfg *config.Config, certificates map[string]*certs.Reloader) *secretCollector {
	labels := []string{"source", "secret"}
	return &secretCollector{
		secrets:      cfg.Secrets(),
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
	for _, s := range c.secrets {
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
