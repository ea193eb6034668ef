package web

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestGuard: which pages may call, and what a browser is told.
func TestGuard(t *testing.T) {
	t.Parallel()
	const app, evil = "https://app.example", "https://evil.example"
	from := func(local bool, origins ...string) guard {
		return guard{func() []string { return origins }, func() bool { return local }}
	}
	none, listed, all, local := from(false), from(false, app), from(false, "*"), from(true)
	for _, tt := range []struct {
		name               string
		guard              guard
		method             string
		host, origin, site string
		status             int
		allowed            string
	}{
		{"curl", none, "GET", "bridge:9090", "", "", 200, ""},
		{"its own page", none, "POST", "bridge:9090", "https://bridge:9090", "same-origin", 200, ""},
		{"its own page in an old browser", none, "POST", "bridge:9090", "https://bridge:9090", "", 200, ""},
		{"its own page behind a proxy with another Host", none, "POST", "10.0.0.1:9090", app, "same-origin", 200, ""},
		{"an address that was typed", none, "GET", "bridge:9090", "", "none", 200, ""},
		{"another page", none, "GET", "bridge:9090", app, "cross-site", 403, ""},
		{"another page in an old browser", none, "GET", "bridge:9090", app, "", 403, ""},
		{"another page's picture", none, "GET", "bridge:9090", "", "cross-site", 403, ""},
		{"another page's question", none, "OPTIONS", "bridge:9090", app, "cross-site", 403, ""},
		{"a page without origin", none, "GET", "bridge:9090", "null", "", 403, ""},
		{"a listed page", listed, "GET", "bridge:9090", app, "cross-site", 200, app},
		{"a listed page's question", listed, "OPTIONS", "bridge:9090", app, "cross-site", 204, app},
		{"a page that is not listed", listed, "GET", "bridge:9090", evil, "cross-site", 403, ""},
		{"a page with a listed name in its own", listed, "GET", "bridge:9090", app + ".evil", "cross-site", 403, ""},
		{"a listed page, not encrypted", listed, "GET", "bridge:9090", "http://app.example", "cross-site", 403, ""},
		{"any page", all, "POST", "bridge:9090", evil, "cross-site", 200, evil},
		{"any page's question", all, "OPTIONS", "bridge:9090", evil, "cross-site", 204, evil},
		{"localhost", local, "GET", "localhost:9090", "", "", 200, ""},
		{"a name that leads here", local, "GET", "evil.example:9090", "", "same-origin", 403, ""},
		{"a name that leads here, in an old browser", local, "POST", "evil.example:9090", "http://evil.example:9090", "", 403, ""},
	} {
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !tt.guard.answers(w, r) {
				w.WriteHeader(http.StatusOK)
			}
		})
		r := httptest.NewRequest(tt.method, "/", nil)
		r.Host = tt.host
		for name, value := range map[string]string{"Origin": tt.origin, "Sec-Fetch-Site": tt.site} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if got := w.Header().Get("Access-Control-Allow-Origin"); w.Code != tt.status || got != tt.allowed {
			t.Errorf("%s: status %d, allowed %q; want %d, %q", tt.name, w.Code, got, tt.status, tt.allowed)
		}
		if got := strings.Contains(w.Body.String(), "Host header"); got != (tt.host == "evil.example:9090") {
			t.Errorf("%s: the answer is %q", tt.name, w.Body)
		}
		if got := w.Header().Get("Access-Control-Allow-Headers") != ""; got != (tt.allowed != "") {
			t.Errorf("%s: allowed headers: %t", tt.name, got)
		}
		if got := w.Header().Get("Vary"); (got == "Origin") != (len(tt.guard.origins()) > 0) {
			t.Errorf("%s: Vary %q", tt.name, got)
		}
		if w.Header().Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: credentials are allowed", tt.name)
		}
	}
}
