package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/webhook-bridge/bridge/internal/near"
)

// A flag that several commands have is defined here, once: its name, its default and its meaning are the same everywhere.

// defaultConfig is the configuration file that commands read unless -c names another.
const defaultConfig = "bridge.yaml"

func configFlag(fs *pflag.FlagSet, to *string) {
	fs.StringVarP(to, "config", "c", defaultConfig, "configuration `file` of the server")
}

func jsonFlag(fs *pflag.FlagSet, to *bool, prints string) {
	fs.BoolVar(to, "json", false, "print "+prints)
}

func caFlag(fs *pflag.FlagSet, to *string) {
	fs.StringVar(to, "ca", "", "use TLS, and trust the certificates in this PEM `file` too")
}

func revealFlag(fs *pflag.FlagSet, to *bool) {
	fs.BoolVar(to, "reveal", false, "show personal data unmasked; the server logs the address that asked")
}

func dryRunFlag(fs *pflag.FlagSet, to *bool) {
	fs.BoolVar(to, "dry-run", false, "only show what the command would do")
}

func yesFlag(fs *pflag.FlagSet, to *bool) {
	fs.BoolVar(to, "yes", false, "remove all that is selected; not needed if single ones are named")
}

// defaultLimit is how many rows a list has unless --limit says otherwise.
const defaultLimit = 50

func limitFlag(fs *pflag.FlagSet, to *int) {
	fs.IntVar(to, "limit", defaultLimit, "show at most this `number`; 0 shows all")
}

// baseURLFlag is --addr of the commands that send webhooks.
func baseURLFlag(fs *pflag.FlagSet, to *string) {
	fs.StringVar(to, "addr", "", "base `URL` to send to, such as http://127.0.0.1:8080 (default: from the configuration)")
}

// noDefault keeps the help from printing the default of a flag whose text says what happens without it.
func noDefault(fs *pflag.FlagSet, name string) { fs.Lookup(name).DefValue = "0" }

// noArgs refuses arguments that are no flags.
func noArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return &usageError{fmt.Sprintf("takes no arguments except flags, but there is %q", args[0])}
	}
	return nil
}

// between returns a check that there are at least low and at most high arguments. takes says which ones.
func between(low, high int, takes string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < low || len(args) > high {
			return &usageError{"takes " + takes}
		}
		return nil
	}
}

// flagError says in plain words what is wrong with a flag.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var missing *pflag.ValueRequiredError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown):
		name, dashes := unknown.GetSpecifiedName(), "--"
		if shorts := unknown.GetSpecifiedShortnames(); shorts != "" {
			name, dashes = shorts, "-"
		}
		known := near.Names(name, flagNames(cmd))
		for i := range known {
			known[i] = "--" + known[i]
		}
		return &usageError{"unknown flag " + dashes + name + near.Ask(known)}
	case errors.As(err, &missing):
		return &usageError{"--" + missing.GetFlag().Name + " needs a value"}
	case errors.As(err, &invalid):
		f := invalid.GetFlag()
		return &usageError{fmt.Sprintf("invalid value %q of --%s: %s", invalid.GetValue(), f.Name, mustBe(f, invalid.Unwrap()))}
	default:
		return &usageError{err.Error()}
	}
}

// mustBe says which values a flag takes. cause is its own error.
func mustBe(f *pflag.Flag, cause error) string {
	switch f.Value.Type() {
	case "bool":
		return "must be true or false"
	case "int", "int64", "uint64":
		return "must be a whole number"
	case "float64":
		return "must be a number"
	case "duration":
		return "must be a duration such as 20s or 1h30m"
	default:
		return cause.Error()
	}
}

func flagNames(cmd *cobra.Command) (names []string) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	return names
}

// doubleDashes writes a flag's long name that follows a single dash, as earlier versions allowed, with two. Arguments after -- stay.
func doubleDashes(root *cobra.Command, args []string) []string {
	known := map[string]bool{"help": true, "version": true}
	var collect func(*cobra.Command)
	collect = func(c *cobra.Command) {
		c.Flags().VisitAll(func(f *pflag.Flag) { known[f.Name] = true })
		for _, sub := range c.Commands() {
			collect(sub)
		}
	}
	collect(root)
	out := make([]string, len(args))
	for i, arg := range args {
		if arg == "--" {
			copy(out[i:], args[i:])
			return out
		}
		if name, _, _ := strings.Cut(strings.TrimPrefix(arg, "-"), "="); strings.HasPrefix(arg, "-") && len(name) > 1 && known[name] {
			arg = "-" + arg
		}
		out[i] = arg
	}
	return out
}
