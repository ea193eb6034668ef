package main

import (
	"github.com/webhook-bridge/bridge"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/dealpos"
	"github.com/webhook-bridge/bridge/connectors/kasafik"
	"github.com/webhook-bridge/bridge/connectors/linga"
	"github.com/webhook-bridge/bridge/connectors/openloyalty"
	"github.com/webhook-bridge/bridge/connectors/retino"
)

// plugins is the one list of the connectors and the kinds of sinks that this program has. A new connector is added here and
// nowhere else: `make connector` does it.
func plugins() bridge.Plugins {
	vendors := []*connectors.Connector{
		dealpos.New(),
		kasafik.New(),
		linga.New(),
		openloyalty.New(),
		retino.New(),
	}
	kinds := []bridge.SinkKind{
		bridge.FileSink(),
		bridge.KafkaSink(),
		bridge.StdoutSink(),
		bridge.PostgresSink(),
		bridge.WebhookSink(),
		bridge.S3Sink(),
		bridge.NATSSink(),
		bridge.AMQPSink(),
		bridge.RedisSink(),
	}
	return bridge.Plugins{Connectors: vendors, Sinks: kinds}
}
