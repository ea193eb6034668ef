package daemon

import (
	"context"
	"time"

	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/postgres"
)

// PostgresSink is the kind of sink that writes events and the current state to tables of PostgreSQL.
func PostgresSink() SinkKind {
	return SinkKind{
		Name:     "postgres",
		Describe: func(s config.Sink) string { return postgres.Place(s.Postgres.URL.Reveal(), s.Postgres.Schema) },
		Check:    func(s config.Sink) []config.Fault { return faults("postgres", postgresSinkConfig(s).Check()) },
		Resumes:  func(config.Sink) bool { return true },
		Open: func(ctx context.Context, s config.Sink, from sinks.Origin) (sinks.Sink, error) {
			return postgres.Open(ctx, from, postgresSinkConfig(s))
		},
	}
}

func postgresSinkConfig(s config.Sink) postgres.Config {
	p := s.Postgres
	c := postgres.Config{
		URL: p.URL.Reveal(),
		Current: func() string {
			p.URL.Use(time.Now())
			return p.URL.Reveal()
		},
		Schema:        p.Schema,
		WithoutEvents: p.WithoutEvents,
		Required:      s.Required,
		Timeout:       p.Timeout,
	}
	if p.State != nil {
		c.State = &postgres.State{Kinds: p.State.Kinds}
	}
	return c
}
