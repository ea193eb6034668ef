package config

import (
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	configv1 "github.com/webhook-bridge/bridge/gen/bridge/config/v1"
	"github.com/webhook-bridge/bridge/internal/secret"
)

// PostgresSink is a schema of a database to write to.
type PostgresSink struct {
	URL    secret.Value
	Schema string
	// State is nil if no current state is stored.
	State         *PostgresState
	WithoutEvents bool
	Timeout       time.Duration
}

// PostgresState has the kinds with a table of their current state. None means all.
type PostgresState struct {
	Kinds []string
}

func (r resolver) postgresSink(path string, file *configv1.PostgresSink) *PostgresSink {
	p := &PostgresSink{
		URL:           r.secret(path+".url", file.GetUrl()),
		Schema:        text(path+".schema", file.GetSchema()),
		WithoutEvents: file.GetWithoutEvents(),
		Timeout:       r.duration(path+".timeout", file.GetTimeout()),
	}
	if s := file.GetState(); s != nil {
		p.State = &PostgresState{Kinds: s.GetKinds()}
	}
	return p
}

// besideJournal refuses a sink in the journal's own schema.
func (r resolver) besideJournal(path string, sink *PostgresSink, journal *Postgres) {
	if sink == nil || journal == nil || sink.Schema != journal.Schema || !sameDatabase(sink.URL.Reveal(), journal.URL.Reveal()) {
		return
	}
	r.addf(path+".schema", "is the journal's, in line %d: a sink needs another schema, or another database", r.place("journal.postgres").line)
}

// sameDatabase reports whether two connection strings name a common server and the same database. It does not know that two names are one
// server; the sink finds that when it opens.
func sameDatabase(a, b string) bool {
	hosts, name := databaseOf(a)
	others, other := databaseOf(b)
	return name == other && slices.ContainsFunc(hosts, func(h string) bool { return slices.Contains(others, h) })
}

func databaseOf(url string) (hosts []string, name string) {
	parsed, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, ""
	}
	hosts = []string{net.JoinHostPort(parsed.Host, strconv.Itoa(int(parsed.Port)))}
	for _, f := range parsed.Fallbacks {
		hosts = append(hosts, net.JoinHostPort(f.Host, strconv.Itoa(int(f.Port))))
	}
	return hosts, parsed.Database
}

// sinkKinds lists the kinds of sinks that the schema has.
func sinkKinds() string {
	fields := (&configv1.Sink{}).ProtoReflect().Descriptor().Oneofs().ByName("kind").Fields()
	names := make([]string, 0, fields.Len())
	for i := range fields.Len() {
		names = append(names, string(fields.Get(i).Name()))
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
