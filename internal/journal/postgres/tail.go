package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/webhook-bridge/bridge/internal/journal/epoch"
	"github.com/webhook-bridge/bridge/sinks"
)

const (
	// pollInterval is how often an instance asks for the head.
	pollInterval = 100 * time.Millisecond
	// pollTimeout bounds the time for the head's answer.
	pollTimeout = 5 * time.Second
	// pollRetry is how long the tail waits after a failure. The wait doubles up to pollRetryMax.
	pollRetry    = 50 * time.Millisecond
	pollRetryMax = 2 * time.Second
)

// tail is the end of the log that this instance shows. Reading it takes no lock.
type tail struct {
	shown atomic.Pointer[state]
	// mu is held while another state takes the place of the shown one.
	mu sync.Mutex
	// polls are the calls that wait for a look at the head.
	polls rounds
	// committedHead is the head behind the last commit of this instance, for the others. announced is the newest head of which
	// another instance said that it is confirmed. notified gets a value with each announcement.
	committedHead, announced atomic.Pointer[head]
	notified                 chan struct{}
	// problem is why the head cannot be read now, or nil.
	problem atomic.Pointer[error]
	// water is how far this instance has shown and acknowledged.
	water highWater
}

// state is the log's end at one moment. It is not changed: another state takes its place.
type state struct {
	sinks.Bounds
	epochs *epoch.List
	// changed is closed when another state has taken the place of this one.
	changed chan struct{}
}

func newState(h head, epochs *epoch.List) *state {
	return &state{Bounds: sinks.Bounds{Earliest: h.kept, Next: h.next}, epochs: epochs, changed: make(chan struct{})}
}

// init shows the first state, which is confirmed.
func (t *tail) init(h head, epochs *epoch.List) {
	t.polls.init()
	t.notified = make(chan struct{}, 1)
	t.shown.Store(newState(h, epochs))
	t.committedHead.Store(&h)
	t.water.raise(h.next)
}

// committed shows the head behind a commit of this instance, once that is confirmed. epochs is nil if it begins none.
func (t *tail) committed(h head, epochs *epoch.List) {
	t.committedHead.Store(&h)
	t.water.raise(h.next)
	t.show(h, epochs)
}

// show shows a head that is confirmed, unless a later one is shown. Without epochs it shows no head of an epoch that it does not
// know; the next look at the head does.
func (t *tail) show(h head, epochs *epoch.List) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.shown.Load()
	if epochs == nil || epochs.Last().Number < s.epochs.Last().Number {
		epochs = s.epochs
	}
	if h.epoch > epochs.Last().Number {
		return
	}
	t.water.raise(h.next)
	h.next, h.kept = max(h.next, s.Next), max(h.kept, s.Earliest)
	if h.next == s.Next && h.kept == s.Earliest && epochs.Last().Number == s.epochs.Last().Number {
		return
	}
	t.replace(s, newState(h, epochs))
}

// lags reports whether a head is later than what is shown. An instance's own announcements are not.
func (t *tail) lags(h *head) bool {
	s := t.shown.Load()
	return h.next > s.Next || h.kept > s.Earliest || h.epoch > s.epochs.Last().Number
}

// goBack shows a head behind which the database lost events, unless the state has changed meanwhile.
func (t *tail) goBack(from *state, h head, epochs *epoch.List) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.shown.Load() == from {
		t.replace(from, newState(h, epochs))
	}
}

func (t *tail) replace(old, s *state) {
	t.shown.Store(s)
	close(old.changed)
}

// Bounds implements [sinks.Log].
func (j *Journal) Bounds() sinks.Bounds { return j.tail.shown.Load().Bounds }

// Mark implements [sinks.Log].
func (j *Journal) Mark(p sinks.Position) sinks.Mark { return j.tail.shown.Load().epochs.Mark(p) }

// Resolve implements [sinks.Log].
func (j *Journal) Resolve(ctx context.Context, m sinks.Mark) error {
	if err := j.ready(ctx); err != nil {
		return err
	}
	resolve := func() error {
		s := j.tail.shown.Load()
		return s.epochs.Resolve(m, s.Bounds)
	}
	if err := resolve(); err == nil || errors.Is(err, sinks.ErrExpired) {
		return err
	}
	if err := j.catchUp(ctx); err != nil {
		return fmt.Errorf("journal: resolve: %w", err)
	}
	return resolve()
}

// catchUp asks the database for the head and shows it. Errors: ErrUnavailable, ErrClosed, ctx's.
func (j *Journal) catchUp(ctx context.Context) error {
	return j.await(ctx, j.tail.polls.join())
}

// runTail keeps the shown state up to date.
func (j *Journal) runTail() {
	p := &poller{j: j, current: time.Now()}
	defer func() { disconnect(p.conn) }()
	retry := pollRetry
	for j.ctx.Err() == nil {
		asked := j.tail.polls.begin()
		err := p.poll(asked)
		j.tail.polls.end(unavailable(err))
		p.note(err)
		if err != nil {
			disconnect(p.conn)
			p.conn = nil
			p.pause(retry)
			retry = min(2*retry, pollRetryMax)
			continue
		}
		retry = pollRetry
		p.wait()
	}
}

// poller looks at the head, in one goroutine, on a session of its own.
type poller struct {
	j    *Journal
	conn *pgx.Conn
	// current is when the head and the shown state last were the same.
	current time.Time
	// failing is whether the last look failed.
	failing bool
}

// wait waits until the next look: for the interval, an announcement or a call that asks for it.
func (p *poller) wait() {
	timer := time.NewTimer(p.j.cfg.poll)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.j.tail.notified:
	case <-p.j.tail.polls.asked:
	case <-p.j.ctx.Done():
	}
}

func (p *poller) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.j.ctx.Done():
	}
}

// note says once that the head cannot be read, and once that it can be again.
func (p *poller) note(err error) {
	switch {
	case err != nil && p.j.ctx.Err() == nil:
		err = unavailable(err)
		p.j.tail.problem.Store(&err)
		if !p.failing {
			p.j.cfg.Logger.Warn("journal: readers wait: the end of the log cannot be read", "error", err)
		}
		p.failing = true
	case err == nil && p.failing:
		p.failing = false
		p.j.tail.problem.Store(nil)
		p.j.cfg.Logger.Info("journal: readers go on", "position", uint64(p.j.Bounds().Next-1))
	}
}

// poll looks at the head and shows it as far as it is confirmed. If a call asked for it, or if the shown state lags for longer than
// the interval, poll has the head confirmed.
func (p *poller) poll(asked bool) error {
	t := &p.j.tail
	before := t.shown.Load()
	h, epochs, err := p.look(before)
	if err != nil {
		return err
	}
	if h.next == before.Next && h.kept == before.Earliest && epochs == nil {
		p.current = time.Now()
		return nil
	}
	if h.next >= before.Next && p.showAnnounced(h, epochs) {
		p.current = time.Now()
		return nil
	}
	if !asked && time.Since(p.current) < p.j.cfg.poll {
		return nil
	}
	if err := p.j.confirm(p.j.ctx); err != nil {
		return err
	}
	if !p.j.servers.isNewest(serverOf(p.conn)) {
		return errReplaced
	}
	if h.next < before.Next {
		return p.goBack(before, h)
	}
	t.show(h, epochs)
	p.current = time.Now()
	return nil
}

// showAnnounced shows the part of a head of which another instance said that it is confirmed. It returns true if that is all.
func (p *poller) showAnnounced(h head, epochs *epoch.List) bool {
	a := p.j.tail.announced.Load()
	if a == nil || a.now != h.now || a.epoch != h.epoch {
		return false
	}
	all := a.next >= h.next && a.kept >= h.kept
	h.next, h.kept = min(h.next, a.next), min(h.kept, a.kept)
	p.j.tail.show(h, epochs)
	return all
}

// goBack shows that the database lost events.
func (p *poller) goBack(before *state, h head) error {
	epochs, err := p.j.loadEpochs(p.j.ctx, p.conn)
	if err != nil {
		return err
	}
	p.j.tail.goBack(before, h, epochs)
	if p.j.tail.water.covers(before.Next) { // otherwise the committer has noticed, and may have gone on
		p.j.noticeLoss(&h)
	}
	return nil
}

// look reads the head. If the log has another epoch than the state, look reads the epochs too, of the same moment.
func (p *poller) look(s *state) (h head, epochs *epoch.List, err error) {
	ctx, cancel := context.WithTimeout(p.j.ctx, pollTimeout)
	defer cancel()
	if p.conn != nil && !p.j.servers.isNewest(serverOf(p.conn)) {
		disconnect(p.conn)
		p.conn = nil
	}
	if p.conn == nil || p.conn.IsClosed() {
		if p.conn, err = p.j.connect(ctx); err != nil {
			return h, nil, err
		}
	}
	h, err = scanHead(p.conn.QueryRow(ctx, p.j.sql(selectHead)), p.j)
	if err != nil || h.epoch == s.epochs.Last().Number {
		return h, nil, err
	}
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err = pgx.BeginTxFunc(ctx, p.conn, options, func(tx pgx.Tx) error {
		if h, err = scanHead(tx.QueryRow(ctx, p.j.sql(selectHead)), p.j); err != nil {
			return err
		}
		epochs, err = p.j.loadEpochs(ctx, tx)
		return err
	})
	return h, epochs, err
}
