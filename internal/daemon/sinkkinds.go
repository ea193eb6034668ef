package daemon

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/file"
	"github.com/webhook-bridge/bridge/sinks/kafka"
)

// FileSink is the kind of sink that appends events to a file.
func FileSink() SinkKind {
	return SinkKind{
		Name:     "file",
		Describe: func(s config.Sink) string { return "file " + s.File.Path },
		Open: func(ctx context.Context, s config.Sink) (sinks.Sink, error) {
			return file.Open(ctx, fileConfig(s.File))
		},
	}
}

// KafkaSink is the kind of sink that writes events to topics of Apache Kafka.
func KafkaSink() SinkKind {
	return SinkKind{
		Name: "kafka",
		Describe: func(s config.Sink) string {
			return fmt.Sprintf("topic %s at %s", s.Kafka.Topic, strings.Join(s.Kafka.Brokers, ", "))
		},
		Check: checkKafka,
		Open: func(ctx context.Context, s config.Sink) (sinks.Sink, error) {
			return kafka.Open(ctx, kafkaConfig(s))
		},
	}
}

func checkKafka(s config.Sink) []config.Fault {
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
