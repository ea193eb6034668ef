package daemon

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestRelayChangesNothing: what a predecessor passes on is what the vendor sent, to the byte where a signature may cover it.
func TestRelayChangesNothing(t *testing.T) {
	type request struct {
		Method, Target, Host, Body string
		Header                     http.Header
	}
	got := make(chan request, 1)
	successor := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Header.Del("Connection") // between the two processes
		got <- request{r.Method, r.RequestURI, r.Host, string(body), r.Header}
		w.WriteHeader(http.StatusAccepted)
	}))
	defer successor.Close()
	d := &door{handler: http.NotFoundHandler()}
	d.passTo(successor.Listener.Addr(), false, slog.New(slog.DiscardHandler))
	predecessor := httptest.NewServer(d)
	defer predecessor.Close()

	for _, target := range []string{
		"/webhooks/shop", "/webhooks/shop?a=1&b=2", "/webhooks/shop?b=2;a=1", "/webhooks/shop?a=%zz&c=%41", "/webhooks/shop/t/a%2Fb%41?", "//webhooks/shop",
	} {
		header := http.Header{
			"X-Signature": {"sha256=00"}, "X-Forwarded-For": {"192.0.2.1"}, "X-Forwarded-Proto": {"https"}, "Content-Length": {"7"},
		}
		var text strings.Builder
		fmt.Fprintf(&text, "POST %s HTTP/1.1\r\nHost: hooks.example\r\n", target)
		_ = header.Write(&text)
		text.WriteString("\r\n{\"a\":1}")
		c, err := net.Dial("tcp", predecessor.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, text.String()); err != nil {
			t.Fatal(err)
		}
		answer, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if answer.StatusCode != http.StatusAccepted || !answer.Close {
			t.Errorf("%s: status %d, the connection ends: %t", target, answer.StatusCode, answer.Close)
		}
		_ = answer.Body.Close()
		_ = c.Close()
		if diff := cmp.Diff(request{http.MethodPost, target, "hooks.example", `{"a":1}`, header}, <-got); diff != "" {
			t.Errorf("%s: %s", target, diff)
		}
	}
}
