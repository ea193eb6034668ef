package simulate

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A duplicate with another answer than the first request is counted, and not retried.
func TestDuplicatesFailed(t *testing.T) {
	c := config(&server{answer: func(_ *http.Request, before int) int { return []int{200, 409}[before] }}, goodSample)
	c.Duplicates = 100
	r := simulated(t, c)
	if r.DuplicatesFailed != 100 || r.Requests.sum() != 200 || r.Total.Acknowledged != 100 {
		t.Errorf("%d of %+v, %+v", r.DuplicatesFailed, r.Requests, r.Total)
	}
}

// A cancelled duplicate has no answer, so it has no wrong one.
func TestDuplicateCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := config(&server{answer: func(_ *http.Request, before int) int { return []int{200, 0}[before] }}, goodSample)
		c.Duplicates, c.Count, c.Connector.Delivery.Timeout = 100, 1, time.Hour
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		r, err := Run(ctx, c)
		if err != nil || r.Answers.CutOff != 1 || r.DuplicatesFailed != 0 || r.Total.Acknowledged != 1 {
			t.Errorf("%v: %d failed, %+v, %+v", err, r.DuplicatesFailed, r.Answers, r.Total)
		}
	})
}

// A vendor may retry a broken webhook after every answer. That is no problem.
func TestBrokenIsRefusedForEver(t *testing.T) {
	for status, want := range map[int]bool{400: true, 422: true, 408: false, 429: false, 503: false, 0: false} {
		c := config(&server{answer: func(*http.Request, int) int { return status }}, goodSample, brokenSample)
		c.Broken = 100
		c.Connector.Delivery.Retries = []time.Duration{time.Second, time.Hour}
		r := simulated(t, c)
		if fine := len(r.Problems()) == 0; r.Total.Unfinished != 100 || fine != want {
			t.Errorf("%d: %+v, problems %q", status, r.Total, r.Problems())
		}
	}
}

// slow delays each answer by another hundred milliseconds.
type slow struct{ count atomic.Int64 }

func (s *slow) RoundTrip(*http.Request) (*http.Response, error) {
	<-time.After(time.Duration(s.count.Add(1)) * 100 * time.Millisecond)
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
}

func TestLatencyIsReported(t *testing.T) {
	c := config(nil, goodSample)
	c.Transport, c.Connector.Delivery.Timeout = new(slow), time.Minute
	r := simulated(t, c)
	near := func(got, want float64) bool { return got >= want && got <= want*1.04 }
	if a := r.Answers; !near(a.Median, 5.1) || !near(a.P99, 10) || a.Longest != 10 {
		t.Errorf("%v, %v, %v seconds, not 5.1, 10 and 10", a.Median, a.P99, a.Longest)
	}
}

// The problems by kind and outcome, in a complete or an interrupted run.
func TestProblems(t *testing.T) {
	const lost, open = "1 would have been lost", "1 were not answered with success in time, and would be tried again"
	for _, tt := range []struct {
		kind        Kind
		outcomes    Outcomes
		want        string
		interrupted string
	}{
		{Valid, Outcomes{Acknowledged: 1}, "", ""},
		{Valid, Outcomes{Refused: 1}, "1 were refused, though nothing is wrong with them", "1 were refused, though nothing is wrong with them"},
		{Valid, Outcomes{Lost: 1}, lost, lost},
		{Valid, Outcomes{Unfinished: 1}, open, ""},
		{Valid, Outcomes{Unfinished: 1, UnfinishedRefused: 1}, open, ""},
		{Broken, Outcomes{Acknowledged: 1}, "", ""},
		{Broken, Outcomes{Refused: 1}, "", ""},
		{Broken, Outcomes{Lost: 1}, lost, lost},
		{Broken, Outcomes{Unfinished: 1}, open, ""},
		{Broken, Outcomes{Unfinished: 1, UnfinishedRefused: 1}, "", ""},
		{Unauthorized, Outcomes{Acknowledged: 1}, "1 with a wrong secret were accepted", "1 with a wrong secret were accepted"},
		{Unauthorized, Outcomes{Refused: 1}, "", ""},
		{Unauthorized, Outcomes{Lost: 1}, "1 with a wrong secret were not refused", "1 with a wrong secret were not refused"},
		{Unauthorized, Outcomes{Unfinished: 1}, "1 with a wrong secret were not answered", ""},
	} {
		tt.outcomes.Sent = 1
		r := newReport(&Config{Connector: acme()})
		r.Webhooks[tt.kind] = &tt.outcomes
		r.Events["paid"], r.Requests.First, r.Answers.Status[200] = 1, 1, 1
		for interrupted, want := range map[bool]string{false: tt.want, true: tt.interrupted} {
			r.Total = Outcomes{}
			r.close(time.Second, time.Second, interrupted)
			if got := strings.Join(r.Problems(), "; "); got != want || !r.Correct {
				t.Errorf("%s %+v, interrupted: %t: %q, want %q", tt.kind, tt.outcomes, interrupted, got, want)
			}
		}
	}
}

// A report that does not add up says so, for every number.
func TestDoesNotAddUp(t *testing.T) {
	right := simulated(t, config(&server{}, goodSample))
	for name, spoil := range map[string]func(*Report){
		"facts":    func(r *Report) { r.Webhooks[Valid].Lost++ },
		"sent":     func(r *Report) { r.Total.Sent++ },
		"first":    func(r *Report) { r.Requests.First-- },
		"requests": func(r *Report) { r.Requests.Retries++ },
		"answers":  func(r *Report) { r.Answers.CutOff++ },
		"events":   func(r *Report) { r.Events["paid"]-- },
	} {
		spoiled := *right
		spoiled.Webhooks = map[Kind]*Outcomes{Valid: {}, Broken: {}, Unauthorized: {}}
		*spoiled.Webhooks[Valid] = *right.Webhooks[Valid]
		spoiled.Events = map[string]int64{"paid": right.Events["paid"]}
		if !spoiled.AddsUp() {
			t.Fatal("does not add up though nothing is wrong")
		}
		spoil(&spoiled)
		if spoiled.AddsUp() || len(spoiled.Problems()) == 0 {
			t.Errorf("%s: seems to add up", name)
		}
	}
}

func TestPrint(t *testing.T) {
	c := config(&server{answer: func(_ *http.Request, before int) int { return []int{503, 0, -1, 200}[min(before, 3)] }}, goodSample)
	c.TimeScale = 10
	r := simulated(t, c)
	var text bytes.Buffer
	if err := r.Print(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"acme: ", "up to 4 attempts each; the vendor's waits between them are divided by 10\n", "requests  400 = 100 first + 300 retries + 0 duplicates\n",
		"100 × 200 OK + 100 × 503 Service Unavailable + 100 × no answer in the vendor's time + 100 × no connection: connection reset",
		"events    paid 100", "nothing would have been lost, and the report adds up",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("lacks %q:\n%s", want, &text)
		}
	}
}
