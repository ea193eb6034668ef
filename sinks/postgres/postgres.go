// Package postgres is a [sinks.Resumer] that writes to tables of PostgreSQL.
//
// The table events has a row for each event. When asked, each kind of data has a table of its current state, with a row for each source and
// subject, such as orders or customers. Its columns follow from the descriptors of the canonical events. docs/sinks/postgres.md
// describes them.
//
// # Delivery
//
// Exactly once. The events of a Deliver, the current state and the position are written in one transaction. A transaction whose end is
// unknown is settled by Resume: it ends the session, waits for the transaction, and reads the position. Each event has one row, whose key is
// the event's id. So an event that is delivered on purpose a second time, by an operator's retry or replay, is there once.
//
// The row of the sink in the table sink is locked by each transaction, and has the number of the opening that may write. So an opening
// that was replaced writes nothing, however late it wakes up.
//
// # Ordering
//
// Total: one transaction after another. Who reads events by position sees none appear before one that it has seen, except for events that are
// delivered later on purpose.
//
// An older event never overwrites newer state. The vendor's version decides, compared as [sinks.CompareVersions] does; without
// versions, the log's order does.
//
// # Errors
//
// An event is refused permanently if its id is not a UUID, if it has no canonical JSON, or if PostgreSQL refuses what it holds (SQLSTATE classes
// 22 and 23, and 54000): a value that is too large for an index, or a constraint that a user added. A column that a user added or altered
// is no fault of an event (22P02, 23502). When a transaction is refused, the sink
// divides its events until it finds the first one. U+0000, which PostgreSQL cannot store, is replaced by U+FFFD, and refuses no event.
// All other errors may be retried: an unreachable or read-only server, a full disk, missing rights.
//
// # Configuration
//
// [Config]. docs/sinks/postgres.md describes each key.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/webhook-bridge/bridge/sinks"
)

// Sink delivers to tables.
type Sink struct {
	config Config
	origin sinks.Origin
	schema string
	events *table // Nil if no events are stored.
	state  *state // Nil if no state is stored.
	// allSessions and ownSessions name the sessions of all openings, and of this one.
	allSessions, ownSessions string

	prepared preparations

	mu     sync.Mutex      // Held by Deliver, Resume and MoveTo.
	ctx    context.Context // Done when the sink is closed.
	cancel context.CancelFunc

	// Guarded by mu.
	conn     *pgx.Conn // Nil if there is no session.
	migrated bool
	staging  bool            // The user may make temporary tables.
	staged   map[*table]bool // The temporary tables that the session has.
	making   []*table        // Those that the transaction makes.
	fence    int64           // The number of this opening; 0 before Resume.
	fenced   bool
	// repeats: some of the last rows were there already, so rows are not copied into the tables directly.
	repeats bool
	// inserts: the database refuses to copy into one of the tables.
	inserts bool
}

// Open returns a sink for the events of an origin. If the configuration is wrong, the error joins all problems, each a [*KeyError]. Only with
// [Config.Required] it connects: it then fails, within ctx, unless the database answers and has the tables or lets the sink make them.
// Otherwise Open succeeds while the database is down, and the other calls return the error.
func Open(ctx context.Context, from sinks.Origin, c Config) (*Sink, error) {
	if problems := c.Check(); len(problems) > 0 {
		return nil, fmt.Errorf("postgres: open: %w", errors.Join(problems...))
	}
	s := &Sink{config: c, origin: from, schema: c.schema(), state: newState(c.schema(), from.Log, c.State)}
	if !c.WithoutEvents {
		s.events = newEventTable(s.schema)
	}
	s.allSessions, s.ownSessions = sessions(s.schema, from.Sink, rand.Uint32()) //nolint:gosec // a name, not a secret
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if c.Required {
		err := s.do(ctx, "open", func(ctx context.Context) error { return s.connect(ctx) })
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, nil
}

// do runs one call to the database.
func (s *Sink) do(ctx context.Context, what string, call func(ctx context.Context) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ctx.Err() != nil:
		return sinks.ErrClosed
	case ctx.Err() != nil:
		return ctx.Err()
	case s.fenced:
		return fmt.Errorf("postgres: %s: %w", what, sinks.ErrFenced)
	}
	limited, cancel := context.WithTimeout(ctx, s.config.timeout())
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	err := call(limited)
	if err == nil || errors.Is(err, sinks.ErrPermanent) {
		return err
	}
	s.disconnect() // The session may be anywhere in a transaction.
	if s.fence != 0 && isBroken(err) && s.isFenced(limited) {
		err = sinks.ErrFenced
	}
	s.fenced = errors.Is(err, sinks.ErrFenced)
	switch {
	case s.ctx.Err() != nil:
		return sinks.ErrClosed
	case ctx.Err() != nil:
		return ctx.Err()
	case limited.Err() != nil:
		err = fmt.Errorf("the database has not answered within %s: %w", s.config.timeout(), errTimeout)
	}
	return fmt.Errorf("postgres: %s: %w", what, classify(err))
}

var errTimeout = errors.New("time-out")

// isBroken reports whether the session ended by itself: another opening may have ended it.
func isBroken(err error) bool {
	var pg *pgconn.PgError
	return !errors.As(err, &pg) && !errors.Is(err, sinks.ErrFenced) || code(err) == "57P01"
}

// isFenced asks whether another opening has taken the sink over. False: it has not, or the database does not answer.
func (s *Sink) isFenced(ctx context.Context) bool {
	if ctx.Err() != nil || s.connect(ctx) != nil {
		return false
	}
	var fence int64
	if err := s.conn.QueryRow(ctx, s.sql("select fence from bridge.opening where name = $1"), s.origin.Sink).Scan(&fence); err != nil {
		s.disconnect()
		return errors.Is(err, pgx.ErrNoRows)
	}
	return fence != s.fence
}

// connect opens a session, unless there is one.
func (s *Sink) connect(ctx context.Context) error {
	if s.conn != nil {
		return nil
	}
	url := s.config.URL
	if s.config.Current != nil {
		url = s.config.Current()
	}
	conn, err := connect(ctx, url, s.ownSessions)
	if err != nil {
		return err
	}
	if !s.migrated {
		var kinds []*kind
		if s.state != nil {
			kinds = s.state.all
		}
		if err := migrate(ctx, conn, s.schema, kinds); err != nil {
			disconnect(conn)
			return err
		}
		s.migrated = true
	}
	const mayStage = "select has_database_privilege(current_database(), 'TEMP')"
	if err := conn.QueryRow(ctx, mayStage).Scan(&s.staging); err != nil {
		disconnect(conn)
		return err
	}
	s.conn, s.staged = conn, map[*table]bool{}
	return nil
}

func (s *Sink) disconnect() {
	if s.conn != nil {
		disconnect(s.conn)
		s.conn = nil
	}
}

// Resume implements [sinks.Resumer].
func (s *Sink) Resume(ctx context.Context) (at sinks.Reached, found bool, err error) {
	err = s.do(ctx, "resume", func(ctx context.Context) error {
		at, found, err = s.resume(ctx)
		return err
	})
	return at, found, err
}

const (
	// The numbers follow the clock, so that a database that was restored gives none again.
	announce = `insert into bridge.opening (name, fence) values ($1, (extract(epoch from clock_timestamp()) * 1000000)::bigint)
		on conflict (name) do update set fence = greatest(bridge.opening.fence + 1, excluded.fence) returning fence`
	takeOver = `insert into bridge.sink (name, fence) values ($1, $2)
		on conflict (name) do update set fence = excluded.fence, updated_at = now() where bridge.sink.fence < excluded.fence
		returning fence, log, epoch, position`
	lookAgain = "select fence, log, epoch, position from bridge.sink where name = $1 for update"
)

func (s *Sink) resume(ctx context.Context) (sinks.Reached, bool, error) {
	s.disconnect()
	if err := s.connect(ctx); err != nil {
		return sinks.Reached{}, false, err
	}
	if s.fence == 0 {
		return s.takeOver(ctx)
	}
	// This settles this opening's own last transaction.
	if _, err := s.conn.Exec(ctx, endSessions, s.ownSessions); err != nil {
		return sinks.Reached{}, false, err
	}
	at, err := scanSink(s.conn.QueryRow(ctx, s.sql(lookAgain), s.origin.Sink))
	if errors.Is(err, pgx.ErrNoRows) || err == nil && at.fence != s.fence {
		err = sinks.ErrFenced // Without a row: somebody removed it.
	}
	return at.Reached, at.found, err
}

// takeOver makes this opening the one that may write. It is told before the sessions of the others end, so that they learn why.
func (s *Sink) takeOver(ctx context.Context) (sinks.Reached, bool, error) {
	var fence int64
	if err := s.conn.QueryRow(ctx, s.sql(announce), s.origin.Sink).Scan(&fence); err != nil {
		return sinks.Reached{}, false, err
	}
	if _, err := s.conn.Exec(ctx, endSessions, s.allSessions); err != nil {
		return sinks.Reached{}, false, err
	}
	at, err := scanSink(s.conn.QueryRow(ctx, s.sql(takeOver), s.origin.Sink, fence))
	if errors.Is(err, pgx.ErrNoRows) {
		err = sinks.ErrFenced
	}
	if err != nil {
		return sinks.Reached{}, false, err
	}
	s.fence = fence
	return at.Reached, at.found, nil
}

// MoveTo implements [sinks.Resumer].
func (s *Sink) MoveTo(ctx context.Context, p sinks.Position) error {
	return s.do(ctx, "move", func(ctx context.Context) error {
		if err := s.ready(ctx); err != nil {
			return err
		}
		tag, err := s.conn.Exec(ctx, s.sql(setPosition), s.positionArgs(p)...)
		if err == nil && tag.RowsAffected() == 0 {
			return sinks.ErrFenced
		}
		return err
	})
}

// ready makes sure that there is a session, and that this opening has taken the sink over.
func (s *Sink) ready(ctx context.Context) error {
	if s.fence == 0 {
		_, _, err := s.resume(ctx)
		return err
	}
	return s.connect(ctx)
}

const setPosition = "update bridge.sink set log = $3, epoch = $4, position = $5, updated_at = now() where name = $1 and fence = $2"

func (s *Sink) positionArgs(p sinks.Position) []any {
	at := s.origin.Reached(p)
	return []any{s.origin.Sink, s.fence, at.Log, int64(at.Mark.Epoch), int64(at.Mark.Position)}
}

// Close implements [sinks.Sink]. It waits for a running call, which ends soon.
func (s *Sink) Close() error {
	s.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.disconnect()
	return nil
}
