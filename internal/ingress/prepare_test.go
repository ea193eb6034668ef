package ingress

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/webhook-bridge/bridge/connectors/retino"
	"github.com/webhook-bridge/bridge/internal/secret"
	"github.com/webhook-bridge/bridge/internal/source"
)

// TestPrepare: other sources apply to the next webhook, and nothing before that.
func TestPrepare(t *testing.T) {
	e := newEdge(t)
	body := sample(t, "retino", "shipping_ordered")
	post := func(source, key string, want int) {
		t.Helper()
		if w := e.post("/webhooks/"+source, http.Header{"X-Retino-Secret": {key}}, body); w.Code != want {
			t.Errorf("%s: %d, want %d", source, w.Code, want)
		}
	}
	hold, held := make(chan struct{}), make(chan struct{}, 1)
	e.book.Before = func(context.Context) error {
		held <- struct{}{}
		<-hold
		return nil
	}
	under := make(chan int)
	go func() { under <- e.post("/webhooks/returns", secretOf("returns"), body).Code }()
	<-held

	added := func(name, key string) source.Source {
		return source.Source{
			Name: name, Connector: retino.New(),
			Auth: source.Auth{Scheme: source.SchemeHeader, Header: "X-Retino-Secret", Values: secret.List(key)},
		}
	}
	if _, err := e.Prepare([]source.Source{added("new", "a-new-secret"), {Name: "bad"}}); err == nil {
		t.Error("a bad source was prepared")
	}
	apply, err := e.Prepare([]source.Source{added("new", "a-new-secret")})
	if err != nil {
		t.Fatal(err)
	}
	post("new", "a-new-secret", http.StatusNotFound)
	apply()
	post("returns", retinoSecret, http.StatusNotFound)
	close(hold)
	if got := <-under; got != http.StatusOK {
		t.Errorf("a webhook of a source that was removed meanwhile: %d", got)
	}
	e.book.Before = nil
	post("new", "wrong", http.StatusUnauthorized)
	post("new", "a-new-secret", http.StatusOK)
	if apply, err = e.Prepare([]source.Source{added("new", "another-secret")}); err != nil {
		t.Fatal(err)
	}
	apply()
	post("new", "a-new-secret", http.StatusUnauthorized)
	post("new", "another-secret", http.StatusOK)
}

// TestPrepareKeepsCounts: a source that keeps its name keeps its rate, its bytes of the day, and the bytes in use.
func TestPrepareKeepsCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := sample(t, "retino", "shipping_ordered")
		limited := func(rate int, daily, inFlight int64) func(*Config) {
			return only("returns", func(s *source.Source) {
				s.Limits = source.Limits{Body: 8 << 10, Rate: rate, Daily: daily, InFlight: inFlight}
			})
		}
		e := newEdge(t, limited(4, 1<<20, 64<<10))
		change := func(set func(*Config)) {
			t.Helper()
			c := Config{Sources: testSources()}
			set(&c)
			apply, err := e.Prepare(c.Sources)
			if err != nil {
				t.Fatal(err)
			}
			apply()
		}
		accepted := func() (n int) {
			for range 20 {
				if e.post("/webhooks/returns", secretOf("returns"), body).Code == http.StatusOK {
					n++
				}
			}
			return n
		}
		if n := accepted(); n != 4 {
			t.Errorf("%d webhooks in the first second", n)
		}
		for _, tt := range []struct {
			rate, now, later int
		}{{4, 0, 4}, {6, 0, 6}, {2, 0, 2}} {
			before := e.endpoint("returns")
			change(limited(tt.rate, 1<<20, 64<<10))
			if n := accepted(); n != tt.now {
				t.Errorf("rate %d: %d webhooks at once", tt.rate, n)
			}
			wait(time.Second)
			if n := accepted(); n != tt.later {
				t.Errorf("rate %d: %d webhooks after a second", tt.rate, n)
			}
			if after := e.endpoint("returns"); after == before || after.bodies != before.bodies || after.decoding != before.decoding {
				t.Error("the budgets were not kept")
			}
		}
		change(limited(1000, int64(len(body))*16+8<<10, 64<<10)) // 16 were accepted so far
		wait(time.Second)
		if n, most := accepted(), 1+8<<10/len(body); n > most {
			t.Errorf("%d webhooks above the day's bytes", n)
		}
		before := e.endpoint("returns")
		change(limited(1000, 1<<30, 128<<10))
		if e.endpoint("returns").bodies == before.bodies {
			t.Error("another size has the old budget")
		}
	})
}
