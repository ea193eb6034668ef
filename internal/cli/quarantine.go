package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
)

func quarantineCommand() command {
	return command{
		name: "quarantine", args: "list|show|retry|discard", about: "repair webhooks that could not be decoded or translated",
		sub: []command{
			{
				name: "list", args: "[--source S] [--reason R] [--since T]", about: "list quarantined webhooks with reason and place",
				run: listQuarantine,
			},
			{name: "show", args: "ID [--reveal]", about: "show a quarantined webhook", run: showWebhook("quarantine show")},
			{
				name: "retry", args: "ID… | --all | --source S [--dry-run]", about: "translate again, and publish what now succeeds",
				run: retryQuarantine,
			},
			{
				name: "discard", args: "ID… | --all | --source S --yes", about: "remove quarantined webhooks for good",
				run: discardQuarantine,
			},
		},
	}
}

func listQuarantine(ctx context.Context, env environment, args []string) error {
	o := newOperator("quarantine list", env)
	filter := filterFlags{outcome: adminv1.Outcome_OUTCOME_QUARANTINED}
	filter.register(o.flags)
	filter.registerReason(o.flags)
	limit := o.flags.Int("limit", 0, "how many at most; 0 is all")
	return o.list(ctx, args, &filter, limit, newFaultTable)
}

func newFaultTable(w io.Writer) webhookTable {
	return webhookTable{
		newTable(w, "RECEIVED", "ID", "SOURCE", "EVENT", "REASON", "PATH", "OFFSET", "PROBLEM"),
		func(t table, w *adminv1.Webhook) {
			f := w.GetFault()
			t.row(timeText(w.GetReceivedAt()), w.GetId(), w.GetSource(), w.GetVendorEvent(), f.GetReason(), f.GetPath(), offsetText(f),
				f.GetProblem())
		},
	}
}

// chosen is which quarantined webhooks a command is to work on.
type chosen struct {
	filterFlags

	all bool
	ids []string
}

func (c *chosen) register(o *operator) {
	c.filterFlags.register(o.flags)
	c.registerReason(o.flags)
	o.flags.BoolVar(&c.all, "all", false, "all quarantined webhooks")
}

// parse reads the command line, which must choose in one way.
func (c *chosen) parse(o *operator, args []string) (err error) {
	if c.ids, err = parseArgs(o.flags, args); err != nil {
		return err
	}
	ways := 0
	for _, way := range []bool{len(c.ids) > 0, c.all, !c.empty()} {
		if way {
			ways++
		}
	}
	if ways != 1 {
		return &usageError{"takes ids, or --all, or flags that select"}
	}
	c.outcome = adminv1.Outcome_OUTCOME_QUARANTINED
	return nil
}

// calls gives the requests that cover what was chosen: the ids in parts, or the filter.
func (c *chosen) calls(each func(ids []string, filter *adminv1.Filter) error) error {
	if len(c.ids) == 0 {
		return each(nil, c.message())
	}
	for ids := range slices.Chunk(c.ids, maxPage) {
		if err := each(ids, nil); err != nil {
			return err
		}
	}
	return nil
}

func retryQuarantine(ctx context.Context, env environment, args []string) error {
	o := newOperator("quarantine retry", env)
	var c chosen
	c.register(o)
	as := o.flags.String("as", "", "read them as this `event` of the vendor's, and ignore the names in them")
	dryRun := o.flags.Bool("dry-run", false, "only say what would become of them")
	if err := c.parse(o, args); err != nil {
		return err
	}
	if err := o.dial(); err != nil {
		return err
	}
	defer o.close()
	out := bufio.NewWriter(env.stdout)
	p := retryPrinter{out: out, asJSON: o.asJSON, dryRun: *dryRun, counts: map[adminv1.Outcome]uint64{}}
	if !p.asJSON {
		p.table = newTable(out, "ID", "OUTCOME", "EVENTS", "REASON", "PATH", "OFFSET", "PROBLEM")
	}
	err := c.calls(func(ids []string, filter *adminv1.Filter) error {
		r := &adminv1.RetryWebhooksRequest{Ids: ids, Filter: filter, VendorEvent: *as, DryRun: *dryRun}
		for {
			page, err := o.RetryWebhooks(ctx, r)
			if err != nil {
				return refused(err)
			}
			if err := p.print(page.GetResults()); err != nil {
				return err
			}
			if r.PageToken = page.GetNextPageToken(); r.PageToken == "" {
				return nil
			}
		}
	})
	// What was done is told, also when the rest failed.
	if ended := p.end(); err == nil {
		err = ended
	}
	return err
}

// retryPrinter prints what became of webhooks.
type retryPrinter struct {
	out            *bufio.Writer
	table          table
	asJSON, dryRun bool
	counts         map[adminv1.Outcome]uint64
	events         uint64
	// faults is how many have one: they stay in quarantine, or some of an array's webhooks do, or they are not kept.
	faults int
}

func (p *retryPrinter) print(results []*adminv1.RetryResult) error {
	for _, r := range results {
		p.counts[r.GetOutcome()]++
		p.events += uint64(r.GetEventCount())
		if r.GetFault() != nil {
			p.faults++
		}
		if p.asJSON {
			if err := printJSON(p.out, r); err != nil {
				return err
			}
			continue
		}
		f := r.GetFault()
		p.table.row(r.GetWebhookId(), outcomeText(r.GetOutcome()), strconv.Itoa(int(r.GetEventCount())), f.GetReason(), f.GetPath(),
			offsetText(f), f.GetProblem())
	}
	return nil
}

// end prints the sum. What stays in quarantine fails the command.
func (p *retryPrinter) end() error {
	held := p.counts[adminv1.Outcome_OUTCOME_QUARANTINED]
	if !p.asJSON {
		if err := p.table.flush(); err != nil {
			return err
		}
		would := ""
		if p.dryRun {
			would = "would be "
		}
		released := p.counts[adminv1.Outcome_OUTCOME_ACCEPTED] + p.counts[adminv1.Outcome_OUTCOME_UNMAPPED]
		duplicates := p.counts[adminv1.Outcome_OUTCOME_DUPLICATE]
		gone := ""
		if n := p.counts[adminv1.Outcome_OUTCOME_UNSPECIFIED]; n > 0 {
			gone = fmt.Sprintf(", %d not kept", n)
		}
		fmt.Fprintf(p.out, "%s: %s%d released with %s, %d duplicate, %d still quarantined%s\n", number(p.total(), "webhook"), would, released,
			number(p.events, "event"), duplicates, held, gone)
	}
	if err := p.out.Flush(); err != nil {
		return err
	}
	if held > 0 || p.faults > 0 {
		return &reportedError{exitFailed}
	}
	return nil
}

func (p *retryPrinter) total() (n uint64) {
	for _, count := range p.counts {
		n += count
	}
	return n
}

func discardQuarantine(ctx context.Context, env environment, args []string) error {
	o := newOperator("quarantine discard", env)
	var c chosen
	c.register(o)
	yes := o.flags.Bool("yes", false, "yes, remove all that is selected; not needed with ids")
	if err := c.parse(o, args); err != nil {
		return err
	}
	if len(c.ids) == 0 && !*yes {
		return &usageError{"removes for good: say --yes, or give ids"}
	}
	if err := o.dial(); err != nil {
		return err
	}
	defer o.close()
	answer := &adminv1.DiscardWebhooksResponse{}
	err := c.calls(func(ids []string, filter *adminv1.Filter) error {
		r := &adminv1.DiscardWebhooksRequest{Ids: ids, Filter: filter}
		for {
			a, err := o.DiscardWebhooks(ctx, r)
			if err != nil {
				return refused(err)
			}
			answer.Discarded += a.GetDiscarded()
			if r.PageToken = a.GetNextPageToken(); r.PageToken == "" {
				return nil
			}
		}
	})
	if err != nil && answer.GetDiscarded() == 0 {
		return err
	}
	// What was done is told, also when the rest failed.
	if o.asJSON {
		return errors.Join(err, printJSON(env.stdout, answer))
	}
	fmt.Fprintln(env.stdout, number(answer.GetDiscarded(), "webhook"), "discarded")
	return err
}
