package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
)

func backupCommand(env environment) *cobra.Command {
	o := newOperator(env)
	cmd := &cobra.Command{
		Use:   "backup DIR",
		Short: "Copy the journal into a new folder on the server while it runs",
		Long: `Copy the journal into a new folder while the server runs. DIR is an absolute path on the server's machine and must not exist.
The server writes the copy; it is consistent, and only the server's user can read it.`,
		Example: "  bridge backup /backups/monday",
		Args:    between(1, 1, "the absolute path of a folder to make on the server"),
		RunE: o.calling(func(ctx context.Context, args []string) error {
			a, err := o.BackupJournal(ctx, &adminv1.BackupJournalRequest{Path: args[0]})
			if err != nil {
				return err
			}
			if o.asJSON {
				return printJSON(env.stdout, a)
			}
			fmt.Fprintf(env.stdout, "%s holds the journal up to position %d, in %s\n",
				printable(a.GetPath()), a.GetPosition()-1, number(a.GetBytes(), "byte"))
			return nil
		}),
	}
	o.register(cmd)
	return cmd
}
