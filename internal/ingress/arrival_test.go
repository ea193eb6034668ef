package ingress

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/retino"
	"github.com/webhook-bridge/bridge/internal/secret"
	"github.com/webhook-bridge/bridge/internal/source"
)

// withUnverified adds a source whose webhooks are signed, without a time, and one that verifies nothing.
func withUnverified(c *Config) {
	c.Sources = append(c.Sources, source.Source{Name: "open", Connector: retino.New(), Auth: source.Auth{Scheme: source.SchemeNone}}, source.Source{
		Name: "signed", Connector: retino.New(), UnsignedDeliveryID: true, Auth: source.Auth{
			Scheme: source.SchemeHMAC, Values: secret.List(newSecret), Header: "X-Signature",
			HMAC: &connectors.HMAC{Header: "X-Signature", Signed: "{url}{body}"},
		},
	})
}

// TestArrival: a body has time by what has arrived, less while its sender is not verified. The announced length does not matter.
func TestArrival(t *testing.T) {
	const (
		verified = "POST /webhooks/returns HTTP/1.1\r\nHost: bridge\r\nX-Retino-Secret: " + retinoSecret + "\r\n"
		signed   = "POST /webhooks/signed HTTP/1.1\r\nHost: bridge\r\nX-Signature: "
		open     = "POST /webhooks/open HTTP/1.1\r\nHost: bridge\r\n"
		chunked  = "Transfer-Encoding: chunked\r\n\r\n"
	)
	forged := signed + strings.Repeat("0", 64) + "\r\n"
	kilobytes := func(n int) string { return strings.Repeat(" ", n<<10) }
	for _, tt := range []struct {
		name, head string
		// first is sent at once, and every each second after that, times times. 0 is for ever.
		first, every string
		times        int
		// last is sent after that.
		last   string
		status int
		after  time.Duration
	}{
		{name: "slow and honest", head: verified + "Content-Length: 512002\r\n\r\n", first: "{}", every: strings.Repeat(" ", 10240), times: 50, status: 200, after: 50 * time.Second},
		{name: "slow, honest and chunked", head: verified + chunked, first: "2\r\n{}\r\n", every: "2800\r\n" + strings.Repeat(" ", 10240) + "\r\n", times: 50, last: "0\r\n\r\n", status: 200, after: 50 * time.Second},
		{name: "slow and honest, not verified", head: forged + "Content-Length: 512000\r\n\r\n", every: strings.Repeat(" ", 10240), times: 50, status: 401, after: 50 * time.Second},
		{name: "too slow", head: verified + "Content-Length: 512000\r\n\r\n", every: kilobytes(1), status: 408, after: 22 * time.Second},
		{name: "too slow, not verified", head: forged + "Content-Length: 512000\r\n\r\n", every: kilobytes(1), status: 408, after: 5 * time.Second},
		{name: "a byte a second", head: verified + "Content-Length: 512000\r\n\r\n", every: "x", status: 408, after: 20 * time.Second},
		{name: "a byte a second, not verified", head: forged + "Content-Length: 512000\r\n\r\n", every: "x", status: 408, after: 5 * time.Second},
		{name: "a small body, a byte a second, not verified", head: forged + "Content-Length: 100\r\n\r\n", every: "x", status: 408, after: 5 * time.Second},
		{name: "a small body, a byte a second, never verified", head: open + "Content-Length: 100\r\n\r\n", every: "x", status: 408, after: 5 * time.Second},
		{name: "chunks of a byte, never verified", head: open + chunked, every: "1\r\nx\r\n", status: 408, after: 5 * time.Second},
		{name: "chunks of a byte, not verified", head: forged + chunked, every: "1\r\nx\r\n", status: 408, after: 5 * time.Second},
		{name: "nothing, not verified", head: forged + "Content-Length: 100\r\n\r\n", status: 408, after: 5 * time.Second},
		{name: "extensions of chunks", head: forged + chunked, every: "1;" + strings.Repeat("x", 200) + "\r\nx\r\n", status: 408, after: 5 * time.Second},
		{name: "a pause", head: verified + "Content-Length: 512000\r\n\r\n", first: kilobytes(400), status: 408, after: 20 * time.Second},
		{name: "a pause, not verified", head: forged + "Content-Length: 512000\r\n\r\n", first: kilobytes(400), status: 408, after: 5 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
				s := NewServer(newEdge(t, withUnverified), slog.New(slog.DiscardHandler))
				go s.Serve(l)
				ours, theirs := net.Pipe()
				l.conns <- theirs
				start := time.Now()
				var sending sync.WaitGroup
				defer sending.Wait()
				defer s.Close()
				sending.Go(func() {
					_, err := io.WriteString(ours, tt.head+tt.first)
					for n := 0; err == nil && tt.every != "" && (tt.times == 0 || n < tt.times); n++ {
						wait(time.Second)
						_, err = io.WriteString(ours, tt.every)
					}
					if err == nil {
						_, _ = io.WriteString(ours, tt.last)
					}
				})
				resp, err := http.ReadResponse(bufio.NewReader(ours), nil)
				if err != nil {
					t.Fatal(err)
				}
				defer wait(2 * lingering) // The server lingers.
				defer ours.Close()
				defer resp.Body.Close()
				if took := time.Since(start); resp.StatusCode != tt.status || took < tt.after || took > tt.after+1500*time.Millisecond {
					t.Errorf("status %d after %v; want %d after %v", resp.StatusCode, took, tt.status, tt.after)
				}
			})
		})
	}
}
