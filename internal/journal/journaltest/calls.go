package journaltest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/logtest"
)

// soon ends a call that is to wait. An engine that does not wait returns long before.
const soon = 30 * time.Millisecond

// shownWithin bounds how long an instance may take to show what another one has committed, and to lose a claim that an operator took away.
const shownWithin = 20 * time.Second

// journal returns an instance, the next one in turn. It shows what the others show.
func (t *test) journal() journal.Journal {
	t.calls++
	j := t.h.Instances[t.calls%len(t.h.Instances)]
	t.catchUp(j)
	return j
}

// catchUp waits until an instance shows what the others show, and knows the last epoch.
func (t *test) catchUp(j journal.Journal) {
	if len(t.h.Instances) == 1 || isOnlyGroups(j) {
		return
	}
	t.within(shownWithin, "an instance shows what another one shows", func() bool {
		b := j.Bounds()
		for _, other := range t.h.Instances {
			shown := other.Bounds()
			// The mark behind the next event has the epoch of that event.
			if b.Earliest < shown.Earliest || b.Next < shown.Next || j.Mark(b.Next+1) != other.Mark(b.Next+1) {
				return false
			}
		}
		return true
	})
}

// stall holds up what would become durable, when all instances show the same.
func (t *test) stall() (held <-chan struct{}, resume func(fail bool)) {
	for _, j := range t.h.Instances {
		t.catchUp(j)
	}
	return t.h.Stall()
}

// reopen kills all instances and starts them again.
func (t *test) reopen() {
	for i := range t.h.Instances {
		t.h.Instances[i] = t.h.Reopen(i)
	}
}

// equal ends the case unless got is want.
func (t *test) equal(what string, got, want any) {
	if d := cmp.Diff(want, got, protocmp.Transform()); d != "" {
		t.fatalf("%s (-want +got):\n%s", what, d)
	}
}

// is ends the case unless the error is want, which may be nil.
func (t *test) is(what string, got, want error) {
	if !errors.Is(got, want) {
		t.fatalf("%s: %v, want %v", what, got, want)
	}
}

func (t *test) append(e journal.Entry) journal.Receipt {
	r, err := t.journal().Append(t.ctx, e)
	t.fail("append", err)
	return r
}

// add makes entries and appends them, one after the other.
func (t *test) add(all ...spec) (receipts []journal.Receipt) {
	for _, s := range all {
		receipts = append(receipts, t.append(t.entry(s)))
	}
	return receipts
}

func (t *test) appendAll(entries ...journal.Entry) []journal.Receipt {
	receipts, err := t.journal().AppendAll(t.ctx, entries)
	t.fail("append all", err)
	return receipts
}

func (t *test) entries(all ...spec) (entries []journal.Entry) {
	for _, s := range all {
		entries = append(entries, t.entry(s))
	}
	return entries
}

// knows reports whether a key knows a content, without adding to the key.
func (t *test) knows(key string, s spec) bool {
	return t.knowsFor(key, s, window)
}

func (t *test) knowsFor(key string, s spec, window time.Duration) bool {
	t.made++
	probe := newEntry(s.under().adding(0), t.now, t.made)
	probe.Keys = []journal.Key{
		{Hash: hash("key", key), Window: window, LookupOnly: true},
		{Hash: hash("probe", t.made), Window: time.Second},
	}
	return t.append(probe).Duplicate
}

// advance moves the clock.
func (t *test) advance(d time.Duration) {
	t.h.Clock(d)
	t.now = t.now.Add(d)
}

// crash cuts the power at the n-th write while during runs, or behind it.
func (t *test) crash(n int, during func()) {
	t.h.Instances = t.h.Crash(n, during)
}

// retain runs retention for as long as it takes to believe the clock.
func (t *test) retain() {
	t.h.Retain()
	t.advance(time.Minute)
	t.h.Retain()
}

// events reads all events there are.
func (t *test) events() (all []*eventv1.Event) {
	for _, r := range t.records(t.journal()) {
		e, err := r.Event()
		t.fail("event", err)
		all = append(all, e)
	}
	return all
}

func (t *test) records(j journal.Journal) (all []sinks.Record) {
	b := j.Bounds()
	for p := b.Earliest; p < b.Next; {
		got, err := j.Read(t.ctx, p, make([]sinks.Record, 0, 100))
		t.fail("read", err)
		for _, r := range got {
			if r.Position != p {
				t.fatalf("position %d follows %d", r.Position, p-1)
			}
			p++
		}
		all = append(all, got...)
	}
	return all
}

func (t *test) webhook(id string) *journalv1.Webhook {
	w, err := t.journal().Webhook(t.ctx, id)
	t.fail("webhook", err)
	return w
}

// webhooks returns all stored webhooks, by small pages.
func (t *test) webhooks(quarantined bool) (all []*journalv1.Webhook) {
	for q := (journal.Query{Quarantined: quarantined, Limit: 3}); ; {
		page, err := t.journal().Find(t.ctx, q)
		t.fail("find", err)
		all = append(all, page.Webhooks...)
		if q.After = page.Next; q.After == "" {
			return all
		}
	}
}

func (t *test) driftCounts() map[string]uint64 {
	all, err := t.journal().Drift(t.ctx)
	t.fail("drift", err)
	counts := make(map[string]uint64)
	for _, d := range all {
		counts[d.GetPath()] += d.GetCount()
	}
	return counts
}

// snapshot is everything that readers are shown.
type snapshot struct {
	ID          string
	Bounds      sinks.Bounds
	Events      []*eventv1.Event
	CommittedAt []time.Time
	Found       sinks.Position
	Webhooks    []*journalv1.Webhook
	Quarantined []*journalv1.Webhook
	Corrections map[string][]journal.Correction
	Drift       []*journalv1.DriftCount
	Parked      []*journalv1.Parked
	Gaps        []*journalv1.Gap
}

func (t *test) snapshot() snapshot {
	j := t.journal()
	s := snapshot{ID: j.ID(), Bounds: j.Bounds(), Events: t.events(), Webhooks: t.webhooks(false), Quarantined: t.webhooks(true)}
	s.Corrections = make(map[string][]journal.Correction)
	var err error
	for _, w := range s.Webhooks {
		c, err := j.Corrections(t.ctx, w.GetId())
		t.fail("corrections", err)
		if len(c) > 0 {
			s.Corrections[w.GetId()] = c
		}
	}
	for p := s.Bounds.Earliest; p < s.Bounds.Next; p++ {
		at, err := j.CommittedAt(t.ctx, p)
		t.fail("committed at", err)
		s.CommittedAt = append(s.CommittedAt, at.UTC())
	}
	s.Found, err = j.Seek(t.ctx, t.now)
	t.fail("seek", err)
	s.Drift, err = j.Drift(t.ctx)
	t.fail("drift", err)
	s.Parked, err = j.Parked(t.ctx, "", 0, 1000)
	t.fail("parked", err)
	s.Gaps, err = j.Gaps(t.ctx, "")
	t.fail("gaps", err)
	return s
}

// answer has the result of a call in another goroutine, after done is closed.
type answer struct {
	done    chan struct{}
	receipt journal.Receipt
	err     error
}

// appendAside appends in another goroutine.
func (t *test) appendAside(e journal.Entry) *answer { return t.appendAsideAt(t.journal(), e) }

func (t *test) appendAsideAt(j journal.Journal, e journal.Entry) *answer {
	a := &answer{done: make(chan struct{})}
	go func() {
		defer close(a.done)
		a.receipt, a.err = j.Append(t.ctx, e)
	}()
	return a
}

// waits ends the case unless a call waits until its context ends.
func (t *test) waits(what string, call func(ctx context.Context) error) {
	ctx, cancel := context.WithTimeout(t.ctx, soon)
	defer cancel()
	if err := call(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.fatalf("%s: %v, want it to wait until its context ends", what, err)
	}
}

// eventually waits until a condition holds.
func (t *test) eventually(what string, holds func() bool) { t.within(limit, what, holds) }

// soonAcross waits until a condition holds that another instance may have to learn of. An instance that is alone knows it at once.
func (t *test) soonAcross(what string, holds func() bool) {
	if len(t.h.Instances) > 1 {
		t.within(shownWithin, what, holds)
	} else if !holds() {
		t.fatalf("%s: not so", what)
	}
}

// persistAcross repeats a call that another instance may have to recover for. An instance that is alone answers it at once.
func (t *test) persistAcross(what string, call func() error) {
	if len(t.h.Instances) > 1 {
		t.persist(what, call)
	} else {
		t.fail(what, call())
	}
}

// within waits until a condition holds, for a time.
func (t *test) within(d time.Duration, what string, holds func() bool) {
	end := time.NewTimer(d)
	defer end.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-end.C:
			t.fatalf("%s: not within %v", what, d)
		case <-t.ctx.Done():
			t.fatalf("%s: not within the case's time", what)
		}
	}
}

// persist calls f until the journal is available.
func (t *test) persist(what string, f func() error) {
	t.eventually(what, func() bool {
		err := f()
		if errors.Is(err, journal.ErrUnavailable) {
			return false
		}
		t.fail(what, err)
		return true
	})
}

func (t *test) register(name string, from sinks.Position, full journal.WhenFull) {
	t.fail("register", t.journal().Register(t.ctx, name, from, full))
}

func (t *test) claim(name string) journal.Claim {
	c, err := t.journal().Claim(t.ctx, name)
	t.fail("claim", err)
	return c
}

// reader returns what operators see of a reader.
func (t *test) reader(name string) journal.ReaderState {
	all, err := t.journal().Readers(t.ctx)
	t.fail("readers", err)
	for _, r := range all {
		if r.Name == name {
			return r
		}
	}
	t.fatalf("reader %q is not listed", name)
	return journal.ReaderState{}
}

// logHarness has the journal as the log that package logtest checks.
func (t *test) logHarness(tt *testing.T) logtest.Harness {
	log := t.journal()
	h := logtest.Harness{Log: log, Close: func() {
		for _, j := range t.h.Instances {
			if err := j.Close(); err != nil {
				tt.Error(err)
			}
		}
	}}
	// Calls of Append are a second apart, so that Expire can tell their events apart by age.
	h.Append = func(events ...*eventv1.Event) {
		t.advance(time.Second)
		t.made++
		e := newEntry(plain("").adding(0), t.now, t.made)
		e.Keys[0].Hash, e.Bytes, e.Meaning = hash("log", t.made), hash("log", t.made), hash("log", t.made)
		for _, event := range events {
			e.Events = append(e.Events, encode(event))
		}
		if _, err := log.Append(t.ctx, e); err != nil {
			tt.Error(err)
		}
	}
	if t.h.Retain != nil {
		h.Expire = func(p sinks.Position) {
			at, err := log.CommittedAt(t.ctx, p)
			if err != nil {
				tt.Error(err)
				return
			}
			t.advance(at.Add(EventAge).Sub(t.now))
			t.h.Retain()
			t.h.Retain()
		}
	}
	if t.h.Backup != nil {
		h.Backup = func() func() logtest.Harness {
			restore := t.h.Backup(log)
			return func() logtest.Harness {
				restored := *t.h
				restored.Instances = []journal.Journal{restore()}
				next := *t
				next.h = &restored
				return next.logHarness(tt)
			}
		}
	}
	return h
}
