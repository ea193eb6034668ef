package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/internal/daemon"
	"github.com/webhook-bridge/bridge/internal/source"
)

func connectorsCommand() command {
	return command{
		name: "connectors", args: "list|describe|sample", about: "what is known of each vendor",
		sub: []command{
			{name: "list", args: "[--json]", about: "list the vendors", run: listConnectors},
			{
				name: "describe", args: "NAME [EVENT] [--json]", run: describeConnector,
				about: "a vendor's events, signature and delivery policy, and how to set it up",
			},
			{name: "sample", args: "NAME [EVENT]", about: "print the body of a webhook of that vendor's", run: printSample},
		},
	}
}

func listConnectors(_ context.Context, env environment, args []string) error {
	fs := flagSet("connectors list", env)
	asJSON := fs.Bool("json", false, "as JSON, one vendor a line")
	if rest, err := parseArgs(fs, args); err != nil {
		return err
	} else if len(rest) > 0 {
		return &usageError{"takes no arguments except flags"}
	}
	w := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', 0)
	if !*asJSON {
		fmt.Fprintln(w, "NAME\tEVENTS\tNAMED BY\tAUTH\tNEEDS\tANSWER")
	}
	all := env.plugins.ByName()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		d, err := describe(all[name])
		if err != nil {
			return err
		}
		if *asJSON {
			d.Events = nil
			if err := json.NewEncoder(env.stdout).Encode(d); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\n",
			d.Name, d.EventCount, d.NamedBy.text(), authOf(all[name]), needsText(d.Needs), d.Answer)
	}
	return w.Flush()
}

func describeConnector(_ context.Context, env environment, args []string) error {
	fs := flagSet("connectors describe", env)
	asJSON := fs.Bool("json", false, "as one JSON object")
	rest, err := parseArgs(fs, args)
	if err != nil {
		return err
	}
	if len(rest) != 1 && len(rest) != 2 {
		return &usageError{"takes a connector's name, and an event's if that is all you want to see"}
	}
	c, err := connectorNamed(env.plugins, rest[0])
	if err != nil {
		return err
	}
	d, err := describe(c)
	if err != nil {
		return err
	}
	if len(rest) == 2 {
		d.Events = slices.DeleteFunc(d.Events, func(e eventDescription) bool { return e.Name != rest[1] })
		if len(d.Events) == 0 {
			return fmt.Errorf("connector %s models no event %q", c.Name, rest[1])
		}
	}
	if *asJSON {
		enc := json.NewEncoder(env.stdout)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(d)
	}
	var b strings.Builder
	d.print(&b, stylesFor(env.stdout, env.lookup))
	if len(rest) == 1 {
		setUp(&b, stylesFor(env.stdout, env.lookup), c)
	}
	_, err = io.WriteString(env.stdout, b.String())
	return err
}

func printSample(_ context.Context, env environment, args []string) error {
	rest, err := parseArgs(flagSet("connectors sample", env), args)
	if err != nil {
		return err
	}
	if len(rest) != 1 && len(rest) != 2 {
		return &usageError{"takes a connector's name, and which of its events; or the name of a file of its testdata"}
	}
	c, err := connectorNamed(env.plugins, rest[0])
	if err != nil {
		return err
	}
	samples, err := samplesOf(c)
	if err != nil {
		return err
	}
	if len(rest) == 1 && len(samples) > 0 {
		return write(env.stdout, samples[0].Body)
	}
	var events []string
	for _, s := range samples {
		if len(rest) == 2 && s.event == rest[1] {
			return write(env.stdout, s.Body)
		}
		events = append(events, s.event)
	}
	if len(rest) == 2 {
		if s, err := sampleNamed(c, rest[1]); err == nil {
			return write(env.stdout, s.Body)
		}
	}
	return fmt.Errorf("there is none; connector %s has samples of %s", c.Name, strings.Join(events, ", "))
}

func write(w io.Writer, body []byte) error {
	_, err := w.Write(append(slices.Clip(body), '\n'))
	return err
}

func connectorNamed(plugins daemon.Plugins, name string) (*connectors.Connector, error) {
	all := plugins.ByName()
	if c, ok := all[name]; ok {
		return c, nil
	}
	return nil, fmt.Errorf("no connector %q; there are %s", name, strings.Join(slices.Sorted(maps.Keys(all)), ", "))
}

// authOf says how a vendor lets its webhooks be told from others'.
func authOf(c *connectors.Connector) string {
	switch schemeOf(c) {
	case source.SchemeHMAC:
		return "hmac " + c.Verification.HMAC.Header
	case source.SchemeHeader:
		return "header " + c.Verification.Header
	default:
		return "path_token"
	}
}

func needsText(needs []string) string {
	if len(needs) == 0 {
		return "-"
	}
	return strings.Join(needs, ", ")
}

func heading(b *strings.Builder, s styles, text string) {
	fmt.Fprintf(b, "\n%s%s%s\n", s.bold, text, s.reset)
}
