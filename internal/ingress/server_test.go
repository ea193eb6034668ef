package ingress

import (
	"bufio"
	"errors"
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

// TestPatience: how long a connection may take, whatever part of a request it holds back.
func TestPatience(t *testing.T) {
	const head = "POST /webhooks/returns HTTP/1.1\r\nHost: bridge\r\nX-Retino-Secret: " + retinoSecret + "\r\n"
	const large = 512 << 10
	for _, tt := range []struct {
		name string
		sent string
		// every is what is sent once a second after that.
		every  string
		status int // 0: the connection is closed without an answer
		after  time.Duration
	}{
		{name: "no header", sent: "POST", status: http.StatusBadRequest, after: readTimeout},
		{name: "no end of header", sent: head, every: "X-More: 1\r\n", status: 0, after: readTimeout},
		{name: "no body", sent: head + "Content-Length: 100\r\n\r\n", status: http.StatusRequestTimeout, after: readTimeout},
		{name: "slow body", sent: head + "Content-Length: 100\r\n\r\n", every: "{", status: http.StatusRequestTimeout, after: readTimeout},
		{
			name: "slow large body", sent: head + "Content-Length: 524288\r\n\r\n", every: "{",
			status: http.StatusRequestTimeout, after: readTimeout + large/slowBody*time.Second,
		},
		{
			name: "slow body of unknown size", sent: head + "Transfer-Encoding: chunked\r\n\r\n", every: "1\r\n{\r\n",
			status: http.StatusRequestTimeout, after: readTimeout + mebi/slowBody*time.Second,
		},
		{name: "idle", sent: head + "Content-Length: 2\r\n\r\n{}", status: http.StatusOK, after: idleTimeout},
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
				if took := time.Since(start); status != tt.status || took < tt.after || took > tt.after+2*time.Second {
					t.Errorf("status %d, closed after %v; want %d and %v", status, took, tt.status, tt.after)
				}
			})
		})
	}
}
