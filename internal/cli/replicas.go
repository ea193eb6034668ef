package cli

import (
	"bufio"
	"context"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
)

func replicasCommand(env environment) *cobra.Command {
	o := newOperator(env)
	var all bool
	cmd := &cobra.Command{
		Use:   "replicas",
		Short: "List the replicas over the journal, with version, lag, and the sinks that each delivers to",
		Long: `List the replicas: the instances of the program over the journal. LAG is how many events of the journal a replica did not know when it
was last heard of. CONFIG is the fingerprint of its configuration: two replicas with different ones have different settings. HOLDS names what it alone does: the sinks that it delivers to, and tasks such as _alerts and _retention. With the
embedded journal there is one replica.`,
		Example: `  bridge replicas
  bridge replicas --json`,
		Args: noArgs,
		RunE: o.calling(func(ctx context.Context, _ []string) error {
			a, err := o.ListReplicas(ctx, &adminv1.ListReplicasRequest{})
			if err != nil {
				return err
			}
			return printReplicas(env.stdout, o.asJSON, all, a.GetReplicas())
		}),
	}
	cmd.Flags().BoolVar(&all, "all", false, "list the replicas too that ended in order within the last hour")
	o.register(cmd)
	return cmd
}

func printReplicas(w io.Writer, asJSON, ended bool, all []*adminv1.Replica) error {
	out := bufio.NewWriter(w)
	t := newTable(out, "REPLICA", "VERSION", "STATE", "STARTED", "SEEN", "LAG", "CONFIG", "HOLDS")
	for _, r := range all {
		switch {
		case r.GetState() == "ended" && !ended:
		case asJSON:
			if err := printJSON(out, r); err != nil {
				return err
			}
		default:
			t.row(r.GetName(), r.GetVersion(), r.GetState(), timeText(r.GetStartedAt()), seenText(r), digits(r.GetLagEvents()), r.GetConfig(),
				strings.Join(r.GetClaims(), " "))
		}
	}
	if !asJSON {
		if err := t.flush(); err != nil {
			return err
		}
	}
	return out.Flush()
}

// seenText is how long ago a replica was heard of.
func seenText(r *adminv1.Replica) string {
	if r.GetSelf() {
		return "now"
	}
	return max(time.Since(r.GetLastSeenAt().AsTime()), 0).Round(time.Second).String() + " ago"
}
