package main

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sampleBody returns the body of a connector's sample.
func sampleBody(connector, name string) []byte {
	s, err := sampleNamed(allConnectors()[connector], name)
	if err != nil {
		panic(err)
	}
	return s.Body
}

// TestSamplesOf: an event's sample is the good one of its name, not another's that would be called the same.
func TestSamplesOf(t *testing.T) {
	all := allConnectors()
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

// TestEveryConnectorIsShown: the demo has something to show of each.
func TestEveryConnectorIsShown(t *testing.T) {
	for name, c := range allConnectors() {
		s := sceneOf(c)
		shown, err := s.shown(c)
		if err != nil {
			t.Fatal(err)
		}
		if want := max(1, len(s.events)); len(shown) < want {
			t.Errorf("%s: %d of %d webhooks can be shown: name a good sample in its testdata after an event", name, len(shown), want)
		}
		for _, sample := range shown {
			if sample.canonical() == 0 {
				t.Errorf("%s: sample %s becomes no event", name, sample.Name)
			}
		}
	}
}
