package cli

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/internal/schema"
	"github.com/webhook-bridge/bridge/internal/source"
)

func checkCommand(env environment) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check a configuration, and print what serve would do with it",
		Long: `Check a configuration. All problems are printed at once, each with its line and column, and the exit code is 2.
Without problems it prints how serve would use the configuration. Secrets are never printed. Nothing is started.`,
		Example: "  bridge check -c bridge.yaml",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := loadConfig(file, env)
			if err != nil {
				return err
			}
			return printConfig(env, cfg)
		},
	}
	configFlag(cmd.Flags(), &file)
	return cmd
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
	if len(cfg.Sinks) > 0 {
		fmt.Fprintln(w, "\nSINK\tTO")
	}
	for _, s := range cfg.Sinks {
		fmt.Fprintf(w, "%s\t%s\n", s.Name, env.plugins.DescribeSink(s))
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
	fmt.Fprintf(w, "journal\t%s\tkept %s or %s\n", cfg.Journal.Dir, schema.FormatDuration(cfg.Journal.Age), schema.FormatSize(cfg.Journal.Size))
	return w.Flush()
}

func authText(s *source.Source) string {
	switch s.Auth.Scheme {
	case source.SchemeHeader:
		return fmt.Sprintf("header %s, %d accepted", s.Auth.Header, len(s.Auth.Values))
	case source.SchemePathToken:
		return fmt.Sprintf("path token, %d accepted", len(s.Auth.Values))
	case source.SchemeHMAC:
		return fmt.Sprintf("signature in %s, %d accepted", s.Auth.Header, len(s.Auth.Values))
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
