package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
)

func quarantineCommand(env environment) *cobra.Command {
	show := showWebhookCommand(env)
	show.Example = "  bridge quarantine show 01a201ad-af17-7625-a337-d56c4f013362"
	return group(&cobra.Command{
		Use:   "quarantine",
		Short: "Repair webhooks that could not be decoded or translated",
		Long: `Repair webhooks that could not be decoded or translated. They are stored whole, with the reason and the place of the fault,
and make no events until a retry succeeds.`,
	}, listQuarantineCommand(env), show, retryQuarantineCommand(env), discardQuarantineCommand(env))
}

func listQuarantineCommand(env environment) *cobra.Command {
	o := newOperator(env)
	filter := filterFlags{outcome: adminv1.Outcome_OUTCOME_QUARANTINED}
	var limit int
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List quarantined webhooks with reason and place",
		Example: `  bridge quarantine list --source returns
  bridge quarantine list --reason malformed_json --since 24h`,
		Args:    noArgs,
		PreRunE: positiveLimit(&limit),
		RunE: o.calling(func(ctx context.Context, _ []string) error {
			return o.listWebhooks(ctx, &filter, limit, newFaultTable)
		}),
	}
	filter.register(cmd.Flags())
	filter.registerReason(cmd.Flags())
	limitFlag(cmd.Flags(), &limit)
	o.register(cmd)
	return cmd
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

func (c *chosen) register(fs *pflag.FlagSet) {
	c.filterFlags.register(fs)
	c.registerReason(fs)
	fs.BoolVar(&c.all, "all", false, "all quarantined webhooks")
}

// choose reads the arguments. The command line must choose in one way.
func (c *chosen) choose(_ *cobra.Command, args []string) error {
	c.ids = args
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

func retryQuarantineCommand(env environment) *cobra.Command {
	o := newOperator(env)
	var c chosen
	var as string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "retry ID... | --all | --source S",
		Short: "Translate again, and publish the events of each success",
		Long: `Translate quarantined webhooks again with the current connectors. The events of each success are published, once.
The exit code is 1 if a webhook stays in quarantine.`,
		Example: `  bridge quarantine retry --all --dry-run
  bridge quarantine retry --as shipping.ordered 01a201ad-af17-7625-a337-d56c4f013362`,
		Args:    cobra.ArbitraryArgs,
		PreRunE: c.choose,
		RunE: o.calling(func(ctx context.Context, _ []string) error {
			out := bufio.NewWriter(env.stdout)
			p := retryPrinter{out: out, asJSON: o.asJSON, dryRun: dryRun, counts: map[adminv1.Outcome]uint64{}}
			if !p.asJSON {
				p.table = newTable(out, "ID", "OUTCOME", "EVENTS", "REASON", "PATH", "OFFSET", "PROBLEM")
			}
			err := o.retryWebhooks(ctx, &c, as, dryRun, p.print)
			// The finished part is reported, also if the rest failed.
			if ended := p.end(); err == nil {
				err = ended
			}
			return err
		}),
	}
	c.register(cmd.Flags())
	cmd.Flags().StringVar(&as, "as", "", "read them as this `event` of the vendor's, and ignore the names in them")
	dryRunFlag(cmd.Flags(), &dryRun)
	o.register(cmd)
	return cmd
}

// retryWebhooks retries what was chosen, page by page.
func (o *operator) retryWebhooks(
	ctx context.Context, c *chosen, as string, dryRun bool, each func([]*adminv1.RetryResult) error,
) error {
	return c.calls(func(ids []string, filter *adminv1.Filter) error {
		r := &adminv1.RetryWebhooksRequest{Ids: ids, Filter: filter, VendorEvent: as, DryRun: dryRun}
		for {
			page, err := o.RetryWebhooks(ctx, r)
			if err != nil {
				return err
			}
			if err := each(page.GetResults()); err != nil {
				return err
			}
			if r.PageToken = page.GetNextPageToken(); r.PageToken == "" {
				return nil
			}
		}
	})
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
		if n := p.counts[adminv1.Outcome_OUTCOME_PING]; n > 0 {
			gone = ", " + number(n, "ping") + gone
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

func discardQuarantineCommand(env environment) *cobra.Command {
	o := newOperator(env)
	var c chosen
	var yes bool
	cmd := &cobra.Command{
		Use:   "discard ID... | --all --yes | --source S --yes",
		Short: "Remove quarantined webhooks permanently",
		Example: `  bridge quarantine discard 01a201ad-af17-7625-a337-d56c4f013362
  bridge quarantine discard --source returns --yes`,
		Args: cobra.ArbitraryArgs,
		PreRunE: func(cmd *cobra.Command, args []string) error {
			if err := c.choose(cmd, args); err != nil {
				return err
			}
			if len(c.ids) == 0 && !yes {
				return &usageError{"removes permanently: say --yes, or give ids"}
			}
			return nil
		},
		RunE: o.calling(func(ctx context.Context, _ []string) error {
			answer := &adminv1.DiscardWebhooksResponse{}
			err := c.calls(func(ids []string, filter *adminv1.Filter) error {
				r := &adminv1.DiscardWebhooksRequest{Ids: ids, Filter: filter}
				for {
					a, err := o.DiscardWebhooks(ctx, r)
					if err != nil {
						return err
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
			// The finished part is reported, also if the rest failed.
			if o.asJSON {
				return errors.Join(err, printJSON(env.stdout, answer))
			}
			fmt.Fprintln(env.stdout, number(answer.GetDiscarded(), "webhook"), "discarded")
			return err
		}),
	}
	c.register(cmd.Flags())
	yesFlag(cmd.Flags(), &yes)
	o.register(cmd)
	return cmd
}
