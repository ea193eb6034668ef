package daemon

import (
	"context"
	"fmt"
	"strings"

	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/content"
	"github.com/webhook-bridge/bridge/sinks/nats"
)

// NATSSink is the kind of sink that publishes events to streams of NATS JetStream.
func NATSSink() SinkKind {
	return SinkKind{
		Name: "nats",
		Describe: func(s config.Sink) string {
			return fmt.Sprintf("subject %s at %s", s.NATS.Subject, strings.Join(s.NATS.Servers, ", "))
		},
		Check: func(s config.Sink) []config.Fault { return faults("nats", natsConfig(s).Check()) },
		Open: func(ctx context.Context, s config.Sink, _ sinks.Origin) (sinks.Sink, error) {
			return nats.Open(ctx, natsConfig(s))
		},
	}
}

func natsConfig(s config.Sink) nats.Config {
	n := s.NATS
	c := nats.Config{
		Sink:            s.Name,
		Servers:         n.Servers,
		Subject:         n.Subject,
		Format:          content.Format(n.Format),
		Username:        n.Username,
		Password:        currentSecret(n.Password),
		Token:           currentSecret(n.Token),
		CredentialsFile: n.CredentialsFile,
		TLS:             clientTLSFiles(n.TLS),
		Timeout:         n.Timeout,
		Required:        s.Required,
	}
	if t := n.CreateStream; t != nil {
		c.CreateStream = &nats.CreateStream{Name: t.Name, Replicas: t.Replicas, MaxAge: t.MaxAge, Duplicates: t.Duplicates}
	}
	return c
}
