package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/webhook-bridge/bridge/internal/journal"
)

const (
	// slowAfter is how long a transaction may take before the calls behind it are refused.
	slowAfter = 3 * time.Second
	// hungAfter is how long the server may take to answer before COMMIT was sent. It is longer than lockWait.
	hungAfter = 15 * time.Second
	// closeGrace is how long a transaction may take once the journal closes.
	closeGrace = 5 * time.Second
	// watchdogInterval is how often the watchdog looks at a slow transaction.
	watchdogInterval = time.Second
)

// errSlow is the problem while a transaction waits.
var errSlow = fmt.Errorf("%w: %w", journal.ErrUnavailable, errors.New("a commit waits for the database or for its standbys"))

// watchdog watches one transaction of the committer. When it takes long, the calls behind it are refused, so that they are answered
// now and not with it. A COMMIT is never cancelled: the watchdog ends its connection alone, and only when nobody can wait for it
// any more. When another server has taken over, [connections.cutServer] ends it.
type watchdog struct {
	j     *Journal
	conn  *pgx.Conn
	began time.Time
	// committing says that COMMIT was sent.
	committing atomic.Bool

	timer  *time.Timer
	ctx    context.Context
	cancel context.CancelFunc
	// ended is closed when the watchdog, once awake, has ended.
	ended chan struct{}
}

// watch begins to watch a transaction.
func (c *committer) watch() *watchdog {
	w := &watchdog{j: c.j, conn: c.conn, began: time.Now(), ended: make(chan struct{})}
	w.ctx, w.cancel = context.WithCancel(c.ctx)
	w.timer = time.AfterFunc(slowAfter, w.run)
	return w
}

// stop ends the watch, and reports whether the transaction was slow: then the queue refuses calls.
func (w *watchdog) stop() (slow bool) {
	slow = !w.timer.Stop()
	w.cancel()
	if slow {
		<-w.ended
	}
	return slow
}

func (w *watchdog) run() {
	defer close(w.ended)
	w.j.cfg.Logger.Warn("journal: a commit waits for the database or for its standbys; webhooks are refused meanwhile")
	w.j.problem.Store(&errSlow)
	w.j.refuse(errSlow)
	tick := time.NewTicker(watchdogInterval)
	defer tick.Stop()
	var closing time.Time
	for {
		select {
		case <-w.ctx.Done():
			return
		case <-tick.C:
		}
		if w.j.isClosing() && closing.IsZero() {
			closing = time.Now()
		}
		if why := w.hopeless(closing); why != "" {
			w.j.cfg.Logger.Error("journal: gives up a commit; it may have taken effect", "reason", why)
			_ = w.conn.PgConn().Conn().Close() // the committer sees that it is closed
			return
		}
	}
}

// hopeless returns why the transaction's connection should end, or nothing.
func (w *watchdog) hopeless(closing time.Time) string {
	switch {
	case !closing.IsZero() && time.Since(closing) > closeGrace:
		return "the journal closes"
	case !w.committing.Load() && time.Since(w.began) > hungAfter:
		return "the server does not answer"
	}
	return ""
}
