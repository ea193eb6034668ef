package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"google.golang.org/protobuf/proto"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
)

func parkedCommand() command {
	return command{
		name: "parked", args: "list|show|retry|discard", about: "see and repair the events that a sink refused permanently",
		sub: []command{
			{name: "list", args: "[--sink S] [--since T] [--until T] [--limit N]", about: "list parked events with the reason", run: listParked},
			{name: "show", args: "SINK POSITION [--reveal]", about: "show a parked event and its attempts", run: showParked},
			{
				name: "retry", args: "SINK POSITION… | --all | --sink S", run: retryParked,
				about: "deliver again, soon after; what the sink takes is no longer parked",
			},
			{
				name: "discard", args: "SINK POSITION… | --all --yes | --sink S --yes", run: discardParked,
				about: "remove parked events for good",
			},
		},
	}
}

// parkedFlags select parked events.
type parkedFlags struct {
	sink         string
	since, until timeFlag
}

func (f *parkedFlags) register(o *operator) {
	o.flags.StringVar(&f.sink, "sink", "", "only events of this `sink`")
	o.flags.Var(&f.since, "since", "only events parked at this `time` or later: "+timeForms)
	o.flags.Var(&f.until, "until", "only events parked before this `time`")
}

func (f *parkedFlags) message() *adminv1.ParkedFilter {
	return &adminv1.ParkedFilter{Sink: f.sink, Since: f.since.at, Until: f.until.at}
}

func listParked(ctx context.Context, env environment, args []string) error {
	o := newOperator("parked list", env)
	var filter parkedFlags
	filter.register(o)
	limit := o.flags.Int("limit", 50, "how many at most; 0 is all")
	if rest, err := parseArgs(o.flags, args); err != nil {
		return err
	} else if len(rest) > 0 || *limit < 0 {
		return &usageError{"takes no arguments except flags; --limit must not be negative"}
	}
	if err := o.dial(); err != nil {
		return err
	}
	defer o.close()
	out := bufio.NewWriter(env.stdout)
	t := newTable(out, "PARKED", "SINK", "POSITION", "TYPE", "SOURCE", "ATTEMPTS", "REASON")
	err := o.parkedPages(ctx, filter.message(), *limit, func(p *adminv1.ParkedEvent) error {
		if o.asJSON {
			return printJSON(out, p)
		}
		t.row(timeText(p.GetParkedAt()), p.GetSink(), digits(p.GetPosition()), p.GetType(), p.GetSource(), digits(p.GetAttemptCount()),
			p.GetReason())
		return nil
	})
	if err == nil && !o.asJSON {
		err = t.flush()
	}
	return errors.Join(err, out.Flush())
}

// parkedPages gives the selected events, page by page; all of them if the limit is 0.
func (o *operator) parkedPages(ctx context.Context, f *adminv1.ParkedFilter, limit int, each func(*adminv1.ParkedEvent) error) error {
	r := &adminv1.ListParkedRequest{Filter: f, PageSize: maxPage}
	for left := limit; ; {
		if limit > 0 {
			r.PageSize = uint32(min(left, maxPage))
		}
		page, err := o.ListParked(ctx, r)
		if err != nil {
			return refused(err)
		}
		for _, p := range page.GetEvents() {
			if err := each(p); err != nil {
				return err
			}
		}
		left -= len(page.GetEvents())
		if r.PageToken = page.GetNextPageToken(); r.PageToken == "" || limit > 0 && left <= 0 {
			return nil
		}
	}
}

func showParked(ctx context.Context, env environment, args []string) error {
	o := newOperator("parked show", env)
	reveal := o.flags.Bool("reveal", false, "show personal data as they are; the server logs the address that asked")
	rest, err := parseArgs(o.flags, args)
	if err != nil {
		return err
	}
	if len(rest) != 2 {
		return &usageError{"takes a sink and a position"}
	}
	at, err := positions(rest[1:])
	if err != nil {
		return err
	}
	if err := o.dial(); err != nil {
		return err
	}
	defer o.close()
	a, err := o.GetParked(ctx, &adminv1.GetParkedRequest{Sink: rest[0], Position: at[0], Reveal: *reveal})
	if err != nil {
		return refused(err)
	}
	if o.asJSON {
		return printJSON(env.stdout, a)
	}
	out := bufio.NewWriter(env.stdout)
	if err := printParked(out, stylesFor(env.stdout, env.lookup), a, *reveal); err != nil {
		return err
	}
	return out.Flush()
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

// positions reads the positions of a command line.
func positions(args []string) ([]uint64, error) {
	var all []uint64
	for _, arg := range args {
		p, err := strconv.ParseUint(arg, 10, 64)
		if err != nil || p == 0 {
			return nil, &usageError{fmt.Sprintf("%q is no position; bridge parked list tells them", arg)}
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

func (c *chosenParked) register(o *operator) {
	c.parkedFlags.register(o)
	o.flags.BoolVar(&c.all, "all", false, "all parked events")
}

// parse reads the command line, which must choose in one way.
func (c *chosenParked) parse(o *operator, args []string) error {
	rest, err := parseArgs(o.flags, args)
	if err != nil {
		return err
	}
	ways := 0
	for _, way := range []bool{len(rest) > 1, c.all, proto.Size(c.message()) > 0} {
		if way {
			ways++
		}
	}
	if ways != 1 || len(rest) == 1 {
		return &usageError{"takes a sink and positions, or --all, or flags that select"}
	}
	if len(rest) > 0 {
		c.sink = rest[0]
		c.positions, err = positions(rest[1:])
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

func retryParked(ctx context.Context, env environment, args []string) error {
	o := newOperator("parked retry", env)
	var c chosenParked
	c.register(o)
	if err := c.parse(o, args); err != nil {
		return err
	}
	if err := o.dial(); err != nil {
		return err
	}
	defer o.close()
	answer := &adminv1.RetryParkedResponse{}
	err := c.filters(func(f *adminv1.ParkedFilter) error {
		r := &adminv1.RetryParkedRequest{Filter: f}
		for {
			a, err := o.RetryParked(ctx, r)
			if err != nil {
				return refused(err)
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
	// What was done is told, also when the rest failed.
	if o.asJSON {
		return errors.Join(err, printJSON(env.stdout, answer))
	}
	fmt.Fprintln(env.stdout, number(answer.GetRequested(), "event"), "to be delivered again; bridge parked list shows the events that the sink still refuses")
	return err
}

func discardParked(ctx context.Context, env environment, args []string) error {
	o := newOperator("parked discard", env)
	var c chosenParked
	c.register(o)
	yes := o.flags.Bool("yes", false, "yes, remove all that is selected; not needed with positions")
	if err := c.parse(o, args); err != nil {
		return err
	}
	if len(c.positions) == 0 && !*yes {
		return &usageError{"removes for good: say --yes, or give a sink and positions"}
	}
	if err := o.dial(); err != nil {
		return err
	}
	defer o.close()
	answer := &adminv1.DiscardParkedResponse{}
	discard := func(f *adminv1.ParkedFilter) error {
		r := &adminv1.DiscardParkedRequest{Filter: f}
		for {
			a, err := o.DiscardParked(ctx, r)
			if err != nil {
				return refused(err)
			}
			answer.Discarded += a.GetDiscarded()
			if r.PageToken = a.GetNextPageToken(); r.PageToken == "" {
				return nil
			}
		}
	}
	err := c.filters(func(f *adminv1.ParkedFilter) error {
		if proto.Size(f) > 0 {
			return discard(f)
		}
		return o.eachSink(ctx, func(name string) error { return discard(&adminv1.ParkedFilter{Sink: name}) })
	})
	if err != nil && answer.GetDiscarded() == 0 {
		return err
	}
	if o.asJSON {
		return errors.Join(err, printJSON(env.stdout, answer))
	}
	fmt.Fprintln(env.stdout, number(answer.GetDiscarded(), "event"), "discarded")
	return err
}

// eachSink gives the names of all sinks.
func (o *operator) eachSink(ctx context.Context, each func(name string) error) error {
	a, err := o.ListSinks(ctx, &adminv1.ListSinksRequest{})
	if err != nil {
		return refused(err)
	}
	for _, s := range a.GetSinks() {
		if err := each(s.GetName()); err != nil {
			return err
		}
	}
	return nil
}
