package daemon

import (
	"net/http"
	"strings"

	"github.com/webhook-bridge/bridge/internal/admin"
	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/internal/console"
	"github.com/webhook-bridge/bridge/internal/intake"
	"github.com/webhook-bridge/bridge/internal/source"
)

// storedSources returns the sources, by name, as stored webhooks are read with them.
func storedSources(in *intake.Intake, sources []source.Source) map[string]*intake.Source {
	all := make(map[string]*intake.Source, len(sources))
	for _, s := range sources {
		s.Reject = false // a stored webhook has no sender to refuse it to
		all[s.Name] = in.Source(s, nil)
	}
	return all
}

// adminHandler serves the operator's listener: the operator's service as JSON, the OpenAPI documents of that and of what this instance
// receives, and pages, which admit callers by themselves. pages may be nil.
func adminHandler(
	operators *admin.Server, document func() *[]byte, admits func() *authenticator, pages http.Handler, listen string,
) (http.Handler, error) {
	service, err := admin.Handler(operators)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/v1/", service)
	serve := func(path string, text func() []byte) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(text())
		})
	}
	serve("/openapi.json", func() []byte { return *document() })
	serve("/openapi/admin.json", func() []byte { return admin.OpenAPI })
	all := http.NewServeMux()
	all.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { admits().middleware(mux).ServeHTTP(w, r) })
	if pages != nil {
		all.Handle(console.Path, pages)
		all.Handle("GET /{$}", http.RedirectHandler(console.Path, http.StatusFound))
	}
	return sameOrigin(listen, all), nil
}

// sameOrigin refuses requests that a foreign web page could make an operator's browser send: a request with another site's
// Origin, and, on a loopback listener, a Host that is no loopback name (DNS rebinding).
func sameOrigin(listen string, next http.Handler) http.Handler {
	loopback := config.IsLoopback(listen)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		origin := r.Header.Get("Origin")
		_, originHost, _ := strings.Cut(origin, "://")
		if origin != "" && originHost != r.Host {
			http.Error(w, "this address is not for pages of other sites", http.StatusForbidden)
			return
		}
		if loopback && !config.IsLoopback(r.Host) {
			http.Error(w, "the Host header names another host: a loopback address answers only to localhost, 127.0.0.1 and [::1]", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}
