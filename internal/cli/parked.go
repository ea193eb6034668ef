package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/protobuf/proto"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
)

func parkedCommand(env environment) *cobra.Command {
	return group(&cobra.Command{
		Use:   "parked",
		Short: "See and repair the events that a sink refused permanently",
	}, listParkedCommand(env), showParkedCommand(env), retryParkedCommand(env), discardParkedCommand(env))
}

// parkedLister tells the positions of parked events.
const parkedLister = "bridge parked list"

// parkedFlags select parked events.
type parkedFlags struct {
	sink         string
	since, until timeFlag
}

func (f *parkedFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.sink, "sink", "", "only events of this `sink`")
	fs.Var(&f.since, "since", "only events parked at this `time` or later: "+timeForms)
	fs.Var(&f.until, "until", "only events parked before this `time`")
}

func (f *parkedFlags) message() *adminv1.ParkedFilter {
	return &adminv1.ParkedFilter{Sink: f.sink, Since: f.since.at, Until: f.until.at}
}

func listParkedCommand(env environment) *cobra.Command {
	o := newOperator(env)
	var filter parkedFlags
	var limit int
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List parked events with the reason",
		Example: "  bridge parked list --sink archive --since 24h",
		Args:    noArgs,
		PreRunE: positiveLimit(&limit),
		RunE: o.calling(func(ctx context.Context, _ []string) error {
			out := bufio.NewWriter(env.stdout)
			t := newTable(out, "PARKED", "SINK", "POSITION", "TYPE", "SOURCE", "ATTEMPTS", "REASON")
			more, err := o.parkedPages(ctx, filter.message(), limit, func(p *adminv1.ParkedEvent) error {
				if o.asJSON {
					return printJSON(out, p)
				}
				t.row(timeText(p.GetParkedAt()), p.GetSink(), digits(p.GetPosition()), p.GetType(), p.GetSource(),
					digits(p.GetAttemptCount()), p.GetReason())
				return nil
			})
			if err == nil && !o.asJSON {
				err = t.flush()
			}
			if err := errors.Join(err, out.Flush()); err != nil {
				return err
			}
			o.noticeMore(more, limit)
			return nil
		}),
	}
	filter.register(cmd.Flags())
	limitFlag(cmd.Flags(), &limit)
	o.register(cmd)
	return cmd
}

// parkedPages gives the selected events, page by page; all of them if the limit is 0. It reports whether there are more than the
// limit.
func (o *operator) parkedPages(
	ctx context.Context, f *adminv1.ParkedFilter, limit int, each func(*adminv1.ParkedEvent) error,
) (more bool, err error) {
	r := &adminv1.ListParkedRequest{Filter: f}
	return eachPage(limit, maxPage, func(size uint32, token string) ([]*adminv1.ParkedEvent, string, error) {
		r.PageSize, r.PageToken = size, token
		page, err := o.ListParked(ctx, r)
		return page.GetEvents(), page.GetNextPageToken(), err
	}, each)
}

func showParkedCommand(env environment) *cobra.Command {
	o := newOperator(env)
	var reveal bool
	var at []uint64
	cmd := &cobra.Command{
		Use:     "show SINK POSITION",
		Short:   "Show a parked event and its attempts",
		Example: "  bridge parked show archive 1204",
		Args:    between(2, 2, "a sink and a position"),
		PreRunE: func(_ *cobra.Command, args []string) (err error) {
			at, err = positions(args[1:], parkedLister)
			return err
		},
		RunE: o.calling(func(ctx context.Context, args []string) error {
			a, err := o.GetParked(ctx, &adminv1.GetParkedRequest{Sink: args[0], Position: at[0], Reveal: reveal})
			if err != nil {
				return err
			}
			if o.asJSON {
				return printJSON(env.stdout, a)
			}
			out := bufio.NewWriter(env.stdout)
			if err := printParked(out, stylesFor(env.stdout, env.lookup), a, reveal); err != nil {
				return err
			}
			return out.Flush()
		}),
	}
	revealFlag(cmd.Flags(), &reveal)
	o.register(cmd)
	return cmd
}

func printParked(out io.Writer, s styles, a *adminv1.GetParkedResponse, reveal bool) error {
	p := a.GetParked()
	line := func(name, value string) { fmt.Fprintf(out, "%s%-12s%s %s\n", s.dim, name, s.reset, printable(value)) }
	line("sink", p.GetSink())
	line("position", digits(p.GetPosition()))
	line("parked", timeText(p.GetParkedAt()))
	line("reason", p.GetReason())
	line("attempts", digits(p.GetAttemptCount())+", the first "+timeText(p.GetFirstAttemptAt()))
	for _, t := range a.GetAttempts() {
		line("", timeText(t.GetAt())+" "+t.GetError())
	}
	if reveal { // the printer for people masks
		return printJSON(out, a.GetEvent())
	}
	return printEvent(out, s, a.GetEvent())
}

// positions reads the positions of a command line. lister is the command that tells them.
func positions(args []string, lister string) ([]uint64, error) {
	var all []uint64
	for _, arg := range args {
		p, err := strconv.ParseUint(arg, 10, 64)
		if err != nil || p == 0 {
			return nil, &usageError{fmt.Sprintf("%q is no position; %s tells them", arg, lister)}
		}
		all = append(all, p)
	}
	return all, nil
}

// chosenParked is which parked events a command is to work on.
type chosenParked struct {
	parkedFlags

	all       bool
	positions []uint64
}

func (c *chosenParked) register(fs *pflag.FlagSet) {
	c.parkedFlags.register(fs)
	fs.BoolVar(&c.all, "all", false, "all parked events")
}

// choose reads the arguments. The command line must choose in one way.
func (c *chosenParked) choose(_ *cobra.Command, args []string) (err error) {
	ways := 0
	for _, way := range []bool{len(args) > 1, c.all, proto.Size(c.message()) > 0} {
		if way {
			ways++
		}
	}
	if ways != 1 || len(args) == 1 {
		return &usageError{"takes a sink and positions, or --all, or flags that select"}
	}
	if len(args) > 0 {
		c.sink = args[0]
		c.positions, err = positions(args[1:], parkedLister)
	}
	return err
}

// filters gives the filters that cover what was chosen.
func (c *chosenParked) filters(each func(*adminv1.ParkedFilter) error) error {
	if len(c.positions) == 0 {
		return each(c.message())
	}
	for _, p := range c.positions {
		if err := each(&adminv1.ParkedFilter{Sink: c.sink, Position: p}); err != nil {
			return err
		}
	}
	return nil
}

func retryParkedCommand(env environment) *cobra.Command {
	o := newOperator(env)
	var c chosenParked
	cmd := &cobra.Command{
		Use:   "retry SINK POSITION... | --all | --sink S",
		Short: "Have the sink try parked events again",
		Long:  "Have the sink make one attempt for each event, within seconds. Events that it takes are no longer parked.",
		Example: `  bridge parked retry archive 1204
  bridge parked retry --sink archive`,
		Args:    cobra.ArbitraryArgs,
		PreRunE: c.choose,
		RunE: o.calling(func(ctx context.Context, _ []string) error {
			answer := &adminv1.RetryParkedResponse{}
			err := c.filters(func(f *adminv1.ParkedFilter) error {
				r := &adminv1.RetryParkedRequest{Filter: f}
				for {
					a, err := o.RetryParked(ctx, r)
					if err != nil {
						return err
					}
					answer.Requested += a.GetRequested()
					if r.PageToken = a.GetNextPageToken(); r.PageToken == "" {
						return nil
					}
				}
			})
			if err != nil && answer.GetRequested() == 0 {
				return err
			}
			// The finished part is reported, also if the rest failed.
			if o.asJSON {
				return errors.Join(err, printJSON(env.stdout, answer))
			}
			fmt.Fprintln(env.stdout, number(answer.GetRequested(), "event"),
				"to be delivered again; bridge parked list shows the events that the sink still refuses")
			return err
		}),
	}
	c.register(cmd.Flags())
	o.register(cmd)
	return cmd
}

func discardParkedCommand(env environment) *cobra.Command {
	o := newOperator(env)
	var c chosenParked
	var yes bool
	cmd := &cobra.Command{
		Use:   "discard SINK POSITION... | --all --yes | --sink S --yes",
		Short: "Remove parked events permanently",
		Example: `  bridge parked discard archive 1204
  bridge parked discard --sink archive --yes`,
		Args: cobra.ArbitraryArgs,
		PreRunE: func(cmd *cobra.Command, args []string) error {
			if err := c.choose(cmd, args); err != nil {
				return err
			}
			if len(c.positions) == 0 && !yes {
				return &usageError{"removes permanently: say --yes, or give a sink and positions"}
			}
			return nil
		},
		RunE: o.calling(func(ctx context.Context, _ []string) error {
			discarded, err := o.discardParked(ctx, &c)
			if err != nil && discarded == 0 {
				return err
			}
			if o.asJSON {
				return errors.Join(err, printJSON(env.stdout, &adminv1.DiscardParkedResponse{Discarded: discarded}))
			}
			fmt.Fprintln(env.stdout, number(discarded, "event"), "discarded")
			return err
		}),
	}
	c.register(cmd.Flags())
	yesFlag(cmd.Flags(), &yes)
	o.register(cmd)
	return cmd
}

// discardParked discards the events that were chosen, and returns how many there were.
func (o *operator) discardParked(ctx context.Context, c *chosenParked) (discarded uint64, err error) {
	discard := func(f *adminv1.ParkedFilter) error {
		r := &adminv1.DiscardParkedRequest{Filter: f}
		for {
			a, err := o.DiscardParked(ctx, r)
			if err != nil {
				return err
			}
			discarded += a.GetDiscarded()
			if r.PageToken = a.GetNextPageToken(); r.PageToken == "" {
				return nil
			}
		}
	}
	err = c.filters(func(f *adminv1.ParkedFilter) error {
		if proto.Size(f) > 0 {
			return discard(f)
		}
		return o.eachSink(ctx, func(name string) error { return discard(&adminv1.ParkedFilter{Sink: name}) })
	})
	return discarded, err
}

// eachSink gives the names of all sinks.
func (o *operator) eachSink(ctx context.Context, each func(name string) error) error {
	a, err := o.ListSinks(ctx, &adminv1.ListSinksRequest{})
	if err != nil {
		return err
	}
	for _, s := range a.GetSinks() {
		if err := each(s.GetName()); err != nil {
			return err
		}
	}
	return nil
}
