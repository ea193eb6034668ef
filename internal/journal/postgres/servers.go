package postgres

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
)

// servers keeps an instance from going back to a server that was replaced. After a failover the old primary may come back alone. It
// may have events that no standby had, at positions that now have others. Its timeline is lower than that of the server which
// took its place.
type servers struct {
	mu sync.RWMutex
	// newest is the name of the newest server that this instance had a session with.
	newest string
}

// serverKey is where a session keeps the name of its server. A session never changes its server, nor does the server change its
// timeline: a promoted standby had no session that could write.
const serverKey = "bridge.server"

// admit notes the server of a new session, or refuses it. It returns the server that the new one takes the place of, if there is one. A server of another system is admitted: the database was moved, or restored from
// a dump.
func (s *servers) admit(ctx context.Context, conn *pgx.Conn) (replaced string, err error) {
	var name string
	if err := conn.QueryRow(ctx, `select `+selectServer).Scan(&name); err != nil {
		return "", err
	}
	conn.PgConn().CustomData()[serverKey] = name
	s.mu.Lock()
	defer s.mu.Unlock()
	system, timeline, _ := strings.Cut(name, "/")
	if known, newest, _ := strings.Cut(s.newest, "/"); system == known && timeline < newest {
		return "", fmt.Errorf("%w: it was replaced, since it is on timeline %s, and this instance has used timeline %s; "+
			"if the database was restored from a backup, start the instance again", ErrUnsafe, timeline, newest)
	}
	if s.newest != name {
		replaced, s.newest = s.newest, name
	}
	return replaced, nil
}

// serverOf returns the name of a session's server.
func serverOf(conn *pgx.Conn) string {
	name, _ := conn.PgConn().CustomData()[serverKey].(string)
	return name
}

// isNewest reports whether no other server took the place of one.
func (s *servers) isNewest(name string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return name == s.newest
}
