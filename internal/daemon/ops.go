package daemon

import (
	"net/http"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/webhook-bridge/bridge/internal/journal"
)

// readiness reports whether webhooks should be sent to this instance now.
type readiness struct {
	serving atomic.Bool
	journal interface{ Health() journal.Health }
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
	if !r.journal.Health().Available {
		return "journal cannot commit"
	}
	return r.webhooks.Problem()
}

// opsHandler serves health and metrics, and nothing else.
func opsHandler(ready *readiness, metrics prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("ok\n"))
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if p := ready.problem(); p != "" {
			http.Error(w, p, http.StatusServiceUnavailable)
			return
		}
		if ready.webhooks.Full() {
			_, _ = w.Write([]byte("ok, and the connection limit of webhooks is reached\n"))
			return
		}
		_, _ = w.Write([]byte("ok\n"))
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	return mux
}
