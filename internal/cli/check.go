package cli

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/webhook-bridge/bridge/internal/access"
	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/internal/daemon"
	"github.com/webhook-bridge/bridge/internal/schema"
	"github.com/webhook-bridge/bridge/internal/secret"
	"github.com/webhook-bridge/bridge/internal/source"
)

func checkCommand(env environment) *cobra.Command {
	var file string
	var offline bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check a configuration, and print what serve would do with it",
		Long: `Check a configuration, and the machine that it is run on: folders, certificates, files of secrets, addresses to listen on, and the
hosts of brokers. All problems of the configuration are printed at once, each with its line and column; without any, all problems
of the machine. In both cases the exit code is 2. Warnings do not change the exit code. Without problems it prints how serve would use the configuration. Secrets are never printed. Nothing is
started, and no file is created or changed.`,
		Example: "  bridge check -c bridge.yaml",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadConfig(file, env)
			if err != nil {
				return err
			}
			findings := env.plugins.Preflight(cmd.Context(), cfg, daemon.Probes{Files: true, Listeners: true, Lookups: !offline, Database: !offline})
			if printFindings(env.stderr, findings, daemon.Fault) {
				return &reportedError{exitUsage}
			}
			return printConfig(env, cfg)
		},
	}
	configFlag(cmd.Flags(), &file)
	cmd.Flags().BoolVar(&offline, "offline", false, "do not resolve names of hosts, and do not connect to the database")
	return cmd
}

// printFindings prints findings, a line each, and reports whether one is at least as severe as the limit.
func printFindings(w io.Writer, findings []daemon.Finding, limit daemon.Severity) (failed bool) {
	for _, f := range findings {
		word := ""
		if f.Severity < limit {
			word = "warning: "
		} else {
			failed = true
		}
		problem := f.Problem
		problem.Reason = word + problem.Reason
		fmt.Fprintln(w, problem)
	}
	return failed
}

// printConfig prints what a server with this configuration would do.
func printConfig(env environment, cfg *config.Config) error {
	w := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SOURCE\tCONNECTOR\tAUTH\tUNDECODABLE\tTYPED CALLS\tURL")
	for i := range cfg.Sources {
		s := &cfg.Sources[i]
		undecodable, typed := "kept", "no"
		if s.Reject {
			undecodable = "refused"
		}
		if s.GRPC {
			typed = "yes"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", s.Name, s.Connector.Name, authText(s), undecodable, typed, sourceURL(cfg, s))
	}
	fmt.Fprintln(w, "\nSOURCE\tBODY\tIN FLIGHT\tRATE\tDAILY\tDEDUPE WINDOW\tALARMS")
	for i := range cfg.Sources {
		s := &cfg.Sources[i]
		rate, daily := "no limit", "no limit"
		if s.Limits.Rate > 0 {
			rate = fmt.Sprintf("%d/s", s.Limits.Rate)
		}
		if s.Limits.Daily > 0 {
			daily = schema.FormatSize(s.Limits.Daily)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.Name, schema.FormatSize(s.Limits.Body), schema.FormatSize(s.Limits.InFlight),
			rate, daily, schema.FormatDuration(s.Window), alarmsText(s.Alerts))
	}
	printSinkConfigs(w, env, cfg.Sinks)
	if len(cfg.Access.Principals) > 0 {
		fmt.Fprintln(w, "\nPRINCIPAL\tKNOWN BY\tSOURCES\tTYPES\tGROUPS\tPERSONAL DATA\tRAW")
	}
	for _, p := range cfg.Access.Principals {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", p.Name, credentialsText(p), listText(p.Sources), listText(p.Types), listText(p.Groups),
			choose(p.Personal, "shown", "masked"), choose(p.Raw, "shown", "no"))
	}
	fmt.Fprintln(w)
	l := cfg.Listen
	for _, x := range []struct {
		name string
		l    config.Listener
	}{{"webhooks", l.Webhooks}, {"ops", l.Ops}, {"grpc", l.GRPC}, {"admin", l.Admin}} {
		security := "plain"
		if x.l.TLS != nil {
			security = "TLS"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", x.name, x.l.Addr, security)
	}
	if cfg.Access.Insecure {
		fmt.Fprintln(w, "access\tinsecure\tgrpc and admin may be open to anyone who reaches them")
	}
	fmt.Fprintf(w, "journal\t%s\tkept %s or %s\n", journalText(cfg), schema.FormatDuration(cfg.Journal.Age), schema.FormatSize(cfg.Journal.Size))
	s := cfg.Streams
	fmt.Fprintf(w, "streams\t%d at once, each for %s\tthe newest %s of events in memory\n", s.MaxOpen, schema.FormatDuration(s.MaxAge), schema.FormatSize(int64(s.Tail)))
	fmt.Fprintf(w, "groups\t%d\t%d members each\n", s.MaxGroups, s.MaxMembers)
	return w.Flush()
}

// printSinkConfigs prints where the sinks deliver to, which events they get, and how.
func printSinkConfigs(w io.Writer, env environment, all []config.Sink) {
	if len(all) > 0 {
		fmt.Fprintln(w, "\nSINK\tTO\tROUTE\tFROM\tLANES")
	}
	for _, s := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\n", s.Name, env.plugins.DescribeSink(s), routeText(s), fromText(s.From), s.Concurrency)
	}
}

// routeText says which events a sink gets. Of an expression it says only that there is one: it may be long.
func routeText(s config.Sink) string {
	var all []string
	for _, x := range []struct {
		what   string
		values []string
	}{{"types ", s.Route.GetTypes()}, {"sources ", s.Route.GetSources()}, {"subjects ", s.Route.GetSubjects()}} {
		if len(x.values) > 0 {
			all = append(all, x.what+strings.Join(x.values, ", "))
		}
	}
	if s.Route.GetCel() != "" {
		all = append(all, "where …")
	}
	return printable(cmp.Or(strings.Join(all, "; "), "all events"))
}

// fromText says where a sink with a new name starts.
func fromText(s config.Start) string {
	switch {
	case s.Latest:
		return "latest"
	case !s.Time.IsZero():
		return s.Time.Format(time.RFC3339)
	case s.Position > 0:
		return digits(s.Position)
	case s.Token != "":
		return "a token"
	default:
		return "earliest"
	}
}

// credentialsText says by what a principal is known.
func credentialsText(p access.Rules) string {
	var all []string
	if n := len(secret.Reveal(p.Tokens)); n > 0 {
		all = append(all, fmt.Sprintf("token, %d accepted", n))
	}
	return strings.Join(append(all, p.Certificates...), ", ")
}

func listText(patterns []string) string {
	return cmp.Or(strings.Join(patterns, ", "), "none")
}

func choose(condition bool, yes, no string) string {
	if condition {
		return yes
	}
	return no
}

// journalText says where the journal is.
func journalText(cfg *config.Config) string {
	if p := cfg.Journal.Postgres; p != nil {
		return fmt.Sprintf("PostgreSQL, schema %s, replicated by %s, replica %s", p.Schema, p.ReplicatedBy, p.Replica)
	}
	return cfg.Journal.Dir
}

func authText(s *source.Source) string {
	switch s.Auth.Scheme {
	case source.SchemeHeader:
		return fmt.Sprintf("header %s, %d accepted", s.Auth.Header, len(secret.Reveal(s.Auth.Values)))
	case source.SchemePathToken:
		return fmt.Sprintf("path token, %d accepted", len(secret.Reveal(s.Auth.Values)))
	case source.SchemeHMAC:
		return fmt.Sprintf("signature in %s, %d accepted", s.Auth.Header, len(secret.Reveal(s.Auth.Values)))
	default:
		return "none"
	}
}

// sourceURL shows where webhooks of s go; a token in it is masked.
func sourceURL(cfg *config.Config, s *source.Source) string {
	base := cfg.Listen.PublicURL
	if base == "" {
		base, _ = baseURL("", cfg) // without an address there is no error
	}
	url := base + "/webhooks/" + s.Name
	if s.Auth.Scheme == source.SchemePathToken {
		url += "/t/•••"
	}
	if c := s.Connector; c.EventField == "" && c.EventHeader == "" {
		url += "/{event}"
	}
	return url
}

// alarmsText names the alarms that are set.
func alarmsText(a source.Alerts) string {
	var set []string
	if a.SilentAfter > 0 {
		set = append(set, "silent for "+schema.FormatDuration(a.SilentAfter))
	}
	if a.UnauthorizedPercent > 0 {
		set = append(set, fmt.Sprintf("%d %% unauthorized", a.UnauthorizedPercent))
	}
	if a.Quarantined > 0 {
		set = append(set, fmt.Sprintf("%d quarantined", a.Quarantined))
	}
	if len(set) == 0 {
		return "none"
	}
	return strings.Join(set, ", ")
}
