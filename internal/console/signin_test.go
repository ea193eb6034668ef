package console_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/webhook-bridge/bridge/internal/console"
)

// TestSignIn: without a session there is only the form; a session is an HttpOnly cookie of the same site, and ends.
func TestSignIn(t *testing.T) {
	r := startRig(t, true)
	for _, path := range []string{"/", "/console/", "/console/webhooks", "/console/none"} {
		if p := r.get(path); p.status != http.StatusOK || !strings.HasPrefix(p.path, "/console/sign-in") || strings.Contains(p.text, "<nav") {
			t.Errorf("%s leads to %s: %d", path, p.path, p.status)
		}
	}
	if p := r.submit("/console/webhooks", url.Values{"text": {"x"}}); !strings.HasPrefix(p.path, "/console/sign-in") {
		t.Errorf("a form leads to %s", p.path)
	}
	if p := r.submit("/console/sign-in", url.Values{"token": {"wrong"}}); p.status != http.StatusForbidden || !strings.Contains(p.text, "is not an operator") {
		t.Errorf("a wrong token: %d", p.status)
	}
	checkHTML(t, r.get("/console/sign-in").text)

	jar := r.client.Jar
	r.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	p := r.submit("/console/sign-in", url.Values{"token": {operatorToken}, "next": {"https://evil.example/console/"}})
	r.client.CheckRedirect = nil
	cookie := p.header.Get("Set-Cookie")
	for _, want := range []string{"HttpOnly", "SameSite=Strict", "Path=/", "Max-Age="} {
		if !strings.Contains(cookie, want) {
			t.Errorf("the cookie lacks %s: %s", want, strings.SplitN(cookie, ";", 2)[1])
		}
	}
	if strings.Contains(cookie, operatorToken) || p.header.Get("Location") != "/console/" {
		t.Errorf("the sign-in leads to %s", p.header.Get("Location"))
	}
	if p := r.get("/console/webhooks"); p.path != "/console/webhooks" || !strings.Contains(p.text, "Sign out") {
		t.Errorf("with a session: %s", p.path)
	}

	// Another site's page has no way in, with the cookie or without.
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url("/console/sign-out"), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	if p := r.do(req); p.status != http.StatusForbidden {
		t.Errorf("another site's form is answered %d", p.status)
	}
	if p := r.get("/console/"); !strings.Contains(p.text, "Sign out") {
		t.Error("another site's form ended the session")
	}
	u, _ := url.Parse(r.url("/"))
	old := jar.Cookies(u)
	r.submit("/console/sign-out", nil)
	jar.SetCookies(u, old)
	if p := r.get("/console/"); strings.Contains(p.text, "Sign out") {
		t.Error("the session did not end")
	}
	// The service itself takes no cookie.
	if p := r.get("/v1/webhooks"); p.status != http.StatusUnauthorized {
		t.Errorf("/v1 is answered %d", p.status)
	}
}

// TestAssets: browsers keep the files for good, since another content has another name.
func TestAssets(t *testing.T) {
	r := startRig(t, true)
	text := r.get("/console/sign-in").text
	n := 0
	for part := range strings.SplitSeq(text, `"`) {
		if !strings.HasPrefix(part, "/console/static/") {
			continue
		}
		n++
		if p := r.get(part); p.status != http.StatusOK || !strings.Contains(p.header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %d, %v", part, p.status, p.header)
		}
	}
	if n < 4 {
		t.Errorf("the page names %d files", n)
	}
	if p := r.get("/console/static/console.css"); p.status != http.StatusNotFound {
		t.Errorf("a name without a hash is answered %d", p.status)
	}
}

type noOperator struct{}

func (noOperator) Open() bool { return false }

func (noOperator) Admit(ctx context.Context, _ string) (context.Context, string, bool) {
	return ctx, "", false
}

// TestRefusedSignIns: a stranger who tries many tokens does not fill the log.
func TestRefusedSignIns(t *testing.T) {
	var log bytes.Buffer
	c, err := console.New(console.Config{Operators: noOperator{}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	const tries = 1000
	for range tries {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/console/sign-in", strings.NewReader("token=guess"))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		c.ServeHTTP(w, r)
		if w.Code != http.StatusForbidden {
			t.Fatalf("answered %d", w.Code)
		}
	}
	if n := strings.Count(log.String(), "sign-in to the console refused"); n == 0 || n > tries/4 {
		t.Errorf("%d lines in the log for %d tries", n, tries)
	}
}
