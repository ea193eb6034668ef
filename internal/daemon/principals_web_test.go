package daemon

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/webhook-bridge/bridge/internal/web"
)

// answer is what a client of HTTP gets.
type answer struct {
	status int
	body   io.Reader
}

// events asks for the events over HTTP, as the holder of a token or of a certificate.
func (l *listened) events(t *testing.T, query, token string, certificates ...tls.Certificate) answer {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(l.authority.Cert)
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: certificates}, ForceAttemptHTTP2: true,
	}}
	t.Cleanup(client.CloseIdleConnections)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+l.Addr("grpc")+web.EventsPath+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return answer{resp.StatusCode, resp.Body}
}

// TestPrincipalsOverHTTP: over HTTP a caller has the rights that it has over gRPC.
func TestPrincipalsOverHTTP(t *testing.T) {
	t.Parallel()
	l := startListened(t)
	l.send(t, "returns", "retino_credit_note_created")
	l.send(t, "other", "retino_credit_note_created")
	credit := l.certificate(t, "credit.example")
	for _, c := range []struct {
		name     string
		answer   answer
		status   int
		has, not string
	}{
		{"nobody", l.events(t, "?stop=latest", ""), http.StatusUnauthorized, "a bearer token or a client certificate is needed", ""},
		{"a wrong token", l.events(t, "?stop=latest", "token-of-nobody-0123"), http.StatusUnauthorized, "is not valid", ""},
		{"an operator", l.events(t, "?stop=latest", "operators-token-0123"), http.StatusForbidden, "may not subscribe", ""},
		{"a sender", l.events(t, "?stop=latest", "token-of-a-sender-01"), http.StatusForbidden, "principal sender may see no source", ""},
		{"a source that it may not see", l.events(t, "?sources=other&stop=latest", "", credit), http.StatusForbidden, "other", "Novák"},
		{"raw webhooks that it may not see", l.events(t, "?payload=raw&stop=latest", "", credit), http.StatusForbidden, "raw", "Novák"},
		{"a certificate", l.events(t, "?stop=latest", "", credit), http.StatusOK, "Novák", `"other"`},
		{"all", l.events(t, "?stop=latest", "token-of-all-0123456"), http.StatusOK, "Novák", ""},
		{"masked", l.events(t, "?stop=latest", "token-of-masked-0123"), http.StatusOK, "credit_note.created", "Novák"},
	} {
		body, err := io.ReadAll(c.answer.body)
		if err != nil {
			t.Fatal(err)
		}
		if c.answer.status != c.status || !strings.Contains(string(body), c.has) || c.not != "" && strings.Contains(string(body), c.not) {
			t.Errorf("%s: %d, want %d with %q and without %q:\n%s", c.name, c.answer.status, c.status, c.has, c.not, body)
		}
	}
}

// TestPrincipalsLoseRightsOverHTTP: a stream of lines says why it ends.
func TestPrincipalsLoseRightsOverHTTP(t *testing.T) {
	t.Parallel()
	l := startListened(t)
	lines := bufio.NewScanner(l.events(t, "", "token-of-masked-0123").body)
	if !lines.Scan() || !strings.Contains(lines.Text(), "subscribed") {
		t.Fatalf("%q, %v", lines.Text(), lines.Err())
	}
	l.write(t, "masked", "token-of-masked-9999")
	l.Reload()
	var last string
	for lines.Scan() {
		last = lines.Text()
	}
	if !strings.Contains(last, "UNAUTHENTICATED") && !strings.Contains(last, "unauthenticated") {
		t.Errorf("the last line is %q", last)
	}
}
