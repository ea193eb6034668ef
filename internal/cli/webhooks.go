package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
)

// maxPage is the largest page that the service gives.
const maxPage = 1000

func webhooksCommand(env environment) *cobra.Command {
	return group(&cobra.Command{
		Use:   "webhooks",
		Short: "Look at stored webhooks",
	}, listWebhooksCommand(env), showWebhookCommand(env))
}

func listWebhooksCommand(env environment) *cobra.Command {
	o := newOperator(env)
	var filter filterFlags
	var limit int
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List stored webhooks, the newest first",
		Example: `  bridge webhooks list --source returns --since 24h
  bridge webhooks list --outcome quarantined`,
		Args:    noArgs,
		PreRunE: positiveLimit(&limit),
		RunE: o.calling(func(ctx context.Context, _ []string) error {
			return o.listWebhooks(ctx, &filter, limit, newWebhookTable)
		}),
	}
	fs := cmd.Flags()
	filter.register(fs)
	filter.registerReason(fs)
	fs.Var(outcomeFlag{&filter.outcome}, "outcome", "only webhooks of this `outcome`: "+outcomes())
	limitFlag(fs, &limit)
	o.register(cmd)
	return cmd
}

// positiveLimit returns a check of --limit.
func positiveLimit(limit *int) func(*cobra.Command, []string) error {
	return func(*cobra.Command, []string) error {
		if *limit < 0 {
			return &usageError{"--limit must not be negative"}
		}
		return nil
	}
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

// listWebhooks prints the webhooks that a filter selects, up to a limit.
func (o *operator) listWebhooks(
	ctx context.Context, filter *filterFlags, limit int, newTable func(io.Writer) webhookTable,
) error {
	out := bufio.NewWriter(o.env.stdout)
	t := newTable(out)
	more, err := o.pages(ctx, filter.message(), limit, func(w *adminv1.Webhook) error {
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
	if err := out.Flush(); err != nil {
		return err
	}
	o.noticeMore(more, limit)
	return nil
}

// noticeMore says that a limit has cut a list.
func (o *operator) noticeMore(more bool, limit int) {
	if more {
		fmt.Fprintf(o.env.stderr, "only the first %d are shown, and there are more: --limit 0 shows all\n", limit)
	}
}

// pages gives the selected webhooks, the newest first, page by page; all of them if the limit is 0. It reports whether there are
// more than the limit.
func (o *operator) pages(
	ctx context.Context, filter *adminv1.Filter, limit int, each func(*adminv1.Webhook) error,
) (more bool, err error) {
	r := &adminv1.ListWebhooksRequest{Filter: filter}
	return eachPage(limit, maxPage, func(size uint32, token string) ([]*adminv1.Webhook, string, error) {
		r.PageSize, r.PageToken = size, token
		page, err := o.ListWebhooks(ctx, r)
		return page.GetWebhooks(), page.GetNextPageToken(), err
	}, each)
}

// showWebhookCommand is webhooks show, and quarantine show.
func showWebhookCommand(env environment) *cobra.Command {
	o := newOperator(env)
	var reveal bool
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show a webhook: its headers, body, message, events and drift",
		Long: `Show all that is stored of a webhook: headers, body, the vendor's message, the published events, and the drift.
Personal data and undeclared fields are masked, unless --reveal is given.`,
		Example: "  bridge webhooks show 01a201ad-af17-7625-a337-d56c4f013362",
		Args:    between(1, 1, "the id of one webhook"),
		RunE: o.calling(func(ctx context.Context, args []string) error {
			shown, err := o.GetWebhook(ctx, &adminv1.GetWebhookRequest{Id: args[0], Reveal: reveal})
			if err != nil {
				return err
			}
			if o.asJSON {
				return printJSON(env.stdout, shown)
			}
			out := bufio.NewWriter(env.stdout)
			if err := printWebhook(out, stylesFor(env.stdout, env.lookup), shown, reveal); err != nil {
				return err
			}
			return out.Flush()
		}),
	}
	revealFlag(cmd.Flags(), &reveal)
	o.register(cmd)
	return cmd
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
	line("ping", w.GetPing())
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
