package move_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/move"
	"github.com/webhook-bridge/bridge/internal/journal/pebble"
	"github.com/webhook-bridge/bridge/internal/journal/postgres"
	"github.com/webhook-bridge/bridge/internal/journal/postgres/pgtest"
	"github.com/webhook-bridge/bridge/sinks"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

type origin interface {
	move.Origin
	io.Closer
	Unmark(ctx context.Context) error
}

type target interface {
	move.Target
	io.Closer
}

// place is a folder or a schema.
type place struct {
	name, schema string

	open   func() (journal.Journal, error)
	origin func(exclusive bool) (origin, error)
	target func() (target, error)
}

func newFolder(t *testing.T) place {
	cfg := pebble.Config{Dir: t.TempDir()}
	return place{
		name:   "folder",
		open:   func() (journal.Journal, error) { return pebble.Open(t.Context(), cfg) },
		origin: func(bool) (origin, error) { return pebble.OpenOrigin(cfg) },
		target: func() (target, error) { return pebble.OpenTarget(cfg) },
	}
}

var schemas atomic.Int64

func newSchema(t *testing.T) place {
	cluster := pgtest.Shared(t)
	cfg := postgres.Config{URL: cluster.URL(), Schema: fmt.Sprint("move", schemas.Add(1)), Replica: "one"}
	return place{
		name: "database", schema: cfg.Schema,
		open:   func() (journal.Journal, error) { return postgres.Open(t.Context(), cfg) },
		origin: func(exclusive bool) (origin, error) { return postgres.OpenOrigin(t.Context(), cfg, exclusive) },
		target: func() (target, error) { return postgres.OpenTarget(t.Context(), cfg) },
	}
}

func openPlace(t *testing.T, p place) journal.Journal {
	t.Helper()
	j, err := p.open()
	if err != nil {
		t.Fatalf("open the %s: %v", p.name, err)
	}
	return j
}

func shut(t *testing.T, c io.Closer) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// run makes one run.
func run(t *testing.T, from, to place, final bool) (move.Result, error) {
	t.Helper()
	a, err := from.origin(final)
	if err != nil {
		return move.Result{}, err
	}
	defer shut(t, a)
	b, err := to.target()
	if err != nil {
		return move.Result{}, err
	}
	defer shut(t, b)
	return move.Run(t.Context(), a, b, move.Options{Final: final, From: "the old " + from.name, To: "the new " + to.name})
}

func moveTo(t *testing.T, from, to place) move.Result {
	t.Helper()
	result, err := run(t, from, to, true)
	if err != nil || !result.Moved {
		t.Fatalf("move from the %s to the %s: %v", from.name, to.name, err)
	}
	return result
}

// author writes a random history through the contract, and remembers what it wrote.
type author struct {
	t       *testing.T
	rng     *rand.Rand
	n       int
	entries []journal.Entry
}

func hash(parts ...any) journal.Hash {
	sum := sha256.Sum256(fmt.Append(nil, parts...))
	return journal.Hash(sum[:16])
}

// write appends entries: new ones, duplicates, revisions, ones in quarantine, releases, corrections.
func (a *author) write(j journal.Journal, n int) {
	a.t.Helper()
	for range n {
		e := a.entry()
		if _, err := j.Append(a.t.Context(), e); err != nil && !errors.Is(err, journal.ErrNotFound) {
			a.t.Fatal(err)
		}
		a.entries = append(a.entries, e)
	}
}

func (a *author) entry() journal.Entry {
	a.n++
	if len(a.entries) > 0 {
		old := a.entries[a.rng.IntN(len(a.entries))]
		switch n := a.rng.IntN(10); {
		case n == 0 && old.Operation == journal.Receive && old.Webhook.GetQuarantine() != nil:
			return a.release(old)
		case n == 1 && old.Operation == journal.Receive && len(old.Events) > 0:
			return a.correct(old)
		case n == 2 && old.Operation == journal.Receive:
			again := a.received(a.rng.IntN(3))
			again.Keys, again.Bytes, again.Meaning = old.Keys, hash("other", a.n), old.Meaning
			return again
		case n == 3 && old.Operation == journal.Receive:
			again := a.received(a.rng.IntN(3))
			again.Keys = old.Keys
			return again
		}
	}
	return a.received(a.rng.IntN(3))
}

func (a *author) received(events int) journal.Entry {
	now := timestamppb.Now()
	w := &journalv1.Webhook{
		Id: uuid.Must(uuid.NewV7()).String(), Source: "till", Connector: "kasafik", VendorEvent: "orders", ReceivedAt: now, Encoding: journalv1.Encoding_ENCODING_JSON,
		Body: fmt.Appendf(nil, `{"n":%d}`, a.n),
	}
	e := journal.Entry{Webhook: w, Bytes: hash("bytes", a.n), Meaning: hash("meaning", a.n)}
	e.Keys = []journal.Key{{Hash: hash("key", a.n), Window: time.Hour}, {Hash: hash("group", a.rng.IntN(50)), Window: 2 * time.Hour}}
	if a.rng.IntN(5) == 0 {
		w.Quarantine = &journalv1.Quarantine{Reason: "malformed_json"}
		events = 0
	}
	if a.rng.IntN(3) == 0 {
		w.Drift = []*journalv1.Drift{{Kind: journalv1.DriftKind_DRIFT_KIND_UNKNOWN, Path: fmt.Sprint("$.", a.rng.IntN(5)), Sample: []byte("1")}}
	}
	a.addEvents(&e, events)
	return e
}

func (a *author) addEvents(e *journal.Entry, n int) {
	for i := range n {
		event, err := proto.Marshal(&eventv1.Event{
			Id: fmt.Sprintf("%s/%d/%d", e.Webhook.GetId(), a.n, i), Type: "unmapped", Source: "till", Subject: "order/1",
			ReceivedAt: e.Webhook.GetReceivedAt(), WebhookId: e.Webhook.GetId(),
		})
		if err != nil {
			a.t.Fatal(err)
		}
		e.Events = append(e.Events, event)
		e.Versions = append(e.Versions, journal.Version{
			Subject: hash("subject", a.rng.IntN(20)), Text: strconv.Itoa(a.rng.IntN(100)), Window: time.Hour,
		})
	}
}

func (a *author) release(old journal.Entry) journal.Entry {
	w := proto.CloneOf(old.Webhook)
	w.ReleasedAt = timestamppb.Now()
	e := journal.Entry{Operation: journal.Release, Webhook: w, Bytes: hash("released", a.n), Meaning: hash("released", a.n)}
	e.Keys = []journal.Key{{Hash: hash("released", w.GetId()), Window: time.Hour}}
	a.addEvents(&e, a.rng.IntN(2))
	return e
}

func (a *author) correct(old journal.Entry) journal.Entry {
	e := journal.Entry{Operation: journal.Correct, Webhook: old.Webhook, Bytes: hash("corrected", a.n), Meaning: hash("corrected", a.n)}
	e.Keys = []journal.Key{{Hash: hash("corrected", old.Webhook.GetId(), a.n), Window: time.Hour}}
	a.addEvents(&e, 1)
	e.Indexes = []uint32{0}
	return e
}

// readers gives the journal readers with cursors, parked events, gaps and requests.
func (a *author) readers(j journal.Journal) {
	a.t.Helper()
	ctx := a.t.Context()
	must := func(err error) {
		a.t.Helper()
		if err != nil {
			a.t.Fatal(err)
		}
	}
	for _, name := range []string{"kafka", "Čeština", "paused", "moved"} {
		must(j.Register(ctx, name, 1, journal.Hold))
		c, err := j.Claim(ctx, name)
		must(err)
		must(c.Save(ctx, sinks.Position(3+len(name))))
		for p := range uint64(3) {
			must(c.Park(ctx, &journalv1.Parked{
				Sink: name, Position: p + 1, Event: []byte("event"), Reason: "refused", FirstAttemptAt: timestamppb.Now(), LastAttemptAt: timestamppb.Now(),
				AttemptCount: 1, Attempts: []*journalv1.Attempt{{At: timestamppb.Now(), Error: "no"}},
			}))
		}
		_, err = c.RecordGap(ctx, 1, 2)
		must(err)
		must(c.Release(ctx))
		must(j.RequestRetry(ctx, name, 2))
		must(j.RequestPass(ctx, name, sinks.Position(3+len(name))))
		must(j.StartReplay(ctx, &journalv1.Replay{Id: name + " 1", Sink: name, From: 1, To: 3, RequestedAt: timestamppb.Now()}))
		must(j.StartReplay(ctx, &journalv1.Replay{Id: name + " 2", Sink: name, From: 2, To: 3, RequestedAt: timestamppb.Now()}))
		must(j.CancelReplay(ctx, name, name+" 1"))
	}
	must(j.Pause(ctx, "paused"))
	must(j.MoveTo(ctx, "moved", 5))
	must(j.DiscardParked(ctx, "kafka", 3))
}

// groups gives the journal groups with states, parked events and requests, and deletes one.
func (a *author) groups(j journal.Journal) {
	a.t.Helper()
	ctx := a.t.Context()
	must := func(err error) {
		a.t.Helper()
		if err != nil {
			a.t.Fatal(err)
		}
	}
	session, err := j.Enlist(ctx)
	must(err)
	for _, name := range []string{"orders", "Čeština", "deleted"} {
		version, err := j.SetGroup(ctx, name, 0, []byte("definition of "+name), &journal.GroupReset{State: []byte("state")})
		must(err)
		must(session.Join(ctx, name, "member", []byte("note")))
		taken, err := session.Take(ctx, name, []int{0, 7, 255})
		must(err)
		var changes []journal.ShareChange
		for _, s := range taken {
			changes = append(changes, journal.ShareChange{Index: s.Index, Epoch: s.Epoch, Version: s.Version, State: fmt.Appendf(nil, "state %d of %s", s.Index, name)})
		}
		for p := range uint64(2) {
			changes[0].Park = append(changes[0].Park, &journalv1.Parked{
				Position: p + 1, Event: []byte("event"), Reason: "refused", FirstAttemptAt: timestamppb.Now(), LastAttemptAt: timestamppb.Now(), AttemptCount: 1,
			})
		}
		_, err = j.SaveShares(ctx, name, changes)
		must(err)
		must(j.RequestRetry(ctx, journal.GroupReader(name), 2))
		_, err = j.SetGroup(ctx, name, version, nil, nil)
		must(err)
	}
	must(j.DeleteGroup(ctx, "deleted"))
}

// checkGroups makes the deleted group again: its versions and epochs are greater than those that it had.
func (a *author) checkGroups(j journal.Journal) {
	a.t.Helper()
	ctx := a.t.Context()
	version, err := j.SetGroup(ctx, "deleted", 0, nil, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	shares, err := j.Shares(ctx, "deleted", []int{0, 200})
	if err != nil || version <= 3 || shares[1].Epoch <= 3 || shares[0].Version <= 3 {
		a.t.Errorf("a group that was deleted before the move: version %d, shares %+v, %v", version, shares, err)
	}
	if err := j.DeleteGroup(ctx, "deleted"); err != nil {
		a.t.Error(err)
	}
}

// contents are what the contract shows of a journal.
type contents struct {
	ID          string
	Bounds      sinks.Bounds
	Events      []string
	CommittedAt []time.Time
	Webhooks    []*journalv1.Webhook
	Corrections [][]journal.Correction
	Drift       []*journalv1.DriftCount
	Readers     []journal.ReaderState
	Parked      []*journalv1.Parked
	Gaps        []*journalv1.Gap
	Again       []*journalv1.Replay
	Moved       map[string]bool
	Requests    map[string]journal.Requests
	Groups      []*journal.GroupState
	Shares      [][]journal.Share
	Replays     [][]*journalv1.Parked
}

func contentsOf(t *testing.T, j journal.Journal) contents {
	t.Helper()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	c := contents{ID: j.ID(), Bounds: j.Bounds(), Moved: map[string]bool{}, Requests: map[string]journal.Requests{}}
	for p := c.Bounds.Earliest; p < c.Bounds.Next; {
		records, err := j.Read(ctx, p, make([]sinks.Record, 0, 100))
		must(err)
		for _, r := range records {
			c.Events = append(c.Events, fmt.Sprintf("%d %x", r.Position, r.Encoded))
			at, err := j.CommittedAt(ctx, r.Position)
			must(err)
			c.CommittedAt = append(c.CommittedAt, at)
			p = r.Position + 1
		}
	}
	for after, more := "", true; more; {
		page, err := j.Find(ctx, journal.Query{After: after})
		must(err)
		c.Webhooks = append(c.Webhooks, page.Webhooks...)
		after, more = page.Next, page.Next != ""
	}
	for _, w := range c.Webhooks {
		all, err := j.Corrections(ctx, w.GetId())
		must(err)
		c.Corrections = append(c.Corrections, all)
	}
	var err error
	c.Drift, err = j.Drift(ctx)
	must(err)
	c.Readers, err = j.Readers(ctx)
	must(err)
	for i := range c.Readers {
		c.Readers[i].Registered, c.Readers[i].Claimed = false, false // of one run
		c.Readers[i].Note = nil
		if c.Readers[i].Paused {
			continue
		}
		claim, err := j.Claim(ctx, c.Readers[i].Name)
		must(err)
		c.Moved[c.Readers[i].Name] = claim.Moved()
		c.Requests[c.Readers[i].Name], err = claim.Requests(ctx)
		must(err)
		must(claim.Release(ctx))
	}
	c.Parked, err = j.Parked(ctx, "", 0, 1000)
	must(err)
	c.Again, err = j.ListReplays(ctx, "")
	must(err)
	c.Gaps, err = j.Gaps(ctx, "")
	must(err)
	c.addGroups(t, j)
	return c
}

// addGroups adds the groups, without members and owners: their sessions do not move.
func (c *contents) addGroups(t *testing.T, j journal.Journal) {
	t.Helper()
	names, err := j.GroupNames(t.Context(), "", 10)
	if err != nil {
		t.Fatal(err)
	}
	var every []int
	for n := range journal.GroupShares {
		every = append(every, n)
	}
	for _, name := range names {
		g, err := j.Group(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		g.Members, g.Owners = nil, nil
		shares, err := j.Shares(t.Context(), name, every)
		if err != nil {
			t.Fatal(err)
		}
		replays, err := j.Replays(t.Context(), name, 0, 10)
		if err != nil {
			t.Fatal(err)
		}
		c.Groups, c.Shares, c.Replays = append(c.Groups, g), append(c.Shares, shares), append(c.Replays, replays)
	}
}

func same(t *testing.T, what string, got, want contents) {
	t.Helper()
	if d := cmp.Diff(want, got, protocmp.Transform(), cmpopts.EquateEmpty()); d != "" {
		t.Errorf("%s (-before +after):\n%s", what, d)
	}
}

// TestThereAndBack: a journal that moves to PostgreSQL and back shows the same, resolves the same marks, and decides the same.
func TestThereAndBack(t *testing.T) {
	first, database, last := newFolder(t), newSchema(t), newFolder(t)
	a := &author{t: t, rng: rand.New(rand.NewPCG(7, 7))}
	j := openPlace(t, first)
	a.write(j, 300)
	a.readers(j)
	a.groups(j)
	before := contentsOf(t, j)
	if len(before.Groups) != 2 || len(before.Replays[1]) != 1 {
		t.Fatalf("groups: %+v", before.Groups)
	}
	marks := marksOf(j)
	shut(t, j)
	result := moveTo(t, first, database)
	t.Logf("records: %v, compared: %v", result.Records, result.Compared)

	j = openPlace(t, database)
	same(t, "in the database", contentsOf(t, j), before)
	a.check(j, marks)
	a.checkGroups(j)
	a.write(j, 100)
	before = contentsOf(t, j)
	marks = append(marks, marksOf(j)...)
	shut(t, j)
	moveTo(t, database, last)

	j = openPlace(t, last)
	same(t, "in the folder again", contentsOf(t, j), before)
	a.check(j, marks)
	a.checkGroups(j)
	shut(t, j)
	for _, p := range []place{first, database} {
		if _, err := p.open(); !errors.Is(err, journal.ErrMoved) || !strings.Contains(err.Error(), "the new ") {
			t.Errorf("the old %s: %v, want where it moved to", p.name, err)
		}
	}
}

func marksOf(j journal.Journal) (all []sinks.Mark) {
	for p := j.Bounds().Earliest; p <= j.Bounds().Next; p++ {
		all = append(all, j.Mark(p))
	}
	return all
}

// check resolves the marks, and appends again what was appended: all of it is known.
func (a *author) check(j journal.Journal, marks []sinks.Mark) {
	a.t.Helper()
	for _, m := range marks {
		if err := j.Resolve(a.t.Context(), m); err != nil {
			a.t.Errorf("mark %v: %v", m, err)
		}
	}
	next := j.Bounds().Next
	for _, e := range a.entries {
		if e.Operation == journal.Release {
			continue
		}
		r, err := j.Append(a.t.Context(), e)
		if err != nil && !errors.Is(err, journal.ErrNotFound) || err == nil && !r.Duplicate {
			a.t.Errorf("webhook %s again: %+v, %v", e.Webhook.GetId(), r, err)
		}
	}
	if got := j.Bounds().Next; got != next {
		a.t.Errorf("%d events were added again", got-next)
	}
}
