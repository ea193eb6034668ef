package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

const (
	// oldestServer is the oldest server_version_num that this engine runs on.
	oldestServer = 150000
	// poolSize bounds the sessions that calls share. Of these, maxWrites at most have a transaction that writes: while no standby confirms,
	// their COMMITs wait, and reads of what is confirmed go on.
	poolSize  = 8
	maxWrites = poolSize / 2
	// connectTimeout bounds how long a server may take to accept a session.
	connectTimeout = 5 * time.Second
	// frozenAfter is how long a session may stop in the middle of a transaction, in milliseconds. The server then ends it.
	frozenAfter = "3000"
	// lockWait is how long a statement waits for a lock, in milliseconds.
	lockWait = "5000"
)

var schemaName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,50}$`)

// poolConfig returns the settings of all sessions.
func poolConfig(cfg *Config) (*pgxpool.Config, error) {
	if !schemaName.MatchString(cfg.Schema) {
		return nil, fmt.Errorf("journal: schema %q: want lower-case letters, digits and underscores", cfg.Schema)
	}
	c, err := pgxpool.ParseConfig(cfg.URL)
	if err != nil {
		return nil, errURL
	}
	c.MaxConns = poolSize
	setSession(c.ConnConfig, cfg)
	c.BeforeConnect = func(_ context.Context, one *pgx.ConnConfig) error {
		neverCancel(one)
		return nil
	}
	return c, nil
}

// errURL is returned for a URL that cannot be read. What the parser says may hold the password.
var errURL = errors.New("journal: the database's URL cannot be read: want postgres://USER:PASSWORD@HOST:PORT/DATABASE or HOST=… USER=… pairs")

// setSession sets what every session needs. A statement has no deadline, so that the server never cancels a COMMIT.
func setSession(c *pgx.ConnConfig, cfg *Config) {
	c.OnNotice = noteWarning
	c.ConnectTimeout = connectTimeout
	c.ValidateConnect = checkWritable
	p := c.RuntimeParams
	p["application_name"] = strings.TrimSpace("bridge " + cfg.Replica)
	p["synchronous_commit"] = "on"
	p["statement_timeout"] = "0"
	p["idle_in_transaction_session_timeout"] = frozenAfter
	p["idle_session_timeout"] = "0"
	p["lock_timeout"] = lockWait
	p["default_transaction_isolation"] = "read committed"
	p["client_min_messages"] = "warning"
	p["timezone"] = "UTC"
}

// Errors of sessions that cannot write. Where the URL names several hosts, the next one is tried.
var (
	errStandby  = errors.New("the server is a standby: it is in recovery")
	errReadOnly = errors.New("the server takes no writes: default_transaction_read_only is on")
)

// checkWritable refuses a server that cannot write.
func checkWritable(ctx context.Context, conn *pgconn.PgConn) error {
	results, err := conn.Exec(ctx, "select pg_is_in_recovery(), current_setting('transaction_read_only')").ReadAll()
	switch {
	case err != nil:
		return err
	case len(results) != 1 || len(results[0].Rows) != 1 || len(results[0].Rows[0]) != 2:
		return errResult
	case string(results[0].Rows[0][0]) == "t":
		return errStandby
	case string(results[0].Rows[0][1]) == "on":
		return errReadOnly
	}
	return nil
}

// neverCancel has a session never ask the server to cancel what it runs. pgx asks for that whenever a connection breaks, also in the
// middle of a COMMIT, which then would show data that no standby has.
func neverCancel(c *pgx.ConnConfig) {
	var established atomic.Bool
	dial, validate := c.DialFunc, c.ValidateConnect
	c.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		if established.Load() {
			return nil, errNoCancel
		}
		return dial(ctx, network, address)
	}
	c.ValidateConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		err := validate(ctx, conn)
		established.Store(err == nil)
		return err
	}
}

var errNoCancel = errors.New("journal: a session does not cancel its statements")

// connectCommitter opens the committer's session, and returns the name of the server that it leads to.
func (j *Journal) connectCommitter(ctx context.Context) (conn *pgx.Conn, server string, err error) {
	c := j.pool.Config().ConnConfig
	neverCancel(c)
	for name, value := range map[string]string{
		// The tables grow faster than their statistics. A plan that was made for small ones would read them whole.
		"enable_seqscan": "off", "plan_cache_mode": "force_generic_plan", "jit": "off",
	} {
		c.RuntimeParams[name] = value
	}
	if conn, err = j.connectWith(ctx, c); err != nil {
		return nil, "", err
	}
	ctx, cancel := context.WithTimeout(ctx, hungAfter)
	defer cancel()
	if err = j.prepare(ctx, conn); err == nil {
		_, err = conn.Exec(ctx, preferLZ4)
	}
	if err != nil {
		disconnect(conn)
		return nil, "", err
	}
	return conn, serverOf(conn), nil
}

// preferLZ4 has large values compressed by LZ4, where the server was built with it. PostgreSQL's own compression takes several times as long.
const preferLZ4 = `select set_config(name, 'lz4', false) from pg_settings where name = 'default_toast_compression' and 'lz4' = any(enumvals)`

// checkSession refuses a session of a server that is unsafe, or that was replaced.
func (j *Journal) checkSession(ctx context.Context, conn *pgx.Conn) error {
	if err := checkServer(ctx, conn, &j.cfg); err != nil {
		return err
	}
	replaced, err := j.servers.admit(ctx, conn)
	if err != nil {
		return err
	}
	if replaced != "" {
		j.cfg.Logger.Warn("journal: another server has taken over; sessions with the one before are ended", "server", serverOf(conn), "before", replaced)
		j.connections.cutServer(replaced)
	}
	j.connections.note(conn)
	if !j.servers.isNewest(serverOf(conn)) { // replaced since, and not noted then
		return errReplaced
	}
	return nil
}

// connect opens a session beside the pool's.
func (j *Journal) connect(ctx context.Context) (*pgx.Conn, error) {
	c := j.pool.Config().ConnConfig
	neverCancel(c)
	return j.connectWith(ctx, c)
}

// connectWith has the time for several hosts of which the first do not answer, also where ctx ends before. It ends when ctx is cancelled.
func (j *Journal) connectWith(ctx context.Context, c *pgx.ConnConfig) (*pgx.Conn, error) {
	caller := ctx
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), hungAfter)
	defer cancel()
	defer context.AfterFunc(caller, func() {
		if errors.Is(caller.Err(), context.Canceled) {
			cancel()
		}
	})()
	conn, err := pgx.ConnectConfig(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := j.checkSession(ctx, conn); err != nil {
		disconnect(conn)
		return nil, err
	}
	return conn, nil
}

// disconnect closes a session, which may be nil.
func disconnect(conn *pgx.Conn) {
	if conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Close(ctx) // nothing can be done about it
}

// errEncoding is returned for a database that cannot hold all texts.
var errEncoding = errors.New("journal: the database's encoding must be UTF8")

// checkServer refuses a session of a server that is too old or unsafe. It runs for every new session, since the database may have
// failed over to another server.
func checkServer(ctx context.Context, conn *pgx.Conn, cfg *Config) error {
	var version int
	var text, encoding string
	var s safety
	err := conn.QueryRow(ctx, `select current_setting('server_version_num')::int, current_setting('server_version'),
		current_setting('server_encoding'), `+selectSafety).Scan(&version, &text, &encoding, &s.fsync, &s.fullPages, &s.standbys)
	switch {
	case err != nil:
		return err
	case version < oldestServer:
		return fmt.Errorf("%w: it is PostgreSQL %s, and the oldest supported is %d", ErrTooOld, text, oldestServer/10000)
	case encoding != "UTF8":
		return fmt.Errorf("%w: it is %s", errEncoding, encoding)
	case s.check(cfg) != nil:
		return s.check(cfg)
	case version >= 170000:
		_, err = conn.Exec(ctx, "set transaction_timeout = 0")
	}
	return err
}

// safety has the settings without which a server may lose what it confirmed. An operator, or the program that manages the failover, may
// change them while sessions are open, so the head and each confirmation are read together with them.
type safety struct{ fsync, fullPages, standbys string }

const selectSafety = `current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_standby_names')`

// check returns ErrUnsafe, with the setting that is unsafe, or nil.
func (s *safety) check(cfg *Config) error {
	switch {
	case s.fsync != "on":
		return fmt.Errorf("%w: fsync is %s", ErrUnsafe, s.fsync)
	case s.fullPages != "on":
		return fmt.Errorf("%w: full_page_writes is %s", ErrUnsafe, s.fullPages)
	case s.standbys == "" && cfg.ReplicatedBy == ByStandby:
		return fmt.Errorf("%w: synchronous_standby_names is empty, and replicated_by does not say what else replicates", ErrUnsafe)
	}
	return nil
}

// sql puts the schema's name in the place of bridge.
func (j *Journal) sql(query string) string {
	if j.cfg.Schema == "bridge" {
		return query
	}
	return strings.ReplaceAll(query, "bridge.", j.cfg.Schema+".")
}

// unavailable makes an [journal.ErrUnavailable] of what a session or a transaction ended with. Errors of the contract stay.
func unavailable(err error) error {
	for _, known := range []error{
		journal.ErrUnavailable, journal.ErrNotFound, journal.ErrLost, journal.ErrConflict, journal.ErrLimit, sinks.ErrClosed, sinks.ErrExpired, sinks.ErrFuture,
		sinks.ErrForked, sinks.ErrDamaged, context.Canceled, context.DeadlineExceeded,
	} {
		if err == nil || errors.Is(err, known) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", journal.ErrUnavailable, describe(err))
}

// describe names the cause of a failure for operators. The texts of PostgreSQL's own errors hold no values of ours, except in their
// details, which are left out.
func describe(err error) error {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		text := "database: " + pg.Message + " (SQLSTATE " + pg.Code + ")"
		if hint := hints[pg.Code]; hint != "" {
			text += ": " + hint
		}
		return errors.New(text)
	}
	return err
}

// hints say what an operator can do, by SQLSTATE.
var hints = map[string]string{
	"28P01": "check the password of journal.postgres.url",
	"28000": "check the user of journal.postgres.url, and pg_hba.conf",
	"3D000": "make the database first",
	"42501": "the user needs CREATE in the database, or must own the schema and its tables",
	"25006": "the server is a standby, or read-only",
	"53100": "the server's disk is full",
	"53300": "raise max_connections, or run fewer replicas",
	"55P03": "another replica holds the head of the log, or a share of a group: it waits for the standbys, or it is frozen",
	"57P01": "the server shuts down, or an administrator ended the session",
	"57P03": "the server starts or shuts down",
}

// code returns the SQLSTATE of an error, or nothing.
func code(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}
