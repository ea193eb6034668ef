package daemon

import (
	"context"
	"fmt"
	"strings"

	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/amqp"
	"github.com/webhook-bridge/bridge/sinks/content"
)

// AMQPSink is the kind of sink that publishes events to RabbitMQ.
func AMQPSink() SinkKind {
	return SinkKind{
		Name: "amqp",
		Describe: func(s config.Sink) string {
			return fmt.Sprintf("routing key %s of exchange %q at %s", s.AMQP.RoutingKey, s.AMQP.Exchange, strings.Join(s.AMQP.Brokers, ", "))
		},
		Check: func(s config.Sink) []config.Fault { return faults("amqp", amqpConfig(s).Check()) },
		Open: func(ctx context.Context, s config.Sink, _ sinks.Origin) (sinks.Sink, error) {
			return amqp.Open(ctx, amqpConfig(s))
		},
	}
}

func amqpConfig(s config.Sink) amqp.Config {
	a := s.AMQP
	return amqp.Config{
		Brokers:     a.Brokers,
		VirtualHost: a.VirtualHost,
		Username:    a.Username,
		Password:    currentSecret(a.Password),
		TLS:         clientTLSFiles(a.TLS),
		Exchange:    a.Exchange,
		Declare:     a.Declare,
		RoutingKey:  a.RoutingKey,
		Unroutable:  amqp.Unroutable(a.Unroutable),
		Format:      content.Format(a.Format),
		Timeout:     a.Timeout,
		Required:    s.Required,
	}
}
