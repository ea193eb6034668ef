package intake

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/webhook-bridge/bridge/internal/vendorjson"
)

// TestNoNamesInLogsAndMetrics: vendors use addresses and numbers of people as names of fields. Neither log nor metrics show
// them, nor the problem, which may quote the body.
func TestNoNamesInLogsAndMetrics(t *testing.T) {
	const address, number = "jan@novak.cz", "777123456"
	body := `{"customers":{"` + address + `":{"` + number + `":Jan}}}`
	fault := NewFault(Malformed, vendorjson.Check([]byte(body)))
	if fault.Path != `$.customers["jan@novak.cz"].777123456` {
		t.Fatalf("the fault itself keeps its path, got %s", fault.Path)
	}
	var out bytes.Buffer
	slog.New(slog.NewTextHandler(&out, nil)).Warn("quarantined webhook", "fault", fault)
	for _, secret := range []string{address, number, "'J'"} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("%s is logged: %s", secret, out.String())
		}
	}

	d := newDesk(t)
	d.drifts(
		vendorjson.Drift{Kind: vendorjson.Unknown, Path: `$["jan@novak.cz"].a`},
		vendorjson.Drift{Kind: vendorjson.Unknown, Path: `$["eva@novak.cz"].a`},
		vendorjson.Drift{Kind: vendorjson.Missing, Path: "$.id"},
	)
	families, err := d.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			labels := make(map[string]string)
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if f.GetName() == "bridge_drift_total" {
				got[labels["kind"]+" "+labels["field"]] = m.GetCounter().GetValue()
			}
		}
	}
	if diff := cmp.Diff(map[string]float64{`unknown $["x@x.x"].a`: 1, "missing $.id": 1}, got); diff != "" {
		t.Error(diff)
	}
}
