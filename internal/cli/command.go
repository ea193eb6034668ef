package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/webhook-bridge/bridge/internal/daemon"
	"github.com/webhook-bridge/bridge/internal/near"
)

// Exit codes. The help of the program itself documents them, see [rootCommand].
const (
	exitOK     = 0
	exitFailed = 1
	// exitUsage is for a wrong command line and for a wrong configuration: nothing was started.
	exitUsage = 2
	// exitInterrupted is for a command that a signal ended before its work was done.
	exitInterrupted = 130
)

// environment is the part of the process that commands use, and the plug-ins of the program.
type environment struct {
	plugins        daemon.Plugins
	lookup         func(string) (string, bool)
	stdin          io.Reader
	stdout, stderr io.Writer
}

// usageError is a wrong command line.
type usageError struct{ problem string }

func (e *usageError) Error() string { return e.problem }

// reportedError is a failure that was already printed.
type reportedError struct{ code int }

func (e *reportedError) Error() string { return fmt.Sprintf("exit status %d", e.code) }

// Environment is the part of the process that commands use.
type Environment struct {
	// LookupEnv finds environment variables, as [os.LookupEnv] does.
	LookupEnv      func(string) (string, bool)
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// Run runs the command that args name and returns the process's exit code. It ends when ctx is done.
func Run(ctx context.Context, plugins daemon.Plugins, args []string, process Environment) int {
	env := environment{
		plugins: plugins, lookup: process.LookupEnv, stdin: process.Stdin, stdout: process.Stdout, stderr: process.Stderr,
	}
	if err := plugins.Check(); err != nil {
		fmt.Fprintf(env.stderr, "bridge: %v\n", err)
		return exitFailed
	}
	root := rootCommand(env)
	if completes(args) {
		root.SetArgs(args)
	} else {
		args = doubleDashes(root, args)
		if err := findCommand(root, args); err != nil {
			return exitCode(root, env, err)
		}
		root.SetArgs(args)
	}
	cmd, err := root.ExecuteContextC(ctx)
	return exitCode(cmd, env, err)
}

// Command returns the program's command line, for tools that document it.
func Command(plugins daemon.Plugins) *cobra.Command {
	none := func(string) (string, bool) { return "", false }
	return rootCommand(environment{plugins: plugins, lookup: none, stdin: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard})
}

// completes reports whether a shell asks for the words that complete a command line.
func completes(args []string) bool {
	return len(args) > 0 && (args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd)
}

// The groups of commands, in the order of the help.
const (
	groupStart    = "start"
	groupServer   = "server"
	groupVendor   = "vendor"
	groupEvents   = "events"
	groupOperator = "operator"
	groupProgram  = "program"
)

func rootCommand(env environment) *cobra.Command {
	root := &cobra.Command{
		Use:   "bridge",
		Short: "Turn vendors' webhooks into one durable stream of typed, canonical events",
		Long: `Bridge turns vendors' webhooks into one durable stream of typed, canonical events.

Exit codes, of all commands:
  0    the command did its work
  1    it failed, or it found the problem that it looks for
  2    the command line or the configuration is wrong, and nothing was started
  130  a signal ended it before its work was done`,
		Example: `  bridge demo --once               see webhooks become events
  bridge init && bridge serve      begin with a configuration of your own
  bridge tail                      follow the events, in another terminal`,
		Version:       daemon.Version(),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetIn(env.stdin)
	root.SetOut(env.stdout)
	root.SetErr(env.stderr)
	root.SetVersionTemplate("bridge {{.Version}}\n")
	root.SetFlagErrorFunc(flagError)
	for _, g := range []cobra.Group{
		{ID: groupStart, Title: "Begin:"},
		{ID: groupServer, Title: "Run a server:"},
		{ID: groupVendor, Title: "Send webhooks as a vendor does:"},
		{ID: groupEvents, Title: "Read events:"},
		{ID: groupOperator, Title: "Inspect and repair a running server:"},
		{ID: groupProgram, Title: "The program itself:"},
	} {
		root.AddGroup(&g)
	}
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add(groupStart, initCommand(env), demoCommand(env), connectorsCommand(env))
	add(groupServer, checkCommand(env), serveCommand(env), healthCommand(env))
	add(groupVendor, sendCommand(env), simulateCommand(env))
	add(groupEvents, tailCommand(env), subscribeCommand(env), listenCommand(env), schemaCommand(env), protosCommand(env))
	add(groupOperator, statusCommand(env), reloadCommand(env), webhooksCommand(env), quarantineCommand(env), retranslateCommand(env), driftCommand(env), sinksCommand(env),
		replayCommand(env), parkedCommand(env), groupsCommand(env), replicasCommand(env), backupCommand(env), verifyCommand(env), journalCommand(env))
	add(groupProgram, versionCommand(env))
	root.SetHelpCommand(helpCommand())
	root.SetHelpCommandGroupID(groupProgram)
	root.SetCompletionCommandGroupID(groupProgram)
	root.InitDefaultVersionFlag()
	root.Flags().Lookup("version").Usage = "print the version"
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	finish(root)
	addCompletions(root, env)
	return root
}

// finish sets what all commands have in common.
func finish(c *cobra.Command) {
	c.InitDefaultHelpFlag()
	c.Flags().SortFlags = false
	if f := c.Flags().Lookup("help"); f != nil {
		f.Usage = "show this help"
	}
	if c.Name() == "completion" {
		c.Short = "Print the script that completes commands in a shell"
	}
	if c.Parent() != nil && c.Parent().Name() == "completion" {
		c.Args = noArgs
	}
	for _, sub := range c.Commands() {
		finish(sub)
	}
}

// group returns cmd with subcommands. The next word names one.
func group(cmd *cobra.Command, sub ...*cobra.Command) *cobra.Command {
	cmd.AddCommand(sub...)
	return cmd
}

func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND...]",
		Short:   "Show the help of a command, as -h does",
		Example: "  bridge help quarantine retry",
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			var names []cobra.Completion
			if found, rest, err := cmd.Root().Find(args); err == nil && len(rest) == 0 {
				for _, c := range found.Commands() {
					if c.IsAvailableCommand() {
						names = append(names, cobra.CompletionWithDesc(c.Name(), c.Short))
					}
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			found, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return &commandError{found, rest[0]}
			}
			return found.Help()
		},
	}
}

// commandError is a word that names no command of cmd, or a word that is missing.
type commandError struct {
	cmd  *cobra.Command
	word string
}

func (e *commandError) Error() string {
	if e.word == "" {
		return "no command is given"
	}
	return fmt.Sprintf("no command %q%s", e.word, near.Question(e.word, commandNames(e.cmd)))
}

func commandNames(cmd *cobra.Command) (names []string) {
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return names
}

// findCommand returns an error if args name no command. A group of commands does nothing by itself: the next word must name one
// of its commands.
func findCommand(root *cobra.Command, args []string) error {
	cmd, rest, err := root.Find(args)
	if err == nil && (cmd.Runnable() || !cmd.HasAvailableSubCommands()) {
		return nil
	}
	if i := slices.IndexFunc(rest, func(arg string) bool { return !strings.HasPrefix(arg, "-") }); i >= 0 {
		return &commandError{cmd, rest[i]}
	}
	if len(rest) == 0 {
		return &commandError{cmd, ""}
	}
	return nil // flags alone: -h, or a wrong one
}

// exitCode prints err and returns the exit code.
func exitCode(cmd *cobra.Command, env environment, err error) int {
	var usage *usageError
	var command *commandError
	var reported *reportedError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &reported):
		return reported.code
	case errors.As(err, &command):
		path := command.cmd.CommandPath()
		if command.word == "" {
			command.cmd.SetOut(env.stderr)
			_ = command.cmd.Help()
			fmt.Fprintln(env.stderr)
		}
		fmt.Fprintf(env.stderr, "%s: %v\n%s -h lists the commands\n", path, command, path)
		return exitUsage
	case errors.As(err, &usage):
		path := cmd.CommandPath()
		fmt.Fprintf(env.stderr, "%s: %s\nusage: %s\n%s -h lists the flags\n", path, usage.problem, cmd.UseLine(), path)
		return exitUsage
	case errors.Is(err, errInterrupted), errors.Is(err, context.Canceled):
		fmt.Fprintf(env.stderr, "%s: %v\n", cmd.CommandPath(), errInterrupted)
		return exitInterrupted
	default:
		fmt.Fprintf(env.stderr, "%s: %v\n", cmd.CommandPath(), err)
		return exitFailed
	}
}
