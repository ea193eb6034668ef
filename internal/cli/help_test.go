package cli

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// eachCommand calls check for each command that people see, with the words that name it.
func eachCommand(c *cobra.Command, check func(c *cobra.Command, words []string)) {
	_, words, _ := strings.Cut(c.CommandPath(), " ")
	check(c, strings.Fields(words))
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			eachCommand(sub, check)
		}
	}
}

// TestOneHelp: each command has one help, on standard output with exit code 0, the same however it is asked for.
func TestOneHelp(t *testing.T) {
	eachCommand(Command(vendors()), func(_ *cobra.Command, words []string) {
		ways := [][]string{append([]string{"help"}, words...), append(slices.Clip(words), "-h"), append(slices.Clip(words), "--help"), append(slices.Clip(words), "-help")}
		code, want, stderr := runWith(t, vendors(), ways[0]...)
		if code != exitOK || stderr != "" || len(want) < 50 {
			t.Errorf("%v: exit code %d: %s%s", ways[0], code, want, stderr)
		}
		for _, way := range ways[1:] {
			code, got, stderr := runWith(t, vendors(), way...)
			if diff := cmp.Diff(want, got); code != exitOK || stderr != "" || diff != "" {
				t.Errorf("%v: exit code %d: %s (-help +got):\n%s", way, code, stderr, diff)
			}
		}
	})
}

// TestHelpIsWhole: each command says in short what it does, with an example that names it; and each flag has one default at most,
// and is defined alike wherever it is.
func TestHelpIsWhole(t *testing.T) {
	capital := regexp.MustCompile(`^[A-Z].*[^.]$`)
	flag := regexp.MustCompile(`\n +(-., )?--`)
	defaults := map[string]string{}
	eachCommand(Command(vendors()), func(c *cobra.Command, words []string) {
		if !capital.MatchString(c.Short) {
			t.Errorf("%s: short text %q", c.CommandPath(), c.Short)
		}
		ours := len(words) > 0 && words[0] != "completion"
		if ours && !c.HasSubCommands() && !strings.Contains(c.Example, "bridge "+strings.Join(words, " ")) {
			t.Errorf("%s: the example is %q", c.CommandPath(), c.Example)
		}
		for _, line := range flag.Split(c.LocalFlags().FlagUsages(), -1) {
			if strings.Count(line, "default") > 1 {
				t.Errorf("%s: a flag has two defaults:\n%s", c.CommandPath(), line)
			}
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Name == "count" {
				return // tail without an end, simulate without a limit: the same zero, in two types
			}
			text := f.Value.Type() + " " + f.DefValue
			if f.Value.Type() == "stringArray" {
				text = "string "
			}
			if known, ok := defaults[f.Name]; ok && known != text {
				t.Errorf("%s: --%s is %q, elsewhere %q", c.CommandPath(), f.Name, text, known)
			}
			defaults[f.Name] = text
		})
	})
	if len(defaults) < 20 {
		t.Errorf("only %d flags were seen", len(defaults))
	}
}

// TestUsageErrors: each command refuses a flag that it does not have, on standard error, with exit code 2.
func TestUsageErrors(t *testing.T) {
	eachCommand(Command(vendors()), func(c *cobra.Command, words []string) {
		code, stdout, stderr := runWith(t, vendors(), append(slices.Clip(words), "--no-such-flag")...)
		if code != exitUsage || stdout != "" || !strings.Contains(stderr, "unknown flag --no-such-flag") {
			t.Errorf("%s: exit code %d: %s%s", c.CommandPath(), code, stdout, stderr)
		}
	})
}

// TestCompletionScripts: each shell's script is printed.
func TestCompletionScripts(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		var out bytes.Buffer
		env := Environment{LookupEnv: func(string) (string, bool) { return "", false }, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out}
		if code := Run(t.Context(), vendors(), []string{"completion", shell}, env); code != exitOK || !strings.Contains(out.String(), "__complete") {
			t.Errorf("%s: exit code %d", shell, code)
		}
	}
}
