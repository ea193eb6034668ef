package main

import (
	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/dealpos"
	"github.com/webhook-bridge/bridge/connectors/kasafik"
	"github.com/webhook-bridge/bridge/connectors/linga"
	"github.com/webhook-bridge/bridge/connectors/openloyalty"
	"github.com/webhook-bridge/bridge/connectors/retino"
)

// allConnectors is every vendor this program knows. In the program's code a new connector is added here and nowhere else; the
// samples, the demo and the documentation name vendors too, see CONTRIBUTING.md.
func allConnectors() map[string]*connectors.Connector {
	all := make(map[string]*connectors.Connector)
	for _, c := range []*connectors.Connector{
		dealpos.New(),
		kasafik.New(),
		linga.New(),
		openloyalty.New(),
		retino.New(),
	} {
		all[c.Name] = c
	}
	return all
}
