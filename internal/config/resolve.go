package config

import (
	"cmp"
	"log/slog"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/webhook-bridge/bridge/connectors"
	configv1 "github.com/webhook-bridge/bridge/gen/bridge/config/v1"
	"github.com/webhook-bridge/bridge/internal/schema"
	"github.com/webhook-bridge/bridge/internal/secret"
)

// resolver converts the file's message to a Config, and reports problems that the schema's rules cannot find.
type resolver struct {
	*report
	connectors map[string]*connectors.Connector
	readFile   func(string) ([]byte, error)
	checks     Checks
}

func (r resolver) config(file *configv1.Config) *Config {
	listen := r.listen(file.GetListen(), file.GetAccess())
	journal := r.journal(file.GetJournal())
	return &Config{
		Listen:          listen,
		Journal:         journal,
		Sources:         r.sources(file.GetSources(), listen.PublicURL),
		Sinks:           r.sinks(file.GetSinks(), journal),
		Log:             logging(file.GetLog()),
		Access:          r.access(file.GetAccess(), listen),
		Streams:         r.streams(file.GetStreams()),
		Telemetry:       r.telemetry(file.GetTelemetry()),
		ShutdownTimeout: r.duration("shutdown_timeout", file.GetShutdownTimeout()),
		ShutdownDelay:   r.durationOf("shutdown_delay", schema.At("shutdown_delay").Shared(journal.Postgres != nil), file.GetShutdownDelay()),
	}
}

func (r resolver) streams(s *configv1.Streams) Streams {
	return Streams{
		MaxAge:     r.duration("streams.max_age", s.GetMaxAge()),
		MaxOpen:    number("streams.max_open", s.GetMaxOpen()),
		MaxGroups:  number("streams.max_groups", s.GetMaxGroups()),
		MaxMembers: number("streams.max_members", s.GetMaxMembers()),
		Tail:       int(r.size("streams.tail", s.GetTail(), 0)),
	}
}

func logging(l *configv1.Log) Log {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
	return Log{Format: l.GetFormat(), Level: levels[text("log.level", l.GetLevel())]}
}

// secrets returns the values of a list of secrets, with their places.
func (r resolver) secrets(path string, texts []string) []secret.Value {
	values := make([]secret.Value, 0, len(texts))
	for i, text := range texts {
		values = append(values, r.secret(element(path, i), text))
	}
	return values
}

func (r resolver) secret(path, text string) secret.Value {
	return secret.At(path, text, len(r.files[path]) > 0)
}

// optionalSecret returns the zero Value for a key that is not there.
func (r resolver) optionalSecret(path, text string) secret.Value {
	if text == "" && len(r.files[path]) == 0 {
		return secret.Value{}
	}
	return r.secret(path, text)
}

// duration resolves an optional duration by the rules of its key.
func (r resolver) duration(path string, d *durationpb.Duration) time.Duration {
	return r.durationOf(path, schema.At(path), d)
}

func (r resolver) durationOf(path string, key schema.Key, d *durationpb.Duration) time.Duration {
	if d == nil {
		return key.Duration()
	}
	got := d.AsDuration()
	if reason := key.CheckDuration(got); reason != "" {
		r.addf(path, "%s", reason)
	}
	return got
}

// size resolves an optional size by the rules of its key. The size needed is valid even where the rules have a lower maximum.
func (r resolver) size(path, text string, needed int64) int64 {
	key := schema.At(path)
	if text == "" {
		return key.Size()
	}
	n, ok := schema.ParseSize(text)
	if !ok {
		r.addf(path, `must be a size, such as "64Ki", "1Mi" or "8Gi"`)
	} else if reason := key.CheckSize(n, needed); reason != "" {
		r.addf(path, "%s", reason)
	}
	return n
}

// text resolves an optional text.
func text(path, value string) string { return cmp.Or(value, schema.At(path).Text()) }

// number resolves an optional number, where 0 means that it is not set.
func number(path string, n uint32) int { return cmp.Or(int(n), schema.At(path).Number()) }
