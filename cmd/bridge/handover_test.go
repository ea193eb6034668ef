package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/webhook-bridge/bridge/internal/journal/postgres/pgtest"
)

// patience is how long an impatient sender waits for an answer.
const patience = time.Second

// impatient sends webhooks at a steady rate. It never sends one again, and waits for an answer no longer than [patience]. Some of its
// connections are kept and always in use, some are kept and idle most of the time, and some are used once.
type impatient struct {
	addr string
	seen *ledger
	// patience is how long it waits for an answer. Default [patience].
	patience time.Duration

	next, refused atomic.Int64
	mu            sync.Mutex
	longest       time.Duration
	problems      []string
}

// senders are the kinds of connections: how many of them, how often each sends, and whether it keeps its connection.
var senders = []struct {
	n     int
	every time.Duration
	keep  bool
}{
	{10, 40 * time.Millisecond, true},
	{10, 45 * time.Millisecond, false},
	{30, 1100 * time.Millisecond, true},
}

// run sends until ctx is done. A request that was begun is finished.
func (s *impatient) run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, kind := range senders {
		for i := range kind.n {
			wg.Go(func() {
				offset := kind.every * time.Duration(i) / time.Duration(kind.n)
				s.connection(ctx, kind.every, offset, kind.keep)
			})
		}
	}
	wg.Wait()
}

// connection sends at a steady rate. What it could not send while it waited for an answer, it sends afterwards.
func (s *impatient) connection(ctx context.Context, every, offset time.Duration, keep bool) {
	var conn net.Conn
	for due := time.Now().Add(offset); ; due = due.Add(every) {
		select {
		case <-time.After(time.Until(due)):
		case <-ctx.Done():
			if conn != nil {
				_ = conn.Close()
			}
			return
		}
		n := s.next.Add(1)
		began := time.Now()
		var err error
		if conn, err = s.send(conn, n, keep); err != nil {
			s.note(n, err)
		}
		s.took(time.Since(began))
	}
}

// send sends one webhook, on a new connection if there is none, and returns the connection if it may be used again.
func (s *impatient) send(conn net.Conn, n int64, keep bool) (_ net.Conn, err error) {
	deadline := time.Now().Add(cmp.Or(s.patience, patience))
	if conn == nil {
		d := net.Dialer{Deadline: deadline}
		if conn, err = d.Dial("tcp", s.addr); err != nil {
			return nil, err
		}
	}
	used := conn
	defer func() {
		if conn == nil || err != nil {
			_ = used.Close()
		}
	}()
	request, at := retinoRequest()
	copy(request[at:], fmt.Appendf(nil, "%012d", n))
	_ = conn.SetDeadline(deadline)
	if _, err := conn.Write(request); err != nil {
		return nil, err
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return nil, err
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d", answer.StatusCode)
	}
	s.seen.acknowledge(n)
	if !keep || answer.Close {
		conn = nil
	}
	return conn, nil
}

func (s *impatient) note(n int64, err error) {
	s.refused.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.problems = append(s.problems, fmt.Sprintf("%s webhook %d: %v", time.Now().UTC().Format("15:04:05.000"), n, err))
}

func (s *impatient) took(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.longest = max(s.longest, d)
}

// pids returns the process ids of the servers that got ready, in order.
func (p *process) pids() (all []int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, line := range p.log {
		var entry struct {
			Msg string
			PID int
		}
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "ready" {
			all = append(all, entry.PID)
		}
	}
	return all
}

// until waits until a condition holds.
func (p *process) until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	for !holds() {
		select {
		case <-deadline:
			t.Fatalf("%s: not in time\n%s", what, p.text())
		case <-p.exited:
			if !holds() {
				t.Fatalf("%s: all processes have ended\n%s", what, p.text())
			}
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// killAll ends the servers that took over.
func (p *process) killAll() {
	for _, pid := range p.pids() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// handOver has the server that got ready last start a successor, and waits until that is ready.
func (p *process) handOver(t *testing.T) {
	t.Helper()
	before := p.pids()
	if err := syscall.Kill(before[len(before)-1], syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	p.until(t, "a successor is ready", func() bool { return len(p.pids()) > len(before) })
}

// TestHandoverUnderLoad restarts the server by hand-over, again and again, under the load of a sender that never retries and is
// impatient. No webhook may be refused, and each is in the journal once.
func TestHandoverUnderLoad(t *testing.T) {
	restarts := 3
	if os.Getenv("BRIDGE_TEST_LONG") != "" {
		restarts = 50
	}
	p := startBridge(t, retinoConfig(t.TempDir()))
	t.Cleanup(p.killAll)
	s := &impatient{addr: p.addr("webhooks"), seen: newLedger()}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { s.run(ctx) })
	began := time.Now()
	for range restarts {
		p.handOver(t)
		select { // a moment of service
		case <-time.After(time.Second / 2):
		case <-p.exited:
		}
	}
	took := time.Since(began)
	cancel()
	wg.Wait()

	subscriber := &reader{untilIdle: true, handle: s.seen.deliver}
	subscriber.read(t.Context(), t, p.addr("grpc"))
	missing, twice := s.seen.missing()
	sent := s.next.Load()
	t.Logf("%d hand-overs in %s, %d webhooks sent (%.0f/s), %d refused, %d acknowledged, %d missing, %d twice; the longest answer took %s",
		restarts, took.Round(time.Millisecond), sent, float64(sent)/took.Seconds(), s.refused.Load(), len(s.seen.acknowledged), missing, twice,
		s.longest)
	t.Log(strings.Join(handoverTimes(p), ", "))
	if s.refused.Load() > 0 || missing > 0 || twice > 0 {
		t.Error(strings.Join(s.problems[:min(len(s.problems), 20)], "\n"))
	}
}

// handoverTimes returns how long vendors waited for each successor.
func handoverTimes(p *process) (all []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, line := range p.log {
		var entry struct{ Msg, Waited string }
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "took over" {
			all = append(all, entry.Waited)
		}
	}
	return all
}

// TestSocketActivation restarts the server under sockets that its parent keeps open, as systemd does. Webhooks wait meanwhile.
func TestSocketActivation(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	dir := t.TempDir()
	config := filepath.Join(dir, "bridge.yaml")
	if err := os.WriteFile(config, []byte(retinoConfig(filepath.Join(dir, "journal"))), 0o600); err != nil {
		t.Fatal(err)
	}
	// A restart takes as long as it takes: only that nothing is refused counts.
	s := &impatient{addr: l.Addr().String(), seen: newLedger(), patience: 20 * time.Second}
	start := func() *process { return startActivated(t, f, config) }
	p := start()
	if got := p.addr("webhooks"); got != s.addr {
		t.Fatalf("the server listens at %s, and the socket is %s", got, s.addr)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil { // one connection a webhook: an idle one ends with its server
			if _, err := s.send(nil, s.next.Add(1), false); err != nil {
				s.note(s.next.Load(), err)
			}
		}
	})
	for range 3 {
		enough := s.next.Load() + 100
		p.until(t, "webhooks are answered", func() bool { return s.next.Load() > enough })
		if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		<-p.exited
		p = start()
	}
	cancel()
	wg.Wait()
	subscriber := &reader{untilIdle: true, handle: s.seen.deliver}
	subscriber.read(t.Context(), t, p.addr("grpc"))
	missing, twice := s.seen.missing()
	t.Logf("%d sent, %d refused, %d missing, %d twice", s.next.Load(), s.refused.Load(), missing, twice)
	if s.refused.Load() > 0 || missing > 0 || twice > 0 {
		t.Error(strings.Join(s.problems, "\n"))
	}
}

// startActivated starts the server with one socket from a parent that behaves like systemd.
func startActivated(t *testing.T, socket *os.File, config string) *process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{addrs: map[string]string{}, exited: make(chan struct{})}
	// LISTEN_PID is the process's own id, which is known in the process alone.
	p.cmd = exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" serve -c "$1"`, exe, config)
	p.cmd.Env = append(os.Environ(), envMain+"=1", "LISTEN_FDS=1", "LISTEN_FDNAMES=webhooks")
	p.cmd.ExtraFiles = []*os.File{socket}
	p.start(t)
	return p
}

// TestHandoverThatFails: a successor that cannot take over changes nothing, whenever it fails.
func TestHandoverThatFails(t *testing.T) {
	dir := t.TempDir()
	p := startBridge(t, retinoConfig(dir))
	t.Cleanup(p.killAll)
	s := &impatient{addr: p.addr("webhooks"), seen: newLedger()}
	answered := func() {
		t.Helper()
		if _, err := s.send(nil, s.next.Add(1), false); err != nil {
			t.Fatalf("a webhook after the failure: %v\n%s", err, p.text())
		}
	}
	signal := func() {
		t.Helper()
		if err := p.cmd.Process.Signal(syscall.SIGUSR2); err != nil {
			t.Fatal(err)
		}
	}
	says := func(text string) func() bool {
		return func() bool { return strings.Contains(p.text(), text) }
	}
	config := p.cmd.Args[slices.Index(p.cmd.Args, "-c")+1]
	right, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}

	t.Run("before it is prepared", func(t *testing.T) {
		if err := os.WriteFile(config, []byte("nonsense: true\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		signal()
		p.until(t, "the failure is logged", says("it ended before it was prepared"))
		answered()
	})
	t.Run("when it has the journal", func(t *testing.T) {
		// Another server has the successor's folder open. The successor notices when it opens the journal.
		other := t.TempDir()
		startBridge(t, retinoConfig(other))
		broken := strings.Replace(string(right), dir, other, 1)
		if err := os.WriteFile(config, []byte(broken), 0o600); err != nil {
			t.Fatal(err)
		}
		signal()
		p.until(t, "this process goes on", func() bool { return len(p.pids()) == 2 })
		if pids := p.pids(); pids[0] != pids[1] {
			t.Fatalf("process %d went on after %d", pids[1], pids[0])
		}
		answered()
	})
	t.Run("then it succeeds", func(t *testing.T) {
		if err := os.WriteFile(config, right, 0o600); err != nil {
			t.Fatal(err)
		}
		p.handOver(t)
		answered()
		p.until(t, "the predecessor ends", func() bool {
			_, err := os.Stat(fmt.Sprintf("/proc/%d/root", p.cmd.Process.Pid))
			return err != nil
		})
	})
	subscriber := &reader{untilIdle: true, handle: s.seen.deliver}
	subscriber.read(t.Context(), t, p.addr("grpc"))
	if missing, twice := s.seen.missing(); missing > 0 || twice > 0 {
		t.Errorf("%d missing, %d twice", missing, twice)
	}
}

// TestHandoverIsEnded tells servers to end while they hand over: nothing hangs, and each webhook that was answered is in the journal.
func TestHandoverIsEnded(t *testing.T) {
	dir := t.TempDir()
	p := startBridge(t, retinoConfig(dir))
	t.Cleanup(p.killAll)
	s := &impatient{addr: p.addr("webhooks"), seen: newLedger()}
	if _, err := s.send(nil, s.next.Add(1), false); err != nil {
		t.Fatal(err)
	}
	// Two signals: one hand-over.
	for range 2 {
		if err := p.cmd.Process.Signal(syscall.SIGUSR2); err != nil {
			t.Fatal(err)
		}
	}
	p.until(t, "it hands over", func() bool { return strings.Contains(p.text(), `"msg":"handing over"`) })
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.until(t, "the successor is ready", func() bool { return len(p.pids()) == 2 })
	p.until(t, "the predecessor ends", func() bool {
		_, err := os.Stat(fmt.Sprintf("/proc/%d/root", p.cmd.Process.Pid))
		return err != nil
	})
	if _, err := s.send(nil, s.next.Add(1), false); err != nil {
		t.Fatal(err)
	}
	subscriber := &reader{untilIdle: true, handle: s.seen.deliver}
	subscriber.read(t.Context(), t, p.addr("grpc"))
	if missing, twice := s.seen.missing(); missing > 0 || twice > 0 || len(s.seen.delivered) != 2 {
		t.Errorf("%d delivered, %d missing, %d twice", len(s.seen.delivered), missing, twice)
	}
	if err := syscall.Kill(p.pids()[1], syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.until(t, "all have ended", func() bool {
		select {
		case <-p.exited:
			return true
		default:
			return false
		}
	})
}

// TestHandoverWithASlowSender: a sender in the middle of its body, and one whose connection is idle, are answered after the hand-over too.
func TestHandoverWithASlowSender(t *testing.T) {
	p := startBridge(t, retinoConfig(t.TempDir()))
	t.Cleanup(p.killAll)
	s := &impatient{addr: p.addr("webhooks"), seen: newLedger()}
	idle, err := s.send(nil, s.next.Add(1), true)
	if err != nil {
		t.Fatal(err)
	}
	half := halfWebhook(t, p.addr("webhooks"))
	p.handOver(t)
	if answer := half(); !strings.HasPrefix(answer, "HTTP/1.1 503") {
		t.Errorf("the slow sender was answered %q", answer)
	}
	again, err := s.send(idle, s.next.Add(1), true)
	if err != nil || again != nil {
		t.Errorf("on the idle connection: %v; it stays open: %t", err, again != nil)
	}
	p.until(t, "the predecessor ends", func() bool {
		_, err := os.Stat(fmt.Sprintf("/proc/%d/root", p.cmd.Process.Pid))
		return err != nil
	})
}

// TestHandoverWhileTheDatabaseIsAway: neither the successor nor the predecessor can open the journal. The predecessor tries until it can.
func TestHandoverWhileTheDatabaseIsAway(t *testing.T) {
	pgtest.Enabled(t)
	c := pgtest.Start(t, pgtest.Options{})
	proxy := c.NewProxy(t)
	p := startBridge(t, replicaConfig("a", c.URLBy(proxy), "nothing", ""))
	t.Cleanup(p.killAll)
	proxy.Refuse()
	proxy.Cut()
	if err := p.cmd.Process.Signal(syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	p.until(t, "it tries again", func() bool { return strings.Contains(p.text(), "cannot be opened again") })
	proxy.Accept()
	p.until(t, "this process goes on", func() bool { return len(p.pids()) == 2 })
	if pids := p.pids(); pids[0] != pids[1] {
		t.Fatalf("process %d went on after %d", pids[1], pids[0])
	}
	s := &impatient{addr: p.addr("webhooks"), seen: newLedger()}
	if _, err := s.send(nil, s.next.Add(1), false); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(p.text(), c.Password()) {
		t.Error("the password is in the log")
	}
}
