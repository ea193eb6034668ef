package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// reloadRounds is how often the configuration changes in TestReloadUnderLoad.
const reloadRounds = 60

// TestReloadUnderLoad changes the configuration many times while webhooks arrive: sources, sinks and principals come, go and change, secrets are
// replaced, and some files are wrong. No webhook of a source that stays is refused; each has one event, and each sink gets it once, although the
// sinks are closed and opened again; what a sink and a source know of themselves stays.
func TestReloadUnderLoad(t *testing.T) {
	t.Setenv("BRIDGE_TOKEN", "always-token-0123456789")
	r := &reloading{dir: t.TempDir()}
	r.write(t, r.config(0))
	r.process = startProcess(t, []string{"serve", "-c", r.path()}, envMain+"=1")
	if code := r.post(t, "quota", "", 0); code != http.StatusOK {
		t.Fatalf("the first webhook of the day: %d", code)
	}
	r.awaitMetric(t, `bridge_sink_breaker{sink="dead"}`, 2)

	ctx, stop := context.WithCancel(t.Context())
	var known acknowledgements
	l := &load{addr: r.process.addr("webhooks"), connections: 16, acknowledged: known.add}
	var sending sync.WaitGroup
	sending.Go(func() { l.run(ctx) })
	sending.Go(func() { r.repeat(ctx, t, &known) })
	began, wrong := time.Now(), 0
	retries := r.metric(t, `bridge_sink_retries_total{sink="dead"}`)
	for n := 1; n <= reloadRounds; n++ {
		r.round(t, n)
		if n%5 == 0 {
			wrong++
			r.refused(t, n)
		}
		r.check(t, n, &retries)
	}
	took := time.Since(began)
	stop()
	sending.Wait()

	sinks := []string{"kept", "changed", "sometimes"}
	for _, sink := range sinks {
		r.awaitMetric(t, `bridge_sink_lag_events{sink="`+sink+`"}`, 0)
	}
	found := tailShipments(t, r.process)
	journal := map[int64]int{}
	for _, n := range known.all() {
		journal[n] = found[shipmentID(n)]
	}
	if err := r.process.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	<-r.process.exited
	places := map[string]map[int64]int{"journal": journal}
	for _, sink := range sinks {
		places[sink] = r.delivered(t, sink)
	}
	for place, counts := range places {
		missing, twice := 0, 0
		for _, n := range known.all() {
			switch {
			case counts[n] == 0:
				missing++
			case counts[n] > 1:
				twice++
			}
		}
		t.Logf("%s: %d missing, %d twice", place, missing, twice)
		if missing+twice > 0 {
			t.Errorf("%s: %d missing, %d twice", place, missing, twice)
		}
	}
	t.Logf("%d reloads and %d wrong files in %v: %d webhooks acknowledged, %d refused; %d repeated",
		reloadRounds, wrong, took.Round(time.Millisecond), l.ok.Load(), l.failures.Load(), r.repeated.Load())
	if l.failures.Load() > 0 || l.ok.Load() < 1000 || r.repeated.Load() == 0 {
		t.Errorf("%d webhooks were refused of %d; %d were repeated", l.failures.Load(), l.ok.Load(), r.repeated.Load())
	}
}

// acknowledgements are the numbers of the webhooks that were answered with success.
type acknowledgements struct {
	mu      sync.Mutex
	numbers []int64
}

func (a *acknowledgements) add(n int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.numbers = append(a.numbers, n)
}

func (a *acknowledgements) all() []int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.numbers[:len(a.numbers):len(a.numbers)]
}

// reloading is a server whose configuration changes.
type reloading struct {
	dir         string
	process     *process
	fingerprint string
	// applied is how many reloads were applied.
	applied  int
	repeated atomic.Int64
}

func (r *reloading) path() string { return filepath.Join(r.dir, "bridge.yaml") }

func (r *reloading) write(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(r.path()+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(r.path()+".new", r.path()); err != nil {
		t.Fatal(err)
	}
}

// config is the configuration of round n. The sources returns and quota, and the sinks kept and dead, are always the same, at changing places.
func (r *reloading) config(n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, `
listen: {webhooks: "127.0.0.1:0", ops: "127.0.0.1:0", grpc: "127.0.0.1:0", admin: "127.0.0.1:0"}
journal: {dir: %q, min_free: 1Mi}
log: {format: json}
access:
  principals:
    - {name: always, tokens: [always-token-0123456789], sources: ["*"], types: ["**"], raw: true, personal: true}
    - {name: round, tokens: [round-token-0123456789-%d], sources: ["*"], types: ["**"]}
  admin_tokens: [admin-token-0123456789]
sources:
`, filepath.Join(r.dir, "data"), n)
	if n%3 != 1 {
		fmt.Fprintf(&b, "  - {name: sometimes, connector: retino, auth: {header: {values: [sometimes-%d]}}}\n", n)
	}
	fmt.Fprintf(&b, `
  - {name: returns, connector: retino, auth: {header: {name: X-Retino-Secret, values: [%s, another-%d]}}}
  - {name: quota, connector: retino, limits: {body: 8Ki, daily: 8Ki, rate: 1}, auth: {none: {}}, on_undecodable: quarantine}
sinks:
`, testSecret, n)
	if n%3 != 2 {
		fmt.Fprintf(&b, "  - {name: sometimes, file: {path: %q}}\n", filepath.Join(r.dir, "sometimes.jsonl"))
	}
	fmt.Fprintf(&b, `
  - {name: kept, file: {path: %q}}
  - {name: dead, backoff: {min: 1ms, max: 1h}, kafka: {brokers: ["127.0.0.1:1"], topic: none}}
  - {name: changed, batch: {count: %d}, file: {path: %q}}
`, filepath.Join(r.dir, "kept.jsonl"), 100+n, filepath.Join(r.dir, "changed.jsonl"))
	return b.String()
}

// round changes the configuration, by the command's call or by a signal.
func (r *reloading) round(t *testing.T, n int) {
	t.Helper()
	r.write(t, r.config(n))
	r.applied++
	if n%2 == 0 {
		if a := r.reload(t); !a.Applied {
			t.Fatalf("round %d was refused: %+v", n, a)
		}
	} else if err := r.process.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	r.awaitMetric(t, `bridge_config_reloads_total{result="applied"}`, float64(r.applied))
	r.fingerprint = r.currentFingerprint(t)
}

// refused tries a configuration that is wrong, or needs a restart. Nothing changes.
func (r *reloading) refused(t *testing.T, n int) {
	t.Helper()
	text := r.config(n + 1000)
	if n%2 == 0 {
		text = strings.Replace(text, "connector: retino", "connector: nobody", 1)
	} else {
		text = strings.Replace(text, `ops: "127.0.0.1:0"`, `ops: "127.0.0.1:1"`, 1)
	}
	r.write(t, text)
	a := r.reload(t)
	if a.Applied || len(a.Problems) == 0 || a.Problems[0].Line == 0 {
		t.Errorf("a wrong file: %+v", a)
	}
	if got := r.currentFingerprint(t); got != r.fingerprint {
		t.Errorf("a wrong file changed the fingerprint from %s to %s", r.fingerprint, got)
	}
}

// check checks what stays, and what changed, after round n.
func (r *reloading) check(t *testing.T, n int, retries *float64) {
	t.Helper()
	want := http.StatusOK
	if n%3 == 1 {
		want = http.StatusNotFound
	}
	if code := r.post(t, "sometimes", fmt.Sprintf("sometimes-%d", n), int64(1_000_000+n)); code != want {
		t.Errorf("round %d: source sometimes answers %d, want %d", n, code, want)
	}
	if code := r.post(t, "returns", fmt.Sprintf("another-%d", n), int64(2_000_000+n)); code != http.StatusOK {
		t.Errorf("round %d: the new secret: %d", n, code)
	}
	if code := r.post(t, "returns", fmt.Sprintf("another-%d", n-1), int64(2_000_000+n)); code != http.StatusUnauthorized {
		t.Errorf("round %d: the old secret: %d", n, code)
	}
	if n%10 == 0 { // The day's bytes are used up, whatever the second's rate is.
		for range 3 {
			if code := r.post(t, "quota", "", int64(3_000_000+n)); code == http.StatusOK && r.quotaLeft(t) <= 0 {
				t.Errorf("round %d: the day's bytes began again", n)
			}
		}
	}
	if breaker := r.metric(t, `bridge_sink_breaker{sink="dead"}`); breaker != 2 {
		t.Errorf("round %d: the breaker of a sink that did not change is %v", n, breaker)
	}
	now := r.metric(t, `bridge_sink_retries_total{sink="dead"}`)
	if now < *retries || now > *retries+1 {
		t.Errorf("round %d: a sink whose breaker is open tried %v times, and %v times before the reload", n, now, *retries)
	}
	*retries = now
}

// quotaLeft is how many bytes of the day the source quota may have had.
func (r *reloading) quotaLeft(t *testing.T) int {
	return 8<<10 - int(r.metric(t, `bridge_webhooks_taken_total{source="quota"}`)-1)*len(sampleBody("retino", "shipping_ordered"))
}

type reloadAnswer struct {
	Applied  bool
	Problems []struct{ Line int }
}

func (r *reloading) reload(t *testing.T) (a reloadAnswer) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+r.process.addr("admin")+"/v1/config:reload", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer admin-token-0123456789")
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil || json.Unmarshal(text, &a) != nil {
		t.Fatalf("the answer is %d %s, %v", answer.StatusCode, text, err)
	}
	return a
}

// repeat sends webhooks again that were acknowledged.
func (r *reloading) repeat(ctx context.Context, t *testing.T, known *acknowledgements) {
	for ctx.Err() == nil {
		all := known.all()
		if len(all) == 0 {
			continue
		}
		n := all[len(all)*int(r.repeated.Load()%7)/7]
		if code := r.post(t, "returns", testSecret, n); code != http.StatusOK && ctx.Err() == nil {
			t.Errorf("webhook %d once more: %d", n, code)
		}
		r.repeated.Add(1)
	}
}

// post sends webhook n, and returns the status of the answer.
func (r *reloading) post(t *testing.T, source, key string, n int64) int {
	body := bytes.Replace(sampleBody("retino", "shipping_ordered"), []byte(marker), fmt.Appendf(nil, "%012d", n), 1)
	req, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodPost, "http://"+r.process.addr("webhooks")+"/webhooks/"+source, bytes.NewReader(body))
	if err != nil {
		t.Error(err)
		return 0
	}
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		req.Header.Set("X-Retino-Secret", key)
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return 0
	}
	_, _ = io.Copy(io.Discard, answer.Body)
	_ = answer.Body.Close()
	return answer.StatusCode
}

// metric returns the value of a series, or -1 if there is none.
func (r *reloading) metric(t *testing.T, series string) float64 {
	t.Helper()
	for line := range strings.Lines(getText(t, "http://"+r.process.addr("ops")+"/metrics")) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), series+" "); ok {
			f, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
	}
	return -1
}

func (r *reloading) awaitMetric(t *testing.T, series string, want float64) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); ; <-tick.C {
		got := r.metric(t, series)
		if got == want {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s is %v, want %v", series, got, want)
		}
	}
}

func (r *reloading) currentFingerprint(t *testing.T) string {
	t.Helper()
	m := regexp.MustCompile(`(?m)^config: ([0-9a-f]{16})$`).FindStringSubmatch(getText(t, "http://"+r.process.addr("ops")+"/readyz"))
	if m == nil {
		t.Fatal("/readyz has no fingerprint")
	}
	return m[1]
}

// delivered returns how often a sink's file has each shipment of the source returns.
func (r *reloading) delivered(t *testing.T, sink string) map[int64]int {
	t.Helper()
	f, err := os.Open(filepath.Join(r.dir, sink+".jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	counts := map[int64]int{}
	id := regexp.MustCompile(`2b20e85f-2201-494a-b3f9-(\d{12})`)
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if m := id.FindStringSubmatch(lines.Text()); m != nil {
			n, _ := strconv.ParseInt(m[1], 10, 64)
			counts[n]++
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return counts
}
