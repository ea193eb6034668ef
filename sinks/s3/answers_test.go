package s3_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/webhook-bridge/bridge/sinks/s3"
)

// An answer that never ends is an error soon, and a redirect gets no request, since it would get a session's token.
func TestHostileAnswers(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") }))
	defer elsewhere.Close()
	for name, answer := range map[string]http.HandlerFunc{
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL+r.URL.Path, http.StatusTemporaryRedirect)
		},
		"endless": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			for text := []byte("<Error><Message>" + strings.Repeat("x", 1<<16)); ; {
				if _, err := w.Write(text); err != nil {
					return
				}
			}
		},
	} {
		server := httptest.NewServer(answer)
		s, err := s3.Open(t.Context(), origin, s3.Config{
			Bucket: "events", Endpoint: server.URL, PathStyle: true, Timeout: 20 * time.Second,
			Credentials: func() s3.Credentials { return s3.Credentials{AccessKeyID: "id", SecretAccessKey: "secret"} },
		})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		n, err := s.Deliver(t.Context(), batch(t, 1, 3))
		if n != 0 || err == nil || time.Since(began) > 10*time.Second || len(err.Error()) > 2000 {
			t.Errorf("%s: %d, %.300v, after %s", name, n, err, time.Since(began))
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		server.Close()
	}
}
