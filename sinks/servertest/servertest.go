// Package servertest runs real servers for tests: each in a process of its own, on loopback, with its data in a folder of the test,
// behind a proxy.
package servertest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/webhook-bridge/bridge/sinks/proxytest"
)

// readyWithin limits the time until a server answers.
const readyWithin = time.Minute

// Spec describes a server.
type Spec struct {
	// Command returns the command that serves on a port of 127.0.0.1, in the foreground, with its data in a folder.
	Command func(dir string, port int) *exec.Cmd
	// Ready returns nil once the server at an address answers.
	Ready func(ctx context.Context, address string) error
}

// Server is a running server.
type Server struct {
	// Proxy is in front of the server.
	Proxy *proxytest.Proxy
	// Address is the server's own, without the proxy.
	Address string

	spec Spec
	dir  string
	port int
	cmd  *exec.Cmd
}

// Start starts a server, which ends with the test.
func Start(tb testing.TB, spec Spec) *Server {
	tb.Helper()
	proxy, err := proxytest.New()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(proxy.Close)
	s := &Server{Proxy: proxy, spec: spec, dir: tb.TempDir(), port: FreePort(tb)}
	s.Address = net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port))
	proxy.Forward(s.Address)
	s.Restart(tb)
	tb.Cleanup(s.Kill)
	return s
}

// FreePort returns a port that nobody listens on now.
func FreePort(tb testing.TB) int {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	at, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		tb.Fatalf("the listener's address is %v", l.Addr())
	}
	return at.Port
}

// Restart starts the server again, on the same data and the same port, and returns when it answers.
func (s *Server) Restart(tb testing.TB) {
	tb.Helper()
	logFile := filepath.Join(s.dir, "server.log")
	out, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		tb.Fatal(err)
	}
	defer out.Close()
	s.cmd = s.spec.Command(s.dir, s.port)
	s.cmd.Stdout, s.cmd.Stderr = out, out
	// The server may have children, which end with it.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	if err := s.await(tb.Context()); err != nil {
		text, _ := os.ReadFile(logFile)
		s.Kill()
		tb.Fatalf("%v\n%s", err, text)
	}
}

// await returns when the server answers.
func (s *Server) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		err := s.spec.Ready(ctx, s.Address)
		if err == nil {
			return nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("servertest: the server does not answer: %w", err)
		}
	}
}

// Kill ends the server at once, as a crash does.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
	_ = s.cmd.Wait() // It was killed.
	s.cmd = nil
}
