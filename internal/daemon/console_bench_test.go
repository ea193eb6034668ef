package daemon

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	// listedWebhooks are stored for the console's lists, and listGoal is what a page may take.
	listedWebhooks = 1_000_000
	listGoal       = 100 * time.Millisecond
	// watchPhase is how long a phase of [BenchmarkConsoleWatched] is, and watchRounds how often each case is measured.
	watchPhase, watchRounds = 2 * time.Second, 15
)

// BenchmarkConsoleLists measures how long the console's pages take with a million stored webhooks, also for searches that find nothing. Each
// page must be there within 100 ms. With -short, fewer webhooks are stored.
func BenchmarkConsoleLists(b *testing.B) {
	n := listedWebhooks
	if testing.Short() {
		n /= 20
	}
	dir := b.TempDir()
	writeJournal(b, dir, n)
	a := startServer(b, retinoConfig(dir))
	pages := []struct {
		path string
		form url.Values
	}{
		{path: ""},
		{path: "quarantine"},
		{path: "webhooks"},
		{path: "webhooks?source=returns&event=shipping.ordered"},
		{path: "webhooks?outcome=quarantined"},
		{path: "webhooks?outcome=ping"},
		{path: "webhooks?event=none"},
		{path: "webhooks?until=2020-01-01T00%3A00"},
		{path: "webhooks?until=" + time.Now().UTC().Format("2006-01-02T15") + "%3A00&event=none"},
		{path: "webhooks", form: url.Values{"text": {"no webhook has this text"}}},
		{path: "webhooks", form: url.Values{"subject": {"shipment/none"}}},
	}
	for range b.N {
		var slowest time.Duration
		for _, p := range pages {
			var took []time.Duration
			for range 11 {
				began := time.Now()
				askConsole(b, a, p.path, p.form)
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			median, most := took[len(took)/2], took[len(took)-1]
			b.Logf("/console/%s %v: median %.1f ms, at most %.1f ms", p.path, p.form, median.Seconds()*1e3, most.Seconds()*1e3)
			if slowest = max(slowest, median); median > listGoal {
				b.Errorf("/console/%s takes %v", p.path, median)
			}
		}
		b.ReportMetric(slowest.Seconds()*1e3, "ms/slowest")
		b.ReportMetric(0, "ns/op")
	}
}

// askConsole gets a page of the console, or sends a form to it.
func askConsole(b *testing.B, a *Server, path string, form url.Values) {
	b.Helper()
	method := http.MethodGet
	if form != nil {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(b.Context(), method, "http://"+a.Addr("admin")+"/console/"+path, strings.NewReader(form.Encode()))
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.Error(err)
		return
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		b.Errorf("/console/%s: status %d, %v", path, resp.StatusCode, err)
	}
}

// BenchmarkConsoleWatched measures how many webhooks are accepted in a second while two people watch the console, each with an overview that updates
// itself and a list that they load again each second, in relation to how many are without them. The ratio must be at least 0.98. The phases are short and change their
// order, so that what else the machine does weighs on both alike.
func BenchmarkConsoleWatched(b *testing.B) {
	a := startServer(b, retinoConfig(b.TempDir()))
	var sent atomic.Int64
	for range b.N {
		ingestFor(b, a, &sent, watchPhase) // Warm.
		var ratios []float64
		for i := range watchRounds {
			var alone, watched float64
			for _, with := range []bool{i%2 == 0, i%2 != 0} {
				if !with {
					alone = ingestFor(b, a, &sent, watchPhase)
					continue
				}
				stop := watchConsole(b, a)
				watched = ingestFor(b, a, &sent, watchPhase)
				stop()
			}
			ratios = append(ratios, watched/alone)
		}
		b.Logf("ratios %.3f", ratios)
		b.ReportMetric(median(ratios), "of-unwatched")
		b.ReportMetric(0, "ns/op")
	}
}

// watchConsole is two people with the console open: each loads the overview at the interval of its updates, and a list each second.
func watchConsole(b *testing.B, a *Server) (stop func()) {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	var watching sync.WaitGroup
	for range 2 {
		for path, every := range map[string]time.Duration{"": 5 * time.Second, "webhooks": time.Second} {
			watching.Go(func() {
				tick := time.NewTicker(every)
				defer tick.Stop()
				for ctx.Err() == nil {
					askConsole(b, a, path, nil)
					select {
					case <-tick.C:
					case <-ctx.Done():
					}
				}
			})
		}
	}
	return func() {
		cancel()
		watching.Wait()
	}
}

// ingestFor sends webhooks on 32 connections for a time, and returns how many were accepted in a second.
func ingestFor(b *testing.B, a *Server, sent *atomic.Int64, span time.Duration) float64 {
	b.Helper()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	defer client.CloseIdleConnections()
	began := time.Now()
	var accepted atomic.Int64
	var senders sync.WaitGroup
	for range 32 {
		senders.Go(func() {
			for time.Since(began) < span {
				body := fmt.Sprintf(`{"event_type":"shipping.ordered","created_at":"2023-01-24T00:00:00Z","shipping":{"id":"%d"}}`, sent.Add(1))
				req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, "http://"+a.Addr("webhooks")+"/webhooks/returns", strings.NewReader(body))
				if err != nil {
					b.Error(err)
					return
				}
				req.Header.Set("Content-Type", "application/json")
				req.Header.Set("X-Retino-Secret", "a-secret-for-tests")
				resp, err := client.Do(req)
				if err != nil {
					b.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				if resp.StatusCode == http.StatusOK {
					accepted.Add(1)
				}
			}
		})
	}
	senders.Wait()
	return float64(accepted.Load()) / time.Since(began).Seconds()
}
