package simulate

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// Report has the counts of a run. Read its fields when the run has ended.
type Report struct {
	Connector string `json:"connector"`
	Seed      uint64 `json:"seed"`
	// Seconds is the time in which webhooks started, Drained the time of retries after that.
	Seconds float64 `json:"seconds"`
	Drained float64 `json:"drained_seconds"`
	// Interrupted means that the run ended early.
	Interrupted bool `json:"interrupted"`
	// Rate is the configured number of webhooks that start in a second, Reached the real one.
	Rate    float64 `json:"rate"`
	Reached float64 `json:"rate_reached"`
	// Behind is the largest delay of a start, in seconds: all connections were busy or, if Full, too many webhooks waited for a
	// retry.
	Behind float64 `json:"behind_seconds"`
	Full   bool    `json:"full"`
	// TimeScale divided the waits before retries. Retries is the largest number of retries for a webhook.
	TimeScale float64 `json:"time_scale"`
	Retries   int     `json:"retries_each"`

	// Webhooks has the outcomes by kind, Total their sum.
	Webhooks map[Kind]*Outcomes `json:"facts"`
	Total    Outcomes           `json:"total"`
	// Events counts the webhooks by their event.
	Events map[string]int64 `json:"events"`
	// HeldBack counts the webhooks that were sent after a later version of the same record.
	HeldBack int64    `json:"held_back"`
	Requests Requests `json:"requests"`
	// DuplicatesFailed counts the duplicates without success although the first request succeeded.
	DuplicatesFailed int64   `json:"duplicates_failed"`
	Answers          Answers `json:"answers"`
	// Unreachable is the first connection error.
	Unreachable string `json:"unreachable,omitempty"`
	// Correct tells whether webhooks, requests and answers agree: see [Report.AddsUp].
	Correct bool `json:"adds_up"`

	latency latency
}

// Outcomes counts webhooks by outcome.
type Outcomes struct {
	Sent         int64 `json:"sent"`
	Acknowledged int64 `json:"acknowledged"`
	Refused      int64 `json:"refused"`
	Lost         int64 `json:"lost"`
	Unfinished   int64 `json:"unfinished"`
	// UnfinishedRefused counts the unfinished ones whose latest answer means that a retry is useless.
	UnfinishedRefused int64 `json:"unfinished_refused"`
}

// Requests counts requests by their reason.
type Requests struct {
	First      int64 `json:"first"`
	Retries    int64 `json:"retries"`
	Duplicates int64 `json:"duplicates"`
}

func (r Requests) sum() int64 { return r.First + r.Retries + r.Duplicates }

// Answers counts requests by their answer.
type Answers struct {
	// Status counts answers by status.
	Status map[int]int64 `json:"status"`
	// TimedOut requests had no answer within the vendor's timeout, Unreachable ones no connection or a broken one, CutOff ones
	// were in flight when the run was ended.
	TimedOut    int64 `json:"timed_out"`
	Unreachable int64 `json:"unreachable"`
	CutOff      int64 `json:"cut_off"`
	// Latency from a request to its answer, in seconds.
	Median  float64 `json:"p50_seconds"`
	P99     float64 `json:"p99_seconds"`
	Longest float64 `json:"max_seconds"`
}

func (a *Answers) sum() int64 {
	n := a.TimedOut + a.Unreachable + a.CutOff
	for _, count := range a.Status {
		n += count
	}
	return n
}

func newReport(c *Config) *Report {
	r := &Report{
		Connector: c.Connector.Name,
		Seed:      c.Seed,
		Rate:      c.Rate,
		TimeScale: c.TimeScale,
		Retries:   len(c.Connector.Delivery.Retries),
		Webhooks:  map[Kind]*Outcomes{Valid: {}, Broken: {}, Unauthorized: {}},
		Events:    map[string]int64{},
	}
	r.Answers.Status = map[int]int64{}
	return r
}

// countStart counts a webhook's first request, countEnd its outcome, countAnswer the answer to a request.
func (r *Report) countStart(f *delivery) {
	r.Webhooks[f.kind].Sent++
	r.Events[f.webhook.Event]++
}

func (r *Report) countEnd(f *delivery, o Outcome) {
	outcomes := r.Webhooks[f.kind]
	switch o {
	case Acknowledged:
		outcomes.Acknowledged++
	case Refused:
		outcomes.Refused++
	case Lost:
		outcomes.Lost++
	case Unfinished:
		outcomes.Unfinished++
		if refuses(f.status) {
			outcomes.UnfinishedRefused++
		}
	}
}

func (r *Report) countAnswer(a *answer) {
	switch a.reason {
	case answered:
		r.Answers.Status[a.status]++
		r.latency.add(a.took)
	case timedOut:
		r.Answers.TimedOut++
	case unreachable:
		if r.Answers.Unreachable++; r.Unreachable == "" {
			r.Unreachable = a.err.Error()
		}
	case cancelled:
		r.Answers.CutOff++
	}
}

func (r *Report) close(beginning, all time.Duration, interrupted bool) {
	r.Seconds, r.Drained, r.Interrupted = beginning.Seconds(), (all - beginning).Seconds(), interrupted
	for _, f := range r.Webhooks {
		r.Total.Sent += f.Sent
		r.Total.Acknowledged += f.Acknowledged
		r.Total.Refused += f.Refused
		r.Total.Lost += f.Lost
		r.Total.Unfinished += f.Unfinished
		r.Total.UnfinishedRefused += f.UnfinishedRefused
	}
	r.Reached = float64(r.Total.Sent) / max(r.Seconds, 1e-9)
	r.Answers.Median = r.latency.quantile(0.5).Seconds()
	r.Answers.P99 = r.latency.quantile(0.99).Seconds()
	r.Answers.Longest = r.latency.max.Seconds()
	r.Correct = r.AddsUp()
}

// AddsUp reports whether every webhook had one first request and one outcome, and every request one answer, or a reason for
// none.
func (r *Report) AddsUp() bool {
	var events int64
	for _, n := range r.Events {
		events += n
	}
	for _, f := range r.Webhooks {
		if f.Sent != f.Acknowledged+f.Refused+f.Lost+f.Unfinished || f.UnfinishedRefused > f.Unfinished {
			return false
		}
	}
	return events == r.Total.Sent && r.Requests.First == r.Total.Sent && r.Requests.sum() == r.Answers.sum()
}

// Problems returns one sentence for each problem. There is none if the vendor would have lost nothing. Broken webhooks may be
// refused, also if the vendor would retry them. Unauthorized ones must be refused. Only an interrupted run may leave other
// webhooks unfinished.
func (r *Report) Problems() []string {
	var problems []string
	add := func(n int64, text string) {
		if n > 0 {
			problems = append(problems, strconv.FormatInt(n, 10)+" "+text)
		}
	}
	valid, broken, unauthorized := r.Webhooks[Valid], r.Webhooks[Broken], r.Webhooks[Unauthorized]
	add(valid.Lost+broken.Lost, "would have been lost")
	add(valid.Refused, "were refused, though nothing is wrong with them")
	add(unauthorized.Acknowledged, "with a wrong secret were accepted")
	add(unauthorized.Lost, "with a wrong secret were not refused")
	if !r.Interrupted {
		open := valid.Unfinished + broken.Unfinished - broken.UnfinishedRefused
		add(open, "were not answered with success in time, and would be tried again")
		add(unauthorized.Unfinished, "with a wrong secret were not answered")
	}
	if !r.AddsUp() {
		problems = append(problems, "the report does not add up")
	}
	return problems
}

// kinds has the kinds in the order of the report.
var kinds = []struct {
	kind Kind
	name string
}{{Valid, "valid"}, {Broken, "broken"}, {Unauthorized, "wrong secret"}}

// Print writes the report for people.
func (r *Report) Print(w io.Writer) error {
	var b strings.Builder
	r.printRun(&b)
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(table, "\nwebhooks\tsent\t= acknowledged\t+ refused\t+ lost\t+ unfinished\t\n")
	row := func(name string, f Outcomes) {
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%d\t\n", name, f.Sent, f.Acknowledged, f.Refused, f.Lost, f.Unfinished)
	}
	for _, k := range kinds {
		if f := r.Webhooks[k.kind]; f.Sent > 0 || k.kind == Valid {
			row(k.name, *f)
		}
	}
	row("all", r.Total)
	_ = table.Flush() // into a builder
	r.printRequests(&b)
	if n := r.Webhooks[Broken].UnfinishedRefused; n > 0 {
		fmt.Fprintf(&b, "%d broken ones were refused, after which this vendor would try them again in vain\n", n)
	}
	problems := r.Problems()
	for _, p := range problems {
		fmt.Fprintf(&b, "PROBLEM   %s\n", p)
	}
	if len(problems) == 0 {
		fmt.Fprint(&b, "nothing would have been lost, and the report adds up\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Report) printRun(b *strings.Builder) {
	fmt.Fprintf(b, "%s: %.1f a second for %.1f s", r.Connector, r.Reached, r.Seconds)
	if r.Interrupted {
		fmt.Fprint(b, " (interrupted)")
	}
	fmt.Fprintf(b, ", %.1f asked for, and %.1f s for the rest; seed %d\n", r.Rate, r.Drained, r.Seed)
	if r.Retries > 0 {
		fmt.Fprintf(b, "up to %d attempts each; the vendor's waits between them are divided by %.4g\n", r.Retries+1, r.TimeScale)
	} else {
		fmt.Fprint(b, "this vendor tries once\n")
	}
	if r.Behind >= 0.1 {
		why := "all connections were busy, or this machine was"
		if r.Full {
			why = "too many webhooks waited to be tried again"
		}
		fmt.Fprintf(b, "webhooks began up to %.1f s late: %s\n", r.Behind, why)
	}
}

func (r *Report) printRequests(b *strings.Builder) {
	q, a := r.Requests, &r.Answers
	fmt.Fprintf(b, "\nrequests  %d = %d first + %d retries + %d duplicates", q.sum(), q.First, q.Retries, q.Duplicates)
	if r.HeldBack > 0 {
		fmt.Fprintf(b, "; %d after a later version", r.HeldBack)
	}
	if r.DuplicatesFailed > 0 {
		fmt.Fprintf(b, "; %d duplicates without success", r.DuplicatesFailed)
	}
	fmt.Fprintf(b, "\nanswers   %d =", a.sum())
	var parts []string
	for _, status := range slices.Sorted(maps.Keys(a.Status)) {
		parts = append(parts, strings.TrimSpace(fmt.Sprintf(" %d × %d %s", a.Status[status], status, http.StatusText(status))))
	}
	for _, none := range []struct {
		n    int64
		text string
	}{{a.TimedOut, "no answer in the vendor's time"}, {a.Unreachable, "no connection: " + r.Unreachable}, {a.CutOff, "cut off"}} {
		if none.n > 0 {
			parts = append(parts, fmt.Sprintf("%d × %s", none.n, none.text))
		}
	}
	fmt.Fprintf(b, " %s\n", strings.Join(parts, " + "))
	fmt.Fprintf(b, "latency   %s p50, %s p99, %s max\n", milliseconds(a.Median), milliseconds(a.P99), milliseconds(a.Longest))
	events := make([]string, 0, len(r.Events))
	for _, name := range slices.Sorted(maps.Keys(r.Events)) {
		text := name
		if text == "" {
			text = "(no name)"
		}
		events = append(events, fmt.Sprintf("%s %d", text, r.Events[name]))
	}
	fmt.Fprintf(b, "events    %s\n\n", strings.Join(events, ", "))
}

func milliseconds(seconds float64) string { return fmt.Sprintf("%.1f ms", seconds*1000) }
