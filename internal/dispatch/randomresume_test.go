package dispatch

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/memory"
)

// model is what a destination must have: the events before position at that are for it, and what it got again on purpose.
type model struct {
	t *testing.T
	r *rig

	// mu guards the two fields below it. done counts what happened, so that a test that tests nothing shows.
	mu     sync.Mutex
	random *rand.Rand
	done   map[string]int

	want []sinks.Position
	at   sinks.Position
	// jump is where the destination may go without a delivery, or 0.
	jump sinks.Position
	// backups are states to restore.
	backups []backup
	// frozen are openings of earlier runs.
	frozen []*memory.Resumer
	total  int
	// seen counts the results of all runs.
	seen [resumedKinds]uint64
}

type backup struct {
	copy memory.Copy
	want []sinks.Position
	at   sinks.Position
}

func isPoison(p sinks.Position) bool          { return p%37 == 5 }
func isForSink(r *sinks.Record) (bool, error) { return r.Position%5 != 2, nil }
func wanted(p sinks.Position) bool            { return p%5 != 2 && !isPoison(p) }
func (m *model) chance(oneIn int) bool        { return m.roll(oneIn) == 0 }

func (m *model) roll(n int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.random.IntN(n)
}

func (m *model) happened(what string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done[what]++
}

func (m *model) reached() sinks.Position {
	if got, found := m.r.store.Reached(sinkName); found {
		return got.Mark.Position
	}
	return 1
}

// check compares the destination with the model, and moves the model to where the destination is now.
func (m *model) check(when string) {
	m.t.Helper()
	at := m.reached()
	for p := m.at; p < at; p++ {
		if wanted(p) {
			m.want = append(m.want, p)
		}
	}
	if at < m.at {
		m.t.Fatalf("%s: the destination's position went back from %d to %d", when, m.at, at)
	}
	m.at = at
	got := slices.DeleteFunc(m.r.received(), isPoison)
	if !slices.Equal(got, m.want) {
		diff(m.t, when, got, m.want)
		m.t.FailNow()
	}
}

// flaky is a Resumer whose calls fail, whether they had an effect or not.
type flaky struct {
	*memory.Resumer

	m     *model
	asked atomic.Bool
	// calm has it fail no more.
	calm bool
}

func (f *flaky) fails() error {
	if f.calm || f.m.roll(4) > 0 {
		return nil
	}
	f.m.happened("call that failed")
	return []error{errDown, context.DeadlineExceeded, &sinks.RetryAfterError{After: time.Second, Err: errDown}}[f.m.roll(3)]
}

func (f *flaky) Resume(ctx context.Context) (sinks.Reached, bool, error) {
	reached, found, err := f.Resumer.Resume(ctx)
	if err != nil {
		return reached, found, err
	}
	f.asked.Store(true)
	if err := f.fails(); err != nil {
		return reached, found, err
	}
	return reached, found, nil
}

func (f *flaky) MoveTo(ctx context.Context, p sinks.Position) error {
	if err := f.fails(); err != nil && f.m.chance(2) {
		return err
	}
	jumps := p == f.m.jump
	if jumps {
		f.m.check("before a jump")
	}
	if err := f.Resumer.MoveTo(ctx, p); err != nil {
		return err
	}
	if jumps {
		f.m.at = p
		f.m.r.forks(false)
	}
	return f.fails()
}

// Deliver refuses poison, unless it comes alone: a retry of a parked event is accepted now and then.
func (f *flaky) Deliver(ctx context.Context, events []sinks.Record) (int, error) {
	n := slices.IndexFunc(events, func(r sinks.Record) bool { return isPoison(r.Position) })
	var err error
	switch {
	case n < 0:
		n = len(events)
	case n == 0 && len(events) == 1 && events[0].Position < f.m.reached() && f.m.chance(2):
		n = 1
		f.m.happened("retry that was accepted")
	default:
		err = sinks.Permanent(errors.New("poison"))
	}
	arrived, failed := n, f.fails()
	if failed != nil {
		arrived = f.m.roll(n + 1)
		n, err = f.m.roll(arrived+1), failed
	}
	f.m.jump = 0
	if k, cause := f.Resumer.Deliver(ctx, events[:arrived]); cause != nil {
		return min(k, n), cause
	}
	if arrived > n {
		f.m.happened("answer that was lost")
	}
	return n, err
}

// A Resumer gets every event once and in order, whatever happens to the process, to the answers and to the destination. It gets an event
// again only where the model says so: after a restore of the destination, a move by an operator, and a restore of the journal.
func TestRandomResumes(t *testing.T) {
	var seen [resumedKinds]uint64
	done := map[string]int{}
	for seed := range uint64(60) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			run(t, func(t *testing.T, r *rig) {
				m := &model{t: t, r: r, random: rand.New(rand.NewPCG(seed, 2)), at: 1, done: done}
				for range 12 {
					m.append()
					m.interfere()
					m.runOnce()
				}
				m.finish()
				for i, n := range m.seen {
					seen[i] += n
				}
			})
		})
	}
	for result, n := range seen {
		if n == 0 && Resumed(result) != Expired && Resumed(result) != OtherLog {
			t.Errorf("no run was %s", Resumed(result))
		}
	}
	t.Log(seen, done)
}

func (m *model) append() {
	n := 1 + m.roll(80)
	m.total += n
	m.r.append(m.t, orders(n, 13)...)
}

// interfere does what operators do between two runs, and restores.
func (m *model) interfere() {
	switch m.roll(7) {
	case 0:
		m.backups = append(m.backups, backup{m.r.store.Copy(), slices.Clone(m.want), m.at})
	case 1:
		m.restore()
	case 2:
		to := sinks.Position(1 + m.roll(m.total+1))
		m.r.operate(m.t, func(ctx context.Context, j journal.Journal) error {
			err := j.MoveTo(ctx, sinkName, to)
			if errors.Is(err, journal.ErrNotFound) { // before the first run
				return nil
			}
			m.happened("move")
			return err
		})
	case 3:
		for _, p := range m.r.parkedAt(m.t) {
			m.r.operate(m.t, func(ctx context.Context, j journal.Journal) error { return j.RequestRetry(ctx, sinkName, p) })
		}
	}
}

// restore puts the destination back to an earlier state.
func (m *model) restore() {
	if len(m.backups) == 0 {
		return
	}
	b := m.backups[m.roll(len(m.backups))]
	m.r.store.Restore(b.copy)
	m.want, m.at = slices.Clone(b.want), b.at
	m.happened("restore")
}

// runOnce runs a dispatcher for a while. It ends cleanly, or by a crash, or because it is fenced.
func (m *model) runOnce() {
	s := &flaky{Resumer: m.r.resumer(m.t), m: m}
	d := m.r.dispatcher(m.t, Config{
		Sinks: []sinks.Sink{s}, Batch: Batch{Count: 1 + m.roll(20)}, Choose: isForSink,
		Breaker: Breaker{Failures: 3}, Jitter: func() float64 { return float64(m.roll(100)) / 100 },
	})
	m.mayJump(d)
	if m.jump == 0 && m.chance(4) && d.cfg.Claim.Position() < m.at {
		m.jump = d.cfg.Claim.Position()
		m.r.forks(true)
		m.happened("fork")
	}
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(m.t.Context())
	defer cancel()
	go func() { ended <- d.Run(ctx) }()
	for range 1 + m.roll(4) {
		sleep(time.Duration(m.roll(4000)) * time.Millisecond)
		if s.asked.Load() {
			m.thaw()
		}
		m.append()
	}
	synctest.Wait()
	if m.chance(2) {
		m.happened("crash")
		m.r.mu.Lock()
		m.r.saveFails = 1
		m.r.mu.Unlock()
	}
	cancel()
	if err := <-ended; err != nil && !errors.Is(err, journal.ErrUnavailable) {
		m.t.Fatal(err)
	}
	m.r.mu.Lock()
	m.r.saveFails = 0
	m.r.mu.Unlock()
	m.r.forks(false)
	for i, n := range d.Stats().Resumed {
		m.seen[i] += n
	}
	m.check("after a run")
	results := d.Stats().Resumed // After a restore the cursor is ahead until it is saved.
	if cursor := m.r.saved(m.t); cursor > max(m.at, 1) && results != resumed() && results[Behind] == 0 {
		m.t.Fatalf("the cursor, %d, has passed the destination, %d", cursor, m.at)
	}
	m.frozen = append(m.frozen, s.Resumer)
}

// mayJump lets the destination go to the cursor where the dispatcher must have it go there.
func (m *model) mayJump(d *Dispatcher) {
	m.jump = 0
	if _, found := m.r.store.Reached(sinkName); !found || d.cfg.Claim.Moved() {
		m.jump = max(d.cfg.Claim.Position(), 1)
	}
}

// thaw has an opening of an earlier run deliver once more.
func (m *model) thaw() {
	if len(m.frozen) == 0 {
		return
	}
	old := m.frozen[m.roll(len(m.frozen))]
	record, err := sinks.NewRecord(1, nil)
	if err != nil {
		m.t.Fatal(err)
	}
	if _, err := old.Deliver(m.t.Context(), []sinks.Record{record}); !errors.Is(err, sinks.ErrFenced) {
		m.t.Errorf("an opening of an earlier run delivers: %v", err)
	}
	m.happened("thaw")
}

// finish delivers the rest.
func (m *model) finish() {
	s := &flaky{Resumer: m.r.resumer(m.t), m: m, calm: true}
	d := m.r.dispatcher(m.t, Config{Sinks: []sinks.Sink{s}, Choose: isForSink})
	m.mayJump(d)
	stop := started(m.t, d)
	sleep(time.Hour)
	stop()
	m.check("in the end")
	diff(m.t, "position", m.at, sinks.Position(m.total+1))
	diff(m.t, "cursor", m.r.saved(m.t), sinks.Position(m.total+1))
}
