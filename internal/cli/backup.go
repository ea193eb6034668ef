package cli

import (
	"context"
	"fmt"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
)

func backup(ctx context.Context, env environment, args []string) error {
	o := newOperator("backup", env)
	if err := o.open(args, 1, "takes the absolute path of a folder to make on the server"); err != nil {
		return err
	}
	defer o.close()
	a, err := o.BackupJournal(ctx, &adminv1.BackupJournalRequest{Path: o.args[0]})
	if err != nil {
		return refused(err)
	}
	if o.asJSON {
		return printJSON(env.stdout, a)
	}
	fmt.Fprintf(env.stdout, "%s holds the journal up to position %d, in %s\n", printable(a.GetPath()), a.GetPosition()-1, number(a.GetBytes(), "byte"))
	return nil
}
