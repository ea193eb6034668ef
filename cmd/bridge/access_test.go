package main

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestGate(t *testing.T) {
	g := newGate([]string{"old-token", "new-token"})
	for authorization, want := range map[string]bool{
		"":                   false,
		"Bearer":             false,
		"Bearer ":            false,
		"Bearer wrong":       false,
		"Basic old-token":    false,
		"Bearer old-token":   true,
		"bearer new-token":   true,
		"Bearer old-token x": false,
	} {
		if got := g.open(authorization); got != want {
			t.Errorf("authorization %q: open %v, want %v", authorization, got, want)
		}
	}
	if !newGate(nil).open("") {
		t.Error("a gate without tokens is closed")
	}
}

func TestAdminIsNotForOtherSites(t *testing.T) {
	for _, c := range []struct {
		name, listen, host, origin string
		want                       int
	}{
		{"an operator's curl", "127.0.0.1:8082", "127.0.0.1:8082", "", http.StatusOK},
		{"localhost by name", "127.0.0.1:8082", "localhost:8082", "", http.StatusOK},
		{"IPv6", "[::1]:8082", "[::1]:8082", "", http.StatusOK},
		{"its own page", "127.0.0.1:8082", "127.0.0.1:8082", "http://127.0.0.1:8082", http.StatusOK},
		{"another site's page", "127.0.0.1:8082", "127.0.0.1:8082", "https://evil.example", http.StatusForbidden},
		{"a name that points here", "127.0.0.1:8082", "evil.example:8082", "", http.StatusForbidden},
		{"a name that points here, and its page", "127.0.0.1:8082", "evil.example:8082", "http://evil.example:8082", http.StatusForbidden},
		{"a null origin", "127.0.0.1:8082", "127.0.0.1:8082", "null", http.StatusForbidden},
		{"a real name on a public address", ":8082", "bridge.example:8082", "", http.StatusOK},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := adminHandler([]byte("{}"), newGate(nil), c.listen)
			r := httptest.NewRequest(http.MethodGet, "/openapi.json", nil)
			r.Host = c.host
			if c.origin != "" {
				r.Header.Set("Origin", c.origin)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != c.want {
				t.Errorf("status %d, want %d", w.Code, c.want)
			}
		})
	}
}

func TestAdminAsksForTheToken(t *testing.T) {
	h := adminHandler([]byte("{}"), newGate([]string{"token-of-the-operator"}), ":8082")
	for authorization, want := range map[string]int{
		"":                             http.StatusUnauthorized,
		"Bearer token-of-the-operator": http.StatusOK,
	} {
		r := httptest.NewRequest(http.MethodGet, "/openapi.json", nil)
		r.Header.Set("Authorization", authorization)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("authorization %q: status %d, want %d", authorization, w.Code, want)
		}
	}
}
