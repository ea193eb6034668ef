package cli

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/webhook-bridge/bridge/internal/build"
	"github.com/webhook-bridge/bridge/internal/daemon"
)

func versionCommand(env environment) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Long: `Print the version, the commit and the version of Go. --json adds the commit's date, the platform, and the newest formats of the journal
that this program reads and writes, in a folder and in PostgreSQL.`,
		Example: "  bridge version --json",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			if asJSON {
				return json.NewEncoder(env.stdout).Encode(struct {
					build.Info

					Journal daemon.Formats `json:"journal_format"`
				}{build.Read(), daemon.JournalFormats()})
			}
			_, err := fmt.Fprintln(env.stdout, "bridge", daemon.Version())
			return err
		},
	}
	jsonFlag(cmd.Flags(), &asJSON, "one JSON object")
	return cmd
}
