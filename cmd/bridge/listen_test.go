package main

import (
	"crypto/rand"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// developer is a program under development that receives events. It is busy at the first request, and refuses one event.
type developer struct {
	t        *testing.T
	verifier *standardwebhooks.Webhook

	mu       sync.Mutex
	requests int
	refuses  string
	// accepted has the ids of the events that were accepted.
	accepted []string
}

func (d *developer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.requests++
	body, err := io.ReadAll(r.Body)
	if err != nil {
		d.t.Error(err)
	}
	if err := d.verifier.Verify(body, r.Header); err != nil {
		d.t.Error(err)
	}
	id := r.Header.Get("Ce-Id")
	switch d.requests {
	case 1:
		w.WriteHeader(http.StatusServiceUnavailable)
	case 4:
		d.refuses = id
		w.WriteHeader(http.StatusUnprocessableEntity)
	default:
		d.accepted = append(d.accepted, id)
	}
}

// TestListen: a developer's program gets each event of a running server once, in order, signed, and goes on where it stopped.
func TestListen(t *testing.T) {
	p := startBridge(t, retinoConfig(t.TempDir()))
	const events = 20
	webhooks := &load{addr: p.addr("webhooks"), connections: 1, limit: events}
	webhooks.run(t.Context())

	key := make([]byte, 24)
	_, _ = rand.Read(key) // never fails
	secret := "whsec_" + base64.StdEncoding.EncodeToString(key)
	verifier, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	secretFile, state := filepath.Join(dir, "secret"), filepath.Join(dir, "position")
	if err := os.WriteFile(secretFile, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	program := &developer{t: t, verifier: verifier}
	server := httptest.NewServer(program)
	defer server.Close()
	listen := func(more ...string) string {
		return runBridge(t, append([]string{
			"listen", "--addr", p.addr("grpc"), "--forward", server.URL + "/events", "--from", "earliest", "--sign-with", secretFile, "--state", state,
		}, more...)...)
	}
	first := listen("--count", "5")
	for what, n := range map[string]int{"accepted in ": 4, "refused, left out: ": 1, "again soon: ": 1} {
		if got := strings.Count(first, what); got != n {
			t.Errorf("%q is there %d times, want %d:\n%s", what, got, n, first)
		}
	}
	listen("--no-follow")
	program.mu.Lock()
	defer program.mu.Unlock()
	seen := map[string]bool{program.refuses: true}
	for _, id := range program.accepted {
		if seen[id] {
			t.Errorf("%s came twice", id)
		}
		seen[id] = true
	}
	if len(seen) != events || program.requests != events+1 {
		t.Errorf("%d events came in %d requests, want %d events", len(seen), program.requests, events)
	}
}
