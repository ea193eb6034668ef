package daemon

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/webhook-bridge/bridge/internal/admin"
	"github.com/webhook-bridge/bridge/internal/secret"
)

func TestAuthenticator(t *testing.T) {
	g := newAuthenticator(secret.List("old-token", "new-token"))
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
		if got := g.admits(authorization); got != want {
			t.Errorf("authorization %q: admitted %v, want %v", authorization, got, want)
		}
	}
	if !newAuthenticator(nil).admits("") {
		t.Error("an authenticator without tokens refuses")
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
			h := testAdminHandler(t, newAuthenticator(nil), c.listen)
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
	h := testAdminHandler(t, newAuthenticator(secret.List("token-of-the-operator")), ":8082")
	for _, path := range []string{"/openapi.json", "/openapi/admin.json", "/v1/webhooks?page_size=1001"} {
		for authorization, want := range map[string]int{
			"":                             http.StatusUnauthorized,
			"Bearer token-of-the-operator": http.StatusOK,
		} {
			if strings.HasPrefix(path, "/v1/") && want == http.StatusOK {
				want = http.StatusBadRequest // by the service itself
			}
			r := httptest.NewRequest(http.MethodGet, path, nil)
			r.Header.Set("Authorization", authorization)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != want {
				t.Errorf("%s, authorization %q: status %d, want %d", path, authorization, w.Code, want)
			}
		}
	}
}

// testAdminHandler is a handler without a journal, which no request here comes to.
func testAdminHandler(t *testing.T, a authenticator, listen string) http.Handler {
	t.Helper()
	document := []byte("{}")
	h, err := adminHandler(admin.New(admin.Config{}), func() *[]byte { return &document }, func() *authenticator { return &a }, nil, listen)
	if err != nil {
		t.Fatal(err)
	}
	return h
}
