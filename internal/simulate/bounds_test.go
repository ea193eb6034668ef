package simulate

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Memory is bounded: when too many webhooks wait for a retry, no new one starts, and the report says so.
func TestBounded(t *testing.T) {
	c := config(&server{answer: func(*http.Request, int) int { return 503 }},
		strings.Replace(goodSample, `"type"`, `"padding":"`+strings.Repeat("x", 100_000)+`","type"`, 1))
	c.Rate, c.Count, c.For = 1000, 0, 5*time.Second
	c.Connector.Delivery.Retries = []time.Duration{time.Hour}
	c.TimeScale = 1
	r := simulated(t, c)
	if most := int64(maxWaitingBytes/100_000 + 1); !r.Full || r.Total.Sent > most || r.Total.Unfinished != r.Total.Sent {
		t.Errorf("full: %v, %+v, at most %d", r.Full, r.Total, most)
	}
	// A retry after an hour is not waited for.
	if r.Behind < 1 || r.Drained != 0 || len(r.Problems()) == 0 {
		t.Errorf("behind by %v, drained for %v: %q", r.Behind, r.Drained, r.Problems())
	}
}

// A webhook that has waited and was sent frees its memory: in total more may wait than fits at once, without a delay.
func TestBoundIsNotForTheSum(t *testing.T) {
	c := config(&server{answer: func(_ *http.Request, before int) int { return []int{503, 503, 200}[before] }}, goodSample)
	c.TimeScale, c.For = 10, time.Minute // a second, and two
	v, err := NewVendor(c.Connector, time.UTC, c.Seed)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(c, v)
		// About thirty wait at a time, of a hundred that wait twice.
		e.maxBytes = 60 * (len(goodSample) + deliveryOverhead)
		r, err := e.run(t.Context())
		if err != nil || r.Full || r.Requests.Retries != 200 || e.waitingBytes != 0 {
			t.Errorf("%v, full: %t, %+v, %d bytes wait", err, r.Full, r.Requests, e.waitingBytes)
		}
	})
}

// After the last webhook has started, retries have the same time again, at least ten seconds.
func TestDrain(t *testing.T) {
	for _, tt := range []struct {
		rate    float64
		wait    time.Duration
		retries int64
	}{
		{10, 9 * time.Second, 100}, {10, 25 * time.Second, 0}, // ten seconds or so
		{100, 8 * time.Second, 100}, {100, 12 * time.Second, 0}, // a second
		{1, 80 * time.Second, 100}, // a hundred
	} {
		c := config(&server{answer: func(*http.Request, int) int { return 503 }}, goodSample)
		c.Rate, c.Connector.Delivery.Retries = tt.rate, []time.Duration{tt.wait, time.Hour}
		r := simulated(t, c)
		if r.Requests.Retries != tt.retries || r.Total.Unfinished != 100 || r.Drained > max(r.Seconds, minDrain.Seconds()) {
			t.Errorf("%v a second: %+v, %+v after %v and %v", tt.rate, r.Requests, r.Total, r.Seconds, r.Drained)
		}
	}
}

// With too few connections webhooks start late, and there are never more requests at once.
func TestConnections(t *testing.T) {
	c := config(&server{answer: func(*http.Request, int) int { return 0 }}, goodSample)
	c.Connections, c.Count, c.For = 2, 0, 10*time.Second
	c.Connector.Delivery.Retries = nil
	r := simulated(t, c)
	if r.Total.Sent < 18 || r.Total.Sent > 24 || r.Answers.TimedOut != r.Total.Sent || r.Behind < 5 {
		t.Errorf("%d in ten seconds over two connections at a second each, behind by %v", r.Total.Sent, r.Behind)
	}
}

// An interrupted run ends at once, with a report that adds up.
func TestInterrupted(t *testing.T) {
	for _, status := range []int{0, 200, 503} {
		synctest.Test(t, func(t *testing.T) {
			c := config(&server{answer: func(*http.Request, int) int { return status }}, goodSample)
			c.Duplicates, c.Disorder, c.Count = 50, 50, 1000
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			began := time.Now()
			r, err := Run(ctx, c)
			if err != nil || !r.Interrupted || !r.Correct || time.Since(began) != 5*time.Second {
				t.Errorf("status %d: %v after %v: %+v", status, err, time.Since(began), r)
			}
			if open := r.Total.Unfinished > 0; open != (status != 200) {
				t.Errorf("status %d: %+v", status, r.Total)
			}
		})
	}
}

// The longest wait fits the run by default. No wait is longer than the vendor's.
func TestTimeScale(t *testing.T) {
	for _, tt := range []struct {
		span  time.Duration
		count int64
		want  float64
	}{{20 * time.Second, 0, 2}, {time.Hour, 0, 1}, {0, 100, 4}, {time.Hour, 50, 8}, {20 * time.Second, 1e9, 2}} {
		c := config(&server{}, goodSample)
		c.TimeScale, c.For, c.Count = 0, tt.span, tt.count
		if got := newEngine(c, nil).TimeScale; got != tt.want {
			t.Errorf("%v and %d: %v, want %v", tt.span, tt.count, got, tt.want)
		}
	}
}
