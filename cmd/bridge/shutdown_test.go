package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
)

// TestShutdown ends a server that has a webhook half received, a stream that is read and one that is not. The webhook is
// finished and answered, the reader hears goodbye with a token, the other is cut off, and the exit code is 0 in time.
func TestShutdown(t *testing.T) {
	p := startBridge(t, retinoConfig(t.TempDir()))
	warm := &load{addr: p.addr("webhooks"), connections: 4, limit: 2000}
	warm.run(t.Context())

	conn, err := grpc.NewClient(p.addr("grpc"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	client := streamv1.NewEventStreamServiceClient(conn)
	deaf, err := client.Tail(t.Context(), &streamv1.TailRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := deaf.Recv(); err != nil { // Subscribed; nothing is read after it.
		t.Fatal(err)
	}
	listening, err := client.Tail(t.Context(), &streamv1.TailRequest{
		Start: &streamv1.Start{At: &streamv1.Start_Latest{Latest: &streamv1.Latest{}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := listening.Recv(); err != nil {
		t.Fatal(err)
	}
	half := halfWebhook(t, p.addr("webhooks"))

	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	answered := half()
	if !strings.HasPrefix(answered, "HTTP/1.1 200") {
		t.Errorf("a webhook in flight was answered %q", answered)
	}
	goodbye := lastMessage(listening)
	if goodbye.GetGoodbye().GetToken() == "" {
		t.Errorf("the reader's last message was %v, not a goodbye with a token", goodbye)
	}
	select {
	case <-p.exited:
	case <-time.After(10 * time.Second):
		t.Fatal("did not end within 10 s")
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	t.Logf("ended after %s", time.Since(began))
}

// halfWebhook sends the first half of a webhook and returns what sends the rest and reads the answer's first line.
func halfWebhook(t *testing.T, addr string) func() string {
	t.Helper()
	request, _ := retinoRequest()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	cut := len(request) - 100
	// Expect: 100-continue makes the server say when it has come to the body.
	head := strings.Replace(string(request[:cut]), "\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n", 1)
	if _, err := io.WriteString(conn, head); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n"))
	if _, err := io.ReadFull(conn, line); err != nil {
		t.Fatal(err)
	}
	return func() string {
		if _, err := conn.Write(request[cut:]); err != nil {
			return err.Error()
		}
		answer, err := io.ReadAll(conn)
		first, _, _ := strings.Cut(string(answer), "\r\n")
		if err != nil {
			return fmt.Sprintf("%s, %v", first, err)
		}
		return first
	}
}

func lastMessage(s grpc.ServerStreamingClient[streamv1.TailResponse]) *streamv1.TailResponse {
	var last *streamv1.TailResponse
	for {
		m, err := s.Recv()
		if err != nil {
			return last
		}
		last = m
	}
}

// TestShutdownWithADawdler ends a server while a sender does not finish: subscribers hear goodbye all the same, in time.
func TestShutdownWithADawdler(t *testing.T) {
	p := startBridge(t, strings.Replace(retinoConfig(t.TempDir()), "log:", "shutdown_timeout: 3s\nlog:", 1))
	conn, err := grpc.NewClient(p.addr("grpc"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	listening, err := streamv1.NewEventStreamServiceClient(conn).Tail(t.Context(), &streamv1.TailRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := listening.Recv(); err != nil {
		t.Fatal(err)
	}
	_ = halfWebhook(t, p.addr("webhooks"))

	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if goodbye := lastMessage(listening); goodbye.GetGoodbye().GetToken() == "" {
		t.Errorf("the reader's last message was %v, not a goodbye with a token", goodbye)
	}
	select {
	case <-p.exited:
	case <-time.After(5 * time.Second):
		t.Fatal("did not end in time")
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestSecondSignalEndsAtOnce ends a server that waits for a webhook which never comes to its end. Signals that come right
// after the first are the same one, so it is sent until the server obeys.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	p := startBridge(t, retinoConfig(t.TempDir()))
	_ = halfWebhook(t, p.addr("webhooks"))
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.waitFor(t, "shutting down")
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for exited := false; !exited; {
		select {
		case <-p.exited:
			exited = true
		case <-tick.C:
			_ = p.cmd.Process.Signal(syscall.SIGTERM) // Fails once it has ended.
		}
	}
	// After shutdown_timeout it would have ended by itself, with another code.
	if code := p.cmd.ProcessState.ExitCode(); code != 130 {
		t.Errorf("ended with %v, not at once", p.err)
	}
}

// waitFor waits until the process has logged a message.
func (p *process) waitFor(t *testing.T, message string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(p.text(), message) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("never logged %q:\n%s", message, p.text())
		}
	}
}
