package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/internal/daemon"
	"github.com/webhook-bridge/bridge/internal/near"
	"github.com/webhook-bridge/bridge/internal/source"
)

func connectorsCommand(env environment) *cobra.Command {
	return group(&cobra.Command{
		Use:   "connectors",
		Short: "Show the vendors' events, and how to set them up",
	}, listConnectorsCommand(env), describeConnectorCommand(env), sampleCommand(env))
}

func listConnectorsCommand(env environment) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the vendors",
		Example: "  bridge connectors list",
		Args:    noArgs,
		RunE:    func(*cobra.Command, []string) error { return listConnectors(env, asJSON) },
	}
	jsonFlag(cmd.Flags(), &asJSON, "JSON, one vendor a line")
	return cmd
}

func listConnectors(env environment, asJSON bool) error {
	w := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', 0)
	if !asJSON {
		fmt.Fprintln(w, "NAME\tEVENTS\tNAMED BY\tAUTH\tNEEDS\tANSWER")
	}
	all := env.plugins.ByName()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		d, err := describe(all[name])
		if err != nil {
			return err
		}
		if asJSON {
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

func describeConnectorCommand(env environment) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "describe NAME [EVENT]",
		Short: "Show a vendor's events, signature and delivery policy, and how to set it up",
		Example: `  bridge connectors describe retino
  bridge connectors describe retino shipping.ordered`,
		Args: between(1, 2, "a connector's name, and an event's name to show that event alone"),
		RunE: func(_ *cobra.Command, args []string) error { return describeConnector(env, args, asJSON) },
	}
	jsonFlag(cmd.Flags(), &asJSON, "one JSON object")
	return cmd
}

func describeConnector(env environment, args []string, asJSON bool) error {
	c, err := connectorNamed(env.plugins, args[0])
	if err != nil {
		return err
	}
	d, err := describe(c)
	if err != nil {
		return err
	}
	if len(args) == 2 {
		all := d.Events
		d.Events = slices.DeleteFunc(slices.Clone(all), func(e eventDescription) bool { return e.Name != args[1] })
		if len(d.Events) == 0 {
			var names []string
			for _, e := range all {
				names = append(names, e.Name)
			}
			return fmt.Errorf("connector %s models no event %q%s", c.Name, args[1], near.Question(args[1], names))
		}
	}
	if asJSON {
		enc := json.NewEncoder(env.stdout)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(d)
	}
	var b strings.Builder
	d.print(&b, stylesFor(env.stdout, env.lookup))
	if len(args) == 1 {
		setUp(&b, stylesFor(env.stdout, env.lookup), c)
	}
	_, err = io.WriteString(env.stdout, b.String())
	return err
}

func sampleCommand(env environment) *cobra.Command {
	return &cobra.Command{
		Use:   "sample NAME [EVENT]",
		Short: "Print the body of a webhook of a vendor",
		Long: `Print the body of a webhook of a vendor: its first event, the event that is named, or the file of the connector's testdata
that is named.`,
		Example: "  bridge connectors sample retino shipping.ordered > shipped.json",
		Args:    between(1, 2, "a connector's name, and the name of one of its events or of a file of its testdata"),
		RunE:    func(_ *cobra.Command, args []string) error { return printSample(env, args) },
	}
}

func printSample(env environment, args []string) error {
	c, err := connectorNamed(env.plugins, args[0])
	if err != nil {
		return err
	}
	samples, err := samplesOf(c)
	if err != nil {
		return err
	}
	if len(args) == 1 && len(samples) > 0 {
		return write(env.stdout, samples[0].Body)
	}
	var events []string
	for _, s := range samples {
		if len(args) == 2 && s.event == args[1] {
			return write(env.stdout, s.Body)
		}
		events = append(events, s.event)
	}
	if len(args) == 2 {
		if s, err := sampleNamed(c, args[1]); err == nil {
			return write(env.stdout, s.Body)
		}
	}
	name := ""
	if len(args) == 2 {
		name = args[1]
	}
	return fmt.Errorf("there is no sample of %q; connector %s has samples of %s%s", name, c.Name, strings.Join(events, ", "), near.Question(name, events))
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
	names := slices.Sorted(maps.Keys(all))
	return nil, fmt.Errorf("no connector %q%s", name, near.List(name, names))
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
