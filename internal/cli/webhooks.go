package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
)

// maxPage is the largest page that the service gives.
const maxPage = 1000

func webhooksCommand() command {
	return command{
		name: "webhooks", args: "list|show", about: "look at stored webhooks",
		sub: []command{
			{name: "list", args: "[--source S] [--outcome O] [--since T]", about: "list stored webhooks, the newest first", run: listWebhooks},
			{name: "show", args: "ID [--reveal]", about: "show a webhook and all that became of it", run: showWebhook("webhooks show")},
		},
	}
}

func listWebhooks(ctx context.Context, env environment, args []string) error {
	o := newOperator("webhooks list", env)
	var filter filterFlags
	filter.register(o.flags)
	filter.registerReason(o.flags)
	o.flags.Var(outcomeFlag{&filter.outcome}, "outcome", "only webhooks of this `outcome`: "+outcomes())
	limit := o.flags.Int("limit", 50, "how many at most; 0 is all")
	return o.list(ctx, args, &filter, limit, newWebhookTable)
}

// webhookTable prints webhooks for people.
type webhookTable struct {
	table

	row func(table, *adminv1.Webhook)
}

func newWebhookTable(w io.Writer) webhookTable {
	return webhookTable{
		newTable(w, "RECEIVED", "ID", "SOURCE", "EVENT", "OUTCOME", "EVENTS", "DRIFT"),
		func(t table, w *adminv1.Webhook) {
			t.row(timeText(w.GetReceivedAt()), w.GetId(), w.GetSource(), w.GetVendorEvent(), outcomeText(w.GetOutcome()),
				strconv.Itoa(int(w.GetEventCount())), strconv.Itoa(int(w.GetDriftCount())))
		},
	}
}

// list prints what a filter selects, up to a limit.
func (o *operator) list(
	ctx context.Context, args []string, filter *filterFlags, limit *int, newTable func(io.Writer) webhookTable,
) error {
	switch rest, err := parseArgs(o.flags, args); {
	case err != nil:
		return err
	case len(rest) > 0:
		return &usageError{"takes no arguments except flags"}
	case *limit < 0:
		return &usageError{"--limit must not be negative"}
	}
	if err := o.dial(); err != nil {
		return err
	}
	defer o.close()
	out := bufio.NewWriter(o.env.stdout)
	t := newTable(out)
	err := o.pages(ctx, filter.message(), *limit, func(w *adminv1.Webhook) error {
		if o.asJSON {
			return printJSON(out, w)
		}
		t.row(t.table, w)
		return nil
	})
	if err == nil && !o.asJSON {
		err = t.flush()
	}
	if err != nil {
		return err
	}
	return out.Flush()
}

// pages gives the selected webhooks, the newest first, page by page; all of them if the limit is 0.
func (o *operator) pages(ctx context.Context, filter *adminv1.Filter, limit int, each func(*adminv1.Webhook) error) error {
	r := &adminv1.ListWebhooksRequest{Filter: filter, PageSize: maxPage}
	for left := limit; ; {
		if limit > 0 {
			r.PageSize = uint32(min(left, maxPage))
		}
		page, err := o.ListWebhooks(ctx, r)
		if err != nil {
			return refused(err)
		}
		for _, w := range page.GetWebhooks() {
			if err := each(w); err != nil {
				return err
			}
		}
		left -= len(page.GetWebhooks())
		if r.PageToken = page.GetNextPageToken(); r.PageToken == "" || limit > 0 && left <= 0 {
			return nil
		}
	}
}

// showWebhook returns the command of this name, which shows a webhook.
func showWebhook(name string) func(context.Context, environment, []string) error {
	return func(ctx context.Context, env environment, args []string) error {
		o := newOperator(name, env)
		reveal := o.flags.Bool("reveal", false, "show personal data as they are; the server logs the address that asked")
		rest, err := parseArgs(o.flags, args)
		if err != nil {
			return err
		}
		if len(rest) != 1 {
			return &usageError{"takes the id of one webhook"}
		}
		if err := o.dial(); err != nil {
			return err
		}
		defer o.close()
		shown, err := o.GetWebhook(ctx, &adminv1.GetWebhookRequest{Id: rest[0], Reveal: *reveal})
		if err != nil {
			return refused(err)
		}
		if o.asJSON {
			return printJSON(env.stdout, shown)
		}
		out := bufio.NewWriter(env.stdout)
		if err := printWebhook(out, stylesFor(env.stdout, env.lookup), shown, *reveal); err != nil {
			return err
		}
		return out.Flush()
	}
}

// printWebhook writes all that is known of a webhook, for people.
func printWebhook(out io.Writer, s styles, a *adminv1.GetWebhookResponse, reveal bool) error {
	w := a.GetWebhook()
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(out, "%s%-12s%s %s\n", s.dim, name, s.reset, printable(value))
		}
	}
	line("webhook", w.GetId())
	line("received", timeText(w.GetReceivedAt()))
	line("source", w.GetSource()+" ("+w.GetConnector()+")")
	line("event", w.GetVendorEvent())
	line("outcome", outcomeText(w.GetOutcome()))
	line("released", timeText(w.GetReleasedAt()))
	if f := w.GetFault(); f != nil {
		line("fault", faultText(f))
	}
	for _, h := range a.GetHeaders() {
		line("header", h.GetName()+": "+h.GetValue())
	}
	for _, d := range a.GetDrift() {
		line("drift", strings.TrimSpace(d.GetKind()+" "+d.GetField()+" "+d.GetSample()))
	}
	line("body", number(w.GetBodySize(), "byte")+", "+a.GetEncoding())
	printText(out, a.GetBody())
	line("message", a.GetMessageType())
	printText(out, a.GetMessage())
	for _, e := range a.GetEvents() {
		text := "position " + strconv.FormatUint(e.GetPosition(), 10)
		if x := e.GetEvent().GetSupersedes(); x != "" {
			text += ", supersedes " + x
		}
		line("published", e.GetEvent().GetId()+" at "+text)
		if reveal {
			// The printer for people masks.
			if err := printJSON(out, e.GetEvent()); err != nil {
				return err
			}
			continue
		}
		if err := printEvent(out, s, e.GetEvent()); err != nil {
			return err
		}
	}
	return nil
}

func faultText(f *adminv1.Fault) string {
	text := f.GetReason()
	if f.GetPath() != "" {
		text += " at " + f.GetPath()
	}
	if at := offsetText(f); at != "" {
		text += ", byte " + at
	}
	return text + ": " + f.GetProblem()
}

// printText writes text of many lines from outside, indented.
func printText(w io.Writer, text string) {
	if text == "" {
		return
	}
	for line := range strings.Lines(strings.TrimRight(text, "\n")) {
		fmt.Fprintf(w, "    %s\n", unsteering(strings.TrimRight(line, "\r\n")))
	}
}
