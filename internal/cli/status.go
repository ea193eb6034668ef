package cli

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
)

func statusCommand(env environment) *cobra.Command {
	o := newOperator(env)
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show a running server at a glance: readiness, configuration, sources and sinks",
		Long: `Show a running server at a glance. CONFIG is the fingerprint of the settings that are in effect: servers with the same settings have the
same one, also if their secrets differ. The times of last webhooks are those of all servers over the journal.`,
		Example: `  bridge status
  bridge status --json`,
		Args: noArgs,
		RunE: o.calling(func(ctx context.Context, _ []string) error {
			a, err := o.GetStatus(ctx, &adminv1.GetStatusRequest{})
			if err != nil {
				return err
			}
			if o.asJSON {
				return printJSON(env.stdout, a)
			}
			out := bufio.NewWriter(env.stdout)
			if err := printStatus(out, a, time.Now()); err != nil {
				return err
			}
			return out.Flush()
		}),
	}
	o.register(cmd)
	return cmd
}

func printStatus(out io.Writer, a *adminv1.GetStatusResponse, now time.Time) error {
	t := newTable(out, "SERVER", printable(a.GetReplica()))
	t.row("VERSION", a.GetVersion())
	t.row("UP FOR", sinceText(a.GetStartedAt(), now))
	t.row("READY", cmp.Or(a.GetNotReady(), "yes"))
	for _, notice := range a.GetNotices() {
		t.row("NOTICE", notice)
	}
	c := a.GetConfig()
	t.row("CONFIG", c.GetFingerprint()+", in effect for "+sinceText(c.GetAppliedAt(), now))
	if n := len(c.GetProblems()); n > 0 {
		t.row("LAST RELOAD", fmt.Sprintf("refused %s ago: %s", sinceText(c.GetLastReloadAt(), now), problemText(c.GetProblems()[0])))
	}
	t.row("EVENTS", fmt.Sprintf("%d kept, the next is %d", a.GetEvents(), a.GetNextPosition()))
	t.row("STREAMS", fmt.Sprintf("%d open here", a.GetStreams()))
	t.row("GROUPS", digits(uint64(a.GetGroups())))
	if err := t.flush(); err != nil {
		return err
	}
	fmt.Fprintln(out)
	t = newTable(out, "SOURCE", "CONNECTOR", "LAST WEBHOOK")
	for _, s := range a.GetSources() {
		last := ""
		if s.GetLastWebhookAt() != nil {
			last = sinceText(s.GetLastWebhookAt(), now) + " ago"
		}
		t.row(s.GetName(), s.GetConnector(), last)
	}
	if err := t.flush(); err != nil || len(a.GetSinks()) == 0 {
		return err
	}
	fmt.Fprintln(out)
	return printSinks(out, false, a.GetSinks())
}

// sinceText is how long ago something was.
func sinceText(at *timestamppb.Timestamp, now time.Time) string {
	return max(now.Sub(at.AsTime()), 0).Round(time.Second).String()
}
