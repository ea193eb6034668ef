package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/internal/jsonschema"
)

// placeForms describes the values of a place in the log.
const placeForms = "earliest, a position, the token of a subscription, or " + timeForms

// placeFlag is a place in the log.
type placeFlag struct {
	text  string
	place *adminv1.Place
}

func (p *placeFlag) String() string { return p.text }

// Type names the values in the help.
func (p *placeFlag) Type() string { return "time" }

func (p *placeFlag) Set(s string) error {
	p.text, p.place = s, &adminv1.Place{}
	if s == "earliest" {
		p.place.At = &adminv1.Place_Earliest{Earliest: true}
		return nil
	}
	if n, err := strconv.ParseUint(s, 10, 64); err == nil {
		p.place.At = &adminv1.Place_Position{Position: n}
		return nil
	}
	var at timeFlag
	switch err := at.Set(s); {
	case err == nil:
		p.place.At = &adminv1.Place_Time{Time: at.at}
	case isToken(s):
		p.place.At = &adminv1.Place_Token{Token: s}
	default:
		return fmt.Errorf("must be %s", placeForms)
	}
	return nil
}

// leastToken is the length of the shortest token.
const leastToken = 36

// isToken reports whether a text may be the token of a subscription.
func isToken(s string) bool {
	return len(s) >= leastToken && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

// replayFlags describe a replay.
type replayFlags struct {
	sink         string
	since, until placeFlag
	filter       streamv1.Filter
	dry          bool
}

func (f *replayFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.sink, "sink", "", "the `sink` to deliver to")
	fs.Var(&f.since, "since", "the first event, received at this `time` or later: "+placeForms)
	fs.Var(&f.until, "until", "only events received before this `time`, in the same forms; else before the sink's position")
	fs.StringArrayVar(&f.filter.Types, "type", nil, "only events of this `type`, such as order.created or order.*; several may be given")
	fs.StringArrayVar(&f.filter.Sources, "source", nil, "only events of this `source`; several may be given")
	fs.StringArrayVar(&f.filter.Subjects, "subject", nil, "only events of this `subject`; several may be given")
	fs.StringVar(&f.filter.Cel, "filter", "", "only events for which this CEL `expression` over the variable event gives true")
	fs.BoolVar(&f.dry, "dry-run", false, "only count the events")
}

func replayCommand(env environment) *cobra.Command {
	o := newOperator(env)
	var f replayFlags
	cmd := &cobra.Command{
		Use:   "replay --sink SINK --since TIME [flags]",
		Short: "Deliver events to a sink once more",
		Long: `Deliver events of the journal to a sink once more, marked as a replay. The sink's position stays where it is, and its new events go on
between those of the replay. A replay survives restarts. It contains only events that the sink has had, and obeys the sink's route.`,
		Example: `  bridge replay --sink events --since 2h --type 'order.*' --dry-run
  bridge replay --sink events --since 2026-03-01T08:00:00Z --until 2026-03-01T09:00:00Z --source shop
  bridge replay list`,
		Args: noArgs,
		PreRunE: func(*cobra.Command, []string) error {
			if f.sink == "" || f.since.place == nil {
				return &usageError{"needs --sink and --since"}
			}
			return nil
		},
		RunE: o.calling(func(ctx context.Context, _ []string) error {
			a, err := o.StartReplay(ctx, &adminv1.StartReplayRequest{
				Sink: f.sink, Since: f.since.place, Until: f.until.place, Filter: &f.filter, DryRun: f.dry,
			})
			if err != nil {
				return err
			}
			f.nameMissing(env.stderr)
			switch {
			case o.asJSON:
				return printJSON(env.stdout, a)
			case f.dry:
				printDryRun(env.stdout, a)
				return nil
			}
			fmt.Fprintf(env.stdout, "replay %s of %s: positions %d to %d; bridge replay list shows how far it is\n",
				a.GetReplay().GetId(), f.sink, a.GetReplay().GetFrom(), a.GetReplay().GetTo()-1)
			return nil
		}),
	}
	f.register(cmd.Flags())
	o.register(cmd)
	cmd.AddCommand(listReplaysCommand(env), cancelReplayCommand(env))
	return cmd
}

// nameMissing warns of patterns of types that can choose no event that this program knows. The server may be newer.
func (f *replayFlags) nameMissing(w io.Writer) {
	for _, text := range f.filter.GetTypes() {
		if missing := jsonschema.Missing(text); missing != "" {
			fmt.Fprintf(w, "warning: --type %q %s\n", text, missing)
		}
	}
}

func printDryRun(w io.Writer, a *adminv1.StartReplayResponse) {
	r := a.GetReplay()
	fmt.Fprintf(w, "%s of %s would be delivered to %s, at positions %d to %d\n",
		number(a.GetChosen(), "event"), digits(a.GetLookedAt()), r.GetSink(), r.GetFrom(), r.GetTo()-1)
	if n := r.GetExpired(); n > 0 {
		fmt.Fprintf(w, "%s no longer kept\n", number(n, "event"))
	}
	if n := r.GetUndecided(); n > 0 {
		fmt.Fprintf(w, "the expression fails for %s, which would not be delivered\n", number(n, "event"))
	}
	if r.GetNext() < r.GetTo() {
		fmt.Fprintf(w, "counted only up to position %d: the rest takes too long\n", r.GetNext()-1)
	}
}

func listReplaysCommand(env environment) *cobra.Command {
	o := newOperator(env)
	var sink string
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List replays with their progress",
		Example: "  bridge replay list --sink events",
		Args:    noArgs,
		RunE: o.calling(func(ctx context.Context, _ []string) error {
			a, err := o.ListReplays(ctx, &adminv1.ListReplaysRequest{Sink: sink})
			if err != nil {
				return err
			}
			return printReplays(env.stdout, o.asJSON, a.GetReplays())
		}),
	}
	cmd.Flags().StringVar(&sink, "sink", "", "only replays of this `sink`")
	o.register(cmd)
	return cmd
}

func printReplays(w io.Writer, asJSON bool, all []*adminv1.Replay) error {
	out := bufio.NewWriter(w)
	if asJSON {
		for _, r := range all {
			if err := printJSON(out, r); err != nil {
				return err
			}
		}
		return out.Flush()
	}
	t := newTable(out, "REPLAY", "SINK", "STATE", "FROM", "TO", "DONE", "DELIVERED", "PARKED", "EXPIRED", "UNDECIDED", "REQUESTED", "PROBLEM")
	for _, r := range all {
		t.row(r.GetId(), r.GetSink(), replayState(r), digits(r.GetFrom()), digits(r.GetTo()-1), replayDone(r), digits(r.GetDelivered()), digits(r.GetParked()),
			digits(r.GetExpired()), digits(r.GetUndecided()), timeText(r.GetRequestedAt()), r.GetProblem())
	}
	if err := t.flush(); err != nil {
		return err
	}
	return out.Flush()
}

func replayState(r *adminv1.Replay) string {
	return strings.ToLower(strings.TrimPrefix(r.GetState().String(), "REPLAY_STATE_"))
}

// replayDone is how much of a replay is done, in percent.
func replayDone(r *adminv1.Replay) string {
	if r.GetTo() <= r.GetFrom() {
		return "100%"
	}
	return fmt.Sprintf("%d%%", 100*(max(r.GetNext(), r.GetFrom())-r.GetFrom())/(r.GetTo()-r.GetFrom()))
}

func cancelReplayCommand(env environment) *cobra.Command {
	o := newOperator(env)
	cmd := &cobra.Command{
		Use:     "cancel REPLAY",
		Short:   "End a replay",
		Example: "  bridge replay cancel 0199f3a2-8d4e-7c11-9b0a-3f5d2a6c7e88",
		Args:    between(1, 1, "the id of one replay; bridge replay list shows the ids"),
		RunE: o.calling(func(ctx context.Context, args []string) error {
			a, err := o.CancelReplay(ctx, &adminv1.CancelReplayRequest{Id: args[0]})
			if err != nil {
				return err
			}
			return printReplays(env.stdout, o.asJSON, []*adminv1.Replay{a.GetReplay()})
		}),
	}
	o.register(cmd)
	return cmd
}
