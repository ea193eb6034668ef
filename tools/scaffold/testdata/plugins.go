package main

import (
	"context"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/dealpos"
	"github.com/webhook-bridge/bridge/connectors/linga"
	"github.com/webhook-bridge/bridge/connectors/retino"
	"github.com/webhook-bridge/bridge/sinks/kafka"
)

func allConnectors() map[string]*connectors.Connector {
	all := make(map[string]*connectors.Connector)
	for _, c := range []*connectors.Connector{
		dealpos.New(),
		linga.New(),
		retino.New(),
	} {
		all[c.Name] = c
	}
	return all
}

func open(ctx context.Context) (*kafka.Sink, error) { return kafka.Open(ctx, kafka.Config{}) }

const constant, another = 1, 2

type thing struct{}

func (thing) method() {}
