package dispatch

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/pebble"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/memory"
)

const sinkName = "orders"

// rig is a dispatcher's surroundings: a real journal on a disk in memory, and a destination. Time is the bubble's, but the
// journal lives outside: its goroutines, and those of the store under it, pool what belongs to no bubble. So it is
// called by a goroutine of its own, and waiting for events is done here.
type rig struct {
	journal journal.Journal
	store   *memory.Store

	calling   sync.Mutex
	calls     chan func()
	returned  chan struct{}
	number    int
	mu        sync.Mutex
	more      chan struct{}
	saves     []sinks.Position
	parkFails int
	saveFails int
	// replaySaveFails is how often saving the progress of a replay fails.
	replaySaveFails int
	beforeParking   func()
	afterGap        func()
	longestStory    int
	last            journal.Claim
	commits         []time.Time
	// damagedAt is the position of an event that cannot be read, damaged how often that was tried, and lost what is lost.
	damagedAt sinks.Position
	damaged   int
	lost      sinks.LostError
	// resolves are the answers to the next questions about marks with an epoch. While forked is set, every answer is
	// ErrForked.
	resolves []error
	forked   bool
}

// damage has an event be unreadable; 0 repairs it.
func (r *rig) damage(p sinks.Position) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.damagedAt = p
}

func (r *rig) damagedReads() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.damaged
}

// lose has the log say that some events were lost.
func (r *rig) lose(from, to sinks.Position) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lost = sinks.LostError{From: from, To: to}
}

// spoiled returns the events before one that is damaged or lost, or the error of reading it.
func (r *rig) spoiled(from sinks.Position, records []sinks.Record) ([]sinks.Record, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if from == r.damagedAt {
		r.damaged++
		return nil, &sinks.DamagedError{Position: from, Err: errDown}
	}
	if from >= r.lost.From && from < r.lost.To {
		return nil, &sinks.LostError{From: from, To: r.lost.To}
	}
	for i, record := range records {
		if record.Position == r.damagedAt || record.Position == r.lost.From {
			return records[:i], nil
		}
	}
	return records, nil
}

// run runs a test in a bubble, beside a journal.
func run(t *testing.T, f func(t *testing.T, r *rig)) {
	t.Helper()
	runOn(t, pebble.Config{Dir: "journal", FS: vfs.NewMem(), Interval: math.MaxInt64}, f)
}

func runOn(t *testing.T, cfg pebble.Config, f func(t *testing.T, r *rig)) {
	t.Helper()
	j, err := pebble.Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{journal: j, calls: make(chan func()), returned: make(chan struct{})}
	var caller sync.WaitGroup
	caller.Go(func() {
		for f := range r.calls {
			f()
			r.returned <- struct{}{}
		}
	})
	t.Cleanup(func() {
		close(r.calls)
		caller.Wait()
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		r.more, r.store = make(chan struct{}), memory.NewStore()
		f(t, r)
	})
}

// outside calls f outside the bubble.
func (r *rig) outside(f func()) {
	r.calling.Lock()
	defer r.calling.Unlock()
	r.calls <- f
	<-r.returned
}

// append appends an event for each subject.
func (r *rig) append(t *testing.T, subjects ...string) {
	t.Helper()
	r.outside(func() {
		e := journal.Entry{Webhook: &journalv1.Webhook{Id: webhookID(r.number)}}
		for _, s := range subjects {
			encoded, err := proto.Marshal(&eventv1.Event{Id: strconv.Itoa(r.number), Source: "till", Subject: s})
			if err != nil {
				t.Error(err)
			}
			e.Events = append(e.Events, encoded)
		}
		sum := sha256.Sum256(fmt.Append(nil, r.number))
		e.Keys = []journal.Key{{Hash: journal.Hash(sum[:16]), Window: time.Hour}}
		r.number++
		if _, err := r.journal.Append(context.Background(), e); err != nil {
			t.Error(err)
		}
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.more)
	r.more = make(chan struct{})
}

func webhookID(i int) string {
	var u uuid.UUID
	ms := uint64(time.Date(2026, 3, 4, 12, 30, 0, 0, time.UTC).UnixMilli()) + uint64(i)
	binary.BigEndian.PutUint64(u[:8], ms<<16|0x7000)
	binary.BigEndian.PutUint64(u[8:], 0x8000_0000_0000_0000|uint64(i))
	return u.String()
}

// orders are so many events, one subject each of so many in turn.
func orders(n, subjects int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("order/%d", i%subjects)
	}
	return all
}

// ID, Mark, Resolve, Bounds, Read and CommittedAt are the journal's.

func (r *rig) ID() string { return r.journal.ID() }

func (r *rig) Mark(p sinks.Position) sinks.Mark { return r.journal.Mark(p) }

// forks has the log be one that was restored to an earlier state, or not.
func (r *rig) forks(forked bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forked = forked
}

// Resolve answers as a test says, or as the journal does.
func (r *rig) Resolve(_ context.Context, m sinks.Mark) (err error) {
	r.mu.Lock()
	answers := r.resolves
	if len(answers) > 0 && m.Epoch != 0 {
		r.resolves = answers[1:]
		r.mu.Unlock()
		return answers[0]
	}
	forked := r.forked && m.Epoch != 0
	r.mu.Unlock()
	if forked {
		return sinks.ErrForked
	}
	r.outside(func() { err = r.journal.Resolve(context.Background(), m) })
	return err
}

func (r *rig) Bounds() sinks.Bounds { return r.journal.Bounds() }

func (r *rig) Read(ctx context.Context, from sinks.Position, records []sinks.Record) (_ []sinks.Record, err error) {
	for {
		r.mu.Lock()
		more := r.more
		r.mu.Unlock()
		if err := ctx.Err(); err != nil {
			return records, err
		}
		if from != r.journal.Bounds().Next {
			r.outside(func() { records, err = r.journal.Read(context.Background(), from, records) })
			if err != nil {
				return records, err
			}
			return r.spoiled(from, records)
		}
		select {
		case <-more:
		case <-ctx.Done():
		}
	}
}

// CommittedAt is in the bubble's time where the test says so.
func (r *rig) CommittedAt(ctx context.Context, p sinks.Position) (at time.Time, err error) {
	r.outside(func() { at, err = r.journal.CommittedAt(ctx, p) })
	if err == nil && int(p) <= len(r.commits) {
		at = r.commits[p-1]
	}
	return at, err
}

// claim is the journal's, called outside the bubble. Lost is the bubble's, because a goroutine that waits for a channel of
// the outside stops the bubble's time.
type claim struct {
	journal.Claim

	rig  *rig
	lost chan struct{}
}

func (c claim) Lost() <-chan struct{} { return c.lost }

func (c claim) Save(ctx context.Context, p sinks.Position) (err error) {
	c.rig.mu.Lock()
	defer c.rig.mu.Unlock()
	if c.rig.saveFails > 0 {
		c.rig.saveFails--
		return journal.ErrUnavailable
	}
	outside := outsideOf(ctx)
	c.rig.outside(func() { err = c.Claim.Save(outside, p) })
	c.rig.saves = append(c.rig.saves, p)
	return err
}

func (c claim) Park(ctx context.Context, p *journalv1.Parked) (err error) {
	r := c.rig
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.beforeParking != nil {
		r.beforeParking()
	}
	r.longestStory = max(r.longestStory, len(p.GetAttempts()))
	if r.parkFails > 0 {
		r.parkFails--
		return journal.ErrUnavailable
	}
	outside := outsideOf(ctx)
	r.outside(func() { err = c.Claim.Park(outside, p) })
	return err
}

func (c claim) AddAttempt(ctx context.Context, p *journalv1.Parked) (err error) {
	outside := outsideOf(ctx)
	c.rig.outside(func() { err = c.Claim.AddAttempt(outside, p) })
	return err
}

func (c claim) Unpark(ctx context.Context, p sinks.Position) (err error) {
	outside := outsideOf(ctx)
	c.rig.outside(func() { err = c.Claim.Unpark(outside, p) })
	return err
}

func (c claim) SaveReplay(ctx context.Context, r *journalv1.Replay) (err error) {
	c.rig.mu.Lock()
	defer c.rig.mu.Unlock()
	if c.rig.replaySaveFails > 0 && r.GetDelivered() > 0 {
		c.rig.replaySaveFails--
		return journal.ErrUnavailable
	}
	outside := outsideOf(ctx)
	c.rig.outside(func() { err = c.Claim.SaveReplay(outside, r) })
	return err
}

func (c claim) RecordGap(ctx context.Context, from, to sinks.Position) (added uint64, err error) {
	outside := outsideOf(ctx)
	c.rig.outside(func() { added, err = c.Claim.RecordGap(outside, from, to) })
	if c.rig.afterGap != nil {
		c.rig.afterGap()
	}
	if err == nil && ctx.Err() != nil {
		return 0, ctx.Err() // as in an engine whose write is under way when the context ends
	}
	return added, err
}

func (c claim) Requests(ctx context.Context) (all journal.Requests, err error) {
	outside := outsideOf(ctx)
	c.rig.outside(func() { all, err = c.Claim.Requests(outside) })
	return all, err
}

// outsideOf is a context of the outside, ended if that of the bubble is.
func outsideOf(ctx context.Context) context.Context {
	outside, cancel := context.WithCancel(context.Background())
	defer cancel()
	if ctx.Err() == nil {
		return context.Background()
	}
	return outside
}

// claim claims the sink. The last claim is lost with that.
func (r *rig) claim(t *testing.T) claim {
	t.Helper()
	c := claim{rig: r, lost: make(chan struct{})}
	r.outside(func() {
		ctx := context.Background()
		if err := r.journal.Register(ctx, sinkName, 1, journal.Skip); err != nil {
			t.Error(err)
		}
		if r.last != nil {
			_ = r.last.Release(ctx)
		}
		var err error
		if c.Claim, err = r.journal.Claim(ctx, sinkName); err != nil {
			t.Error(err)
		}
		r.last = c.Claim
	})
	return c
}

// operate does what an operator would.
func (r *rig) operate(t *testing.T, operation func(ctx context.Context, j journal.Journal) error) {
	t.Helper()
	r.outside(func() {
		if err := operation(context.Background(), r.journal); err != nil {
			t.Error(err)
		}
	})
}

// saved is where the durable cursor stands.
func (r *rig) saved(t *testing.T) (p sinks.Position) {
	t.Helper()
	r.operate(t, func(ctx context.Context, j journal.Journal) error {
		all, err := j.Readers(ctx)
		if len(all) != 1 {
			t.Errorf("readers: %v", all)
			return err
		}
		p = all[0].Position
		return err
	})
	return p
}

// dispatcher is one with these settings, onto the store unless they name sinks.
func (r *rig) dispatcher(t *testing.T, cfg Config) *Dispatcher {
	t.Helper()
	cfg.Name, cfg.Log, cfg.Claim = sinkName, r, r.claim(t)
	if cfg.Sinks == nil {
		cfg.Sinks = []sinks.Sink{r.sink(t)}
	}
	cfg.Parked = func(_ context.Context, name string, from sinks.Position, limit int) (page []*journalv1.Parked, err error) {
		r.outside(func() { page, err = r.journal.Parked(context.Background(), name, from, limit) })
		return page, err
	}
	if cfg.Jitter == nil {
		cfg.Jitter = func() float64 { return 0 }
	}
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (r *rig) sink(t *testing.T) *memory.Sink {
	t.Helper()
	s, err := memory.Open(t.Context(), r.store, memory.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// resumer is a sink whose position is in the store, too.
func (r *rig) resumer(t *testing.T) *memory.Resumer {
	t.Helper()
	s, err := memory.OpenResumer(t.Context(), r.store, sinks.Origin{Log: r, Sink: sinkName}, memory.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// start runs a dispatcher. stop ends it, and returns its error.
func start(t *testing.T, d *Dispatcher) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	return func() error {
		cancel()
		return <-ended
	}
}

// started is start for those who expect no error.
func started(t *testing.T, d *Dispatcher) (stop func()) {
	t.Helper()
	end := start(t, d)
	return func() {
		t.Helper()
		if err := end(); err != nil {
			t.Errorf("run: %v", err)
		}
	}
}

// received are the positions that the store has, in order of arrival.
func (r *rig) received() []sinks.Position { return positions(r.store.Records()) }

func positions(records []sinks.Record) []sinks.Position {
	var all []sinks.Position
	for _, e := range records {
		all = append(all, e.Position)
	}
	return all
}

// through are the positions from one through another.
func through(from, to int) []sinks.Position {
	var all []sinks.Position
	for p := from; p <= to; p++ {
		all = append(all, sinks.Position(p))
	}
	return all
}

func (r *rig) parked(t *testing.T) (all []*journalv1.Parked) {
	t.Helper()
	r.outside(func() {
		var err error
		if all, err = r.journal.Parked(context.Background(), sinkName, 0, 10_000); err != nil {
			t.Error(err)
		}
	})
	return all
}

func (r *rig) parkedAt(t *testing.T) []sinks.Position {
	t.Helper()
	var all []sinks.Position
	for _, p := range r.parked(t) {
		all = append(all, sinks.Position(p.GetPosition()))
	}
	return all
}

// attempt is one call of Deliver.
type attempt struct {
	At     time.Duration
	Events []sinks.Position
}

// script is a sink that does as it is told, and writes down how it was called.
type script struct {
	deliver func(ctx context.Context, events []sinks.Record) (int, error)

	mu    sync.Mutex
	began time.Time
	calls []attempt
}

func newScript(deliver func(ctx context.Context, events []sinks.Record) (int, error)) *script {
	return &script{deliver: deliver, began: time.Now()}
}

func (s *script) Deliver(ctx context.Context, events []sinks.Record) (int, error) {
	s.mu.Lock()
	s.calls = append(s.calls, attempt{time.Since(s.began), positions(events)})
	s.mu.Unlock()
	return s.deliver(ctx, events)
}

func (s *script) Close() error { return nil }

func (s *script) attempts() []attempt {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// refusing hands all on to a sink, but refuses these positions for good.
func refusing(next sinks.Sink, poison ...sinks.Position) *script {
	return newScript(func(ctx context.Context, events []sinks.Record) (int, error) {
		i := slices.IndexFunc(events, func(r sinks.Record) bool { return slices.Contains(poison, r.Position) })
		if i < 0 {
			return next.Deliver(ctx, events)
		}
		n, err := next.Deliver(ctx, events[:i])
		if err == nil {
			err = sinks.Permanent(fmt.Errorf("no room for %d", events[i].Position))
		}
		return n, err
	})
}

func diff[T any](t *testing.T, what string, got, want T, options ...cmp.Option) {
	t.Helper()
	if d := cmp.Diff(want, got, append(options, protocmp.Transform())...); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

// sleep lets the bubble's time pass.
func sleep(d time.Duration) { <-time.After(d) }
