package cli

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/internal/daemon"
	"github.com/webhook-bridge/bridge/internal/secret"
	"github.com/webhook-bridge/bridge/internal/signature"
)

// check loads a configuration, reports all its problems, and prints what it would do.
func check(_ context.Context, env environment, args []string) error {
	cfg, err := configFrom("check", env, args)
	if err != nil {
		return err
	}
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
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", s.Name, s.Connector, authText(s), undecodable, typed, sourceURL(env.plugins, cfg, s))
	}
	fmt.Fprintln(w, "\nSOURCE\tBODY\tIN FLIGHT\tRATE\tDAILY\tDEDUPE WINDOW\tALARMS")
	for i := range cfg.Sources {
		s := &cfg.Sources[i]
		rate, daily := "no limit", "no limit"
		if s.Limits.Rate > 0 {
			rate = fmt.Sprintf("%d/s", s.Limits.Rate)
		}
		if s.Limits.Daily > 0 {
			daily = config.FormatSize(s.Limits.Daily)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.Name, config.FormatSize(s.Limits.Body), config.FormatSize(s.Limits.InFlight),
			rate, daily, durationText(dedupeWindow(env.plugins, s)), alarmsText(s.Alarms))
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
	fmt.Fprintf(w, "journal\t%s\tkept %s or %s\n", cfg.Journal.Dir, durationText(cfg.Journal.Age), config.FormatSize(cfg.Journal.Size))
	for i := range cfg.Sources {
		s := &cfg.Sources[i]
		if name := unsignedKey(&s.Auth, env.plugins.Connector(s.Connector)); name != "" {
			fmt.Fprintf(w, "warning\tsource %s: the signature does not cover the header %s, by which webhooks are told apart: "+
				"whoever captures one can send it again as another\n", s.Name, name)
		}
	}
	return w.Flush()
}

// configFrom parses a command's one flag and loads the configuration it names.
func configFrom(name string, env environment, args []string) (*config.Config, error) {
	fs := flagSet(name, env)
	file := fs.String("c", "bridge.yaml", "configuration `file`")
	rest, err := parseArgs(fs, args)
	if err != nil {
		return nil, err
	}
	if len(rest) > 0 {
		return nil, &usageError{"takes no arguments besides -c"}
	}
	return loadConfig(*file, env)
}

// durationText is the text of d without units that are zero at its end: 168h, not 168h0m0s.
func durationText(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// dedupeWindow is how long the same body counts as the same webhook: the source's window, or its connector's.
func dedupeWindow(plugins daemon.Plugins, s *config.Source) time.Duration {
	return cmp.Or(s.Window, plugins.Connector(s.Connector).Window, 2*time.Minute)
}

func authText(s *config.Source) string {
	switch s.Auth.Scheme {
	case config.SchemeHeader:
		return fmt.Sprintf("header %s, %d accepted", s.Auth.Header, len(s.Auth.Values))
	case config.SchemePathToken:
		return fmt.Sprintf("path token, %d accepted", len(s.Auth.Values))
	case config.SchemeHMAC:
		return fmt.Sprintf("signature in %s, %d accepted", s.Auth.Header, len(s.Auth.Values))
	default:
		return "none"
	}
}

// sourceURL shows where webhooks of s go; a token in it is masked.
func sourceURL(plugins daemon.Plugins, cfg *config.Config, s *config.Source) string {
	base, err := baseURL("", cfg)
	if err != nil {
		return ""
	}
	url := base + "/webhooks/" + s.Name
	if s.Auth.Scheme == config.SchemePathToken {
		url += "/t/•••"
	}
	if c := plugins.Connector(s.Connector); c.EventField == "" && c.EventHeader == "" {
		url += "/{event}"
	}
	return url
}

// alarmsText names the alarms that are set.
func alarmsText(a config.Alarms) string {
	var set []string
	if a.SilentAfter > 0 {
		set = append(set, "silent for "+durationText(a.SilentAfter))
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

// unsignedKey is the header by which webhooks are told apart, if requests are signed without it. Empty otherwise.
func unsignedKey(a *config.Auth, c *connectors.Connector) string {
	if a.HMAC == nil || c.KeyHeader == "" {
		return ""
	}
	scheme, err := signature.Compile(connectors.HMAC(*a.HMAC), secret.RevealAll(a.Values[:1]))
	if err != nil || slices.Contains(scheme.SignedHeaders(), http.CanonicalHeaderKey(c.KeyHeader)) {
		return "" // what is wrong with it was said when it was read
	}
	return c.KeyHeader
}
