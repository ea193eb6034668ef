package journaltest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

const (
	// seedsVariable sets how many histories run, and seedVariable has a single one run.
	seedsVariable = "BRIDGE_TEST_SEEDS"
	seedVariable  = "BRIDGE_TEST_SEED"
	// defaultSeeds take a second or two.
	defaultSeeds = 50
	steps        = 70
	keys         = 8
	subjects     = 4
)

// Histories runs random histories, each on a journal of its own that open makes, and compares each with a model. A history has
// appends of one or several keys, arrays, duplicates by bytes and by meaning, revisions, versions of a few subjects, releases,
// discards and corrections, alone
// and several at the same instant; power cuts between and within them; reopenings, retention, a reader, and a clock that is put
// forward and back.
//
// BRIDGE_TEST_SEEDS says how many histories run. A failing one says how to repeat it.
func Histories(t *testing.T, open func(t *testing.T) Harness) {
	t.Helper()
	eachSeed(t, func(t *testing.T, rng *rand.Rand) string {
		h := open(t)
		c := testCase{run: func(test *test) { (&history{test: test, rng: rng}).run() }}
		return c.check(t.Context(), &h)
	})
}

// eachSeed runs histories, each of which returns why it failed, or nothing.
func eachSeed(t *testing.T, run func(t *testing.T, rng *rand.Rand) (failure string)) {
	t.Helper()
	seeds := uint64(defaultSeeds)
	first := uint64(0)
	if s := os.Getenv(seedsVariable); s != "" {
		seeds = number(t, s)
	}
	if s := os.Getenv(seedVariable); s != "" {
		first, seeds = number(t, s), 1
	}
	for seed := first; seed < first+seeds && !t.Failed(); seed++ {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 8)) //nolint:gosec // a seed repeats its history
			if failure := run(t, rng); failure != "" {
				t.Errorf("%s\nrepeat it in this package: %s=%d go test -count=1 -run '^%s$' .", failure, seedVariable, seed,
					strings.Split(t.Name(), "/")[0])
			}
		})
	}
	t.Logf("%d histories", seeds)
}

func number(t *testing.T, s string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// history is one history, and the worlds that agree with everything that the journal showed.
type history struct {
	*test
	rng    *rand.Rand
	worlds []*world
	// lastPass is the clock's reading at the last pass of retention, or at opening.
	lastPass time.Time
	// received are the webhooks that were appended.
	received []journal.Entry
	marks    []sinks.Mark
	shown    placed
	steps    []string
	// retired counts the names that keys had before. A key gets another name when a content under it may be forgotten: a clock
	// that is put back then shows that content, or does not.
	retired [keys]int
	// retiredSubjects counts the names that subjects had before, likewise.
	retiredSubjects [subjects]int
}

const tail = "tail"

func (h *history) run() {
	defer func() {
		if h.failure != "" {
			h.failure += "\nhistory:\n" + strings.Join(h.steps, "\n")
		}
	}()
	h.worlds, h.lastPass, h.shown = []*world{newWorld()}, Start, make(placed)
	h.register(tail, 1, journal.Hold)
	for n := range steps {
		h.step()
		if n%10 == 9 {
			h.verify()
		}
	}
	h.verify()
	h.crash(0, nil)
	h.opened()
	h.verify()
}

func (h *history) note(format string, args ...any) {
	h.steps = append(h.steps, h.now.Format("01-02 15:04:05.000 ")+fmt.Sprintf(format, args...))
}

func (h *history) step() {
	switch n := h.rng.IntN(100); {
	case n < 50:
		h.commit([]call{h.call()}, -1)
	case n < 58:
		h.commit([]call{h.call(), h.call(), h.call()}, -1)
	case n < 64:
		h.commit([]call{h.call()}, h.rng.IntN(6))
	case n < 67:
		h.commit([]call{h.call(), h.call()}, h.rng.IntN(8))
	case n < 70:
		h.note("reopen")
		h.reopen()
		h.opened()
	case n < 73:
		h.note("crash")
		h.crash(h.rng.IntN(2), nil)
		h.opened()
	case n < 78:
		h.note("retention")
		h.retain()
	case n < 84:
		h.follow()
	default:
		h.move()
	}
}

// move moves the clock.
func (h *history) move() {
	var d time.Duration
	switch h.rng.IntN(10) {
	case 0, 1, 2, 3:
		d = time.Duration(h.rng.Int64N(int64(20 * time.Second)))
	case 4, 5:
		d = time.Duration(h.rng.Int64N(int64(2 * time.Hour)))
	case 6:
		d = time.Duration(h.rng.Int64N(int64(12 * time.Hour)))
	case 7:
		d = -time.Duration(h.rng.Int64N(int64(1100 * time.Millisecond)))
	case 8:
		d = -time.Duration(h.rng.Int64N(int64(4 * time.Hour)))
	case 9:
		const year = 365 * 24 * time.Hour
		h.note("a year ahead")
		h.advance(year)
		h.commit([]call{h.call()}, -1)
		d = -year
	}
	h.note("clock by %v", d)
	h.advance(d)
}

// windowOf is the window of a key: a key has the same one in each entry.
func windowOf(key int) time.Duration {
	return []time.Duration{10 * time.Second, time.Hour, 6 * time.Hour, MaxWindow}[key%4]
}

// call makes a random call.
func (h *history) call() call {
	if len(h.received) > 0 {
		e := h.received[h.rng.IntN(len(h.received))]
		contents := fmt.Sprint(e.Webhook.GetId(), h.rng.IntN(3))
		switch n := h.rng.IntN(20); {
		case n < 2:
			return call{discard: e.Webhook.GetId()}
		case n < 5:
			return call{entries: []journal.Entry{h.versioned(releaseOf(e, h.rng.IntN(3), h.now, contents))}}
		case n < 7:
			return call{entries: []journal.Entry{h.versioned(correctionOf(e, contents, 0))}}
		case n < 8:
			return call{entries: []journal.Entry{h.random(), releaseOf(e, 1, h.now, contents), h.random()}}
		}
	}
	entries := []journal.Entry{h.random()}
	for h.rng.IntN(4) == 0 {
		entries = append(entries, h.random())
	}
	return call{entries: entries}
}

// key is the hash of a key.
func (h *history) key(k int) journal.Hash {
	for {
		key := hash("key", k, h.retired[k])
		if !slices.ContainsFunc(h.worlds, func(w *world) bool { return w.uncertain(key) }) {
			return key
		}
		h.retired[k]++
	}
}

// random makes an entry under some of few keys, with one of few contents.
func (h *history) random() journal.Entry {
	s := spec{bytes: fmt.Sprint("bytes", h.rng.IntN(6)), events: 1 + h.rng.IntN(3)}
	switch h.rng.IntN(6) {
	case 0:
		s.quarantined, s.events = true, 0
	case 1: // nothing was translated
	default:
		s.meaning = fmt.Sprint("meaning", h.rng.IntN(4))
	}
	if h.rng.IntN(3) == 0 {
		s.drift = []string{fmt.Sprint("$.", h.rng.IntN(3))}
	}
	e := h.entry(s)
	first := h.rng.IntN(keys)
	for i := range 1 + h.rng.IntN(3) {
		k := (first + i) % keys
		e.Keys = append(e.Keys, journal.Key{Hash: h.key(k), Window: windowOf(k), LookupOnly: i > 0 && h.rng.IntN(8) == 0})
	}
	e = h.versioned(e)
	h.received = append(h.received, e)
	return e
}

// versioned gives the events of some entries versions of one of few subjects. Each subject has one window.
func (h *history) versioned(e journal.Entry) journal.Entry {
	if h.rng.IntN(3) == 0 || len(e.Events) == 0 {
		return e
	}
	n := h.rng.IntN(subjects)
	subject := h.subject(n)
	for range e.Events {
		if h.rng.IntN(8) == 0 {
			addVersions(&e, 0, "", "")
		} else {
			addVersions(&e, windowOf(n), subject, strconv.Itoa(h.rng.IntN(15)))
		}
	}
	return e
}

// subject is the name of a subject.
func (h *history) subject(n int) string {
	for {
		name := fmt.Sprint(n, "/", h.retiredSubjects[n])
		if !slices.ContainsFunc(h.worlds, func(w *world) bool { return w.uncertainSubject(hash("subject", name)) }) {
			return name
		}
		h.retiredSubjects[n]++
	}
}

func (c call) String() string {
	if c.discard != "" {
		return "discard " + c.discard
	}
	var all []string
	for _, e := range c.entries {
		var keys []string
		for _, k := range e.Keys {
			keys = append(keys, fmt.Sprintf("%.2x/%v/look up only: %v", k.Hash[:], k.Window, k.LookupOnly))
		}
		var versions []string
		for _, v := range e.Versions {
			versions = append(versions, fmt.Sprintf("%.2x/%v/%s", v.Subject[:], v.Window, v.Text))
		}
		all = append(all, fmt.Sprintf("%d %s of %d events, bytes %.2x, meaning %.2x, keys %v, versions %v",
			e.Operation, e.Webhook.GetId(), len(e.Events), e.Bytes[:], e.Meaning[:], keys, versions))
	}
	return strings.Join(all, " + ")
}

func (c call) do(ctx context.Context, j journal.Journal) (r result) {
	switch {
	case c.discard != "":
		r.discarded, r.err = j.Discard(ctx, []string{c.discard})
	case len(c.entries) == 1:
		var receipt journal.Receipt
		if receipt, r.err = j.Append(ctx, c.entries[0]); r.err == nil {
			r.receipts = []journal.Receipt{receipt}
		}
	default:
		r.receipts, r.err = j.AppendAll(ctx, c.entries)
	}
	return r
}

// commit makes calls at the same instant, and cuts the power at a write, unless that is below 0.
func (h *history) commit(calls []call, crashAt int) {
	results := make([]result, len(calls))
	do := func() {
		var wg sync.WaitGroup
		for i, c := range calls {
			j := h.journal()
			wg.Go(func() { results[i] = c.do(h.ctx, j) })
		}
		wg.Wait()
	}
	if crashAt >= 0 {
		h.crash(crashAt, do)
	} else {
		do()
	}
	for i, c := range calls {
		h.note("%v: %+v (power cut at %d)", c, results[i], crashAt)
		if err := results[i].err; crashAt < 0 && err != nil && !errors.Is(err, journal.ErrNotFound) {
			h.fatalf("%v", err)
		}
	}
	var after []*world
	for _, w := range h.worlds {
		after = append(after, w.outcomes(calls, results, h.now)...)
	}
	after = distinct(after)
	if len(after) == 0 {
		h.fatalf("%d worlds; none has these results. The first would have %+v", len(h.worlds), h.worlds[0].clone().commit(calls[0], h.now))
	}
	h.worlds = after
	if crashAt >= 0 {
		h.opened()
	}
}

// opened is called when the journal was opened again.
func (h *history) opened() {
	for _, w := range h.worlds {
		w.open(h.now)
	}
	h.lastPass = h.now
	h.register(tail, 1, journal.Hold)
	h.verify()
}

func (h *history) retain() {
	believed := least(h.lastPass, h.now)
	h.lastPass = h.now
	needed := h.reader(tail).Position
	h.h.Retain()
	for _, w := range h.worlds {
		w.retain(believed, needed)
	}
	stored := make(map[string]bool)
	for _, w := range h.webhooks(false) {
		stored[w.GetId()] = true
	}
	for _, w := range h.worlds {
		for id, p := range w.webhooks {
			if !stored[id] && w.mayForget(p, believed) {
				delete(w.webhooks, id)
			}
		}
	}
	h.verify()
}

// follow has the reader read some events, and save how far it came.
func (h *history) follow() {
	c := h.claim(tail)
	at := c.Position()
	end := h.journal().Bounds().Next
	if at < end {
		got, err := h.journal().Read(h.ctx, at, make([]sinks.Record, 0, 1+h.rng.IntN(8)))
		h.fail("read by the reader", err)
		for _, r := range got {
			e, err := r.Event()
			h.fail("event", err)
			name := nameOf(e)
			if known, ok := h.shown[r.Position]; ok && known != name || r.Position != at {
				h.fatalf("position %d shows %s, and showed %s", r.Position, name, known)
			}
			h.shown[r.Position] = name
			at++
		}
	}
	h.note("the reader is at %d of %d", at, end)
	var err error
	if h.rng.IntN(3) == 0 {
		h.crash(h.rng.IntN(4), func() { err = c.Save(h.ctx, at) })
		h.opened()
		if err == nil && h.reader(tail).Position != at {
			h.fatalf("the reader saved %d, and after a crash it is at %d", at, h.reader(tail).Position)
		}
		return
	}
	h.fail("save", c.Save(h.ctx, at))
	h.fail("release", c.Release(h.ctx))
}

// view has the contents of a journal, or of a world, for comparison.
type view struct {
	Bounds   sinks.Bounds
	Events   map[sinks.Position]string
	Webhooks map[string]string
	Drift    map[string]uint64
	Times    map[sinks.Position]string
}

func (w *world) view() view {
	v := view{
		Bounds: sinks.Bounds{Earliest: w.earliest, Next: w.next()}, Events: make(map[sinks.Position]string), Drift: w.drift,
		Webhooks: make(map[string]string), Times: make(map[sinks.Position]string),
	}
	for p := w.earliest; p < w.next(); p++ {
		v.Events[p], v.Times[p] = factName(w.events[p-1].id, w.events[p-1].stale), w.events[p-1].at.UTC().String()
	}
	for id, p := range w.webhooks {
		v.Webhooks[id] = fmt.Sprint(p.quarantined, p.released, p.duplicate, p.first, p.count)
	}
	return v
}

// verify drops the worlds that differ from what the journal shows. One must remain.
func (h *history) verify() {
	h.shown.check(h.test)
	j := h.journal()
	v := view{
		Bounds: j.Bounds(), Events: make(map[sinks.Position]string), Drift: h.driftCounts(), Webhooks: make(map[string]string),
		Times: make(map[sinks.Position]string),
	}
	for p := v.Bounds.Earliest; p < v.Bounds.Next; p++ {
		v.Events[p], v.Times[p] = h.shown[p], h.committed(p).String()
	}
	for _, w := range h.webhooks(false) {
		quarantined, released := w.GetQuarantine() != nil && w.GetReleasedAt() == nil, w.GetReleasedAt() != nil
		v.Webhooks[w.GetId()] = fmt.Sprint(quarantined, released, w.GetDuplicate(), w.GetFirstPosition(), w.GetEventCount())
	}
	var agree []*world
	difference := ""
	for _, w := range h.worlds {
		expected := w.view()
		if reflect.DeepEqual(expected, v) {
			agree = append(agree, w)
		} else {
			difference = cmp.Diff(expected, v)
		}
	}
	if len(agree) == 0 {
		h.fatalf("%d worlds; none is as the journal shows. The last one (-model +journal):\n%s", len(h.worlds), difference)
	}
	h.worlds = agree
	h.marks = append(h.marks, j.Mark(v.Bounds.Next))
	for _, m := range h.marks {
		var want error
		if m.Position < v.Bounds.Earliest {
			want = sinks.ErrExpired
		}
		h.is(fmt.Sprintf("mark %+v", m), j.Resolve(h.ctx, m), want)
	}
}
