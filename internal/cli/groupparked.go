package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
)

// groupParkedPage is how many dead letters of a group a call lists. They come with their events.
const groupParkedPage = 100

func listGroupParkedCommand(env environment) *cobra.Command {
	g := newGroupCaller(env)
	var limit int
	cmd := &cobra.Command{
		Use:     "parked GROUP",
		Short:   "List the dead letters of a group with the reason",
		Long:    "List the dead letters of a group with the reason. --json prints them with their events.",
		Example: "  bridge groups parked billing",
		Args:    between(1, 1, oneGroup),
		PreRunE: positiveLimit(&limit),
		RunE: g.calling(func(ctx context.Context, args []string) error {
			out := bufio.NewWriter(env.stdout)
			t := newTable(out, "POSITION", "PARKED", "TYPE", "SOURCE", "SUBJECT", "ATTEMPTS", "REASON")
			more, err := g.eachParked(ctx, args[0], limit, func(p *streamv1.ParkedEvent) error {
				if g.asJSON {
					return printJSON(out, p)
				}
				e := p.GetEvent()
				t.row(digits(p.GetPosition()), timeText(p.GetParkedAt()), e.GetType(), e.GetSource(), e.GetSubject(),
					digits(p.GetAttempts()), parkedReason(p))
				return nil
			})
			if err == nil && !g.asJSON {
				err = t.flush()
			}
			if err := errors.Join(err, out.Flush()); err != nil {
				return err
			}
			g.noticeMore(more, limit)
			return nil
		}),
	}
	limitFlag(cmd.Flags(), &limit)
	g.register(cmd)
	return cmd
}

// parkedReason says why an event is parked, and that it is about to be delivered again.
func parkedReason(p *streamv1.ParkedEvent) string {
	reason := p.GetReason()
	if p.GetAttempts() == 0 && reason == "" {
		reason = "waits for an earlier event of its subject"
	}
	if p.GetReplaying() {
		reason = "to be delivered again; " + reason
	}
	return reason
}

// eachParked gives the dead letters of a group, page by page; all of them if the limit is 0. It reports whether there are more than
// the limit.
func (g *groupCaller) eachParked(
	ctx context.Context, name string, limit int, each func(*streamv1.ParkedEvent) error,
) (more bool, err error) {
	r := &streamv1.ListParkedRequest{Group: name}
	return eachPage(limit, groupParkedPage, func(size uint32, token string) ([]*streamv1.ParkedEvent, string, error) {
		r.PageSize, r.PageToken = size, token
		page, err := g.ListParked(ctx, r)
		return page.GetEvents(), page.GetNextPageToken(), err
	}, each)
}

func replayGroupCommand(env environment) *cobra.Command {
	g := newGroupCaller(env)
	r := &streamv1.ReplayParkedRequest{}
	var all bool
	cmd := &cobra.Command{
		Use:   "replay GROUP POSITION... | --all",
		Short: "Have dead letters of a group delivered again",
		Long: `Have dead letters of a group delivered again, in the log's order. They stay dead letters until a member acknowledges them, and
attempts begin at 1 again.`,
		Example: `  bridge groups replay billing 1204
  bridge groups replay billing --all`,
		Args: cobra.ArbitraryArgs,
		PreRunE: func(_ *cobra.Command, args []string) (err error) {
			if len(args) == 0 || all == (len(args) > 1) {
				return &usageError{"takes a group, and positions or --all"}
			}
			r.Group = args[0]
			r.Positions, err = positions(args[1:], "bridge groups parked "+args[0])
			return err
		},
		RunE: g.calling(func(ctx context.Context, _ []string) error {
			a, err := g.ReplayParked(ctx, r)
			if err != nil {
				return err
			}
			if g.asJSON {
				return printJSON(env.stdout, a)
			}
			fmt.Fprintln(env.stdout, number(a.GetEvents(), "event"), "to be delivered again")
			return nil
		}),
	}
	cmd.Flags().BoolVar(&all, "all", false, "all dead letters of the group")
	g.register(cmd)
	return cmd
}

func discardGroupCommand(env environment) *cobra.Command {
	g := newGroupCaller(env)
	r := &streamv1.DiscardParkedRequest{}
	cmd := &cobra.Command{
		Use:     "discard GROUP POSITION...",
		Short:   "Remove dead letters of a group permanently",
		Example: "  bridge groups discard billing 1204",
		Args:    cobra.ArbitraryArgs,
		PreRunE: func(_ *cobra.Command, args []string) (err error) {
			if len(args) < 2 {
				return &usageError{"takes a group and positions"}
			}
			r.Group = args[0]
			r.Positions, err = positions(args[1:], "bridge groups parked "+args[0])
			return err
		},
		RunE: g.calling(func(ctx context.Context, _ []string) error {
			a, err := g.DiscardParked(ctx, r)
			if err != nil {
				return err
			}
			if g.asJSON {
				return printJSON(env.stdout, a)
			}
			fmt.Fprintln(env.stdout, number(a.GetEvents(), "event"), "discarded")
			return nil
		}),
	}
	g.register(cmd)
	return cmd
}
