package postgres

import (
	"errors"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
)

// Errors of [Open]. All but ErrNewerFormat may also end a session later, when the database fails over to another server.
var (
	// ErrUnsafe means that the server may lose what it confirmed. The message names the setting.
	ErrUnsafe = errors.New("journal: the database may lose what it confirmed")
	// ErrNewerFormat means that the log was written by a newer version of this program.
	ErrNewerFormat = errors.New("journal: the log has a newer format")
	// ErrTooOld means that the server is older than PostgreSQL 15.
	ErrTooOld = errors.New("journal: the server is too old")
)

// Replication says how the database survives the loss of a machine.
type Replication string

const (
	// ByStandby means that PostgreSQL's synchronous standbys have every commit. synchronous_standby_names must not be empty.
	ByStandby Replication = "standby"
	// ByStorage means that the storage below the server replicates, as in managed services over several zones.
	ByStorage Replication = "storage"
	// ByNothing means that a machine's death loses its data.
	ByNothing Replication = "nothing"
)

// Config says where the journal is and how long it keeps what. Only URL has no default.
type Config struct {
	// URL is the connection string of PostgreSQL's libpq, as a URL or as key=value pairs. It may name several hosts. It may hold a
	// password, so it is never printed.
	URL string
	// Schema holds the journal's tables. Default bridge.
	Schema string
	// ReplicatedBy says why the database may be trusted. Default ByStandby.
	ReplicatedBy Replication
	// Replica and Version describe this instance to operators. Default is none.
	Replica, Version string
	// Retention says how long things are kept.
	Retention Retention
	// Budget is how many bytes all tables may have, with their indexes. Webhooks are refused while they have more. Default is no bound: the
	// free space of the database's disk cannot be seen.
	Budget int64
	// DedupeAge is how long dedupe keys are kept, at least the longest window of any entry. Default 168h.
	DedupeAge time.Duration
	// Logger is told of failures and recoveries. Default is none.
	Logger *slog.Logger
	// Registerer gets the journal's metrics. Default is none.
	Registerer prometheus.Registerer

	// now is the clock for tests. By default it is the server's.
	now func() time.Time
	// noRetention leaves retention to tests, which call retain.
	noRetention bool
	// lease is how long a claim lasts without renewal. Default 15s.
	lease time.Duration
	// poll is how often the instance asks for the head. Default 100ms.
	poll time.Duration
	// eventsPerPartition is how many positions a partition of events has. Default 5 million.
	eventsPerPartition int64
}

// Retention bounds the data that are kept, by age and by size. 0 is the default, and less than 0 is no bound.
type Retention struct {
	// Age of events and of their webhooks. Default 168h.
	Age time.Duration
	// Size of events and webhooks together in bytes, with their indexes. Default 8 GiB. Whole partitions go, so the log is a
	// partition larger at most.
	Size int64
	// QuarantineAge is the age of quarantined webhooks. Default 720h.
	QuarantineAge time.Duration
	// ParkedAge is how long an event stays parked, from when it was parked last. Default 720h.
	ParkedAge time.Duration
}

func (c Config) withDefaults() Config {
	orDefault(&c.Schema, "bridge")
	orDefault(&c.ReplicatedBy, ByStandby)
	orDefault(&c.Logger, slog.New(slog.DiscardHandler))
	orDefault(&c.DedupeAge, 168*time.Hour)
	orDefault(&c.Retention.Age, 168*time.Hour)
	orDefault(&c.Retention.Size, 8<<30)
	orDefault(&c.Retention.QuarantineAge, 720*time.Hour)
	orDefault(&c.Retention.ParkedAge, 720*time.Hour)
	orDefault(&c.lease, 15*time.Second)
	orDefault(&c.poll, pollInterval)
	orDefault(&c.eventsPerPartition, 5_000_000)
	return c
}

func orDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// Place names the database and the schema to people, without the user and the password.
func (c Config) Place() string {
	c = c.withDefaults()
	parsed, err := pgx.ParseConfig(c.URL)
	if err != nil {
		return "PostgreSQL, schema " + c.Schema
	}
	hosts := []string{net.JoinHostPort(parsed.Host, strconv.Itoa(int(parsed.Port)))}
	for _, f := range parsed.Fallbacks {
		if host := net.JoinHostPort(f.Host, strconv.Itoa(int(f.Port))); !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	return "postgres://" + strings.Join(hosts, ",") + "/" + parsed.Database + ", schema " + c.Schema
}
