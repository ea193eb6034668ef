package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
)

// driftKinds are what --kind and --fail-on take.
var driftKinds = []string{"unknown", "type", "missing", "value"}

func driftCommand(env environment) *cobra.Command {
	o := newOperator(env)
	var since timeFlag
	var failOn []string
	r := &adminv1.ListDriftRequest{}
	cmd := &cobra.Command{
		Use:   "drift",
		Short: "Show how webhooks differ from what vendors document",
		Long: `Show the fields in which stored webhooks differ from the connectors' schemas, with counts, times and a masked sample:
fields that no schema has (unknown), values of another type (type), fields that should always be there (missing), and values that a connector did not understand and left
out of the events (value).`,
		Example: `  bridge drift
  bridge drift --since 24h --fail-on unknown    # for a daily job`,
		Args: noArgs,
		PreRunE: func(*cobra.Command, []string) error {
			if r.GetKind() != "" && !slices.Contains(driftKinds, r.GetKind()) {
				return &usageError{"--kind is unknown, type, missing or value"}
			}
			for _, kind := range failOn {
				if kind != "any" && !slices.Contains(driftKinds, kind) {
					return &usageError{"--fail-on is unknown, type, missing, value or any"}
				}
			}
			return nil
		},
		RunE: o.calling(func(ctx context.Context, _ []string) error {
			r.Since = since.at
			a, err := o.ListDrift(ctx, r)
			if err != nil {
				return err
			}
			if err := printDrift(env.stdout, o.asJSON, a.GetFields()); err != nil {
				return err
			}
			return failOnDrift(a.GetFields(), failOn)
		}),
	}
	fs := cmd.Flags()
	fs.StringVar(&r.Connector, "connector", "", "only of this `connector`")
	fs.StringVar(&r.VendorEvent, "event", "", "only of this `event`, by the vendor's name")
	fs.StringVar(&r.Kind, "kind", "", "only of this `kind`: unknown, type, missing or value")
	fs.Var(&since, "since", "only fields that were seen at this `time` or later: "+timeForms)
	fs.StringArrayVar(&failOn, "fail-on", nil, "exit 1 if there is drift of this `kind`: unknown, type, missing, value or any; may be repeated")
	o.register(cmd)
	return cmd
}

// failOnDrift returns an error if a field has one of the kinds.
func failOnDrift(fields []*adminv1.DriftField, kinds []string) error {
	failing := 0
	for _, f := range fields {
		if slices.Contains(kinds, "any") || slices.Contains(kinds, f.GetKind()) {
			failing++
		}
	}
	if failing > 0 {
		return fmt.Errorf("%s of drift that --fail-on names", number(uint64(failing), "field"))
	}
	return nil
}

func printDrift(w io.Writer, asJSON bool, fields []*adminv1.DriftField) error {
	out := bufio.NewWriter(w)
	t := newTable(out, "CONNECTOR", "EVENT", "FIELD", "KIND", "WEBHOOKS", "FIRST", "LAST", "SAMPLE")
	for _, f := range fields {
		if asJSON {
			if err := printJSON(out, f); err != nil {
				return err
			}
			continue
		}
		t.row(f.GetConnector(), f.GetVendorEvent(), f.GetField(), f.GetKind(), strconv.FormatUint(f.GetCount(), 10),
			timeText(f.GetFirstAt()), timeText(f.GetLastAt()), f.GetSample())
	}
	if !asJSON {
		if err := t.flush(); err != nil {
			return err
		}
	}
	return out.Flush()
}
