package main

import (
	"context"
	"errors"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/dealpos"
	"github.com/webhook-bridge/bridge/connectors/kasafik"
	"github.com/webhook-bridge/bridge/connectors/linga"
	"github.com/webhook-bridge/bridge/connectors/openloyalty"
	"github.com/webhook-bridge/bridge/connectors/retino"
	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/file"
	"github.com/webhook-bridge/bridge/sinks/kafka"
)

// allConnectors is every vendor this program knows. A new connector is added here and nowhere else: `make connector` does it.
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

// openSink opens a configured sink. A new kind is added here, to checkSink, and to the configuration's schema.
func openSink(ctx context.Context, s config.Sink) (sinks.Sink, error) {
	switch {
	case s.File != nil:
		return file.Open(ctx, fileConfig(s.File))
	case s.Kafka != nil:
		return kafka.Open(ctx, kafkaConfig(s))
	default:
		return nil, errors.New("is of no kind")
	}
}

// checkSink says what a sink's own package finds wrong with its configuration.
func checkSink(s config.Sink) []config.Fault {
	if s.Kafka == nil {
		return nil
	}
	var faults []config.Fault
	for _, problem := range kafkaConfig(s).Check() {
		fault := config.Fault{Key: "kafka", Reason: problem.Error()}
		if at, ok := errors.AsType[*kafka.KeyError](problem); ok {
			fault = config.Fault{Key: "kafka." + at.Key, Reason: at.Err.Error()}
		}
		faults = append(faults, fault)
	}
	return faults
}
