package pgtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// FreezeReceiver stops the process by which a standby receives what the primary writes: the standby confirms nothing more.
func (s *Server) FreezeReceiver(tb testing.TB) {
	tb.Helper()
	err := poll(tb.Context(), "the standby receives", func() (bool, error) {
		all, err := s.children()
		for _, p := range all {
			if strings.Contains(p.title, "walreceiver") {
				s.frozen = append(s.frozen, p.pid)
				return true, syscall.Kill(p.pid, syscall.SIGSTOP)
			}
		}
		return false, err
	})
	if err != nil {
		tb.Fatal(err)
	}
}

// ThawReceiver lets it go on.
func (s *Server) ThawReceiver(tb testing.TB) {
	tb.Helper()
	s.thaw()
}

// StopReceiver ends the connection of a standby to the primary.
func (s *Server) StopReceiver(tb testing.TB) {
	tb.Helper()
	s.Exec(tb, "alter system set primary_conninfo = ''", "select pg_reload_conf()")
	err := poll(tb.Context(), "the standby is disconnected", func() (bool, error) {
		all, err := s.children()
		return !slices.ContainsFunc(all, func(p child) bool { return strings.Contains(p.title, "walreceiver") }), err
	})
	if err != nil {
		tb.Fatal(err)
	}
}

// StartReceiver connects it again.
func (s *Server) StartReceiver(tb testing.TB) {
	tb.Helper()
	if err := s.followPrimary(tb.Context()); err != nil {
		tb.Fatal(err)
	}
}

func (s *Server) followPrimary(ctx context.Context) error {
	return s.exec(ctx, fmt.Sprintf("alter system set primary_conninfo = '%s'", s.cluster.follow(s.Name)), "select pg_reload_conf()")
}

// AwaitStandby waits until a standby confirms commits.
func (c *Cluster) AwaitStandby(tb testing.TB) {
	tb.Helper()
	err := poll(tb.Context(), "a synchronous standby", func() (done bool, err error) {
		conn, err := c.session(tb.Context())
		if err != nil {
			return false, err
		}
		err = conn.QueryRow(tb.Context(), `select exists (select from pg_stat_replication where state = 'streaming' and sync_state in ('sync', 'quorum'))`).Scan(&done)
		return done, err
	})
	if err != nil {
		tb.Fatal(err)
	}
}

// Held returns a channel that is closed when a session of the clients' role waits for a standby with a statement that begins like this, in
// lower case. The test must not end before, unless stop is closed.
func (c *Cluster) Held(tb testing.TB, statement string, stop <-chan struct{}) <-chan struct{} {
	tb.Helper()
	ctx := context.Background()
	conn, err := c.primary.connect(ctx)
	if err != nil {
		tb.Fatal(err)
	}
	waits := make(chan struct{})
	go func() {
		defer func() { _ = conn.Close(ctx) }()
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			var found bool
			err := conn.QueryRow(ctx, `select exists (select from pg_stat_activity
				where wait_event = 'SyncRep' and usename = $1 and starts_with(ltrim(lower(query)), $2))`, User, statement).Scan(&found)
			if err != nil {
				return // the server has ended
			}
			if found {
				close(waits)
				return
			}
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	}()
	return waits
}

// Waiting returns the statements whose commits wait for a standby, of sessions of the clients' role.
func (c *Cluster) Waiting(tb testing.TB) (statements []string) {
	tb.Helper()
	ctx := context.Background()
	rows, err := c.Admin(tb).Query(ctx, `select query from pg_stat_activity where wait_event = 'SyncRep' and usename = $1`, User)
	if err == nil {
		statements, err = pgx.CollectRows(rows, pgx.RowTo[string])
	}
	if err != nil {
		tb.Fatal(err)
	}
	return statements
}

// Newest is the index of the standby that has received most. With the primary dead it is the one to promote.
func (c *Cluster) Newest(tb testing.TB) (index int) {
	tb.Helper()
	most := int64(-1)
	for i, s := range c.standbys {
		conn, err := s.connect(tb.Context())
		if err != nil {
			tb.Fatal(err)
		}
		var received int64
		err = conn.QueryRow(tb.Context(), "select pg_wal_lsn_diff(pg_last_wal_receive_lsn(), '0/0')::bigint").Scan(&received)
		if err := errors.Join(err, conn.Close(tb.Context())); err != nil {
			tb.Fatal(err)
		}
		if received > most {
			index, most = i, received
		}
	}
	return index
}
