package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
)

func sinksCommand(env environment) *cobra.Command {
	return group(&cobra.Command{
		Use:   "sinks",
		Short: "See the sinks' positions, and move them",
	}, listSinksCommand(env), showSinkCommand(env), pauseSinkCommand(env), resumeSinkCommand(env), seekSinkCommand(env),
		passEventCommand(env), forgetSinkCommand(env))
}

func listSinksCommand(env environment) *cobra.Command {
	o := newOperator(env)
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the sinks with position, lag and state",
		Example: "  bridge sinks list",
		Args:    noArgs,
		RunE: o.calling(func(ctx context.Context, _ []string) error {
			a, err := o.ListSinks(ctx, &adminv1.ListSinksRequest{})
			if err != nil {
				return err
			}
			return printSinks(env.stdout, o.asJSON, a.GetSinks())
		}),
	}
	o.register(cmd)
	return cmd
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
	t := newTable(out, "SINK", "KIND", "STATE", "POSITION", "LAG", "BEHIND", "PARKED", "MISSED", "PROBLEM")
	for _, s := range all {
		t.row(s.GetName(), s.GetKind(), sinkState(s), digits(s.GetPosition()), digits(s.GetLagEvents()), lagText(s),
			digits(s.GetParked()), digits(s.GetMissed()), shortText(s.GetProblem()))
	}
	if err := t.flush(); err != nil {
		return err
	}
	return out.Flush()
}

// maxShort is how many characters of a problem a table has room for.
const maxShort = 60

// shortText is the begin of a text that is too long for a table.
func shortText(s string) string {
	if r := []rune(s); len(r) > maxShort {
		return string(r[:maxShort-1]) + "…"
	}
	return s
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
	case s.GetProblem() != "", s.GetBreaker() == "open", s.GetBreaker() == "half-open":
		return "failing"
	default:
		return "delivering"
	}
}

// oneSink checks the arguments of most commands of sinks.
const oneSink = "the name of one sink; bridge sinks list shows the names"

func showSinkCommand(env environment) *cobra.Command {
	o := newOperator(env)
	cmd := &cobra.Command{
		Use:     "show SINK",
		Short:   "Show a sink, the events that it waits at, and the events that it missed",
		Example: "  bridge sinks show archive",
		Args:    between(1, 1, oneSink),
		RunE: o.calling(func(ctx context.Context, args []string) error {
			a, err := o.GetSink(ctx, &adminv1.GetSinkRequest{Name: args[0]})
			if err != nil {
				return err
			}
			if o.asJSON {
				return printJSON(env.stdout, a)
			}
			out := bufio.NewWriter(env.stdout)
			printSink(out, stylesFor(env.stdout, env.lookup), a)
			return out.Flush()
		}),
	}
	o.register(cmd)
	return cmd
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
	line("problem", s.GetProblem())
	line("position", digits(s.GetPosition()))
	line("lag", number(s.GetLagEvents(), "event")+", "+lagText(s))
	line("replica", s.GetReplica())
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

func pauseSinkCommand(env environment) *cobra.Command {
	o := newOperator(env)
	return o.changing(&cobra.Command{
		Use:     "pause SINK",
		Short:   "Stop the deliveries to a sink, also across restarts",
		Example: "  bridge sinks pause archive",
		Args:    between(1, 1, oneSink),
	}, func(ctx context.Context, args []string) (*adminv1.Sink, error) {
		a, err := o.PauseSink(ctx, &adminv1.PauseSinkRequest{Name: args[0]})
		return a.GetSink(), err
	})
}

func resumeSinkCommand(env environment) *cobra.Command {
	o := newOperator(env)
	return o.changing(&cobra.Command{
		Use:     "resume SINK",
		Short:   "Continue the deliveries to a paused sink",
		Example: "  bridge sinks resume archive",
		Args:    between(1, 1, oneSink),
	}, func(ctx context.Context, args []string) (*adminv1.Sink, error) {
		a, err := o.ResumeSink(ctx, &adminv1.ResumeSinkRequest{Name: args[0]})
		return a.GetSink(), err
	})
}

// changing completes a command that changes a sink and prints its state after that.
func (o *operator) changing(
	cmd *cobra.Command, change func(ctx context.Context, args []string) (*adminv1.Sink, error),
) *cobra.Command {
	cmd.RunE = o.calling(func(ctx context.Context, args []string) error {
		s, err := change(ctx, args)
		if err != nil {
			return err
		}
		return printSinks(o.env.stdout, o.asJSON, []*adminv1.Sink{s})
	})
	o.register(cmd)
	return cmd
}

const seekUsage = "a sink, and earliest, latest, a position, a token or " + timeForms

func seekSinkCommand(env environment) *cobra.Command {
	o := newOperator(env)
	r := &adminv1.SeekSinkRequest{}
	return o.changing(&cobra.Command{
		Use:   "seek SINK earliest|latest|POSITION|TIME|TOKEN",
		Short: "Continue the deliveries at another event, forwards or back",
		Long: `Continue the deliveries to a sink at another event. A sink that is moved back gets events a second time; one that is moved
forwards never gets the events in between. TIME is ` + timeForms + "; TOKEN is that of a subscription.",
		Example: `  bridge sinks seek archive earliest
  bridge sinks seek archive 24h`,
		Args: between(2, 2, seekUsage),
		PreRunE: func(_ *cobra.Command, args []string) error {
			r.Name = args[0]
			return seekTarget(r, args[1])
		},
	}, func(ctx context.Context, _ []string) (*adminv1.Sink, error) {
		a, err := o.SeekSink(ctx, r)
		return a.GetSink(), err
	})
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
	if err := at.Set(to); err != nil && isToken(to) {
		r.To = &adminv1.SeekSinkRequest_Token{Token: to}
		return nil
	} else if err != nil {
		return &usageError{"takes " + seekUsage}
	}
	r.To = &adminv1.SeekSinkRequest_Time{Time: at.at}
	return nil
}

func passEventCommand(env environment) *cobra.Command {
	o := newOperator(env)
	var position uint64
	cmd := &cobra.Command{
		Use:     "pass SINK POSITION",
		Short:   "Have a sink with strict_order park the event that it waits at",
		Example: "  bridge sinks pass archive 1204",
		Args:    between(2, 2, "a sink and the position of the event that it waits at"),
		PreRunE: func(_ *cobra.Command, args []string) (err error) {
			if position, err = strconv.ParseUint(args[1], 10, 64); err != nil {
				return &usageError{fmt.Sprintf("%q is no position; bridge sinks show %s shows it", args[1], args[0])}
			}
			return nil
		},
		RunE: o.calling(func(ctx context.Context, args []string) error {
			a, err := o.PassEvent(ctx, &adminv1.PassEventRequest{Name: args[0], Position: position})
			if err != nil {
				return err
			}
			if o.asJSON {
				return printJSON(env.stdout, a)
			}
			fmt.Fprintln(env.stdout, "the event will be parked, and the sink goes on")
			return nil
		}),
	}
	o.register(cmd)
	return cmd
}

func forgetSinkCommand(env environment) *cobra.Command {
	o := newOperator(env)
	var yes bool
	cmd := &cobra.Command{
		Use:   "forget SINK --yes",
		Short: "Remove the position of a sink that the configuration no longer has",
		Long: `Remove the position of a sink that the configuration no longer has, so that it holds back no retention. If a sink of this name is
configured again, it begins as a new one: at its start_at. Its parked events stay; bridge parked discard removes them.`,
		Example: "  bridge sinks forget archive --yes",
		Args:    between(1, 1, oneSink),
		PreRunE: func(*cobra.Command, []string) error {
			if !yes {
				return &usageError{"removes the sink's position permanently: say --yes"}
			}
			return nil
		},
		RunE: o.calling(func(ctx context.Context, args []string) error {
			a, err := o.ForgetSink(ctx, &adminv1.ForgetSinkRequest{Name: args[0]})
			if err != nil {
				return err
			}
			if o.asJSON {
				return printJSON(env.stdout, a)
			}
			fmt.Fprintf(env.stdout, "the position of %s is removed\n", args[0])
			return nil
		}),
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "yes, remove the position")
	o.register(cmd)
	return cmd
}
