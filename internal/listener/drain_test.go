package listener

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// drained is a server whose handler waits until it may answer.
type drained struct {
	l       *Listener
	entered chan struct{}
	answer  chan struct{}
}

func startDrained(t *testing.T) *drained {
	t.Helper()
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &drained{New(raw, Config{Name: "webhooks", Limit: 10}), make(chan struct{}, 10), make(chan struct{})}
	s := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		d.entered <- struct{}{}
		<-d.answer
	}), ReadHeaderTimeout: time.Minute}
	Protect(s)
	go func() { _ = s.Serve(d.l.HTTP(nil)) }()
	t.Cleanup(func() { _ = s.Close() })
	return d
}

func (d *drained) dial(t *testing.T) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", d.l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c, bufio.NewReader(c)
}

const wholeRequest = "POST / HTTP/1.1\r\nHost: bridge\r\nContent-Length: 2\r\n\r\n{}"

func send(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// lastAnswer reads an answer, which must say that the connection ends, and the connection's end.
func lastAnswer(t *testing.T, r *bufio.Reader) {
	t.Helper()
	answer, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusOK || !answer.Close {
		t.Errorf("answered %s, Connection: close %t", answer.Status, answer.Close)
	}
	if _, err := r.ReadByte(); err != io.EOF {
		t.Errorf("after the last answer: %v", err)
	}
}

// TestDrain: while a listener drains, every connection that has a request, or gets one before its time is over, is answered and told that
// it ends. Only a connection without a request is closed without an answer.
func TestDrain(t *testing.T) {
	d := startDrained(t)
	kept, keptAnswers := d.dial(t)
	fresh, freshAnswers := d.dial(t)
	half, halfAnswers := d.dial(t)
	silent, silentAnswers := d.dial(t)
	close(d.answer)
	send(t, kept, wholeRequest)
	readResponse(t, keptAnswers, http.MethodPost) // Idle from now on.
	send(t, half, wholeRequest[:len(wholeRequest)/2])
	_ = silent
	waitUntil(t, func() bool {
		return d.l.Open() == 4 && d.l.any(func(c *Conn) bool { return c.started.Load() && c.active.Load() == 0 })
	})

	ended := make(chan struct{})
	go func() {
		defer close(ended)
		d.l.Drain(t.Context(), 2*time.Second)
	}()
	waitUntil(t, d.l.draining.Load)
	send(t, kept, wholeRequest)
	lastAnswer(t, keptAnswers)
	send(t, fresh, wholeRequest)
	lastAnswer(t, freshAnswers)
	if _, err := silentAnswers.ReadByte(); err != io.EOF {
		t.Errorf("a connection without a request: %v", err)
	}
	select {
	case <-ended:
		t.Fatal("the drain ended before a request that has begun")
	default:
	}
	send(t, half, wholeRequest[len(wholeRequest)/2:])
	lastAnswer(t, halfAnswers)
	<-ended
	if n := d.l.Open(); n != 0 {
		t.Errorf("%d connections are open after the drain", n)
	}
}

// TestDrainIsBounded: a drain and a wait for calm end with their contexts, whatever a sender does.
func TestDrainIsBounded(t *testing.T) {
	d := startDrained(t)
	defer close(d.answer)
	c, _ := d.dial(t)
	send(t, c, wholeRequest)
	<-d.entered
	waitUntil(t, func() bool { // The request is not young.
		return d.l.any(func(c *Conn) bool { return time.Now().UnixNano()-c.begun.Load() > int64(young) })
	})
	for _, wait := range []func(context.Context){d.l.Calm, func(ctx context.Context) { d.l.Drain(ctx, 0) }} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		wait(ctx)
		if ctx.Err() == nil {
			t.Error("ended while a request is in flight")
		}
		cancel()
	}
}

// TestCalm: a listener is calm between requests, and while requests are young.
func TestCalm(t *testing.T) {
	d := startDrained(t)
	defer close(d.answer)
	d.l.Calm(t.Context())
	c, _ := d.dial(t)
	send(t, c, wholeRequest)
	<-d.entered
	d.l.any(func(c *Conn) bool { c.begun.Store(time.Now().Add(time.Hour).UnixNano()); return false })
	d.l.Calm(t.Context())
}

func waitUntil(t *testing.T, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	poll(ctx, holds)
	if ctx.Err() != nil {
		t.Fatal("not in time")
	}
}
