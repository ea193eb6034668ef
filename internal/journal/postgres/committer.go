package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/commit"
	"github.com/webhook-bridge/bridge/internal/journal/epoch"
	"github.com/webhook-bridge/bridge/sinks"
)

const (
	// firstRetry is how long the committer waits after a failure. The wait doubles up to lastRetry.
	firstRetry = 50 * time.Millisecond
	lastRetry  = 5 * time.Second
	// slowAfter is how long a group may take before the calls behind it are refused.
	slowAfter = 3 * time.Second
	// partitionTries is how often a group is tried again because a partition was missing.
	partitionTries = 3
	// smallGroup entries are too few to commit them alone while others arrive. linger is how long such a group waits for them.
	smallGroup = 8
	linger     = 2 * time.Millisecond
)

// committer commits groups, in one goroutine, on a session of its own.
type committer struct {
	j *Journal
	// conn is the session, nil while there is none. server is the server that it leads to.
	conn   *pgx.Conn
	server string
	// ctx is never done: no statement of the committer is cancelled.
	ctx context.Context

	// epochs are those that the committer knows, and shown those that it told the tail.
	epochs, shown *epoch.List
	// next is the position after the last event that was confirmed.
	next sinks.Position

	group commit.Group
	known known
	out   output
	// ended is when the last group ended, and entries how many entries it had.
	ended   time.Time
	entries int
}

// runCommitter fills groups from the queue and commits them until the journal closes and the queue is empty.
func (j *Journal) runCommitter() {
	c := &committer{j: j, ctx: context.Background()}
	defer c.disconnect()
	retry := firstRetry
	for {
		if c.fillGroup() {
			if err := c.commitGroup(); err == nil {
				continue
			} else if c.fail(err); j.isClosing() {
				return
			}
		} else {
			return
		}
		for c.recover() != nil {
			select {
			case <-j.closing:
				j.queue.Fail(errClosed)
				return
			case <-time.After(retry):
			}
			retry = min(2*retry, lastRetry)
		}
		retry = firstRetry
	}
}

// fillGroup waits until there are calls to commit. It returns false when the journal closes and there are none.
func (c *committer) fillGroup() bool {
	c.lingerForMore()
	for !c.j.queue.FillGroup(&c.group) {
		closing := c.j.isClosing() // before the queue is looked at: nothing is added to it after
		if c.j.queue.FillGroup(&c.group) {
			return true
		}
		if closing {
			return false
		}
		<-c.j.queue.Awake()
	}
	return true
}

// lingerForMore lets a group grow when the last one was small and the next would follow at once.
func (c *committer) lingerForMore() {
	if n := c.j.queue.Len(); c.entries < smallGroup && n > 0 && n < smallGroup && !c.j.isClosing() {
		time.Sleep(linger - min(linger, time.Since(c.ended)))
	}
}

// commitGroup commits a group and answers its calls.
func (c *committer) commitGroup() error {
	began := time.Now()
	slow := time.AfterFunc(slowAfter, c.refuse)
	done, err := c.tryGroup()
	if !slow.Stop() && err == nil {
		c.admit()
	}
	if err != nil {
		return err
	}
	var epochs *epoch.List
	if c.epochs != c.shown {
		epochs = c.epochs
	}
	c.next, c.shown = done.head.next, c.epochs
	c.j.tail.committed(done.head, epochs)
	c.j.confirmations.confirmed(began)
	c.entries = len(c.group.Entries())
	c.group.Answer(nil)
	c.ended = time.Now()
	c.j.metrics.observe(done.counts, c.ended.Sub(began))
	if done.counts.Events > 0 {
		c.j.notifications.wake()
	}
	return nil
}

// tryGroup commits a group. It makes partitions that are missing.
func (c *committer) tryGroup() (done committed, err error) {
	for range partitionTries {
		if c.conn == nil {
			if err := c.connect(); err != nil {
				return done, err
			}
		}
		if done, err = c.transact(); err == nil || code(err) != "23514" {
			return done, err
		}
		if err := c.j.ensurePartitions(c.ctx, c.known.head.next+sinks.Position(c.group.Plan().Events), c.days()); err != nil {
			return done, err
		}
	}
	return done, err
}

// days are the days on which the webhooks of the group were received.
func (c *committer) days() (all []time.Time) {
	known := make(map[int64]bool)
	for _, p := range c.group.Entries() {
		sec, nsec := p.ID.Time().UnixTime()
		day := time.Unix(sec, nsec).UTC().Truncate(24 * time.Hour)
		if !known[day.Unix()] {
			known[day.Unix()] = true
			all = append(all, day)
		}
	}
	return all
}

// committed is a group that was committed: the head behind it, and counts.
type committed struct {
	head   head
	counts commit.Counts
}

// transact runs the transaction of a group: once its COMMIT was sent, nothing but the server ends it.
func (c *committer) transact() (done committed, err error) {
	takeWarning(c.conn)
	if err := c.lookUp(); err != nil {
		return done, c.rollBack(err)
	}
	done.head = c.known.head
	now, err := c.advance(&done.head)
	if err != nil {
		return done, c.rollBack(err)
	}
	c.known.load(c.epochs, now)
	c.known.failDamaged(&c.group)
	done.head.next, done.counts = c.group.Decide(&c.known.Known, c.known.head.next)
	done.head.lastCommit = now
	if err := c.write(&done.head); err != nil {
		return done, c.rollBack(err)
	}
	if message, warned := takeWarning(c.conn); warned {
		c.disconnect()
		return done, fmt.Errorf("%w: %s", errUnconfirmed, message)
	}
	return done, nil
}

// advance brings the epochs up to date, begins one where the rules ask for it, and returns the time of the commit.
func (c *committer) advance(h *head) (now int64, err error) {
	now, fresh := epoch.Advance(h.reading, h.lastCommit)
	fresh = c.noticeLoss(h) || fresh || h.server != h.now
	if fresh {
		if _, err := c.j.beginEpoch(c.ctx, c.conn, h); err != nil {
			return 0, err
		}
		now = h.lastCommit
	}
	if c.epochs == nil || c.epochs.Last().Number != h.epoch {
		if c.epochs, err = c.j.loadEpochs(c.ctx, c.conn); err != nil {
			return 0, err
		}
	}
	return now, nil
}

// noticeLoss reports whether the log ends before what this instance has shown or acknowledged.
func (c *committer) noticeLoss(h *head) bool {
	if h.next >= c.next {
		return false
	}
	c.j.cfg.Logger.Error("journal: the database lost events that it had confirmed",
		"events", uint64(c.next-h.next), "position", uint64(h.next-1), "server", h.now)
	c.next = h.next
	return true
}

// rollBack ends a transaction that failed. The session stays if it is alive.
func (c *committer) rollBack(cause error) error {
	c.out.forget()
	c.epochs = c.shown // an epoch that this transaction began is gone
	if c.conn.IsClosed() {
		c.disconnect()
		return cause
	}
	if _, err := c.conn.Exec(c.ctx, "rollback"); err != nil || c.conn.PgConn().TxStatus() != 'I' {
		c.disconnect()
	}
	return cause
}

// connect opens the session.
func (c *committer) connect() error {
	conn, server, err := c.j.connectCommitter(c.ctx)
	if err != nil {
		return err
	}
	c.conn, c.server, c.epochs = conn, server, nil
	c.out.forget()
	return nil
}

// disconnect closes the session.
func (c *committer) disconnect() {
	if c.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(c.ctx, time.Second)
	defer cancel()
	_ = c.conn.Close(ctx) // nothing can be done about it
	c.conn = nil
}

// fail answers a group, and the calls behind it, with the cause.
func (c *committer) fail(cause error) {
	err := unavailable(cause)
	c.j.problem.Store(&err)
	c.j.failures.Add(1)
	c.j.cfg.Logger.Error("journal: commit", "error", describe(cause))
	c.group.Answer(err)
	if c.j.isClosing() {
		c.j.queue.Fail(errClosed)
		return
	}
	c.j.queue.Fail(err)
}

// recover commits an empty group. When that succeeds, calls are accepted again.
func (c *committer) recover() error {
	err := c.commitGroup()
	if err != nil {
		err := unavailable(err)
		c.group.Answer(err)
		c.j.problem.Store(&err)
		c.j.cfg.Logger.Error("journal: recover", "error", err)
		return err
	}
	c.admit()
	c.j.cfg.Logger.Info("journal: recovered", "next", uint64(c.next))
	return nil
}

// admit has the queue accept calls, unless the journal closes.
func (c *committer) admit() {
	c.j.problem.Store(nil)
	c.j.queue.Admit()
	if c.j.isClosing() {
		c.j.queue.Refuse(errClosed)
	}
}

// errSlow is the problem while a commit waits.
var errSlow = fmt.Errorf("%w: %w", journal.ErrUnavailable, errors.New("a commit waits for the database or for its standbys"))

// refuse answers the calls behind a group that takes long, also those to come.
func (c *committer) refuse() {
	c.j.cfg.Logger.Warn("journal: a commit waits for the database or for its standbys")
	c.j.problem.Store(&errSlow)
	if c.j.isClosing() {
		return
	}
	c.j.queue.Fail(errSlow)
}
