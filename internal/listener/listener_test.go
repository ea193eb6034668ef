package listener

import (
	"bytes"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// fakeListener has connections and errors to accept. A nil connection is an error.
type fakeListener struct {
	accepts chan net.Conn
	err     error
}

func (l *fakeListener) Accept() (net.Conn, error) {
	c, ok := <-l.accepts
	switch {
	case !ok:
		return nil, net.ErrClosed
	case c == nil:
		return nil, l.err
	}
	return c, nil
}

func (*fakeListener) Close() error   { return nil }
func (*fakeListener) Addr() net.Addr { return &net.TCPAddr{} }

// fakeConn is a connection from an address.
type fakeConn struct {
	net.Conn
	from   net.Addr
	closed atomic.Bool
}

func (c *fakeConn) RemoteAddr() net.Addr { return c.from }
func (c *fakeConn) Close() error         { c.closed.Store(true); return nil }

func from(ip string) *fakeConn {
	return &fakeConn{from: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(ip), 1))}
}

// wait waits, in the bubble's time.
func wait(d time.Duration) { <-time.After(d) }

func emfile() error {
	return &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
}

// TestMakesRoom: which connection is closed for a new one.
func TestMakesRoom(t *testing.T) {
	t.Parallel()
	const verified, busy, heard = 1, 2, 4
	type open struct {
		ip    string
		state int
	}
	for _, tt := range []struct {
		name string
		open []open // the oldest first
		// closed is the index of the closed one. -1: the new one is refused.
		closed int
	}{
		{"the oldest stranger", []open{{"10.0.0.1", 0}, {"10.0.0.2", 0}, {"10.0.0.3", 0}}, 0},
		{"a stranger before a known sender", []open{{"10.0.0.1", verified}, {"10.0.0.2", verified}, {"10.0.0.3", 0}}, 2},
		{"of the address with most strangers", []open{{"10.0.0.1", 0}, {"10.0.0.2", 0}, {"10.0.0.2", 0}}, 1},
		{"of the network in IPv6", []open{{"2001:db8::1", 0}, {"2001:db8:1::1", 0}, {"2001:db8:1::2", 0}}, 1},
		{"IPv4 in IPv6", []open{{"10.0.0.9", 0}, {"::ffff:10.0.0.2", 0}, {"10.0.0.2", 0}}, 1},
		{"a stranger in the middle of a request", []open{{"10.0.0.1", verified}, {"10.0.0.2", busy}, {"10.0.0.3", verified | busy}}, 1},
		{"a silent one first", []open{{"10.0.0.1", heard}, {"10.0.0.1", heard}, {"10.0.0.2", 0}}, 2},
		{"an idle known sender", []open{{"10.0.0.1", verified | busy}, {"10.0.0.1", verified}, {"10.0.0.1", verified}}, 1},
		{"no known sender in a request", []open{{"10.0.0.1", verified | busy}, {"10.0.0.1", verified | busy}, {"10.0.0.1", verified | busy}}, -1},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := New(&fakeListener{}, Config{Limit: len(tt.open)})
			conns := make([]*fakeConn, len(tt.open))
			for i, o := range tt.open {
				conns[i] = from(o.ip)
				c := l.admit(conns[i])
				c.verified.Store(o.state&verified != 0)
				c.heard.Store(o.state&heard != 0)
				if o.state&busy != 0 {
					c.begin()
				}
				wait(time.Second)
			}
			added := from("10.0.0.9")
			if got := l.admit(added); (got == nil) != (tt.closed == -1) || added.closed.Load() != (tt.closed == -1) {
				t.Errorf("%s: the new connection is %v, closed %v", tt.name, got, added.closed.Load())
			}
			for i, c := range conns {
				if c.closed.Load() != (i == tt.closed) {
					t.Errorf("%s: connection %d: closed %v", tt.name, i, c.closed.Load())
				}
			}
			if l.Open() != len(tt.open) || !l.Full() {
				t.Errorf("%s: %d open, full %v", tt.name, l.Open(), l.Full())
			}
		})
	}
}

// TestIdleSince: a connection that was used lately is closed later than one that was not.
func TestIdleSince(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New(&fakeListener{}, Config{Limit: 2})
		old, young := from("10.0.0.1"), from("10.0.0.1")
		used := l.admit(old)
		wait(time.Second)
		l.admit(young)
		wait(time.Second)
		used.begin()
		used.end()
		l.admit(from("10.0.0.1"))
		if old.closed.Load() || !young.closed.Load() {
			t.Errorf("closed: the used one %v, the unused one %v", old.closed.Load(), young.closed.Load())
		}
	})
}

// TestNoDescriptors: without a descriptor, Accept closes a stranger's connection or waits; it logs once a minute, and counts.
func TestNoDescriptors(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		raw := &fakeListener{accepts: make(chan net.Conn, 100), err: emfile()}
		l := New(raw, Config{Name: "webhooks", Limit: 10, Log: slog.New(slog.NewTextHandler(&log, nil)), Metrics: NewMetrics(prometheus.NewRegistry())})
		stranger, genuine := from("10.0.0.1"), from("10.0.0.2")
		for _, c := range []net.Conn{stranger, nil, nil, nil, genuine} {
			raw.accepts <- c
		}
		if _, err := l.Accept(); err != nil {
			t.Fatal(err)
		}
		wait(spared)
		began := time.Now()
		if _, err := l.Accept(); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != 15*time.Millisecond {
			t.Errorf("waited for %v, want 5 ms and 10 ms", took)
		}
		raw.accepts <- nil
		raw.accepts <- from("10.0.0.4")
		if _, err := l.Accept(); err != nil {
			t.Fatal(err)
		}
		if !stranger.closed.Load() || genuine.closed.Load() {
			t.Errorf("closed: the stranger %v, the other %v", stranger.closed.Load(), genuine.closed.Load())
		}
		if n := strings.Count(log.String(), "cannot accept"); n != 1 {
			t.Errorf("%d lines in the log:\n%s", n, log.String())
		}
		var counted dto.Metric
		if err := l.metrics.acceptErrors.Write(&counted); err != nil || counted.GetCounter().GetValue() != 4 {
			t.Errorf("%v errors counted, %v", counted.GetCounter().GetValue(), err)
		}
		if l.Problem() != "webhooks cannot accept connections" {
			t.Errorf("problem %q", l.Problem())
		}
		wait(time.Minute)
		if l.Problem() != "" {
			t.Errorf("a minute later: problem %q", l.Problem())
		}
		raw.accepts <- nil
		raw.accepts <- from("10.0.0.3")
		if _, err := l.Accept(); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(log.String(), "cannot accept"); n != 2 {
			t.Errorf("a minute later: %d lines in the log", n)
		}
		close(raw.accepts)
		if _, err := l.Accept(); err != net.ErrClosed { //nolint:errorlint // as it is
			t.Errorf("closed: %v", err)
		}
	})
}

// TestCloseEndsTheWait: Close ends an Accept that waits for a descriptor.
func TestCloseEndsTheWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		raw := &fakeListener{accepts: make(chan net.Conn, 1), err: emfile()}
		l := New(raw, Config{Limit: 1})
		ended := make(chan error, 1)
		raw.accepts <- nil
		go func() {
			_, err := l.Accept()
			ended <- err
		}()
		synctest.Wait()
		_ = l.Close()
		close(raw.accepts)
		if err := <-ended; err != net.ErrClosed { //nolint:errorlint // as it is
			t.Errorf("ended with %v", err)
		}
	})
}
