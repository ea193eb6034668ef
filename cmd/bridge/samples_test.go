package main

import (
	"slices"

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
