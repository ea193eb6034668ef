package console

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
)

const (
	// maxCounted is how many quarantined webhooks are counted by their reasons, and maxRecent how many are listed.
	maxCounted, maxRecent = 1000, 50
	// retryPage is how many webhooks one request retries.
	retryPage = 200
)

// quarantineView is what waits for an operator.
type quarantineView struct {
	Reasons []reasonRow
	// Counted is how many were counted; More says that there are others.
	Counted int
	More    bool
	Recent  []webhookRow
}

// reasonRow are the webhooks of one source that are in quarantine for one reason.
type reasonRow struct {
	Source, Event, Reason string
	Count                 int
	// Latest is the newest of them.
	Latest *adminv1.Webhook
}

func (c *Console) quarantine(r *http.Request) (any, error) {
	found, err := c.admin.ListWebhooks(r.Context(), &adminv1.ListWebhooksRequest{
		Filter: &adminv1.Filter{Outcome: adminv1.Outcome_OUTCOME_QUARANTINED}, PageSize: maxCounted, PatienceMs: listPatience,
	})
	if err != nil {
		return nil, err
	}
	v := quarantineView{Counted: len(found.GetWebhooks()), More: found.GetNextPageToken() != ""}
	for i, w := range found.GetWebhooks() {
		if i < maxRecent {
			v.Recent = append(v.Recent, webhookRow{w, outcomeBadge(w.GetOutcome())})
		}
		v.count(w)
	}
	slices.SortStableFunc(v.Reasons, func(a, b reasonRow) int { return cmp.Compare(b.Count, a.Count) })
	return v, nil
}

func (v *quarantineView) count(w *adminv1.Webhook) {
	key := reasonRow{Source: w.GetSource(), Event: w.GetVendorEvent(), Reason: w.GetFault().GetReason()}
	i := slices.IndexFunc(v.Reasons, func(r reasonRow) bool {
		return r.Source == key.Source && r.Event == key.Event && r.Reason == key.Reason
	})
	if i < 0 {
		key.Latest = w
		v.Reasons, i = append(v.Reasons, key), len(v.Reasons)
	}
	v.Reasons[i].Count++
}

// retryView are the results of a retry.
type retryView struct {
	DryRun bool
	// Source, Event and Reason select the webhooks, unless IDs do.
	Source, Event, Reason string
	IDs                   []string
	Counts                []outcomeCount
	Tried, Succeeded      int
	Events                uint32
	Results               []resultRow
	// Token goes on with the rest. Empty at the end.
	Token string
}

type outcomeCount struct {
	State badge
	Count int
}

type resultRow struct {
	*adminv1.RetryResult

	State badge
}

func (v *retryView) title() string {
	if v.DryRun {
		return "Dry run of a retry"
	}
	return "Retried"
}

// retry tries to translate quarantined webhooks again. Without the field "publish" it only says what would happen.
func (c *Console) retry(r *http.Request) (any, error) {
	if err := r.ParseForm(); err != nil {
		return nil, formProblem(err)
	}
	v := &retryView{
		DryRun: r.PostForm.Get("publish") == "", Source: r.PostForm.Get("source"), Event: r.PostForm.Get("event"), Reason: r.PostForm.Get("reason"),
		IDs: r.PostForm["id"],
	}
	if len(v.IDs) == 0 && v.Reason == "" {
		return nil, &problem{http.StatusBadRequest, "Choose the webhooks to retry."}
	}
	if err := c.retryPage(r.Context(), v, r.PostForm.Get("token")); err != nil {
		return nil, err
	}
	return v, nil
}

func (c *Console) retryPage(ctx context.Context, v *retryView, token string) error {
	a, err := c.admin.RetryWebhooks(ctx, &adminv1.RetryWebhooksRequest{
		Ids: v.IDs, Filter: &adminv1.Filter{Source: v.Source, VendorEvent: v.Event, Reason: v.Reason}, DryRun: v.DryRun,
		PageSize: retryPage, PageToken: token,
	})
	if err != nil {
		return err
	}
	for _, result := range a.GetResults() {
		state := outcomeBadge(result.GetOutcome())
		v.Results = append(v.Results, resultRow{result, state})
		v.Tried++
		v.Events += result.GetEventCount()
		if result.GetOutcome() != adminv1.Outcome_OUTCOME_QUARANTINED && result.GetOutcome() != adminv1.Outcome_OUTCOME_UNSPECIFIED {
			v.Succeeded++
		}
		i := slices.IndexFunc(v.Counts, func(c outcomeCount) bool { return c.State == state })
		if i < 0 {
			v.Counts, i = append(v.Counts, outcomeCount{State: state}), len(v.Counts)
		}
		v.Counts[i].Count++
	}
	v.Token = a.GetNextPageToken()
	return nil
}

// maxRepair is the largest body that can be changed on a page, in bytes.
const maxRepair = 64 << 10

// repairView is a body that an operator corrects.
type repairView struct {
	*adminv1.Webhook

	Body string
	// Diff is the change, and Result what became of it, once it was tried.
	Diff   []diffLine
	Result *adminv1.RetryResult
	State  badge
	// Good says that the changed body can be published.
	Good bool
}

func (v *repairView) title() string { return "Repair a webhook from " + v.GetSource() }

// repair shows a body to change, then what the change would do, then makes it. The body is shown as it is: that is logged by the service.
func (c *Console) repair(r *http.Request) (any, error) {
	if err := r.ParseForm(); err != nil {
		return nil, formProblem(err)
	}
	found, err := c.admin.GetWebhook(r.Context(), &adminv1.GetWebhookRequest{Id: r.PathValue("id"), Reveal: true})
	if err != nil {
		return nil, err
	}
	before := found.GetBody()
	v := &repairView{Webhook: found.GetWebhook(), Body: before}
	switch {
	case v.GetOutcome() != adminv1.Outcome_OUTCOME_QUARANTINED:
		return nil, &problem{http.StatusConflict, "The webhook is not in quarantine."}
	case found.GetEncoding() != "json" || before == "" || len(before) > maxRepair:
		return nil, &problem{http.StatusConflict, "Only JSON of at most 64 KiB, in UTF-8, can be changed here. The operator's service takes others."}
	}
	if !r.PostForm.Has("body") {
		return v, nil
	}
	v.Body = strings.ReplaceAll(r.PostForm.Get("body"), "\r\n", "\n") // a form has its own ends of lines
	a, err := c.admin.RepairWebhook(r.Context(), &adminv1.RepairWebhookRequest{
		Id: v.GetId(), Body: []byte(v.Body), DryRun: r.PostForm.Get("publish") == "",
	})
	if err != nil {
		return nil, err
	}
	v.Result, v.State = a.GetResult(), outcomeBadge(a.GetResult().GetOutcome())
	v.Good = v.Result.GetOutcome() != adminv1.Outcome_OUTCOME_QUARANTINED
	if v.Good && r.PostForm.Get("publish") != "" {
		return redirect(Path + "webhooks/" + v.GetId()), nil
	}
	v.Diff = diff(before, v.Body)
	return v, nil
}

// diffLine is a line of a diff.
type diffLine struct {
	// Kind is "del", "ins", or empty for a line that both have.
	Kind, Text string
}

// diffContext is how many equal lines are shown before and after a change.
const diffContext = 3

// diff compares two texts as JSON, line by line: all between the first and the last line that differ has changed. That is enough for the
// change of one place, and takes linear time.
func diff(before, after string) (lines []diffLine) {
	a, b := linesOf(before), linesOf(after)
	head := 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	if head == len(a) && head == len(b) {
		return nil
	}
	add := func(kind string, all []string) {
		for _, line := range all {
			lines = append(lines, diffLine{kind, line})
		}
	}
	add("", a[max(0, head-diffContext):head])
	add("del", a[head:len(a)-tail])
	add("ins", b[head:len(b)-tail])
	add("", a[len(a)-tail:min(len(a), len(a)-tail+diffContext)])
	return lines
}

// linesOf are the lines of a text as it is shown.
func linesOf(text string) []string {
	var b strings.Builder
	for _, t := range showJSON(text, noMarks).Tokens {
		b.WriteString(t.Text)
	}
	return strings.Split(b.String(), "\n")
}
