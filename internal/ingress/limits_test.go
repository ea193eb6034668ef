package ingress

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/internal/source"
)

func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEdge(t, only("returns", func(s *source.Source) { s.Limits.Rate = 3 }))
		send := func() int {
			return e.post("/webhooks/returns", secretOf("returns"), []byte(`{"event_type":"x"}`)).Code
		}
		// Strangers do not use it up.
		for range 10 {
			e.post("/webhooks/returns", nil, nil)
		}
		for i := range 3 {
			if code := send(); code != http.StatusOK {
				t.Errorf("webhook %d: %d", i, code)
			}
		}
		w := e.post("/webhooks/returns", secretOf("returns"), nil)
		if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "1" {
			t.Errorf("answer %d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
		}
		wait(time.Second)
		if code := send(); code != http.StatusOK {
			t.Errorf("a second later: %d", code)
		}
	})
}

// wait lets a bubble's time pass.
func wait(d time.Duration) { <-time.After(d) }

func TestDailyQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEdge(t, only("returns", func(s *source.Source) { s.Limits.Body, s.Limits.Daily = 100, 100 }))
		body := []byte(`{"event_type":"` + string(bytes.Repeat([]byte{'x'}, 40)) + `"}`) // 57 bytes
		want := []int{http.StatusOK, http.StatusTooManyRequests}
		for day := range 2 {
			for i, status := range want {
				w := e.post("/webhooks/returns", secretOf("returns"), body)
				if w.Code != status {
					t.Errorf("day %d, webhook %d: %d", day, i, w.Code)
				}
				// Bubbles begin at midnight.
				if status == http.StatusTooManyRequests && w.Header().Get("Retry-After") != strconv.Itoa(24*60*60) {
					t.Errorf("Retry-After %q", w.Header().Get("Retry-After"))
				}
			}
			wait(24 * time.Hour)
		}
	})
}

// TestInFlight: while the budget is used up, a webhook waits for half a second; then it is asked to come again. Bytes that
// are released are used, and all of them are released in the end.
func TestInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := append([]byte(`{"event_type":"`), bytes.Repeat([]byte{'x'}, 100<<10)...)
		body = append(body, `"}`...)
		e := newEdge(t, only("returns", func(s *source.Source) { s.Limits.Body, s.Limits.InFlight = 110<<10, 110<<10 }))
		hold, held := make(chan struct{}), make(chan struct{}, 2)
		e.book.Before = func(context.Context) error {
			held <- struct{}{}
			<-hold
			return nil
		}
		var wg sync.WaitGroup
		for range 2 { // The least budget is for two.
			wg.Go(func() { e.post("/webhooks/returns", secretOf("returns"), body) })
			<-held
		}
		start := time.Now()
		w := e.post("/webhooks/returns", secretOf("returns"), body)
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "5" || time.Since(start) != reserveTimeout {
			t.Errorf("answer %d after %v", w.Code, time.Since(start))
		}
		wg.Go(func() {
			if w := e.post("/webhooks/returns", secretOf("returns"), body); w.Code != http.StatusOK {
				t.Errorf("waiting webhook: %d", w.Code)
			}
		})
		synctest.Wait()
		close(hold)
		wg.Wait()
		budget := e.endpoint("returns").bodies.bytes
		if all := 2 * int64(110<<10+1); !budget.TryAcquire(all) || budget.TryAcquire(1) {
			t.Error("bytes were lost, or made")
		}
	})
}

// TestBytesComeBack: however a webhook ends.
func TestBytesComeBack(t *testing.T) {
	e := newEdge(t, only("returns", func(s *source.Source) { s.Limits.Body, s.Limits.InFlight = 1<<10, 1<<10 }))
	h := secretOf("returns")
	large := make([]byte, 2<<10)
	e.post("/webhooks/returns", h, large)
	e.post("/webhooks/returns", h, []byte("{"))
	e.post("/webhooks/returns", h, sample(t, "retino", "shipping_ordered"))
	for _, encoding := range []string{"gzip", "br"} {
		h := secretOf("returns")
		h.Set("Content-Encoding", encoding)
		e.post("/webhooks/returns", h, zipped(t, large))
		e.post("/webhooks/returns", h, []byte("{}"))
	}
	r := httptest.NewRequest(http.MethodPost, "/webhooks/returns", io.MultiReader(bytes.NewReader(large[:9]), failing{io.ErrUnexpectedEOF}))
	r.Header = secretOf("returns")
	e.ServeHTTP(httptest.NewRecorder(), r)
	if budget := e.endpoint("returns").bodies.bytes; !budget.TryAcquire(2 * (smallBody + 1)) {
		t.Error("bytes were lost")
	}
}

// failing is a body that does not arrive.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// TestBodyDoesNotArrive: nothing is stored of half a body, and the answer says whose fault it was.
func TestBodyDoesNotArrive(t *testing.T) {
	for _, tt := range []struct {
		err    error
		status int
		reason string
	}{
		{io.ErrUnexpectedEOF, http.StatusBadRequest, "incomplete_body"},
		{errors.New("connection reset"), http.StatusBadRequest, "incomplete_body"},
		{os.ErrDeadlineExceeded, http.StatusRequestTimeout, "slow_body"},
	} {
		e := newEdge(t)
		// What has arrived would do.
		body := io.MultiReader(bytes.NewReader(sample(t, "retino", "shipping_ordered")), failing{tt.err})
		r := httptest.NewRequest(http.MethodPost, "/webhooks/returns", body)
		r.Header = secretOf("returns")
		w := httptest.NewRecorder()
		e.ServeHTTP(w, r)
		if w.Code != tt.status || e.value(t, "bridge_webhooks_refused_total", tt.reason, "returns") != 1 {
			t.Errorf("%v: answer %d", tt.err, w.Code)
		}
		if n := len(e.book.all()); n != 0 {
			t.Errorf("%v: %d webhooks were stored", tt.err, n)
		}
	}
}

// TestSlowBody: over a real connection, a body that trickles in is cut off in bounded time.
func TestSlowBody(t *testing.T) {
	e := newEdge(t)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// What NewServer's ReadTimeout does, sooner.
		if err := http.NewResponseController(w).SetReadDeadline(time.Now()); err != nil {
			t.Error(err)
		}
		e.ServeHTTP(w, r)
	}))
	s.Start()
	defer s.Close()
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "POST /webhooks/returns HTTP/1.1\r\nHost: x\r\nX-Retino-Secret: "+retinoSecret+"\r\nContent-Length: 100\r\n\r\n{"); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, len("HTTP/1.1 408"))
	if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != "HTTP/1.1 408" {
		t.Errorf("answer %q, %v", answer, err)
	}
}

// TestBodiesBudget: a source has bytes for one body, compressed and not, and for its copies, however little is configured.
func TestBodiesBudget(t *testing.T) {
	for _, tt := range []struct {
		name      string
		connector connectors.Connector
		inFlight  int64
		want      int64
	}{
		{name: "enough", inFlight: 64 << 20, want: 64 << 20},
		{name: "one body", inFlight: 1 << 20, want: 2<<20 + 2},
		{name: "one form", connector: connectors.Connector{FormField: "payload"}, inFlight: 1 << 20, want: 3<<20 + 3},
	} {
		s := source.Source{Connector: &tt.connector, Limits: source.Limits{Body: 1 << 20, InFlight: tt.inFlight}}
		if got := bodiesBudget(&s); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}
