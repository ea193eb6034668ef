package simulate

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/internal/signature"
)

// server is the destination of a run. It answers with the status that answer returns. The argument of answer is the number of
// earlier requests with the same body. A status of 0 means no answer, a negative one a broken connection.
type server struct {
	answer func(r *http.Request, before int) int

	mu       sync.Mutex
	requests []received
	before   map[string]int
}

type received struct {
	at     time.Time
	url    string
	header http.Header
	body   string
	status int
}

func (s *server) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	before := s.before[string(body)]
	if s.before == nil {
		s.before = map[string]int{}
	}
	s.before[string(body)]++
	status := http.StatusOK
	if s.answer != nil {
		status = s.answer(r, before)
	}
	s.requests = append(s.requests, received{time.Now(), r.URL.String(), r.Header, string(body), status})
	s.mu.Unlock()
	switch {
	case status < 0:
		return nil, errors.New("connection reset")
	case status == 0:
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader("{}"))}, nil
}

const (
	goodSample   = "Good.\n-- body.json --\n{\"type\":\"paid\",\"id\":\"2b20e85f-2201-494a-9bf9-85d89721174e\",\"at\":\"2023-01-23T10:28:10.010Z\"}\n-- events.json --\n{}\n"
	namedSample  = "Named by the URL, keyed by a header.\n-- event --\nsold out\n-- header --\nX-Acme-Id: 7\nX-Acme-Kind: big\n-- body.json --\n{\"id\":\"2b20e85f-2201-494a-9bf9-85d89721174e\"}\n-- events.json --\n{}\n"
	brokenSample = "Broken.\n-- body.json --\n{\"type\":\"paid\",\"id\":\"2b20e85f-2201-494a-9bf9-85d89721174e\",\n-- quarantine.json --\n{}\n"
	formSample   = "A form.\n-- body.form --\nv=1&payload=%7B%22type%22%3A%22filed%22%2C%22ref%22%3A%220001%22%7D&z=2\n-- events.json --\n{}\n"
)

// acme is a vendor with a timeout of a second and retries after ten, twenty and forty seconds.
func acme(samples ...string) *connectors.Connector {
	files := fstest.MapFS{}
	for i, s := range samples {
		files[fmt.Sprintf("testdata/%d.txtar", i)] = &fstest.MapFile{Data: []byte(s)}
	}
	return &connectors.Connector{
		Name: "acme", EventField: "type", KeyHeader: "X-Acme-Id", FormField: "payload", Samples: files,
		Delivery: connectors.DeliveryPolicy{Timeout: time.Second, Retries: []time.Duration{10 * time.Second, 20 * time.Second, 40 * time.Second}},
	}
}

// config returns a run of a hundred webhooks at ten a second.
func config(s *server, samples ...string) Config {
	base, err := url.Parse("http://127.0.0.1/webhooks/acme")
	if err != nil {
		panic(err)
	}
	return Config{
		Connector: acme(samples...), Target: Target{URL: base}, Transport: s,
		Rate: 10, Count: 100, Connections: 200, TimeScale: 1, Seed: 1,
	}
}

// simulated runs c in a synctest bubble.
func simulated(t *testing.T, c Config) *Report {
	t.Helper()
	var report *Report
	synctest.Test(t, func(t *testing.T) {
		var err error
		if report, err = Run(t.Context(), c); err != nil {
			t.Error(err)
		}
	})
	if report == nil {
		t.FailNow()
	}
	if !report.Correct {
		t.Errorf("the report does not add up: %+v", report)
	}
	return report
}

func TestAllIsWell(t *testing.T) {
	s := &server{}
	c := config(s, goodSample, brokenSample)
	c.Rate, c.Count, c.For = 100, 0, 100*time.Second
	r := simulated(t, c)
	// The count of a Poisson process is within four standard deviations.
	if off := math.Abs(float64(r.Total.Sent) - 10_000); off > 4*math.Sqrt(10_000) {
		t.Errorf("%d webhooks in a hundred seconds at a hundred a second", r.Total.Sent)
	}
	if diff := cmp.Diff(Outcomes{Sent: r.Total.Sent, Acknowledged: r.Total.Sent}, r.Total); diff != "" {
		t.Error(diff)
	}
	if r.Requests.Retries+r.Requests.Duplicates != 0 || r.Webhooks[Broken].Sent != 0 || len(r.Problems()) > 0 {
		t.Errorf("something is wrong: %+v", r)
	}
	if r.Seconds != 100 || r.Drained != 0 || r.Reached != float64(r.Total.Sent)/100 {
		t.Errorf("took %v and %v seconds, %v a second", r.Seconds, r.Drained, r.Reached)
	}
	bodies := map[string]bool{}
	for _, q := range s.requests {
		bodies[q.body] = true
	}
	if int64(len(bodies)) != r.Total.Sent {
		t.Errorf("%d bodies of %d webhooks", len(bodies), r.Total.Sent)
	}
}

// Retries follow the vendor's waits, divided by the scale, with the same bytes and the same id. There is none after success.
func TestRetriesAsTheVendorDoes(t *testing.T) {
	s := &server{answer: func(_ *http.Request, before int) int {
		return []int{503, -1, 429, 200}[before]
	}}
	c := config(s, namedSample)
	c.TimeScale, c.Count = 10, 20
	r := simulated(t, c)
	if diff := cmp.Diff(Requests{First: 20, Retries: 60}, r.Requests); diff != "" {
		t.Error(diff)
	}
	if r.Total.Acknowledged != 20 || r.Answers.Unreachable != 20 || r.Unreachable != "connection reset" {
		t.Errorf("%+v", r)
	}
	byKey := map[string][]received{}
	for _, q := range s.requests {
		key := q.header.Get("X-Acme-Id")
		byKey[key] = append(byKey[key], q)
		if q.url != "http://127.0.0.1/webhooks/acme/sold%20out" || q.header.Get("X-Acme-Kind") != "big" {
			t.Fatalf("sent to %s with %v", q.url, q.header)
		}
	}
	if len(byKey) != 20 {
		t.Fatalf("%d ids of 20 webhooks", len(byKey))
	}
	for _, tries := range byKey {
		for i, wait := range []time.Duration{1, 2, 4} {
			if got := tries[i+1].at.Sub(tries[i].at); got != wait*time.Second || tries[i+1].body != tries[i].body {
				t.Fatalf("attempt %d came after %v", i+2, got)
			}
		}
	}
}

// The outcome of a webhook without success depends on the last answer and on the vendor's delivery policy.
func TestGivingUp(t *testing.T) {
	once := func(c *connectors.Connector) { c.Delivery.Retries = nil }
	picky := func(c *connectors.Connector) { c.Delivery.RetryOn = func(status int) bool { return status >= 500 } }
	for _, tt := range []struct {
		name     string
		status   int
		policy   func(*connectors.Connector)
		attempts int64
		want     Outcomes
	}{
		{"unavailable", 503, nil, 4, Outcomes{Sent: 100, Lost: 100}},
		{"no answer", 0, nil, 4, Outcomes{Sent: 100, Lost: 100}},
		{"no connection", -1, nil, 4, Outcomes{Sent: 100, Lost: 100}},
		{"too many", 429, nil, 4, Outcomes{Sent: 100, Lost: 100}},
		{"time-out", 408, nil, 4, Outcomes{Sent: 100, Lost: 100}},
		{"unauthorized", 401, nil, 4, Outcomes{Sent: 100, Refused: 100}},
		{"elsewhere", 302, nil, 4, Outcomes{Sent: 100, Lost: 100}},
		{"one attempt", 503, once, 1, Outcomes{Sent: 100, Lost: 100}},
		{"one attempt, refused", 413, once, 1, Outcomes{Sent: 100, Refused: 100}},
		{"not after that", 400, picky, 1, Outcomes{Sent: 100, Refused: 100}},
		{"not without an answer", 0, picky, 1, Outcomes{Sent: 100, Lost: 100}},
		{"only 200 will do", 204, func(c *connectors.Connector) {
			once(c)
			c.Delivery.Success = func(status int) bool { return status == 200 }
		}, 1, Outcomes{Sent: 100, Lost: 100}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := config(&server{answer: func(*http.Request, int) int { return tt.status }}, goodSample)
			c.TimeScale = 100
			if tt.policy != nil {
				tt.policy(c.Connector)
			}
			r := simulated(t, c)
			if diff := cmp.Diff(tt.want, r.Total); diff != "" {
				t.Error(diff)
			}
			if r.Requests.sum() != 100*tt.attempts {
				t.Errorf("%d requests, not %d each", r.Requests.sum(), tt.attempts)
			}
			if len(r.Problems()) == 0 {
				t.Error("nothing seems to be wrong")
			}
			if (tt.status == 0) != (r.Answers.TimedOut == 100*tt.attempts) {
				t.Errorf("%d timed out", r.Answers.TimedOut)
			}
		})
	}
}

// Duplicates have the same bytes and the same id, after success.
func TestDuplicates(t *testing.T) {
	s := &server{answer: func(_ *http.Request, before int) int { return []int{500, 200, 200}[before] }}
	c := config(s, goodSample)
	c.Duplicates, c.TimeScale = 100, 100
	var recorded int
	c.Record = func(r Record) error {
		recorded++
		if r.Attempts != 2 || r.Duplicates != 1 || r.Outcome != Acknowledged || r.Status != 200 || r.Event != "paid" || r.Key == "" {
			t.Errorf("recorded %+v", r)
		}
		return nil
	}
	r := simulated(t, c)
	if diff := cmp.Diff(Requests{First: 100, Retries: 100, Duplicates: 100}, r.Requests); diff != "" || recorded != 100 {
		t.Errorf("%d recorded\n%s", recorded, diff)
	}
	keys := map[string]string{}
	for _, q := range s.requests {
		if key := q.header.Get("X-Acme-Id"); key == "" || keys[q.body] != "" && keys[q.body] != key {
			t.Fatalf("the id of %s was %q, and is %q", q.body, keys[q.body], key)
		} else {
			keys[q.body] = key
		}
	}
}

// Broken and unauthorized webhooks are counted separately. Unauthorized ones are tried once and must not be accepted.
func TestBrokenAndUnauthorized(t *testing.T) {
	s := &server{answer: func(r *http.Request, _ int) int {
		if r.Header.Get("X-Secret") != "right" {
			return 401
		}
		return 200
	}}
	c := config(s, goodSample, brokenSample)
	c.Target.Header = http.Header{"X-Secret": {"right"}}
	c.UnauthorizedTarget = &Target{URL: c.Target.URL, Header: http.Header{"X-Secret": {"wrong"}}}
	c.Broken, c.WrongSecret, c.Duplicates, c.Count = 20, 20, 50, 1000
	r := simulated(t, c)
	broken, unauthorized := r.Webhooks[Broken], r.Webhooks[Unauthorized]
	if broken.Sent < 150 || broken.Sent > 250 || broken.Acknowledged != broken.Sent {
		t.Errorf("broken: %+v", broken)
	}
	if unauthorized.Sent < 150 || unauthorized.Sent > 250 || unauthorized.Refused != unauthorized.Sent || r.Answers.Status[401] != unauthorized.Sent {
		t.Errorf("unauthorized: %+v", unauthorized)
	}
	if len(r.Problems()) > 0 {
		t.Errorf("problems: %q", r.Problems())
	}
	c.UnauthorizedTarget.Header = c.Target.Header
	if r = simulated(t, c); !slices.ContainsFunc(r.Problems(), func(p string) bool { return strings.Contains(p, "wrong secret") }) {
		t.Errorf("unauthorized ones were accepted: %q", r.Problems())
	}
}

// Each attempt has a new signature, over the URL that the sender calls.
func TestSigned(t *testing.T) {
	scheme, err := signature.Compile(connectors.HMAC{
		Header: "X-Sign", TimestampHeader: "X-Time", Signed: "{timestamp}.{url}.{header.X-Nonce}.{body}",
	}, []string{"a secret"})
	if err != nil {
		t.Fatal(err)
	}
	s := &server{}
	s.answer = func(r *http.Request, before int) int {
		called, _ := strings.CutPrefix(r.URL.String(), "http://127.0.0.1")
		for body := range s.before {
			if s.before[body] == before+1 && scheme.Verify(signature.Request{
				Method: "POST", URL: "https://hooks.example/base" + called, Header: r.Header, Body: []byte(body),
			}, time.Now()) == nil {
				return []int{500, 200}[before]
			}
		}
		return 401
	}
	c := config(s, goodSample)
	c.Target.Scheme, c.Target.PublicURL = scheme, "https://hooks.example/base"
	c.Connector.KeyHeader = ""
	r := simulated(t, c)
	if r.Total.Acknowledged != 100 || r.Requests.Retries != 100 {
		t.Errorf("%+v, %v", r.Total, r.Answers.Status)
	}
}

func TestForm(t *testing.T) {
	s := &server{}
	simulated(t, config(s, formSample))
	refs := map[string]bool{}
	for _, q := range s.requests {
		form, err := url.ParseQuery(q.body)
		payload := form.Get("payload")
		if err != nil || form.Get("v") != "1" || form.Get("z") != "2" || !strings.HasPrefix(payload, `{"type":"filed","ref":"`) ||
			q.header.Get("Content-Type") != "application/x-www-form-urlencoded" {
			t.Fatalf("%s, %v", q.body, err)
		}
		refs[payload] = true
	}
	if len(refs) != 100 {
		t.Errorf("%d of 100", len(refs))
	}
}

// With every kind of answer the report adds up, and each webhook is recorded once.
func TestAddsUpWhateverHappens(t *testing.T) {
	for seed := range uint64(20) {
		random := newRandom(seed)
		s := &server{answer: func(*http.Request, int) int {
			return []int{-1, 0, 200, 200, 204, 302, 400, 401, 408, 429, 500, 503}[random.IntN(12)]
		}}
		c := config(s, goodSample, namedSample, brokenSample, formSample)
		c.UnauthorizedTarget = &Target{URL: c.Target.URL}
		c.Broken, c.WrongSecret, c.Duplicates, c.Disorder = 10, 10, 30, 30
		c.Seed, c.Connections = seed, 1+random.IntN(20)
		c.TimeScale = 0
		outcomes := map[Outcome]int64{}
		c.Record = func(r Record) error { outcomes[r.Outcome]++; return nil }
		r := simulated(t, c)
		want := map[Outcome]int64{Acknowledged: r.Total.Acknowledged, Refused: r.Total.Refused, Lost: r.Total.Lost, Unfinished: r.Total.Unfinished}
		for o, n := range want {
			if n != outcomes[o] {
				t.Errorf("seed %d: %d %s, but %d recorded", seed, n, o, outcomes[o])
			}
		}
		if r.Total.Sent != 100 || int64(len(s.requests)) != r.Requests.sum() {
			t.Errorf("seed %d: %d webhooks, %d requests of %d", seed, r.Total.Sent, r.Requests.sum(), len(s.requests))
		}
	}
}

// The same seed generates the same webhooks at the same times; another seed does not.
func TestSeed(t *testing.T) {
	run := func(seed uint64) []received {
		s := &server{}
		c := config(s, goodSample, namedSample)
		c.Seed = seed
		simulated(t, c)
		return s.requests
	}
	one, again, other := run(1), run(1), run(2)
	sameAs := func(a, b received) bool { return a.body == b.body && a.at.Equal(b.at) && a.url == b.url }
	if !slices.EqualFunc(one, again, sameAs) || slices.EqualFunc(one, other, sameAs) {
		t.Error("the seed does not decide")
	}
}

func TestRecordFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := config(&server{}, goodSample)
		full := errors.New("disk full")
		c.Record = func(Record) error { return full }
		if _, err := Run(t.Context(), c); !errors.Is(err, full) {
			t.Errorf("error %v", err)
		}
	})
}

func TestConfigRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"rate":        {func(c *Config) { c.Rate = 1e-9 }, "rate"},
		"high rate":   {func(c *Config) { c.Rate = math.Inf(1) }, "rate"},
		"no rate":     {func(c *Config) { c.Rate = math.NaN() }, "rate"},
		"end":         {func(c *Config) { c.Count = 0 }, "for how long"},
		"connections": {func(c *Config) { c.Connections = 0 }, "connections"},
		"share":       {func(c *Config) { c.Disorder = 101 }, "disorder"},
		"shares":      {func(c *Config) { c.Broken, c.WrongSecret, c.UnauthorizedTarget = 60, 60, &c.Target }, "together"},
		"no secret":   {func(c *Config) { c.WrongSecret = 1 }, "no secret"},
		"not broken":  {func(c *Config) { c.Broken = 1 }, "no sample of a broken"},
		"no samples":  {func(c *Config) { c.Connector.Samples = nil }, "no samples"},
		"no valid":    {func(c *Config) { c.Connector = acme(brokenSample) }, "more than once"},
		"bad samples": {func(c *Config) { c.Connector = acme("bad") }, "testdata/0.txtar"},
	} {
		c := config(&server{}, goodSample)
		tt.change(&c)
		if _, err := Run(t.Context(), c); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// BenchmarkRun measures the sender's cost of a webhook, without the network.
func BenchmarkRun(b *testing.B) {
	c := config(&server{}, goodSample, namedSample)
	c.Transport = swift{}
	c.Rate, c.Count, c.Connections = MaxRate, int64(b.N), 32
	b.ReportAllocs()
	if r, err := Run(b.Context(), c); err != nil || !r.Correct {
		b.Fatal(r, err)
	}
}

// swift answers at once.
type swift struct{}

func (swift) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
}
