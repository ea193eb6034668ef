//go:build attack && linux

package daemon

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestAttackDescriptors: idle connections, more than the process has descriptors, while a genuine webhook comes.
func TestAttackDescriptors(t *testing.T) {
	t.Parallel()
	a := startAttacked(t, 64, "")
	for range 100 {
		a.connect(t, "webhooks")
	}
	took := a.webhook(t)
	t.Logf("a genuine webhook took %v; limit %v, open %v, closed %v", took,
		a.metric(t, `bridge_connections_limit{listener="webhooks"}`), a.metric(t, `bridge_connections_open{listener="webhooks"}`),
		a.metric(t, `bridge_connections_dropped_total{listener="webhooks",reason="limit"}`))
	if took > 2*time.Second {
		t.Errorf("a genuine webhook took %v", took)
	}
	if n := a.metric(t, `bridge_connections_dropped_total{listener="webhooks",reason="limit"}`); n < 84 {
		t.Errorf("%v connections were closed", n)
	}
	if n := strings.Count(a.log.String(), "connection limit reached"); n != 1 {
		t.Errorf("%d lines in the log, want 1", n)
	}
	if code, body := a.get(t, "ops", "/readyz"); code != http.StatusOK || !strings.Contains(body, "connection limit") {
		t.Errorf("readiness: %d, %q", code, body)
	}
}

// TestAttackNoDescriptor: the same with a limit that is higher than the descriptors.
func TestAttackNoDescriptor(t *testing.T) {
	t.Parallel()
	a := startAttacked(t, 64, "  connections: {webhooks: 1000}\n")
	for range 100 {
		a.connect(t, "webhooks")
	}
	took := a.webhook(t)
	t.Logf("a genuine webhook took %v", took)
	if took > 2*time.Second {
		t.Errorf("a genuine webhook took %v", took)
	}
	if code, body := a.get(t, "ops", "/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "cannot accept") {
		t.Errorf("readiness: %d, %q", code, body)
	}
	if n := strings.Count(a.log.String(), `msg="cannot accept connections" listener=webhooks`); n != 1 {
		t.Errorf("%d lines in the log, want 1", n)
	}
	if n := a.metric(t, `bridge_accept_errors_total{listener="webhooks"}`); n == 0 {
		t.Error("no error was counted")
	}
}

// TestAttackConnectionFlood: connections that come as fast as they can, while genuine webhooks come.
func TestAttackConnectionFlood(t *testing.T) {
	t.Parallel()
	a := startAttacked(t, 0, "  connections: {webhooks: 512}\n")
	a.costs(t, 48, func() {
		stop := make(chan struct{})
		var flood sync.WaitGroup
		flood.Go(func() {
			for range 3000 {
				select {
				case <-stop:
					return
				default:
				}
				conn, err := net.Dial("tcp", a.Addresses["webhooks"])
				if err != nil {
					continue
				}
				defer conn.Close()
			}
		})
		longest := time.Duration(0)
		for range 20 {
			longest = max(longest, a.webhook(t))
		}
		close(stop)
		flood.Wait()
		t.Logf("the slowest of 20 genuine webhooks took %v", longest)
	})
}

// TestAttackLargeBodies: large bodies that are announced and never sent cost nothing before they arrive.
func TestAttackLargeBodies(t *testing.T) {
	t.Parallel()
	a := startAttacked(t, 0, "")
	a.costs(t, 48, func() {
		for i := range 100 {
			conn := a.connect(t, "webhooks")
			source := []string{"returns", "signed"}[i%2]
			_, _ = fmt.Fprintf(conn, "POST /webhooks/%s HTTP/1.1\r\nHost: b\r\nX-Retino-Secret: wrong\r\nX-Signature: %s\r\nContent-Length: 1000000\r\n\r\n{",
				source, strings.Repeat("0", 64))
		}
	})
}
