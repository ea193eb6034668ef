package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/webhook-bridge/bridge/internal/daemon"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	// exitUsage is for a wrong command line and for a wrong configuration: nothing was started.
	exitUsage = 2
)

// environment is all that a command has of the world around it.
type environment struct {
	plugins        daemon.Plugins
	lookup         func(string) (string, bool)
	stdin          io.Reader
	stdout, stderr io.Writer
}

// command is one of the program's commands.
type command struct {
	name, args, about string
	run               func(ctx context.Context, env environment, args []string) error
	// sub are the commands that the next word names, instead of run.
	sub []command
}

func commands() []command {
	return []command{
		{name: "serve", args: "-c FILE", about: "receive webhooks and serve subscriptions", run: serve},
		{name: "check", args: "-c FILE", about: "check a configuration and say what it would do", run: check},
		{name: "demo", args: "[--once]", about: "see vendors' webhooks become events, here and now", run: demo},
		{name: "send", args: "SOURCE [EVENT] FILE", about: "send a webhook as the vendor would", run: send},
		{
			name: "simulate", args: "VENDOR [--rate N] [--for D]", run: simulateVendor,
			about: "send webhooks as a vendor would, by its delivery policy, and report",
		},
		{name: "tail", args: "[--from WHERE] [--type PATTERN]", about: "print events as they come", run: tail},
		webhooksCommand(),
		quarantineCommand(),
		{
			name: "retranslate", args: "--since T [--dry-run]", run: retranslate,
			about: "translate stored webhooks again, and publish corrections",
		},
		{name: "drift", args: "[--fail-on KIND]", about: "show how webhooks differ from what vendors document", run: drift},
		sinksCommand(),
		parkedCommand(),
		{name: "backup", args: "DIR", about: "copy the journal into a new folder on the server while it runs", run: backup},
		connectorsCommand(),
		{name: "version", about: "print the version", run: version},
	}
}

// usageError is a wrong command line.
type usageError struct{ problem string }

func (e *usageError) Error() string { return e.problem }

// reportedError is a failure that the user has been told of already.
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
	if len(args) == 0 {
		printUsage(env.stderr)
		return exitUsage
	}
	name, rest := args[0], args[1:]
	if name == "help" || name == "-h" || name == "--help" {
		printUsage(env.stdout)
		return exitOK
	}
	if name == "-version" || name == "--version" {
		name = "version"
	}
	for _, c := range commands() {
		if c.name == name {
			return c.start(ctx, env, rest)
		}
	}
	fmt.Fprintf(env.stderr, "bridge: no command %q; bridge help lists them\n", name)
	return exitUsage
}

// start runs the command, or that of its own which the first argument names.
func (c command) start(ctx context.Context, env environment, args []string) int {
	if len(c.sub) == 0 {
		return exitCode(c, env, c.run(ctx, env, args))
	}
	if len(args) == 0 {
		c.printUsage(env.stderr)
		return exitUsage
	}
	name, rest := args[0], args[1:]
	switch name {
	case "help", "-h", "-help", "--help":
		c.printUsage(env.stdout)
		return exitOK
	}
	for _, s := range c.sub {
		if s.name == name {
			s.name = c.name + " " + s.name
			return s.start(ctx, env, rest)
		}
	}
	fmt.Fprintf(env.stderr, "bridge: no command %q; bridge %s -h lists them\n", c.name+" "+name, c.name)
	return exitUsage
}

func exitCode(c command, env environment, err error) int {
	var usage *usageError
	var reported *reportedError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.As(err, &reported):
		return reported.code
	case errors.As(err, &usage):
		fmt.Fprintf(env.stderr, "bridge %s: %s\nusage: bridge %s %s\n", c.name, usage.problem, c.name, c.args)
		return exitUsage
	default:
		fmt.Fprintf(env.stderr, "bridge %s: %v\n", c.name, err)
		return exitFailed
	}
}

func printUsage(w io.Writer) {
	fmt.Fprint(w, "Bridge turns vendors' webhooks into one durable stream of typed, canonical events.\n\n")
	for _, c := range commands() {
		c.printLine(w)
	}
	fmt.Fprint(w, "\nbridge COMMAND -h lists a command's flags, or its own commands.\n")
}

// printUsage lists the command's own commands.
func (c command) printUsage(w io.Writer) {
	for _, s := range c.sub {
		s.name = c.name + " " + s.name
		s.printLine(w)
	}
	fmt.Fprintf(w, "\nbridge %s COMMAND -h lists a command's flags.\n", c.name)
}

func (c command) printLine(w io.Writer) {
	fmt.Fprintf(w, "  bridge %-46s %s\n", strings.TrimSpace(c.name+" "+c.args), c.about)
}

// flagSet returns the flags of a command; its own messages go to where the command's go. A wrong flag is told alone: the list
// of all would push it off the screen.
func flagSet(c string, env environment) *flag.FlagSet {
	fs := flag.NewFlagSet(c, flag.ContinueOnError)
	fs.SetOutput(env.stderr)
	fs.Usage = func() {}
	return fs
}

// printFlags says how the command is called.
func printFlags(fs *flag.FlagSet) {
	fmt.Fprintf(fs.Output(), "usage: bridge %s %s\n\n", fs.Name(), argsOf(fs.Name()))
	fs.PrintDefaults()
}

// argsOf returns the arguments of the command with this name, "webhooks show" being one.
func argsOf(name string) string {
	all, args := commands(), ""
	for word := range strings.FieldsSeq(name) {
		i := slices.IndexFunc(all, func(c command) bool { return c.name == word })
		if i < 0 {
			return ""
		}
		all, args = all[i].sub, all[i].args
	}
	return args
}

// parseArgs parses flags wherever they stand among the arguments, which it returns without them.
func parseArgs(fs *flag.FlagSet, args []string) ([]string, error) {
	var positional []string
	for {
		if err := fs.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				printFlags(fs)
				return nil, err
			}
			fmt.Fprintf(fs.Output(), "bridge %s -h lists the flags\n", fs.Name())
			return nil, &reportedError{exitUsage}
		}
		if fs.NArg() == 0 {
			return positional, nil
		}
		positional = append(positional, fs.Arg(0))
		args = fs.Args()[1:]
	}
}
