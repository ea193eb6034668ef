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

// Report says what was sent and what became of it. Fields are for reading when the run has ended.
type Report struct {
	Connector string `json:"connector"`
	Seed      uint64 `json:"seed"`
	// Seconds is for how long facts began, Drained for how long retries went on after that.
	Seconds float64 `json:"seconds"`
	Drained float64 `json:"drained_seconds"`
	// Interrupted says that the run ended before its time.
	Interrupted bool `json:"interrupted"`
	// Rate is how many facts were to begin in a second, Reached how many did.
	Rate    float64 `json:"rate"`
	Reached float64 `json:"rate_reached"`
	// Behind is by how many seconds the beginnings missed the schedule at worst: all connections were busy or, if Full, too many
	// facts waited to be tried again.
	Behind float64 `json:"behind_seconds"`
	Full   bool    `json:"full"`
	// TimeScale is what the waits before retries were divided by, Retries how many there would have been for a fact.
	TimeScale float64 `json:"time_scale"`
	Retries   int     `json:"retries_each"`

	// Facts by what they were sent as, and all together.
	Facts map[Kind]*Facts `json:"facts"`
	Total Facts           `json:"total"`
	// Events are the facts by their event.
	Events map[string]int64 `json:"events"`
	// HeldBack is how many facts were sent after a later version of the same record.
	HeldBack int64    `json:"held_back"`
	Requests Requests `json:"requests"`
	// DuplicatesFailed is how many duplicates were not answered with success, though the first time was.
	DuplicatesFailed int64   `json:"duplicates_failed"`
	Answers          Answers `json:"answers"`
	// Unreachable is why there was no connection, the first time.
	Unreachable string `json:"unreachable,omitempty"`
	// Correct is whether facts, requests and answers agree: see [Report.AddsUp].
	Correct bool `json:"adds_up"`

	latency latency
}

// Facts counts facts by what became of them.
type Facts struct {
	Sent         int64 `json:"sent"`
	Acknowledged int64 `json:"acknowledged"`
	Refused      int64 `json:"refused"`
	Lost         int64 `json:"lost"`
	Unfinished   int64 `json:"unfinished"`
	// UnfinishedRefused are those of the unfinished whose latest answer says that trying again is useless.
	UnfinishedRefused int64 `json:"unfinished_refused"`
}

// Requests counts requests by why they were sent.
type Requests struct {
	First      int64 `json:"first"`
	Retries    int64 `json:"retries"`
	Duplicates int64 `json:"duplicates"`
}

func (r Requests) sum() int64 { return r.First + r.Retries + r.Duplicates }

// Answers counts requests by what was answered.
type Answers struct {
	// Status counts answers by status.
	Status map[int]int64 `json:"status"`
	// TimedOut had no answer in the vendor's time, Unreachable no connection, or one that broke, CutOff were under way when the
	// run was ended.
	TimedOut    int64 `json:"timed_out"`
	Unreachable int64 `json:"unreachable"`
	CutOff      int64 `json:"cut_off"`
	// Times from a request to its answer, in seconds.
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
		Facts:     map[Kind]*Facts{Sound: {}, Broken: {}, Forged: {}},
		Events:    map[string]int64{},
	}
	r.Answers.Status = map[int]int64{}
	return r
}

// begin counts a fact's first request, end its end, count the answer to a request.
func (r *Report) begin(f *fact) {
	r.Facts[f.kind].Sent++
	r.Events[f.webhook.Event]++
}

func (r *Report) end(f *fact, o Outcome) {
	facts := r.Facts[f.kind]
	switch o {
	case Acknowledged:
		facts.Acknowledged++
	case Refused:
		facts.Refused++
	case Lost:
		facts.Lost++
	case Unfinished:
		facts.Unfinished++
		if refuses(f.status) {
			facts.UnfinishedRefused++
		}
	}
}

func (r *Report) count(a *answer) {
	switch a.why {
	case answered:
		r.Answers.Status[a.status]++
		r.latency.add(a.took)
	case timedOut:
		r.Answers.TimedOut++
	case unreachable:
		if r.Answers.Unreachable++; r.Unreachable == "" {
			r.Unreachable = a.err.Error()
		}
	case cutOff:
		r.Answers.CutOff++
	}
}

func (r *Report) close(beginning, all time.Duration, interrupted bool) {
	r.Seconds, r.Drained, r.Interrupted = beginning.Seconds(), (all - beginning).Seconds(), interrupted
	for _, f := range r.Facts {
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

// AddsUp says whether every fact of every kind ended in one way, had one first request, and every request one answer or none
// for a reason.
func (r *Report) AddsUp() bool {
	var events int64
	for _, n := range r.Events {
		events += n
	}
	for _, f := range r.Facts {
		if f.Sent != f.Acknowledged+f.Refused+f.Lost+f.Unfinished || f.UnfinishedRefused > f.Unfinished {
			return false
		}
	}
	return events == r.Total.Sent && r.Requests.First == r.Total.Sent && r.Requests.sum() == r.Answers.sum()
}

// Problems says what is wrong, a sentence each. There is nothing if the vendor would have lost nothing: what is broken may be
// refused, however often the vendor would try again; what is forged must be; and only a run that was interrupted may leave
// anything else unfinished.
func (r *Report) Problems() []string {
	var problems []string
	add := func(n int64, text string) {
		if n > 0 {
			problems = append(problems, strconv.FormatInt(n, 10)+" "+text)
		}
	}
	sound, broken, forged := r.Facts[Sound], r.Facts[Broken], r.Facts[Forged]
	add(sound.Lost+broken.Lost, "would have been lost")
	add(sound.Refused, "were refused, though nothing is wrong with them")
	add(forged.Acknowledged, "with a wrong secret were taken")
	add(forged.Lost, "with a wrong secret were not refused")
	if !r.Interrupted {
		open := sound.Unfinished + broken.Unfinished - broken.UnfinishedRefused
		add(open, "were not answered with success in time, and would be tried again")
		add(forged.Unfinished, "with a wrong secret were not answered")
	}
	if !r.AddsUp() {
		problems = append(problems, "the report does not add up")
	}
	return problems
}

// kinds are the kinds in the order of the report.
var kinds = []struct {
	kind Kind
	name string
}{{Sound, "sound"}, {Broken, "broken"}, {Forged, "wrong secret"}}

// Print writes the report for people.
func (r *Report) Print(w io.Writer) error {
	var b strings.Builder
	r.printRun(&b)
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(table, "\nfacts\tsent\t= acknowledged\t+ refused\t+ lost\t+ unfinished\t\n")
	row := func(name string, f Facts) {
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%d\t\n", name, f.Sent, f.Acknowledged, f.Refused, f.Lost, f.Unfinished)
	}
	for _, k := range kinds {
		if f := r.Facts[k.kind]; f.Sent > 0 || k.kind == Sound {
			row(k.name, *f)
		}
	}
	row("all", r.Total)
	_ = table.Flush() // into a builder
	r.printRequests(&b)
	if n := r.Facts[Broken].UnfinishedRefused; n > 0 {
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
