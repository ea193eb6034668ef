package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/webhook-bridge/bridge/internal/daemon"
)

func verifyCommand(env environment) *cobra.Command {
	return &cobra.Command{
		Use:   "verify DIR",
		Short: "Read everything in a journal's folder, and say what is damaged",
		Long: `Read everything in a journal's folder, or in a backup of one, and print what is damaged, with its place. It changes nothing in
the folder. No server may have the folder open: verify a backup of a running server's journal.

The exit code is 1 if anything is damaged.`,
		Example: "  bridge verify /var/lib/bridge",
		Args:    between(1, 1, "the folder of a journal"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if isDatabase(args[0]) {
				return &usageError{"reads a folder. The tools of the database check a journal in PostgreSQL: pg_amcheck, and data checksums; " +
					"see docs/scaling.md#backup"}
			}
			summary, damaged, err := daemon.VerifyJournal(cmd.Context(), args[0], func(problem string) {
				fmt.Fprintf(env.stdout, "damaged: %s\n", unsteering(problem))
			})
			if err != nil {
				return err
			}
			for _, line := range summary {
				fmt.Fprintln(env.stdout, line)
			}
			if damaged {
				return fmt.Errorf("%s is damaged", args[0])
			}
			fmt.Fprintln(env.stdout, "everything can be read")
			return nil
		},
	}
}

// isDatabase reports whether an argument is the URL of a database, which may hold a password, and not a folder.
func isDatabase(arg string) bool {
	return strings.HasPrefix(arg, "postgres://") || strings.HasPrefix(arg, "postgresql://")
}
