package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
)

func sinksCommand() command {
	return command{
		name: "sinks", args: "list|show|pause|resume|seek|pass", about: "see and move the sinks' positions",
		sub: []command{
			{name: "list", about: "list the sinks with position, lag and state", run: listSinks},
			{name: "show", args: "SINK", about: "show a sink, the events that it waits at, and the events that it missed", run: showSink},
			{name: "pause", args: "SINK", about: "stop deliveries to a sink, also across restarts", run: changeSink("sinks pause", pauseSink)},
			{name: "resume", args: "SINK", about: "end a pause", run: changeSink("sinks resume", resumeSink)},
			{
				name: "seek", args: "SINK earliest|latest|POSITION|TIME", run: seekSink,
				about: "deliver from another event on, forwards or back",
			},
			{
				name: "pass", args: "SINK POSITION", run: passEvent,
				about: "have a sink with strict_order park the event that it waits at",
			},
		},
	}
}

func listSinks(ctx context.Context, env environment, args []string) error {
	o := newOperator("sinks list", env)
	if err := o.open(args, 0, "takes no arguments except flags"); err != nil {
		return err
	}
	defer o.close()
	a, err := o.ListSinks(ctx, &adminv1.ListSinksRequest{})
	if err != nil {
		return refused(err)
	}
	return printSinks(env.stdout, o.asJSON, a.GetSinks())
}

// open parses the command line, which must have so many arguments, and connects.
func (o *operator) open(args []string, n int, usage string) error {
	rest, err := parseArgs(o.flags, args)
	if err != nil {
		return err
	}
	if len(rest) != n {
		return &usageError{usage}
	}
	o.args = rest
	return o.dial()
}

func printSinks(w io.Writer, asJSON bool, all []*adminv1.Sink) error {
	out := bufio.NewWriter(w)
	if asJSON {
		for _, s := range all {
			if err := printJSON(out, s); err != nil {
				return err
			}
		}
		return out.Flush()
	}
	t := newTable(out, "SINK", "KIND", "STATE", "POSITION", "LAG", "BEHIND", "PARKED", "MISSED")
	for _, s := range all {
		t.row(s.GetName(), s.GetKind(), sinkState(s), digits(s.GetPosition()), digits(s.GetLagEvents()), lagText(s),
			digits(s.GetParked()), digits(s.GetMissed()))
	}
	if err := t.flush(); err != nil {
		return err
	}
	return out.Flush()
}

func digits(n uint64) string { return strconv.FormatUint(n, 10) }

func lagText(s *adminv1.Sink) string {
	return time.Duration(s.GetLagSeconds() * float64(time.Second)).Round(time.Second).String()
}

// sinkState is a sink's state in one word.
func sinkState(s *adminv1.Sink) string {
	switch {
	case s.GetPaused():
		return "paused"
	case s.GetKind() == "":
		return "unconfigured"
	case len(s.GetBlocked()) > 0:
		return "blocked"
	case !s.GetClaimed():
		return "unclaimed"
	case s.GetBreaker() == "open", s.GetBreaker() == "half-open":
		return "failing"
	default:
		return "delivering"
	}
}

func showSink(ctx context.Context, env environment, args []string) error {
	o := newOperator("sinks show", env)
	if err := o.open(args, 1, "takes the name of one sink"); err != nil {
		return err
	}
	defer o.close()
	a, err := o.GetSink(ctx, &adminv1.GetSinkRequest{Name: o.args[0]})
	if err != nil {
		return refused(err)
	}
	if o.asJSON {
		return printJSON(env.stdout, a)
	}
	out := bufio.NewWriter(env.stdout)
	printSink(out, stylesFor(env.stdout, env.lookup), a)
	return out.Flush()
}

func printSink(out io.Writer, st styles, a *adminv1.GetSinkResponse) {
	s := a.GetSink()
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(out, "%s%-12s%s %s\n", st.dim, name, st.reset, printable(value))
		}
	}
	line("sink", strings.TrimSpace(s.GetName()+" "+s.GetKind()))
	line("state", sinkState(s))
	line("position", digits(s.GetPosition()))
	line("lag", number(s.GetLagEvents(), "event")+", "+lagText(s))
	line("breaker", s.GetBreaker())
	if s.GetStrictOrder() {
		line("order", "strict")
	}
	for _, b := range s.GetBlocked() {
		text := digits(b.GetPosition()) + " since " + timeText(b.GetSince()) + ": " + b.GetReason()
		if b.GetPastEnd() {
			text += "; only bridge sinks seek helps"
		}
		line("waits at", text)
	}
	line("parked", number(s.GetParked(), "event"))
	line("missed", number(s.GetMissed(), "event"))
	for _, g := range a.GetGaps() {
		line("gap", fmt.Sprintf("%d to %d, found %s", g.GetFrom(), g.GetTo()-1, timeText(g.GetFirstAt())))
	}
}

// changeSink returns the command of this name, which changes a sink and prints its state after that.
func changeSink(name string, change func(context.Context, *operator) (*adminv1.Sink, error)) func(context.Context, environment, []string) error {
	return func(ctx context.Context, env environment, args []string) error {
		o := newOperator(name, env)
		if err := o.open(args, 1, "takes the name of one sink"); err != nil {
			return err
		}
		defer o.close()
		s, err := change(ctx, o)
		if err != nil {
			return refused(err)
		}
		return printSinks(env.stdout, o.asJSON, []*adminv1.Sink{s})
	}
}

func pauseSink(ctx context.Context, o *operator) (*adminv1.Sink, error) {
	a, err := o.PauseSink(ctx, &adminv1.PauseSinkRequest{Name: o.args[0]})
	return a.GetSink(), err
}

func resumeSink(ctx context.Context, o *operator) (*adminv1.Sink, error) {
	a, err := o.ResumeSink(ctx, &adminv1.ResumeSinkRequest{Name: o.args[0]})
	return a.GetSink(), err
}

const seekUsage = "takes a sink, and earliest, latest, a position or " + timeForms

func seekSink(ctx context.Context, env environment, args []string) error {
	o := newOperator("sinks seek", env)
	rest, err := parseArgs(o.flags, args)
	if err != nil {
		return err
	}
	if len(rest) != 2 {
		return &usageError{seekUsage}
	}
	r := &adminv1.SeekSinkRequest{Name: rest[0]}
	if err := seekTarget(r, rest[1]); err != nil {
		return err
	}
	if err := o.dial(); err != nil {
		return err
	}
	defer o.close()
	a, err := o.SeekSink(ctx, r)
	if err != nil {
		return refused(err)
	}
	return printSinks(env.stdout, o.asJSON, []*adminv1.Sink{a.GetSink()})
}

// seekTarget reads where a sink is to be moved to.
func seekTarget(r *adminv1.SeekSinkRequest, to string) error {
	switch to {
	case "earliest":
		r.To = &adminv1.SeekSinkRequest_Earliest{Earliest: true}
		return nil
	case "latest":
		r.To = &adminv1.SeekSinkRequest_Latest{Latest: true}
		return nil
	}
	if p, err := strconv.ParseUint(to, 10, 64); err == nil {
		r.To = &adminv1.SeekSinkRequest_Position{Position: p}
		return nil
	}
	var at timeFlag
	if err := at.Set(to); err != nil {
		return &usageError{seekUsage}
	}
	r.To = &adminv1.SeekSinkRequest_Time{Time: at.at}
	return nil
}

func passEvent(ctx context.Context, env environment, args []string) error {
	o := newOperator("sinks pass", env)
	rest, err := parseArgs(o.flags, args)
	if err != nil {
		return err
	}
	if len(rest) != 2 {
		return &usageError{"takes a sink and the position of the event that it waits at"}
	}
	p, err := strconv.ParseUint(rest[1], 10, 64)
	if err != nil {
		return &usageError{"the position is a number; bridge sinks show tells it"}
	}
	if err := o.dial(); err != nil {
		return err
	}
	defer o.close()
	a, err := o.PassEvent(ctx, &adminv1.PassEventRequest{Name: rest[0], Position: p})
	if err != nil {
		return refused(err)
	}
	if o.asJSON {
		return printJSON(env.stdout, a)
	}
	fmt.Fprintln(env.stdout, "the event will be parked, and the sink goes on")
	return nil
}
