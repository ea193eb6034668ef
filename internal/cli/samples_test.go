package cli

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/dealpos"
	"github.com/webhook-bridge/bridge/connectors/linga"
	"github.com/webhook-bridge/bridge/connectors/openloyalty"
	"github.com/webhook-bridge/bridge/connectors/retino"
	"github.com/webhook-bridge/bridge/internal/daemon"
)

// vendors are some of Bridge's connectors. Tests of all of them are beside the list of them, in cmd/bridge.
func vendors() daemon.Plugins {
	return daemon.Plugins{Connectors: []*connectors.Connector{dealpos.New(), linga.New(), openloyalty.New(), retino.New()}}
}

// TestSamplesOf: an event's sample is the good one of its name, not another's that would be called the same.
func TestSamplesOf(t *testing.T) {
	all := vendors().ByName()
	samples, err := samplesOf(all["openloyalty"])
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(samples, func(s vendorSample) bool { return s.Name == "customer_registered" })
	if at < 0 || samples[at].event != "customer.registered" || samples[at].canonical() != 1 {
		t.Errorf("no sample of customer.registered among %d", len(samples))
	}
	var names []string
	for _, connector := range []string{"linga", "retino"} {
		samples, err := samplesOf(all[connector])
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range samples {
			names = append(names, s.event)
		}
	}
	want := []string{"open", "update", "close", "shipping.ordered", "retino_credit_note.created", "ticket.created"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("events in the services' order (-want +got):\n%s", diff)
	}
	if s, err := sampleNamed(all["openloyalty"], brokenSample[1]); err != nil || !s.Broken || s.event != "transaction.registered" {
		t.Errorf("%s: broken %t, event %q, %v", brokenSample[1], s.Broken, s.event, err)
	}
	if s, err := sampleNamed(all["linga"], "nothing"); err == nil {
		t.Errorf("found %+v", s)
	}
}
