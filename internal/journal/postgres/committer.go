package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/webhook-bridge/bridge/internal/journal/commit"
	"github.com/webhook-bridge/bridge/internal/journal/epoch"
	"github.com/webhook-bridge/bridge/sinks"
)

const (
	// firstRetry is how long the committer waits after a failure. The wait doubles up to lastRetry.
	firstRetry = 50 * time.Millisecond
	lastRetry  = 5 * time.Second
	// partitionTries is how often a group is tried again because a partition was missing.
	partitionTries = 3
	// smallGroup entries are too few to commit them alone while others arrive. linger is how long such a group waits for them.
	smallGroup = 8
	linger     = 2 * time.Millisecond
	// hurryGroups is how many groups do not linger after one that lingered in vain.
	hurryGroups = 8
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

	group commit.Group
	known known
	out   output
	// ended is when the last group ended, and entries how many entries it had.
	ended   time.Time
	entries int
	// hurry is how many groups do not linger.
	hurry int
	// losses is how many losses of the database were noticed until the last commit.
	losses uint64
	// failing says that the last group failed. wait is the timer of pause.
	failing bool
	wait    *time.Timer
}

// runCommitter fills groups from the queue and commits them until the journal closes and the queue is empty.
func (j *Journal) runCommitter() {
	c := &committer{j: j, ctx: context.Background(), wait: time.NewTimer(0)}
	defer func() { disconnect(c.conn) }()
	if err := c.connect(); err != nil {
		c.fail(err)
	}
	for c.recoverCommits() && c.fillGroup() {
		if err := c.commitGroup(); err != nil {
			c.fail(err)
		}
	}
	j.queue.Fail(errClosed)
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

// lingerForMore lets a group grow when the last one was small and the next would follow at once. When nothing comes meanwhile, as from
// a sender that waits for each answer, the next groups do not linger.
func (c *committer) lingerForMore() {
	n := c.j.queue.Len()
	if c.entries >= smallGroup || n == 0 || n >= smallGroup {
		return
	}
	if c.hurry > 0 {
		c.hurry--
		return
	}
	wait := linger - time.Since(c.ended)
	c.pause(wait)
	if wait > 0 && c.j.queue.Len() == n {
		c.hurry = hurryGroups
	}
}

// pause waits, less if the journal closes.
func (c *committer) pause(d time.Duration) {
	if d <= 0 {
		return
	}
	c.wait.Reset(d)
	select {
	case <-c.wait.C:
	case <-c.j.closing:
	}
}

// commitGroup commits a group and answers its calls.
func (c *committer) commitGroup() error {
	began := time.Now()
	done, err := c.tryGroup()
	if err != nil {
		return err
	}
	var epochs *epoch.List
	if c.epochs != c.shown {
		epochs = c.epochs
	}
	c.shown, c.losses = c.epochs, done.losses
	c.j.tail.committed(done.head, epochs)
	c.j.confirmations.confirmed(done.sent)
	c.entries = len(c.group.Entries())
	c.group.Answer(nil)
	c.ended = time.Now()
	done.took = c.ended.Sub(began)
	c.j.metrics.observe(done)
	if done.counts.Events > 0 {
		c.j.notifications.wake()
	}
	return nil
}

// tryGroup commits a group. It makes partitions that are missing. Where the session had ended, as one that was idle may have, it tries
// once more on another session: as long as COMMIT was not sent, nothing was committed.
func (c *committer) tryGroup() (done committed, err error) {
	broken := false
	for range partitionTries {
		if c.conn != nil && !c.j.servers.isNewest(c.server) {
			c.disconnect()
		}
		if c.conn == nil {
			if err := c.connect(); err != nil {
				return done, err
			}
		}
		began := time.Now()
		done, err = c.transact()
		switch {
		case err == nil:
			return done, nil
		case c.conn == nil && !broken && done.sent.IsZero() && time.Since(began) < slowAfter:
			broken = true
			continue
		case code(err) != "23514":
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

// committed is a group that was committed.
type committed struct {
	// head is the head behind it.
	head   head
	counts commit.Counts
	// headWait is how long it took to lock the head and to look up what is known, confirmation how long to write the rows and to have
	// them confirmed, and took how long all of it took.
	headWait, confirmation, took time.Duration
	// losses is how many losses were noticed before.
	losses uint64
	// sent is a time before COMMIT was sent.
	sent time.Time
}

// transact runs the transaction of a group: once its COMMIT was sent, nothing but the server ends it.
func (c *committer) transact() (done committed, err error) {
	takeWarning(c.conn)
	w := c.watch()
	done, err = c.runTransaction(w)
	if err != nil {
		err = c.rollBack(err)
	} else if message, warned := takeWarning(c.conn); warned {
		c.disconnect()
		err = fmt.Errorf("%w: %s", errUnconfirmed, message)
	} else if !c.j.servers.isNewest(c.server) { // its successor may not have what was committed
		c.disconnect()
		err = errReplaced
	}
	if slow := w.stop(); slow && err == nil {
		c.admit()
	}
	return done, err
}

func (c *committer) runTransaction(w *watchdog) (done committed, err error) {
	if err := c.lookUp(); err != nil {
		return done, err
	}
	done.headWait = time.Since(w.began)
	done.head = c.known.head
	c.j.noticeLoss(&done.head)
	done.losses = c.j.tail.water.noticed()
	now, err := c.advance(&done.head)
	if err != nil {
		return done, err
	}
	c.known.load(c.epochs, now)
	c.known.failDamaged(&c.group)
	done.head.next, done.counts = c.group.Decide(&c.known.Known, c.known.head.next)
	done.head.lastCommit = now
	w.committing.Store(true)
	done.sent = time.Now()
	err = c.write(&done.head)
	done.confirmation = time.Since(done.sent)
	return done, err
}

// advance brings the epochs up to date, begins one where the rules ask for it, and returns the time of the commit.
func (c *committer) advance(h *head) (now int64, err error) {
	now, fresh := epoch.Advance(h.reading, h.lastCommit)
	fresh = fresh || h.server != h.now || c.j.tail.water.noticed() > c.losses
	if fresh {
		if err := c.j.beginEpoch(c.ctx, c.conn, h); err != nil {
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
	} else if code(cause) == lockTimeout {
		c.endStopped()
	}
	return cause
}

// connect opens the session.
func (c *committer) connect() error {
	conn, server, err := c.j.connectCommitter(c.ctx)
	if err != nil {
		return err
	}
	c.conn, c.server, c.epochs, c.shown = conn, server, nil, nil
	c.out.forget()
	return nil
}

// disconnect closes the session.
func (c *committer) disconnect() {
	disconnect(c.conn)
	c.conn = nil
}

// fail answers a group, and the calls behind it, with the cause.
func (c *committer) fail(cause error) {
	err := unavailable(cause)
	c.j.problem.Store(&err)
	c.failing = true
	c.j.failures.Add(1)
	c.j.cfg.Logger.Error("journal: commit", "error", describe(cause))
	c.group.Answer(err)
	if code(cause) == diskFull {
		c.j.setFull(err)
	}
	c.j.refuse(err)
}

// recoverCommits commits an empty group if the last one failed, until that succeeds. Then calls are accepted again. It returns false when
// the journal closes first.
func (c *committer) recoverCommits() bool {
	for retry := firstRetry; c.failing; retry = min(2*retry, lastRetry) {
		if c.j.isClosing() {
			return false
		}
		err := c.commitGroup()
		if err == nil {
			c.failing = false
			c.admit()
			c.j.cfg.Logger.Info("journal: recovered", "next", uint64(c.j.Bounds().Next))
			break
		}
		err = unavailable(err)
		c.group.Answer(err)
		c.j.problem.Store(&err)
		c.j.cfg.Logger.Error("journal: recover", "error", err, "retry", retry)
		c.pause(retry)
	}
	return true
}

// admit has the queue accept calls, unless the journal closes.
func (c *committer) admit() {
	c.j.problem.Store(nil)
	c.j.queue.Admit()
	if c.j.isClosing() {
		c.j.queue.Refuse(errClosed)
	}
}

// refuse answers the calls that are queued, and those to come, with an error.
func (j *Journal) refuse(err error) {
	if j.isClosing() {
		err = errClosed
	}
	j.queue.Fail(err)
}

// diskFull is the SQLSTATE of a full disk.
const diskFull = "53100"

// fullPause is how long appends are refused after the disk was full. Webhooks can be discarded meanwhile, which makes room.
const fullPause = 5 * time.Second

// setFull refuses appends for a while.
func (j *Journal) setFull(err error) {
	if j.queue.SetLow(err) == nil {
		time.AfterFunc(fullPause, func() { _ = j.queue.SetLow(nil) })
	}
}
