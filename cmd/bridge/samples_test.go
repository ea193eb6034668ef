package main

import (
	"slices"
	"testing"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/sample"
)

// allConnectors returns the program's connectors by their names.
func allConnectors() map[string]*connectors.Connector {
	all := map[string]*connectors.Connector{}
	for _, c := range plugins().Connectors {
		all[c.Name] = c
	}
	return all
}

// sampleBody returns the body of a connector's sample.
func sampleBody(connector, name string) []byte {
	webhooks, err := sample.Read(allConnectors()[connector].Samples)
	if err != nil {
		panic(err)
	}
	i := slices.IndexFunc(webhooks, func(w sample.Webhook) bool { return w.Name == name })
	return webhooks[i].Body
}

// mainSamples returns the body of the main sample of each event of a connector.
func mainSamples(connector string) map[string][]byte {
	c := allConnectors()[connector]
	events, err := c.Events()
	if err != nil {
		panic(err)
	}
	webhooks, err := sample.Read(c.Samples)
	if err != nil {
		panic(err)
	}
	bodies := map[string][]byte{}
	for event := range events {
		if i := slices.IndexFunc(webhooks, func(w sample.Webhook) bool { return w.Name == sample.NameFor(event) }); i >= 0 {
			bodies[event] = webhooks[i].Body
		}
	}
	return bodies
}

// TestMainSamplesHaveNoDrift: the main sample of each event has the form that the vendor's schema declares. The demo, the documentation and
// the simulator send it, so it must raise no alert about a vendor that changed.
func TestMainSamplesHaveNoDrift(t *testing.T) {
	for name, c := range allConnectors() {
		webhooks, err := sample.Read(c.Samples)
		if err != nil {
			t.Fatal(err)
		}
		main := mainSamples(name)
		for event := range main {
			w := webhooks[slices.IndexFunc(webhooks, func(w sample.Webhook) bool { return w.Name == sample.NameFor(event) })]
			if slices.ContainsFunc(w.Expected, func(e sample.Expectation) bool { return e.Name == sample.Drift }) {
				t.Errorf("%s: %s has drift: show it in a sample of another name", name, w.Name)
			}
		}
		t.Logf("%s: %d main samples", name, len(main))
		if len(main) == 0 {
			t.Errorf("%s has no main sample", name)
		}
	}
}
