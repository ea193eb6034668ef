package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/durationpb"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
)

func groupsCommand(env environment) *cobra.Command {
	return group(&cobra.Command{
		Use:   "groups",
		Short: "See and move subscription groups, and repair their dead letters",
	}, listGroupsCommand(env), showGroupCommand(env), seekGroupCommand(env), listGroupParkedCommand(env), replayGroupCommand(env),
		discardGroupCommand(env), deleteGroupCommand(env))
}

// groupCaller is the part of a command that calls the group RPCs of the subscription service. They accept the credentials of operators and
// of subscribers.
type groupCaller struct {
	*operator

	streamv1.EventStreamServiceClient
}

func newGroupCaller(env environment) *groupCaller {
	o := newOperator(env)
	o.client.subscriber = true
	return &groupCaller{operator: o}
}

// calling is [operator.calling] for the subscription service.
func (g *groupCaller) calling(run func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		server, err := g.client.dial(g.env)
		if err != nil {
			return err
		}
		defer func() { _ = server.Close() }()
		g.EventStreamServiceClient = streamv1.NewEventStreamServiceClient(server)
		return server.explain(cmd.Context(), run(cmd.Context(), args))
	}
}

func listGroupsCommand(env environment) *cobra.Command {
	g := newGroupCaller(env)
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the groups with position, lag and dead letters",
		Example: "  bridge groups list",
		Args:    noArgs,
		RunE: g.calling(func(ctx context.Context, _ []string) error {
			out := bufio.NewWriter(env.stdout)
			t := newTable(out, "GROUP", "POSITION", "LAG", "OUTSTANDING", "OLDEST", "PARKED", "SKIPPED", "MISSED", "MEMBERS")
			err := g.eachGroup(ctx, func(x *streamv1.Group) error {
				if g.asJSON {
					return printJSON(out, x)
				}
				t.row(x.GetName(), digits(x.GetPosition()), digits(x.GetLag()), digits(x.GetOutstanding()),
					ageText(x.GetOldestUnackedAge()), digits(x.GetParked()), digits(x.GetSkipped()), digits(x.GetMissed()),
					digits(uint64(x.GetMemberCount())))
				return nil
			})
			if err != nil {
				return err
			}
			if !g.asJSON {
				if err := t.flush(); err != nil {
					return err
				}
			}
			return out.Flush()
		}),
	}
	g.register(cmd)
	return cmd
}

// eachGroup gives all groups, page by page.
func (g *groupCaller) eachGroup(ctx context.Context, each func(*streamv1.Group) error) error {
	r := &streamv1.ListGroupsRequest{PageSize: maxPage}
	for {
		page, err := g.ListGroups(ctx, r)
		if err != nil {
			return err
		}
		for _, x := range page.GetGroups() {
			if err := each(x); err != nil {
				return err
			}
		}
		if r.PageToken = page.GetNextPageToken(); r.PageToken == "" {
			return nil
		}
	}
}

// ageText is an age in whole seconds; nothing where there is none.
func ageText(d *durationpb.Duration) string {
	if d == nil {
		return ""
	}
	return d.AsDuration().Round(time.Second).String()
}

// oneGroup describes the argument of most commands about groups.
const oneGroup = "the name of one group; bridge groups list shows the names"

func showGroupCommand(env environment) *cobra.Command {
	g := newGroupCaller(env)
	cmd := &cobra.Command{
		Use:     "show GROUP",
		Short:   "Show a group, its policy and its members",
		Example: "  bridge groups show billing",
		Args:    between(1, 1, oneGroup),
		RunE: g.calling(func(ctx context.Context, args []string) error {
			a, err := g.GetGroup(ctx, &streamv1.GetGroupRequest{Group: args[0]})
			if err != nil {
				return err
			}
			if g.asJSON {
				return printJSON(env.stdout, a.GetGroup())
			}
			out := bufio.NewWriter(env.stdout)
			if err := printGroup(out, stylesFor(env.stdout, env.lookup), a.GetGroup()); err != nil {
				return err
			}
			return out.Flush()
		}),
	}
	g.register(cmd)
	return cmd
}

func printGroup(out io.Writer, s styles, g *streamv1.Group) error {
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(out, "%s%-12s%s %s\n", s.dim, name, s.reset, printable(value))
		}
	}
	filter, err := protojson.Marshal(g.GetFilter())
	if err != nil {
		return err
	}
	line("group", g.GetName())
	line("created", timeText(g.GetCreatedAt()))
	line("filter", strings.TrimSpace(strings.Trim(string(filter), "{}")))
	line("policy", policyText(g.GetPolicy()))
	line("position", digits(g.GetPosition()))
	line("lag", number(g.GetLag(), "event"))
	outstanding := number(g.GetOutstanding(), "event")
	if age := ageText(g.GetOldestUnackedAge()); age != "" {
		outstanding += ", the oldest for " + age
	}
	line("outstanding", outstanding)
	line("parked", number(g.GetParked(), "event"))
	line("skipped", number(g.GetSkipped(), "event"))
	line("missed", number(g.GetMissed(), "event"))
	if g.GetFreeShares() > 0 && g.GetMemberCount() > 0 {
		line("free shares", fmt.Sprintf("%d of 256", g.GetFreeShares()))
	}
	if len(g.GetMembers()) == 0 {
		return nil
	}
	fmt.Fprintln(out)
	t := newTable(out, "MEMBER", "LABEL", "REPLICA", "JOINED", "SHARES", "OUTSTANDING")
	for _, m := range g.GetMembers() {
		t.row(m.GetId(), m.GetLabel(), m.GetReplica(), timeText(m.GetJoinedAt()), digits(uint64(m.GetShares())),
			digits(uint64(m.GetOutstanding())))
	}
	return t.flush()
}

// policyText is a policy in one line.
func policyText(p *streamv1.GroupPolicy) string {
	if p == nil {
		return ""
	}
	text := fmt.Sprintf("%s to acknowledge, %s", p.GetAckDeadline().AsDuration(), number(uint64(p.GetMaxAttempts()), "attempt"))
	text += fmt.Sprintf(", pauses of %s to %s", p.GetMinBackoff().AsDuration(), p.GetMaxBackoff().AsDuration())
	text += fmt.Sprintf(", %s outstanding for each member", digits(uint64(p.GetMaxOutstanding())))
	if p.GetStrictOrder() {
		text += ", strict order"
	}
	switch p.GetOnExpired() {
	case streamv1.OnExpired_ON_EXPIRED_EARLIEST:
		text += ", goes on at the earliest event if events expire"
	case streamv1.OnExpired_ON_EXPIRED_LATEST:
		text += ", goes on at the end if events expire"
	case streamv1.OnExpired_ON_EXPIRED_FAIL, streamv1.OnExpired_ON_EXPIRED_UNSPECIFIED:
		text += ", stops if events expire"
	}
	return text
}

func seekGroupCommand(env environment) *cobra.Command {
	g := newGroupCaller(env)
	r := &streamv1.SeekGroupRequest{}
	cmd := &cobra.Command{
		Use:   "seek GROUP earliest|latest|TIME|TOKEN",
		Short: "Continue a group at another event, forwards or back",
		Long: `Continue a group at another event. A group that is moved back gets events a second time, also events that it acknowledged;
one that is moved forwards never gets the events in between. Its dead letters stay. TIME is ` + timeForms + `.
TOKEN is one that bridge tail printed, with the group's filter.`,
		Example: `  bridge groups seek billing earliest
  bridge groups seek billing 24h`,
		Args: between(2, 2, "a group, and earliest, latest, a token or "+timeForms),
		PreRunE: func(_ *cobra.Command, args []string) (err error) {
			r.Group = args[0]
			r.To, err = groupTarget(args[1])
			return err
		},
		RunE: g.calling(func(ctx context.Context, args []string) error {
			a, err := g.SeekGroup(ctx, r)
			if err != nil {
				return err
			}
			if g.asJSON {
				return printJSON(env.stdout, a)
			}
			fmt.Fprintf(env.stdout, "%s goes on at position %d\n", args[0], a.GetPosition())
			return nil
		}),
	}
	g.register(cmd)
	return cmd
}

// groupTarget reads where a group is to be moved to.
func groupTarget(to string) (*streamv1.Start, error) {
	switch to {
	case "earliest":
		return &streamv1.Start{At: &streamv1.Start_Earliest{Earliest: &streamv1.Earliest{}}}, nil
	case "latest":
		return &streamv1.Start{At: &streamv1.Start_Latest{Latest: &streamv1.Latest{}}}, nil
	}
	var at timeFlag
	if at.Set(to) == nil {
		return &streamv1.Start{At: &streamv1.Start_Time{Time: at.at}}, nil
	}
	if !tokenForm.MatchString(to) {
		return nil, &usageError{fmt.Sprintf("%q is none of these: earliest, latest, a token, %s", to, timeForms)}
	}
	return tokenStart(to), nil
}

func deleteGroupCommand(env environment) *cobra.Command {
	g := newGroupCaller(env)
	var yes bool
	cmd := &cobra.Command{
		Use:   "delete GROUP --yes",
		Short: "Remove a group with its position and its dead letters",
		Long: `Remove a group with its position and its dead letters. Its members' streams end. A later subscription of the same name makes a new
group.`,
		Example: "  bridge groups delete billing --yes",
		Args:    between(1, 1, oneGroup),
		PreRunE: func(*cobra.Command, []string) error {
			if !yes {
				return &usageError{"removes the group's position and its dead letters permanently: say --yes"}
			}
			return nil
		},
		RunE: g.calling(func(ctx context.Context, args []string) error {
			a, err := g.DeleteGroup(ctx, &streamv1.DeleteGroupRequest{Group: args[0]})
			if err != nil {
				return err
			}
			if g.asJSON {
				return printJSON(env.stdout, a)
			}
			fmt.Fprintf(env.stdout, "the group %s is removed\n", args[0])
			return nil
		}),
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "yes, remove the group")
	g.register(cmd)
	return cmd
}
