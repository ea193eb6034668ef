package daemon

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/pprof"
	"strings"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/webhook-bridge/bridge/internal/journal"
)

// readiness reports whether webhooks should be sent to this instance now.
type readiness struct {
	serving atomic.Bool
	journal interface{ Health() journal.Health }
	// config returns the fingerprint of the configuration.
	config func() string
	// webhooks is the vendors' listener.
	webhooks interface {
		Problem() string
		Full() bool
	}
}

// problem returns the reason why the program is not ready. It is empty if the program is ready.
func (r *readiness) problem() string {
	if !r.serving.Load() {
		return "starting or stopping"
	}
	switch h := r.journal.Health(); {
	case errors.Is(h.Problem, journal.ErrDataLoss):
		return "journal lost data that it had confirmed: restart with --accept-loss, or restore the data"
	case !h.Available && h.Problem != nil:
		return "journal cannot commit: " + strings.Join(strings.Fields(h.Problem.Error()), " ")
	case !h.Available:
		return "journal cannot commit"
	}
	return r.webhooks.Problem()
}

// notices returns what an operator should know of a program that is ready.
func (r *readiness) notices() (all []string) {
	h := r.journal.Health()
	if h.LostCommits > 0 || h.LostEvents > 0 {
		all = append(all, fmt.Sprintf("journal: the disk lost at least %d commits and %d events; an operator accepted that",
			h.LostCommits, h.LostEvents))
	}
	if h.Damaged > 0 {
		all = append(all, fmt.Sprintf("journal: the event at position %d cannot be read: bridge verify lists all damage", h.Damaged))
	}
	return all
}

// opsHandler serves health and metrics and, if asked for, Go's profiles.
func opsHandler(ready *readiness, metrics prometheus.Gatherer, profiles bool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("ok\n"))
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if p := ready.problem(); p != "" {
			http.Error(w, p, http.StatusServiceUnavailable)
			return
		}
		first := "ok"
		if ready.webhooks.Full() {
			first = "ok, and the connection limit of webhooks is reached"
		}
		_, _ = fmt.Fprintf(w, "%s\nconfig: %s\n", first, ready.config())
		for _, notice := range ready.notices() {
			_, _ = fmt.Fprintln(w, notice)
		}
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{EnableOpenMetrics: true})) // Exemplars need it.
	if profiles {
		serveProfiles(mux)
	}
	return mux
}

// serveProfiles serves Go's profiles. A profile over some time may be asked for as long as the listener's time for an answer allows.
func serveProfiles(mux *http.ServeMux) {
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
}
