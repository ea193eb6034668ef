package main

import (
	"bufio"
	"context"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// follow opens a stream over HTTP, and returns its lines after the first message.
func follow(t *testing.T, p *process, http2 bool, accept, lastEventID string) *bufio.Scanner {
	t.Helper()
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP1(!http2)
	transport.Protocols.SetUnencryptedHTTP2(http2)
	t.Cleanup(transport.CloseIdleConnections)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.addr("grpc")+"/v1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", accept)
	if lastEventID != "" {
		r.Header.Set("Last-Event-ID", lastEventID)
	}
	resp, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", accept, resp.Status)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "heartbeatInterval") {
			return lines
		}
	}
	t.Fatalf("%s: the stream ends: %v", accept, lines.Err())
	return nil
}

// goodbyeOf returns the last line of a stream that ends with a goodbye, and the last token.
func goodbyeOf(lines *bufio.Scanner) (last, token string) {
	for lines.Scan() {
		if text := lines.Text(); text != "" {
			last = text
		}
		if id, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
			token = id
		}
	}
	return last, token
}

const (
	acceptLines  = "application/x-ndjson"
	acceptEvents = "text/event-stream"
)

// TestShutdownOverHTTP: streams over HTTP get their goodbye, also beside one whose client does not read, and the server ends in time.
func TestShutdownOverHTTP(t *testing.T) {
	p := startBridge(t, retinoConfig(t.TempDir()))
	warm := &load{addr: p.addr("webhooks"), connections: 4, limit: 2000}
	warm.run(t.Context())
	follow(t, p, false, acceptLines, "") // nothing is read after the first line
	follow(t, p, true, acceptEvents, "")
	streams := map[string]*bufio.Scanner{
		"lines over HTTP/1.1":  follow(t, p, false, acceptLines, ""),
		"lines over HTTP/2":    follow(t, p, true, acceptLines, ""),
		"events over HTTP/1.1": follow(t, p, false, acceptEvents, ""),
		"events over HTTP/2":   follow(t, p, true, acceptEvents, ""),
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for name, lines := range streams {
		if last, _ := goodbyeOf(lines); !strings.Contains(last, "GOODBYE_CAUSE_DRAIN") {
			t.Errorf("%s: the last line is %.200s (%v)", name, last, lines.Err())
		}
	}
	select {
	case <-p.exited:
	case <-time.After(10 * time.Second):
		t.Fatal("did not end within 10 s")
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestHandoverOverHTTP: a stream over HTTP says goodbye to the predecessor, and goes on at the successor, on the same address.
func TestHandoverOverHTTP(t *testing.T) {
	p := startBridge(t, retinoConfig(t.TempDir()))
	t.Cleanup(p.killAll)
	for n := range int64(2) {
		l := &load{addr: p.addr("webhooks"), connections: 1, limit: n + 1}
		l.next.Store(n)
		l.run(t.Context())
		lines := follow(t, p, n == 1, acceptEvents, "")
		p.handOver(t)
		last, token := goodbyeOf(lines)
		if !strings.Contains(last, "GOODBYE_CAUSE_DRAIN") || token == "" {
			t.Errorf("the last line is %.200s", last)
		}
		l = &load{addr: p.addr("webhooks"), connections: 1, limit: 100 + n}
		l.next.Store(99 + n)
		l.run(t.Context())
		next := follow(t, p, n == 1, acceptEvents, token)
		for next.Scan() {
			if data, ok := strings.CutPrefix(next.Text(), "data: "); ok {
				if !strings.Contains(data, shipmentID(100+n)) {
					t.Errorf("the next event is %.200s", data)
				}
				break
			}
		}
	}
}
