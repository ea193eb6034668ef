package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// serviceManager behaves like systemd: it hears what a service and its successors say.
type serviceManager struct {
	t    *testing.T
	conn *net.UnixConn
	// said are the messages before the one that was waited for last.
	said []string
}

func newServiceManager(t *testing.T) *serviceManager {
	t.Helper()
	dir, err := os.MkdirTemp("", "notify") //nolint:usetesting // t.TempDir is too long for the address of a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "s"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &serviceManager{t: t, conn: conn}
}

// hears waits for a message that begins with prefix, and returns it. Other messages before it are kept in said.
func (m *serviceManager) hears(prefix string) string {
	m.t.Helper()
	if err := m.conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		m.t.Fatal(err)
	}
	m.said = nil
	buf := make([]byte, 1024)
	for {
		n, err := m.conn.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			m.t.Fatalf("no %s; heard %q", prefix, m.said)
		}
		if err != nil {
			m.t.Fatal(err)
		}
		if text := string(buf[:n]); strings.HasPrefix(text, prefix) {
			return text
		}
		m.said = append(m.said, string(buf[:n]))
	}
}

// TestServiceManager: systemd hears that the server is ready, alive, reloading, and stopping; also from a successor, which is not the process
// that the watchdog was set for.
func TestServiceManager(t *testing.T) {
	m := newServiceManager(t)
	dir := t.TempDir()
	config := filepath.Join(dir, "bridge.yaml")
	text := retinoConfig(filepath.Join(dir, "journal")) + "\nshutdown_timeout: 7s\nshutdown_delay: 10ms\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{addrs: map[string]string{}, exited: make(chan struct{})}
	p.cmd = exec.Command("/bin/sh", "-c", `WATCHDOG_PID=$$ exec "$0" serve -c "$1"`, exe, config)
	p.cmd.Env = append(os.Environ(), envMain+"=1", "NOTIFY_SOCKET="+m.conn.LocalAddr().String(), "WATCHDOG_USEC=300000")
	p.start(t)
	m.hears("READY=1")
	m.hears("WATCHDOG=1")
	m.hears("WATCHDOG=1")

	before := monotonic(t)
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	reloading := m.hears("RELOADING=1\nMONOTONIC_USEC=")
	micros, err := strconv.ParseInt(strings.TrimSpace(strings.TrimPrefix(reloading, "RELOADING=1\nMONOTONIC_USEC=")), 10, 64)
	if err != nil || micros < before || micros > monotonic(t) {
		t.Errorf("reloading at %d, and it was asked to after %d: %v", micros, before, err)
	}
	m.hears("READY=1")

	// A file with mistakes ends the reload, too.
	if err := os.WriteFile(config, []byte(text+"sinks: 7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	m.hears("RELOADING=1")
	m.hears("READY=1")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}

	if err := p.cmd.Process.Signal(syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	successor, err := strconv.Atoi(strings.TrimPrefix(m.hears("MAINPID="), "MAINPID="))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(successor, syscall.SIGKILL) })
	for _, s := range m.said {
		if strings.HasPrefix(s, "STOPPING") {
			t.Error("a hand-over is not the end of the service")
		}
	}
	p.until(t, "the predecessor has ended", func() bool { return strings.Contains(p.text(), `"msg":"stopped"`) })
	m.hears("WATCHDOG=1") // the predecessor may have said this
	m.hears("WATCHDOG=1")
	m.hears("WATCHDOG=1")
	if err := syscall.Kill(successor, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got, want := m.hears("STOPPING=1"), fmt.Sprintf("STOPPING=1\nEXTEND_TIMEOUT_USEC=%d", (12*time.Second+10*time.Millisecond).Microseconds()); got != want {
		t.Errorf("stopping: %q, want %q", got, want)
	}
}

// monotonic is the kernel's clock, in microseconds.
func monotonic(t *testing.T) int64 {
	t.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		t.Fatal(err)
	}
	return ts.Nano() / 1000
}
