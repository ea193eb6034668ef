package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/internal/daemon"
)

func journalCommand(env environment) *cobra.Command {
	return group(&cobra.Command{
		Use:   "journal",
		Short: "Move a journal to another place",
		Long:  `Move a journal from a folder to PostgreSQL, or back, or reopen one that was moved away.`,
	}, journalMoveCommand(env), journalReopenCommand(env))
}

// placeHelp describes the values that name a journal's place.
const placeHelp = `A place is a folder, the URL of a PostgreSQL database, or a configuration file, which stands for the journal in it. Others can see a command
line, so leave a URL with a password in the configuration, or name a variable or a file as there, in single quotes: '${DATABASE_URL}' or
'${file:/run/secrets/database}'.`

func journalMoveCommand(env environment) *cobra.Command {
	o := newOperator(env)
	var from, to string
	var database databaseFlags
	var copyOnly bool
	cmd := &cobra.Command{
		Use:   "move --from PLACE --to PLACE",
		Short: "Move a journal from a folder to PostgreSQL, or back",
		Long: `Move a journal from a folder to PostgreSQL, or back. The log's id, the positions, the dedupe keys, the stored webhooks and the sinks' cursors stay,
so subscribers and senders notice nothing.

Run it while the server runs: it copies the journal, which may take long. Then stop the server, or all replicas, and run it again: it copies
the rest, compares both places, marks the old one as moved, and opens the new one. It may be run as often as you like, and interrupted.

` + placeHelp,
		Example: `  bridge journal move --from bridge.yaml --to ha.yaml      while the server of bridge.yaml runs
  systemctl stop bridge
  bridge journal move --from bridge.yaml --to ha.yaml      the rest, and the end`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m := daemon.JournalMove{CopyOnly: copyOnly, Backup: o.backup}
			var err error
			if m.From, err = database.place(env, "--from", from); err != nil {
				return err
			}
			if m.To, err = database.place(env, "--to", to); err != nil {
				return err
			}
			return runMove(cmd.Context(), env, m)
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "the `place` of the journal")
	cmd.Flags().StringVar(&to, "to", "", "the `place` to move it to: a new folder, or a schema without a journal")
	database.register(cmd.Flags())
	cmd.Flags().BoolVar(&copyOnly, "copy", false, "only copy, also if no server uses the journal")
	o.client.register(cmd.Flags())
	return cmd
}

func journalReopenCommand(env environment) *cobra.Command {
	var database databaseFlags
	cmd := &cobra.Command{
		Use:   "reopen PLACE",
		Short: "Use a journal again that was moved away",
		Long: `Use a journal again that was moved away: remove the mark that keeps it closed. Do so only if no server has used the journal at its new place, or
if what it received there may be lost. Remove the journal at the new place first: a log must not go on in two places.

` + placeHelp,
		Example: "  bridge journal reopen /var/lib/bridge",
		Args:    between(1, 1, "the place of the journal"),
		RunE: func(cmd *cobra.Command, args []string) error {
			place, err := database.place(env, "PLACE", args[0])
			if err != nil {
				return err
			}
			if err := daemon.ReopenJournal(cmd.Context(), place); err != nil {
				return err
			}
			fmt.Fprintf(env.stdout, "%s can be used again\n", printable(place.String()))
			return nil
		},
	}
	database.register(cmd.Flags())
	return cmd
}

// databaseFlags say more of a database than its URL does.
type databaseFlags struct{ schema, replicatedBy string }

func (d *databaseFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&d.schema, "schema", "bridge", "the `schema` of the database that has the journal's tables")
	fs.StringVar(&d.replicatedBy, "replicated-by", "standby", "what replicates the database: `standby`, storage or nothing, as journal.postgres.replicated_by")
}

// place reads a place. Its errors never have the place's text, which may hold a password.
func (d *databaseFlags) place(env environment, flag, text string) (p daemon.JournalPlace, err error) {
	if text, err = config.Expand(text, env.lookup); err != nil {
		return p, &usageError{flag + ": " + err.Error()}
	}
	switch text = strings.TrimSpace(text); {
	case text == "":
		return p, &usageError{flag + " is missing: a folder, or the URL of a database"}
	case strings.HasPrefix(text, "postgres://"), strings.HasPrefix(text, "postgresql://"):
		return daemon.JournalPlace{URL: text, Schema: d.schema, ReplicatedBy: d.replicatedBy}, nil
	case strings.Contains(text, "://"):
		return p, &usageError{flag + " must be a folder, or begin with postgres://"}
	}
	if info, err := os.Stat(text); err == nil && info.Mode().IsRegular() {
		return configuredPlace(env, text)
	}
	return daemon.JournalPlace{Dir: text}, nil
}

// configuredPlace is the place of the journal in a configuration.
func configuredPlace(env environment, file string) (daemon.JournalPlace, error) {
	cfg, err := loadConfig(file, env)
	if err != nil {
		return daemon.JournalPlace{}, err
	}
	if p := cfg.Journal.Postgres; p != nil {
		return daemon.JournalPlace{URL: p.URL.Reveal(), Schema: p.Schema, ReplicatedBy: p.ReplicatedBy}, nil
	}
	return daemon.JournalPlace{Dir: cfg.Journal.Dir}, nil
}

// backup asks the server for a copy of its journal.
func (o *operator) backup(ctx context.Context, dir string) error {
	server, err := o.client.dial(o.env)
	if err != nil {
		return err
	}
	defer func() { _ = server.Close() }()
	_, err = adminv1.NewAdminServiceClient(server).BackupJournal(ctx, &adminv1.BackupJournalRequest{Path: dir})
	return server.explain(ctx, err)
}

func runMove(ctx context.Context, env environment, m daemon.JournalMove) error {
	p := newMoveProgress(env.stderr)
	m.Progress = p.report
	result, err := daemon.MoveJournal(ctx, m)
	p.end()
	if ctx.Err() != nil && err != nil {
		return errors.Join(errInterrupted, errors.New("run the command again to go on"))
	}
	if err != nil {
		return err
	}
	next := uint64(result.Log.Stamp.Next) - 1
	switch {
	case result.Moved:
		fmt.Fprintf(env.stdout, "moved the log %s, up to position %d, to %s in %s\n", result.Log.ID, next, printable(m.To.String()), result.Took.Round(time.Millisecond))
		fmt.Fprintf(env.stdout, "%s is marked as moved. Configure the new place, and start the server.\n", printable(m.From.String()))
	case result.InUse:
		fmt.Fprintf(env.stdout, "copied the log %s up to position %d in %s\n", result.Log.ID, next, result.Took.Round(time.Millisecond))
		fmt.Fprintln(env.stdout, "The journal is in use. Stop its servers, and run the command again: it copies the rest and ends the move.")
	default:
		fmt.Fprintf(env.stdout, "copied the log %s up to position %d in %s; without --copy the command ends the move\n",
			result.Log.ID, next, result.Took.Round(time.Millisecond))
	}
	return nil
}

// moveProgress prints how far a move is: a line that changes on a terminal, otherwise a line now and then.
type moveProgress struct {
	w        io.Writer
	terminal bool
	every    time.Duration
	// last is what was reported last, began is when its kind began, and printed when a line was printed last.
	last           daemon.MoveProgress
	began, printed time.Time
	wide           int
}

func newMoveProgress(w io.Writer) *moveProgress {
	p := &moveProgress{w: w, every: 10 * time.Second, printed: time.Now()}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.terminal, p.every = true, 200*time.Millisecond
	}
	return p
}

func (p *moveProgress) report(now daemon.MoveProgress) {
	if now.Kind != p.last.Kind || now.Comparing != p.last.Comparing || now.Done < p.last.Done {
		p.began = time.Now()
	}
	p.last = now
	if time.Since(p.printed) < p.every {
		return
	}
	p.printed = time.Now()
	p.print(p.line())
}

// line says how far the present kind is, at which rate, and how long the rest takes.
func (p *moveProgress) line() string {
	verb := "copied"
	if p.last.Comparing {
		verb = "compared"
	}
	text := fmt.Sprintf("%s %d %s", verb, p.last.Done, p.last.Kind)
	if p.last.Total > 0 {
		text = fmt.Sprintf("%s %d of %d %s", verb, p.last.Done, p.last.Total, p.last.Kind)
	}
	took := time.Since(p.began)
	if took < time.Second || p.last.Done == 0 {
		return text
	}
	rate := float64(p.last.Done) / took.Seconds()
	text += fmt.Sprintf(", %.0f a second", rate)
	if p.last.Total > p.last.Done {
		left := time.Duration(float64(p.last.Total-p.last.Done) / rate * float64(time.Second))
		text += ", " + left.Round(time.Second).String() + " left"
	}
	return text
}

func (p *moveProgress) print(text string) {
	if !p.terminal {
		fmt.Fprintln(p.w, text)
		return
	}
	fmt.Fprintf(p.w, "\r%-*s", p.wide, text)
	p.wide = len(text)
}

// end removes the line from a terminal.
func (p *moveProgress) end() {
	if p.terminal && p.wide > 0 {
		fmt.Fprintf(p.w, "\r%*s\r", p.wide, "")
	}
}
