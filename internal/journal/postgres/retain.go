package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/epoch"
	"github.com/webhook-bridge/bridge/internal/journal/letters"
	"github.com/webhook-bridge/bridge/sinks"
)

// retentionClaim is the name that the instance claims that runs retention.
const retentionClaim = "_retention"

const (
	// retainEvery is how often retention runs, and how far apart two looks at the clock are.
	retainEvery = time.Minute
	// retainRetry is how long an instance waits after retention failed, or could not be claimed.
	retainRetry = 5 * time.Second
	// webhookSlack is how much longer webhooks stay than their events: their ids tell when they were received, which is a
	// little before their events were committed.
	webhookSlack = 10 * time.Minute
)

// retention is what an instance knows from one pass to the next.
type retention struct {
	// lastPass is the clock's reading at the last pass. It is the zero time before the first one, which removes nothing for its age.
	lastPass time.Time
	// parkedChecked is when the ages of parked events were last checked.
	parkedChecked time.Time
	// sweeps are the places in the tables of contents and of versions.
	sweeps [2]sweep
}

// runRetention runs retention on the instance that holds the lease _retention.
func (j *Journal) runRetention() {
	if j.cfg.noRetention {
		return
	}
	if j.cfg.Budget > 0 {
		j.workers.Go(j.runSpace)
	}
	for !j.isClosing() {
		c, err := j.Claim(j.ctx, retentionClaim)
		if err == nil {
			err = j.retainWhile(c, &j.retention)
		}
		if err != nil && !errors.Is(err, journal.ErrLost) && j.ctx.Err() == nil && !j.isClosing() {
			j.cfg.Logger.Error("journal: retention", "error", describe(err))
		}
		j.pause(retainRetry)
	}
}

// pause waits, at most until the journal closes.
func (j *Journal) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-j.closing:
	}
}

// retainWhile runs a pass every minute for as long as the claim lasts and no pass fails.
func (j *Journal) retainWhile(c journal.Claim, r *retention) error {
	defer func() { _ = c.Release(context.WithoutCancel(j.ctx)) }() // otherwise the lease runs out
	for {
		if err := j.retainOnce(j.ctx, c, r); err != nil {
			return err
		}
		timer := time.NewTimer(retainEvery)
		select {
		case <-timer.C:
		case <-c.Lost():
			timer.Stop()
			return nil
		}
	}
}

// retain runs one pass, with a claim of its own.
func (j *Journal) retain(ctx context.Context) error {
	c, err := j.Claim(ctx, retentionClaim)
	if err != nil {
		return err
	}
	return errors.Join(j.retainOnce(ctx, c, &j.retention), c.Release(ctx))
}

// pass is one pass of retention.
type pass struct {
	j *Journal
	c *claim
	r *retention
	// head and epochs are those at the begin of the pass.
	head   head
	epochs *epoch.List
	// now is the clock's reading, and believed the time that ages are measured by: the reading at the pass before, if that is earlier, so
	// that a clock that is ahead for a moment removes nothing.
	now, believed time.Time
	partitions    []partition
}

func (j *Journal) retainOnce(ctx context.Context, held journal.Claim, r *retention) error {
	c, ok := held.(*claim)
	if !ok {
		return fmt.Errorf("journal: retention: a claim of %T", held)
	}
	p := pass{j: j, c: c, r: r}
	if err := p.begin(ctx); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{
		p.makePartitions, p.expireParked, p.moveLimits, p.drop, p.removeCorrections, p.sweep, p.removeEpochs,
	} {
		if err := c.check(); err != nil {
			return err
		}
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// begin reads the state of the log.
func (p *pass) begin(ctx context.Context) error {
	j := p.j
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err := pgx.BeginTxFunc(ctx, j.pool, options, func(tx pgx.Tx) (err error) {
		if p.head, err = scanHead(tx.QueryRow(ctx, j.sql(selectHead)), j); err != nil {
			return err
		}
		p.epochs, err = j.loadEpochs(ctx, tx)
		return err
	})
	if err != nil {
		return err
	}
	p.now = time.Unix(0, p.head.reading)
	p.believed = p.r.lastPass
	if p.now.Before(p.believed) {
		p.believed = p.now
	}
	p.r.lastPass = p.now
	return nil
}

// makePartitions makes partitions ahead, and reads all.
func (p *pass) makePartitions(ctx context.Context) (err error) {
	var days []time.Time
	for n := range partitionsAhead + 1 {
		days = append(days, p.now.Add(time.Duration(n)*day))
	}
	if err := p.j.ensurePartitions(ctx, p.head.next, days); err != nil {
		return err
	}
	p.partitions, err = p.j.partitions(ctx, p.j.pool, p.j.cfg.Retention.Size > 0)
	return err
}

// expireParked removes parked events that are older than their retention.
func (p *pass) expireParked(ctx context.Context) error {
	age := p.j.cfg.Retention.ParkedAge
	if since := p.believed.Sub(p.r.parkedChecked); age <= 0 || since >= 0 && since < letters.CheckEvery {
		return nil
	}
	err := p.c.write(ctx, "remove parked events", func(ctx context.Context, tx pgx.Tx) error {
		if _, err := p.c.fence(ctx, tx); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, p.j.sql(`with gone as (delete from bridge.parked where at < $1 returning reader, position),
			done as (delete from bridge.request q using gone where q.reader = gone.reader and q.position = gone.position)
			select reader, count(*) from gone group by reader`), nanoseconds(p.believed.Add(-age)))
		if err != nil {
			return err
		}
		var name string
		var n int64
		_, err = pgx.ForEachRow(rows, []any{&name, &n}, func() error {
			p.j.cfg.Logger.Warn("journal: parked events were removed for their age", "reader", name, "events", n)
			return nil
		})
		return err
	})
	if err == nil {
		p.r.parkedChecked = p.believed
	}
	return err
}

// limits are the first event to keep, and the times of receipt of the first webhooks to keep.
type limits struct {
	kept                  sinks.Position
	webhooks, quarantined time.Time
}

// moveLimits moves the limits in the head. It holds the head while it looks at the readers, so that a reader that is placed meanwhile
// gets the events that it was promised. The limits move before the data go, so that a reader never meets a hole: it gets ErrExpired.
func (p *pass) moveLimits(ctx context.Context) error {
	wanted, err := p.wanted(ctx)
	if err != nil {
		return err
	}
	var moved head
	err = p.c.write(ctx, "move the limits of retention", func(ctx context.Context, tx pgx.Tx) error {
		if _, err := p.c.fence(ctx, tx); err != nil {
			return err
		}
		h, err := scanHead(tx.QueryRow(ctx, p.j.sql(lockHead)), p.j)
		if err != nil {
			return err
		}
		l, err := p.allowed(ctx, tx, wanted, &h)
		if err != nil {
			return err
		}
		h.kept = max(h.kept, l.kept)
		moved = h
		// Limits of time are not kept from pass to pass: a clock that was ahead moved them too far.
		_, err = tx.Exec(ctx, p.j.sql(`update bridge.log set kept = $1, webhooks_from = $2, quarantined_from = $3`),
			int64(h.kept), limitMillis(l.webhooks.Add(-webhookSlack)), limitMillis(l.quarantined))
		return err
	})
	if err != nil {
		return err
	}
	before := p.j.Bounds().Earliest
	p.j.tail.show(moved, p.epochs)
	if moved.kept > before {
		p.j.notifications.wake()
	}
	p.head = moved
	return nil
}

// limitMillis are the Unix milliseconds of a time, at least 0.
func limitMillis(t time.Time) int64 { return max(t.UnixMilli(), 0) }

// wanted returns the limits that ages and sizes ask for.
func (p *pass) wanted(ctx context.Context) (l limits, err error) {
	if age := p.j.cfg.Retention.Age; age > 0 && !p.believed.IsZero() {
		l.webhooks = p.believed.Add(-age)
		if l.kept, err = p.committedSince(ctx, l.webhooks); err != nil {
			return l, err
		}
	}
	if age := p.j.cfg.Retention.QuarantineAge; age > 0 && !p.believed.IsZero() {
		l.quarantined = p.believed.Add(-age)
	}
	l.kept, l.webhooks, err = p.bySize(ctx, max(l.kept, p.head.kept), l.webhooks)
	return l, err
}

// allowed bounds the limits by the readers, and the webhooks by their events, in a transaction that holds the head.
func (p *pass) allowed(ctx context.Context, tx pgx.Tx, l limits, h *head) (limits, error) {
	needed, err := p.firstNeeded(ctx, tx, h.next)
	if err != nil {
		return l, err
	}
	l.kept = max(min(l.kept, needed), h.kept)
	if l.kept < h.next {
		at, err := p.committedAt(ctx, tx, l.kept)
		if err == nil && at.Before(l.webhooks) {
			l.webhooks = at
		}
		return l, err
	}
	return l, nil
}

// firstNeeded returns the first position that retention must leave, at most next. When the storage is nearly full, only registered
// readers that said Hold count.
func (p *pass) firstNeeded(ctx context.Context, tx pgx.Tx, next sinks.Position) (sinks.Position, error) {
	var first *int64
	err := tx.QueryRow(ctx, p.j.sql(`select min(position) from bridge.reader where position > 0 and case
			when registered > clock_timestamp() then not ($1 and skip)
			else not $1 and touched > $2 end`),
		p.j.queue.Low(), nanoseconds(p.believed.Add(-letters.ReaderGrace))).Scan(&first)
	if err != nil || first == nil {
		return next, err
	}
	return min(next, sinks.Position(*first)), nil
}

// committedSince returns the first position whose event counts as committed at t or later.
func (p *pass) committedSince(ctx context.Context, t time.Time) (sinks.Position, error) {
	e := p.epochs
	for i := e.Of(p.head.kept); i < e.Len(); i++ {
		b := sinks.Bounds{Earliest: max(e.At(i).First, p.head.kept), Next: e.End(i, p.head.next)}
		if b.Earliest >= b.Next || e.LimitAt(i) < nanoseconds(t) {
			continue
		}
		if found, err := p.j.searchCommitted(ctx, b, t); err != nil || found < b.Next {
			return found, err
		}
	}
	return p.head.next, nil
}

// committedAt returns when the event at a position counts as committed.
func (p *pass) committedAt(ctx context.Context, q querier, at sinks.Position) (time.Time, error) {
	var reading int64
	err := q.QueryRow(ctx, p.j.sql(`select at from bridge.event where position = $1`), int64(at)).Scan(&reading)
	return time.Unix(0, min(reading, p.epochs.LimitAt(p.epochs.Of(at)))), err
}

// bySize moves limits until events and webhooks fit into the size that is configured. Whole partitions go, and those that are written to
// stay.
func (p *pass) bySize(ctx context.Context, kept sinks.Position, webhooks time.Time) (sinks.Position, time.Time, error) {
	limit := p.j.cfg.Retention.Size
	for limit > 0 && p.size(kept, webhooks) > limit {
		if behind := p.nextBoundary(kept); behind > 0 {
			kept = behind
		} else if kept < p.head.next {
			break // its webhooks are kept for as long as the event
		}
		var at time.Time
		var err error
		if kept < p.head.next {
			at, err = p.committedAt(ctx, p.j.pool, kept)
		} else {
			at = p.nextDay(webhooks)
		}
		if err != nil {
			return 0, time.Time{}, err
		}
		if kept == p.head.next && !at.After(webhooks) {
			break
		}
		if at.After(webhooks) {
			webhooks = at
		}
	}
	return kept, webhooks, nil
}

// nextDay returns the limit with which the oldest partition of webhooks goes, apart from that of today. It returns the given one if there
// is none.
func (p *pass) nextDay(webhooks time.Time) time.Time {
	next := webhooks
	for _, part := range p.partitions {
		limit := part.end.Add(webhookSlack)
		if part.table == webhookTable && limit.After(webhooks) && part.end.Before(p.believed) && (next.Equal(webhooks) || limit.Before(next)) {
			next = limit
		}
	}
	return next
}

// nextBoundary returns the end of the partition of events that holds a position, or 0 if that is being written to.
func (p *pass) nextBoundary(at sinks.Position) sinks.Position {
	for _, part := range p.partitions {
		if part.table == eventTable && part.first <= at && at < part.behind && part.behind <= p.head.next {
			return part.behind
		}
	}
	return 0
}

// size is the size of the partitions of events and webhooks that have a part behind limits.
func (p *pass) size(kept sinks.Position, webhooks time.Time) (bytes int64) {
	for _, part := range p.partitions {
		switch {
		case part.pending:
		case part.table == eventTable && part.behind > kept,
			part.table == webhookTable && part.end.After(webhooks.Add(-webhookSlack)):
			bytes += part.bytes
		}
	}
	return bytes
}

// drop drops the partitions below the limits.
func (p *pass) drop(ctx context.Context) error {
	kept, webhooks, quarantined, err := p.limitsNow(ctx)
	if err != nil {
		return err
	}
	gone := func(part partition) bool {
		switch part.table {
		case eventTable:
			return part.behind <= kept
		case webhookTable:
			return !part.end.After(webhooks)
		case quarantinedTable:
			return !part.end.After(quarantined)
		}
		return false
	}
	for _, part := range p.partitions {
		if part.pending || gone(part) {
			return p.j.dropPartitions(ctx, p.partitions, gone)
		}
	}
	return nil
}

// limitsNow reads the limits of the head.
func (p *pass) limitsNow(ctx context.Context) (kept sinks.Position, webhooks, quarantined time.Time, err error) {
	var k, w, q int64
	err = p.j.pool.QueryRow(ctx, p.j.sql(`select kept, webhooks_from, quarantined_from from bridge.log`)).Scan(&k, &w, &q)
	return sinks.Position(k), time.UnixMilli(w), time.UnixMilli(q), err
}

// removeEpochs removes the epochs that neither a mark nor a time needs.
func (p *pass) removeEpochs(ctx context.Context) error {
	n := p.epochs.Obsolete(p.head.kept, nanoseconds(p.believed.Add(-p.j.cfg.DedupeAge)))
	if n == 0 {
		return nil
	}
	return p.c.write(ctx, "remove epochs", func(ctx context.Context, tx pgx.Tx) error {
		if _, err := p.c.fence(ctx, tx); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, p.j.sql(`delete from bridge.epoch where number < $1`), int64(p.epochs.At(n).Number))
		return err
	})
}
