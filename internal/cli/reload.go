package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
	"github.com/webhook-bridge/bridge/internal/config"
)

func reloadCommand(env environment) *cobra.Command {
	o := newOperator(env)
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Have a running server read its configuration again, whole or not at all",
		Long: `Have a running server read its configuration file again, as SIGHUP does. Either everything takes effect, or nothing does, and the
problems are printed with their places. No webhook is refused or lost meanwhile, and what did not change is not touched. Some keys need a
restart: docs/configuration.md names them, and a file that changes one of them is refused.

The server reads its own file: the one that bridge serve was given, on the server's machine.`,
		Example: `  bridge check -c bridge.yaml && bridge reload
  bridge reload --json`,
		Args: noArgs,
		RunE: o.calling(func(ctx context.Context, _ []string) error {
			a, err := o.ReloadConfig(ctx, &adminv1.ReloadConfigRequest{})
			if err != nil {
				return err
			}
			if o.asJSON {
				err = printJSON(env.stdout, a)
			} else {
				printReload(env.stdout, env.stderr, a)
			}
			if err == nil && !a.GetApplied() {
				return &reportedError{exitUsage}
			}
			return err
		}),
	}
	o.register(cmd)
	return cmd
}

func printReload(out, problems io.Writer, a *adminv1.ReloadConfigResponse) {
	if !a.GetApplied() {
		for _, p := range a.GetProblems() {
			fmt.Fprintln(problems, printable(problemText(p)))
		}
		fmt.Fprintln(problems, "The configuration was not reloaded: everything stays as it was.")
		return
	}
	fmt.Fprintf(out, "The configuration is in effect, with the fingerprint %s.\n", a.GetFingerprint())
	c := a.GetChanges()
	for _, x := range []struct {
		what  string
		names []string
	}{
		{"sources added", c.GetSources().GetAdded()},
		{"sources removed", c.GetSources().GetRemoved()},
		{"sources changed", c.GetSources().GetChanged()},
		{"sinks added", c.GetSinks().GetAdded()},
		{"sinks removed", c.GetSinks().GetRemoved()},
		{"sinks changed", c.GetSinks().GetChanged()},
		{"principals added", c.GetPrincipals().GetAdded()},
		{"principals removed", c.GetPrincipals().GetRemoved()},
		{"principals changed", c.GetPrincipals().GetChanged()},
		{"other keys", c.GetKeys()},
	} {
		if len(x.names) > 0 {
			fmt.Fprintf(out, "%s: %s\n", x.what, printable(strings.Join(x.names, ", ")))
		}
	}
	if n := a.GetSecretsChanged(); n > 0 {
		fmt.Fprintf(out, "secrets changed: %d\n", n)
	}
}

// problemText is a problem as bridge check prints it.
func problemText(p *adminv1.ConfigProblem) string {
	return config.Problem{
		File: p.GetFile(), Line: int(p.GetLine()), Column: int(p.GetColumn()), Path: p.GetKey(), Reason: p.GetReason(),
	}.String()
}
