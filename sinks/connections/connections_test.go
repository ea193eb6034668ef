package connections_test

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/webhook-bridge/bridge/sinks/connections"
)

// A read that waits ends when its connection is closed, and the next connection is usable.
func TestCloseAll(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	set := connections.New(&net.Dialer{})
	dial := func() net.Conn {
		t.Helper()
		c, err := set.Dial(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	waiting := dial()
	ctx, cancel := context.WithCancel(t.Context())
	stop := set.CloseAfter(ctx, time.Millisecond)
	cancel()
	if _, err := io.ReadAll(waiting); err == nil {
		t.Error("the read of a closed connection succeeded")
	}
	stop()
	again := dial()
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}
