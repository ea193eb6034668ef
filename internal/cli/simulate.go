package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/internal/daemon"
	"github.com/webhook-bridge/bridge/internal/near"
	"github.com/webhook-bridge/bridge/internal/secret"
	"github.com/webhook-bridge/bridge/internal/signature"
	"github.com/webhook-bridge/bridge/internal/simulate"
	"github.com/webhook-bridge/bridge/internal/source"
)

// simulateFlags are the command line of simulate.
type simulateFlags struct {
	config, source, addr, ca, record string
	yesReally, asJSON                bool
	duplicates, disorder             float64 // negative: the vendor's habit
	run                              simulate.Config
}

// habit is the share in percent of what a vendor is known to do now and then.
const habit = 1

// defaultFor is how long a simulation lasts that is not told otherwise.
const defaultFor = 10 * time.Second

func (f *simulateFlags) register(fs *pflag.FlagSet) {
	fs.Float64Var(&f.run.Rate, "rate", 10, "webhooks a second, on average")
	fs.DurationVar(&f.run.For, "for", 0, "the `duration`, such as 20s (default 10s, unless there is a count)")
	fs.Int64Var(&f.run.Count, "count", 0, "stop after this `number` of webhooks")
	fs.IntVar(&f.run.Connections, "connections", 32, "`number` of connections")
	const known = "\n(default 1 if the vendor is known to, otherwise 0)"
	fs.Float64Var(&f.duplicates, "duplicates", -1, "`percent` of webhooks that are sent again after success"+known)
	fs.Float64Var(&f.disorder, "disorder", -1, "`percent` of webhooks that overtake an earlier version of the same record"+known)
	noDefault(fs, "duplicates")
	noDefault(fs, "disorder")
	fs.Float64Var(&f.run.Broken, "broken", 0, "`percent` of webhooks that are broken")
	fs.Float64Var(&f.run.WrongSecret, "wrong-secret", 0, "`percent` of webhooks that have a wrong secret")
	fs.Float64Var(&f.run.TimeScale, "time-scale", 0, "divide the waits before retries by this `number`\n(default: such that the longest fits the run)")
	fs.Uint64Var(&f.run.Seed, "seed", 0, "the same `number` makes the same webhooks again (default: another each time)")
	fs.StringVar(&f.record, "record", "", "write each webhook and its outcome to this `file` as a line of JSON")
	jsonFlag(fs, &f.asJSON, "the report as one JSON object")
	fs.BoolVar(&f.yesReally, "yes-really", false, "send made-up webhooks to a server that is not on this machine")
	fs.StringVar(&f.source, "source", "", "the `source` to send to (default: the vendor's only one)")
	configFlag(fs, &f.config)
	baseURLFlag(fs, &f.addr)
	caFlag(fs, &f.ca)
}

func simulateCommand(env environment) *cobra.Command {
	var f simulateFlags
	cmd := &cobra.Command{
		Use:   "simulate VENDOR",
		Short: "Send webhooks as a vendor would, by its delivery policy, and report",
		Long: `Send made-up webhooks as a vendor would, by its delivery policy, and report the answers and the webhooks that the vendor would
have lost. The exit code is 1 if one would have been lost.`,
		Example: `  bridge simulate retino --rate 2000 --for 20s --duplicates 5`,
		Args: func(_ *cobra.Command, args []string) error {
			names := vendorNames(env.plugins)
			switch {
			case len(args) != 1:
				return &usageError{"takes a vendor, which is one of " + strings.Join(names, ", ")}
			case env.plugins.Connector(args[0]) == nil:
				return &usageError{fmt.Sprintf("%q is no vendor%s", args[0], near.List(args[0], names))}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.execute(cmd.Context(), env, env.plugins.Connector(args[0]))
		},
	}
	f.register(cmd.Flags())
	return cmd
}

// execute sends webhooks as a vendor does, and reports their outcomes.
func (f *simulateFlags) execute(ctx context.Context, env environment, c *connectors.Connector) error {
	cfg, err := loadConfig(f.config, env)
	if err != nil {
		return err
	}
	if err := f.complete(c, cfg); err != nil {
		return err
	}
	report, err := f.simulate(ctx)
	if err != nil {
		return err
	}
	if f.asJSON {
		err = json.NewEncoder(env.stdout).Encode(report)
	} else {
		err = report.Print(env.stdout)
	}
	if err == nil && len(report.Problems()) > 0 {
		err = &reportedError{exitFailed}
	}
	return err
}

// complete fills in what the command line leaves open.
func (f *simulateFlags) complete(c *connectors.Connector, cfg *config.Config) error {
	src, err := simulatedSource(cfg, c, f.source)
	if err != nil {
		return err
	}
	base, err := baseURL(f.addr, cfg)
	if err != nil {
		return err
	}
	at, err := url.Parse(base + "/")
	if err != nil {
		return &usageError{"--addr is a URL such as http://127.0.0.1:8080"}
	}
	if !config.IsLoopback(at.Hostname()) && !f.yesReally {
		return &usageError{at.Hostname() + " is not this machine, and may be where real webhooks go: made-up ones would become events " +
			"like any other. If they are welcome there, add --yes-really"}
	}
	transport, err := webhooksTransport(cfg, f.ca)
	if err != nil {
		return err
	}
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost = f.run.Connections, f.run.Connections
	transport.DisableCompression = true
	f.run.Transport = transport
	f.run.Connector, f.run.Zone = c, src.Zone
	if f.run.For == 0 && f.run.Count == 0 {
		f.run.For = defaultFor
	}
	f.run.Duplicates = ratio(f.duplicates, c.Delivery.Repeats)
	f.run.Disorder = ratio(f.disorder, c.Delivery.Disorder)
	if f.run.Seed == 0 {
		f.run.Seed = uint64(time.Now().UnixNano())
	}
	f.run.Target, err = target(at, src, secret.Reveal(src.Auth.Values))
	if err != nil || src.Auth.Scheme == source.SchemeNone {
		return err
	}
	unauthorized, err := target(at, src, []string{wrongSecret(&src.Auth)})
	f.run.UnauthorizedTarget = &unauthorized
	return err
}

func vendorNames(plugins daemon.Plugins) []string { return slices.Sorted(maps.Keys(plugins.ByName())) }

// ratio converts a percentage. A negative percentage stands for the vendor's own behaviour.
func ratio(percent float64, does bool) float64 {
	switch {
	case percent >= 0:
		return percent
	case does:
		return habit
	default:
		return 0
	}
}

// simulatedSource returns the source of that name, or the connector's only one.
func simulatedSource(cfg *config.Config, c *connectors.Connector, name string) (*source.Source, error) {
	if name != "" {
		src, err := findSource(cfg, name)
		if err == nil && src.Connector.Name != c.Name {
			err = fmt.Errorf("source %q is %s's", name, src.Connector.Name)
		}
		return src, err
	}
	var names []string
	var found *source.Source
	for i := range cfg.Sources {
		if cfg.Sources[i].Connector.Name == c.Name {
			found = &cfg.Sources[i]
			names = append(names, found.Name)
		}
	}
	switch len(names) {
	case 0:
		return nil, fmt.Errorf("no source of %s in the configuration", c.Name)
	case 1:
		return found, nil
	default:
		return nil, &usageError{"choose with --source: " + c.Name + " has " + strings.Join(names, ", ")}
	}
}

// target is where a source takes webhooks with the first of secrets, which may be none for a source without.
func target(base *url.URL, src *source.Source, secrets []string) (simulate.Target, error) {
	t := simulate.Target{URL: base.JoinPath("webhooks", src.Name)}
	var err error
	switch src.Auth.Scheme {
	case source.SchemePathToken:
		t.URL = t.URL.JoinPath("t", url.PathEscape(secrets[0]))
	case source.SchemeHeader:
		t.Header = http.Header{src.Auth.Header: {secrets[0]}}
	case source.SchemeHMAC:
		t.PublicURL = src.Auth.PublicURL
		t.Scheme, err = signature.Compile(*src.Auth.HMAC, secrets[:1])
	}
	return t, err
}

// wrongSecret is a secret as the source's are, and none of them.
func wrongSecret(a *source.Auth) string {
	if a.HMAC == nil {
		return uuid.NewString()
	}
	// Hexadecimal digits are text, and base64, too.
	return a.HMAC.SecretPrefix + strings.ReplaceAll(uuid.NewString(), "-", "")
}

// simulate runs the simulation and writes the record.
func (f *simulateFlags) simulate(ctx context.Context) (*simulate.Report, error) {
	if f.record == "" {
		return simulate.Run(ctx, f.run)
	}
	if err := simulate.Check(f.run); err != nil {
		return nil, err // and the file stays as it is
	}
	file, err := os.Create(f.record)
	if err != nil {
		return nil, err
	}
	lines := bufio.NewWriter(file)
	encoder := json.NewEncoder(lines)
	f.run.Record = func(r simulate.Record) error { return encoder.Encode(r) }
	report, err := simulate.Run(ctx, f.run)
	return report, errors.Join(err, lines.Flush(), file.Close())
}
