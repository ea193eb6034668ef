package ingress

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener whose connections are in memory, so that their deadlines follow the bubble's time.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	close(p.done)
	return nil
}

func (*pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

// TestPatience: how long a connection may wait with any part of a request.
func TestPatience(t *testing.T) {
	const head = "POST /webhooks/returns HTTP/1.1\r\nHost: bridge\r\nX-Retino-Secret: " + retinoSecret + "\r\n"
	for _, tt := range []struct {
		name string
		sent string
		// every is sent once a second after that.
		every  string
		status int // 0: the connection is closed without an answer
		after  time.Duration
	}{
		{name: "no header", sent: "POST", status: http.StatusBadRequest, after: headerTimeout},
		{name: "no end of header", sent: head, every: "X-More: 1\r\n", status: 0, after: headerTimeout},
		{name: "no body", sent: head + "Content-Length: 100\r\n\r\n", status: http.StatusRequestTimeout, after: readTimeout},
		{name: "slow body", sent: head + "Content-Length: 100\r\n\r\n", every: "{", status: http.StatusRequestTimeout, after: readTimeout},
		{
			name: "slow large body", sent: head + "Content-Length: 524288\r\n\r\n", every: "{",
			status: http.StatusRequestTimeout, after: readTimeout,
		},
		{
			name: "slow body of unknown size", sent: head + "Transfer-Encoding: chunked\r\n\r\n", every: "1\r\n{\r\n",
			status: http.StatusRequestTimeout, after: readTimeout,
		},
		{name: "idle", sent: head + "Content-Length: 2\r\n\r\n{}", status: http.StatusOK, after: idleTimeout},
		{name: "stranger without body", sent: strings.Replace(head, retinoSecret, "x", 1) + "Content-Length: 100000\r\n\r\n", status: http.StatusUnauthorized, after: lingering},
		{name: "stranger elsewhere", sent: "POST /x HTTP/1.1\r\nHost: bridge\r\nContent-Length: 100000\r\n\r\n", status: http.StatusNotFound, after: lingering},
		{
			name: "stranger with a slow body", sent: "POST /x HTTP/1.1\r\nHost: bridge\r\nTransfer-Encoding: chunked\r\n\r\n", every: "1\r\n{\r\n",
			status: http.StatusNotFound, after: lingering,
		},
		{
			name: "stranger who asks", sent: "POST /x HTTP/1.1\r\nHost: bridge\r\nExpect: 100-continue\r\nContent-Length: 100000\r\n\r\n",
			status: http.StatusNotFound, after: lingering,
		},
		{name: "too large", sent: head + "Content-Length: 2000000\r\n\r\n", status: http.StatusRequestEntityTooLarge, after: lingering},
		{name: "OPTIONS *", sent: "OPTIONS * HTTP/1.1\r\nHost: bridge\r\n\r\n", status: http.StatusNotFound, after: 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
				s := NewServer(newEdge(t), slog.New(slog.DiscardHandler))
				go s.Serve(l)
				ours, theirs := net.Pipe()
				l.conns <- theirs
				start := time.Now()
				var sending sync.WaitGroup
				defer sending.Wait()
				defer s.Close()
				defer ours.Close()
				sending.Go(func() {
					for _, err := io.WriteString(ours, tt.sent); err == nil && tt.every != ""; {
						wait(time.Second)
						_, err = io.WriteString(ours, tt.every)
					}
				})
				answers := bufio.NewReader(ours)
				resp, err := http.ReadResponse(answers, nil)
				status := 0
				if err == nil {
					status = resp.StatusCode
					_, err = io.Copy(io.Discard, answers)
					resp.Body.Close()
				}
				if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "closed pipe") {
					t.Error(err)
				}
				// The server lingers for up to half a second, so that its answer arrives.
				if took := time.Since(start); status != tt.status || took < tt.after || took > tt.after+time.Second {
					t.Errorf("status %d, closed after %v; want %d and %v", status, took, tt.status, tt.after)
				}
			})
		})
	}
}

// TestStrangerReadsTheAnswer: a refused sender that is still sending, however much, gets to read why it is refused.
func TestStrangerReadsTheAnswer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(newEdge(t), slog.New(slog.DiscardHandler))
	go s.Serve(l)
	defer s.Close()
	for _, size := range []int{10 << 10, 200 << 10, 300 << 10} {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "POST /webhooks/returns HTTP/1.1\r\nHost: bridge\r\nContent-Length: %d\r\n\r\n", size)
		answers := bufio.NewReader(conn)
		if _, err := answers.Peek(1); err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
		// The answer is there, and the sender is not done yet. A reset would now take the answer away from some.
		for range size / 1024 {
			if _, err := conn.Write(make([]byte, 1024)); err != nil {
				t.Fatalf("%d bytes: %v", size, err)
			}
		}
		resp, err := http.ReadResponse(answers, nil)
		if err != nil || resp.StatusCode != http.StatusUnauthorized {
			t.Fatalf("%d bytes: %v, %v", size, resp, err)
		}
		resp.Body.Close()
		if _, err := io.Copy(io.Discard, conn); err != nil {
			t.Errorf("%d bytes: the connection ends with %v", size, err)
		}
	}
}

// TestNobodyReads: a sender that never reads its answers is given up.
func TestNobodyReads(t *testing.T) {
	for _, tt := range []struct {
		name, framing string
		after         time.Duration
	}{
		{"small body", "Content-Length: 2\r\n\r\n{}", writeTimeout},
		{"unknown size", "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", writeTimeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
				s := NewServer(newEdge(t), slog.New(slog.DiscardHandler))
				closed := make(chan time.Time, 1)
				s.ConnState = func(_ net.Conn, state http.ConnState) {
					if state == http.StateClosed {
						closed <- time.Now()
					}
				}
				go s.Serve(l)
				defer s.Close()
				ours, theirs := net.Pipe()
				defer ours.Close()
				l.conns <- theirs
				start := time.Now()
				if _, err := io.WriteString(ours, "POST /webhooks/returns HTTP/1.1\r\nHost: x\r\nX-Retino-Secret: "+retinoSecret+"\r\n"+tt.framing); err != nil {
					t.Fatal(err)
				}
				select {
				case at := <-closed:
					if took := at.Sub(start); took < tt.after || took > tt.after+time.Second {
						t.Errorf("given up after %v, want %v", took, tt.after)
					}
				case <-time.After(time.Hour):
					t.Error("still waiting after an hour")
				}
			})
		})
	}
}
