package postgres

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// connectTimeout bounds how long a server may take to accept a session.
	connectTimeout = 10 * time.Second
	// closeTimeout bounds the goodbye to the server.
	closeTimeout = time.Second
	// frozenAfter is how long a session may stop in the middle of a transaction, in milliseconds. The server then ends it.
	frozenAfter = "10000"
	// lockWait is how long a statement waits for a lock, in milliseconds.
	lockWait = "10000"
)

// The server's machine may vanish without a word. Then the kernel ends the connection.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 3 * time.Second, Count: 3}

var (
	errStandby  = errors.New("the server is a standby: it is in recovery")
	errReadOnly = errors.New("the server takes no writes: default_transaction_read_only is on")
)

// connect opens a session with a name, by which other sessions find it.
func connect(ctx context.Context, url, name string) (*pgx.Conn, error) {
	c, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("url: %w", errURL)
	}
	c.ConnectTimeout = connectTimeout
	c.ValidateConnect = checkWritable
	c.DialFunc = (&net.Dialer{KeepAliveConfig: keepAlive}).DialContext
	p := c.RuntimeParams
	p["application_name"] = name
	p["synchronous_commit"] = "on"
	p["statement_timeout"] = "0"
	p["idle_in_transaction_session_timeout"] = frozenAfter
	p["idle_session_timeout"] = "0"
	p["lock_timeout"] = lockWait
	p["default_transaction_isolation"] = "read committed"
	p["client_min_messages"] = "warning"
	p["timezone"] = "UTC"
	return pgx.ConnectConfig(ctx, c)
}

// checkWritable refuses a server that cannot write. Where the URL names several hosts, the next one is tried.
func checkWritable(ctx context.Context, conn *pgconn.PgConn) error {
	results, err := conn.Exec(ctx, "select pg_is_in_recovery(), current_setting('transaction_read_only')").ReadAll()
	switch {
	case err != nil:
		return err
	case len(results) != 1 || len(results[0].Rows) != 1:
		return errors.New("the server's answer is not PostgreSQL's")
	case string(results[0].Rows[0][0]) == "t":
		return errStandby
	case string(results[0].Rows[0][1]) == "on":
		return errReadOnly
	}
	return nil
}

func disconnect(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	_ = conn.Close(ctx) // the server ends the session in any case
}

// sessions name the sessions of a sink at the server: prefix is of all its openings, and the whole of one. PostgreSQL keeps 63 bytes.
func sessions(schema, sink string, opening uint32) (prefix, whole string) {
	h := fnv.New32a()
	_, _ = h.Write([]byte(schema + "/" + sink))
	prefix = fmt.Sprintf("bridge sink %.30s %08x/", sink, h.Sum32())
	return prefix, prefix + fmt.Sprintf("%08x", opening)
}

// endSessions ends the sessions of a role whose names begin with a prefix. One of them may be frozen in the middle of a transaction: it would
// hold its locks for as long as it is.
const endSessions = `select pg_terminate_backend(pid) from pg_stat_activity
	where datname = current_database() and usename = current_user and pid <> pg_backend_pid() and starts_with(application_name, $1)`
