package cli

import (
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/webhook-bridge/bridge/internal/config"
)

// A shell completes the names of connectors and their events from the program, and the names of sources and sinks from the
// configuration. No server is called.

// completer returns the words that may complete toComplete.
type completer = cobra.CompletionFunc

// words completes each argument, by its place, with a list.
func words(places ...func(cmd *cobra.Command, args []string) []string) completer {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) >= len(places) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		if places[len(args)] == nil {
			return nil, cobra.ShellCompDirectiveDefault // files
		}
		return places[len(args)](cmd, args), cobra.ShellCompDirectiveNoFileComp
	}
}

// flagWords completes the values of a flag with a list.
func flagWords(cmd *cobra.Command, flag string, list func(cmd *cobra.Command, args []string) []string) {
	if cmd.Flags().Lookup(flag) == nil {
		return
	}
	// The only error is a flag that does not exist or has a function already.
	_ = cmd.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return list(cmd, args), cobra.ShellCompDirectiveNoFileComp
	})
}

func fixed(list ...string) func(*cobra.Command, []string) []string {
	return func(*cobra.Command, []string) []string { return list }
}

func (env environment) connectorNames(*cobra.Command, []string) []string {
	return vendorNames(env.plugins)
}

// eventNames are those of the connector that the first argument names.
func (env environment) eventNames(_ *cobra.Command, args []string) []string {
	c := env.plugins.Connector(args[0])
	if c == nil {
		return nil
	}
	var names []string
	events, _ := eventsOf(c) // Without events there is nothing to complete.
	for _, e := range events {
		names = append(names, e.Name)
	}
	return names
}

// eventTypes are the types of the events that the connectors make.
func (env environment) eventTypes(*cobra.Command, []string) []string {
	types, _ := typesOf(env.plugins) // Without types there is nothing to complete.
	return types
}

// configured returns the configuration that the command line names; nil if it has problems.
func (env environment) configured(cmd *cobra.Command) *config.Config {
	path, err := cmd.Flags().GetString("config")
	if err != nil {
		return nil
	}
	env.stderr = io.Discard
	cfg, err := loadConfig(path, env)
	if err != nil {
		return nil
	}
	return cfg
}

func (env environment) sourceNames(cmd *cobra.Command, _ []string) (names []string) {
	if cfg := env.configured(cmd); cfg != nil {
		for i := range cfg.Sources {
			names = append(names, cfg.Sources[i].Name)
		}
	}
	return names
}

// sourceEvents are the events of the source that the first argument names, if its vendor puts them into the URL.
func (env environment) sourceEvents(cmd *cobra.Command, args []string) []string {
	cfg := env.configured(cmd)
	if cfg == nil {
		return nil
	}
	src, err := findSource(cfg, args[0])
	if err != nil {
		return nil
	}
	return env.eventNames(cmd, []string{src.Connector.Name})
}

func (env environment) sinkNames(cmd *cobra.Command, _ []string) (names []string) {
	if cfg := env.configured(cmd); cfg != nil {
		for _, s := range cfg.Sinks {
			names = append(names, s.Name)
		}
	}
	return names
}

// addCompletions sets what completes the arguments and flags of all commands below c.
func addCompletions(c *cobra.Command, env environment) {
	places := map[string]completer{
		"connectors describe": words(env.connectorNames, env.eventNames),
		"connectors sample":   words(env.connectorNames, env.eventNames),
		"simulate":            words(env.connectorNames),
		"send":                words(env.sourceNames, env.sourceEvents, nil),
		"sinks show":          words(env.sinkNames),
		"sinks pause":         words(env.sinkNames),
		"sinks resume":        words(env.sinkNames),
		"sinks seek":          words(env.sinkNames, fixed("earliest", "latest")),
		"sinks pass":          words(env.sinkNames),
		"groups seek":         words(fixed(), fixed("earliest", "latest")),
		"parked show":         words(env.sinkNames),
		"parked retry":        words(env.sinkNames),
		"parked discard":      words(env.sinkNames),
	}
	_, path, _ := strings.Cut(c.CommandPath(), " ")
	if f, ok := places[path]; ok {
		c.ValidArgsFunction = f
	}
	flagWords(c, "source", env.sourceNames)
	flagWords(c, "sink", env.sinkNames)
	flagWords(c, "connector", env.connectorNames)
	flagWords(c, "outcome", fixed(strings.Split(outcomes(), ", ")...))
	flagWords(c, "kind", fixed(driftKinds...))
	flagWords(c, "fail-on", fixed(append(slices.Clip(driftKinds), "any")...))
	flagWords(c, "from", fixed("earliest", "latest"))
	flagWords(c, "format", fixed(formatJSONSchema, formatAsyncAPI))
	flagWords(c, "type", env.eventTypes)
	for _, sub := range c.Commands() {
		addCompletions(sub, env)
	}
}
