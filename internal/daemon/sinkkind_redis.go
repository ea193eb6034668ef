package daemon

import (
	"context"
	"fmt"
	"strings"

	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/content"
	"github.com/webhook-bridge/bridge/sinks/redis"
)

// RedisSink is the kind of sink that appends events to streams of Redis.
func RedisSink() SinkKind {
	return SinkKind{
		Name: "redis",
		Describe: func(s config.Sink) string {
			return fmt.Sprintf("stream %s at %s", s.Redis.Stream, strings.Join(s.Redis.Addresses, ", "))
		},
		Check:   func(s config.Sink) []config.Fault { return faults("redis", redisConfig(s).Check()) },
		Resumes: func(config.Sink) bool { return true },
		Open: func(ctx context.Context, s config.Sink, from sinks.Origin) (sinks.Sink, error) {
			return redis.Open(ctx, redisConfig(s), from)
		},
	}
}

func redisConfig(s config.Sink) redis.Config {
	r := s.Redis
	return redis.Config{
		Addresses: r.Addresses,
		Master:    r.Master,
		Username:  r.Username,
		Password:  currentSecret(r.Password),
		Database:  r.Database,
		TLS:       clientTLSFiles(r.TLS),
		Stream:    r.Stream,
		Format:    content.Format(r.Format),
		MaxLength: r.MaxLength,
		Replicas:  r.Replicas,
		Timeout:   r.Timeout,
		Required:  s.Required,
	}
}
