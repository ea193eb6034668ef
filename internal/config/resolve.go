package config

import (
	"log/slog"
	"maps"
	"math"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	configv1 "github.com/webhook-bridge/bridge/gen/bridge/config/v1"
)

const (
	day  = 24 * time.Hour
	year = 365 * day
)

// resolver turns the file's message into a Config and reports what the schema cannot rule out.
type resolver struct {
	*report
	connectors Connectors
	readFile   func(string) ([]byte, error)
	checks     Checks
}

func (r resolver) config(file *configv1.Config) *Config {
	return &Config{
		Listen:          r.listen(file.GetListen(), file.GetAccess()),
		Journal:         r.journal(file.GetJournal()),
		Sources:         r.sources(file.GetSources()),
		Sinks:           r.sinks(file.GetSinks()),
		Log:             logging(file.GetLog()),
		Access:          r.access(file.GetAccess()),
		ShutdownTimeout: r.duration("shutdown_timeout", file.GetShutdownTimeout(), 10*time.Second, time.Second, time.Hour),
	}
}

func (r resolver) journal(j *configv1.Journal) Journal {
	dir := orDefault(j.GetDir(), "./bridge-data")
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		r.addf("journal.dir", "is not a folder")
	}
	keep := j.GetRetention()
	return Journal{
		Dir:           dir,
		Age:           r.duration("journal.retention.age", keep.GetAge(), 7*day, time.Hour, 10*year),
		Size:          r.size("journal.retention.size", keep.GetSize(), 8*gib, 64*mib, math.MaxInt64),
		QuarantineAge: r.duration("journal.retention.quarantine_age", keep.GetQuarantineAge(), 30*day, time.Hour, 10*year),
		MinFree:       r.size("journal.min_free", j.GetMinFree(), 512*mib, mib, math.MaxInt64),
	}
}

func logging(l *configv1.Log) Log {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "warn": slog.LevelWarn, "error": slog.LevelError}
	return Log{Format: l.GetFormat(), Level: levels[l.GetLevel()]} // the zero level is info
}

func (r resolver) access(a *configv1.Access) Access {
	access := Access{Insecure: a.GetInsecure()}
	if len(a.GetTokens()) > 0 {
		access.Tokens = r.secrets("access.tokens", a.GetTokens(), checkBearer)
	}
	if len(a.GetAdminTokens()) > 0 {
		access.AdminTokens = r.secrets("access.admin_tokens", a.GetAdminTokens(), checkBearer)
	}
	return access
}

// secrets drops empty values, which is what the old one of two is when it has been retired, and demands that one is left.
func (r resolver) secrets(path string, values []string, check func(string) string) []Secret {
	var secrets []Secret
	for i, value := range values {
		if value == "" {
			continue
		}
		if reason := check(value); reason != "" {
			r.addf(element(path, i), "%s", reason)
		}
		secrets = append(secrets, NewSecret(value))
	}
	switch {
	case len(values) == 0:
		r.addf(path, "is missing: give at least one")
	case len(secrets) == 0:
		r.addf(path, "every value is empty; one must be left")
	}
	return secrets
}

// duration resolves an optional duration that must lie within least and most.
func (r resolver) duration(path string, d *durationpb.Duration, fallback, least, most time.Duration) time.Duration {
	if d == nil {
		return fallback
	}
	got := d.AsDuration()
	if got < least || got > most {
		r.addf(path, "must be at least %s and at most %s", brief(least), brief(most))
	}
	return got
}

// brief is d without its zero minutes and seconds.
func brief(d time.Duration) string {
	text := d.String()
	if rest, ok := strings.CutSuffix(text, "m0s"); ok {
		text = rest + "m"
	}
	if rest, ok := strings.CutSuffix(text, "h0m"); ok {
		text = rest + "h"
	}
	return text
}

// size resolves an optional size that must lie within least and most.
func (r resolver) size(path, text string, fallback, least, most int64) int64 {
	if text == "" {
		return fallback
	}
	n, ok := parseSize(text)
	switch {
	case !ok:
		r.addf(path, `must be a size, such as "64Ki", "1Mi" or "8Gi"`)
	case n < least:
		r.addf(path, "must be at least %s", FormatSize(least))
	case n > most:
		r.addf(path, "must be at most %s", FormatSize(most))
	}
	return n
}

func orDefault(text, fallback string) string {
	if text == "" {
		return fallback
	}
	return text
}

func (c Connectors) names() string {
	return strings.Join(slices.Sorted(maps.Keys(c)), ", ")
}

func canonical(header string) string { return http.CanonicalHeaderKey(header) }
