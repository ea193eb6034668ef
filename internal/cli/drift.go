package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
)

// driftKinds are what --kind and --fail-on take.
var driftKinds = []string{"unknown", "type", "missing"}

func drift(ctx context.Context, env environment, args []string) error {
	o := newOperator("drift", env)
	var since timeFlag
	r := &adminv1.ListDriftRequest{}
	o.flags.StringVar(&r.Connector, "connector", "", "only of this `connector`")
	o.flags.StringVar(&r.VendorEvent, "event", "", "only of this `event`, by the vendor's name")
	o.flags.StringVar(&r.Kind, "kind", "", "only of this `kind`: unknown, type or missing")
	o.flags.Var(&since, "since", "only what was seen at this `time` or later: "+timeForms)
	var failOn stringList
	o.flags.Var(&failOn, "fail-on", "exit 1 if there is drift of this `kind`: unknown, type, missing or any; may be repeated")
	switch rest, err := parseArgs(o.flags, args); {
	case err != nil:
		return err
	case len(rest) > 0:
		return &usageError{"takes no arguments except flags"}
	case r.GetKind() != "" && !slices.Contains(driftKinds, r.GetKind()):
		return &usageError{"--kind is unknown, type or missing"}
	}
	for _, kind := range failOn {
		if kind != "any" && !slices.Contains(driftKinds, kind) {
			return &usageError{"--fail-on is unknown, type, missing or any"}
		}
	}
	r.Since = since.at
	if err := o.dial(); err != nil {
		return err
	}
	defer o.close()
	a, err := o.ListDrift(ctx, r)
	if err != nil {
		return refused(err)
	}
	if err := printDrift(env.stdout, o.asJSON, a.GetFields()); err != nil {
		return err
	}
	failing := 0
	for _, f := range a.GetFields() {
		if slices.Contains(failOn, "any") || slices.Contains(failOn, f.GetKind()) {
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
