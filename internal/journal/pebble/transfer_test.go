package pebble

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/journaltest"
	"github.com/webhook-bridge/bridge/internal/journal/move"
	"github.com/webhook-bridge/bridge/internal/journal/postgres"
	"github.com/webhook-bridge/bridge/internal/journal/postgres/pgtest"
)

// TestMovedHistories: random histories in which the log is moved instead of reopened agree with the model. The growing kinds are copied
// in passes while the journal serves, and runs are interrupted.
func TestMovedHistories(t *testing.T) {
	fewerHistories(t, 10)
	journaltest.Histories(t, func(t *testing.T) journaltest.Harness { return newMoved(t, "") })
}

// TestMovedHistoriesThroughPostgres is TestMovedHistories for moves to PostgreSQL and back.
func TestMovedHistoriesThroughPostgres(t *testing.T) {
	url := pgtest.Start(t, pgtest.Options{}).URL()
	fewerHistories(t, 4)
	journaltest.Histories(t, func(t *testing.T) journaltest.Harness { return newMoved(t, url) })
}

// fewerHistories has n histories run unless the environment says how many: each moves the log several times.
func fewerHistories(t *testing.T, n int) {
	if os.Getenv("BRIDGE_TEST_SEEDS") == "" {
		t.Setenv("BRIDGE_TEST_SEEDS", strconv.Itoa(n))
	}
}

// movedEmbedded is the embedded engine, whose log is moved to another folder when the kit reopens it.
type movedEmbedded struct {
	*embedded
	// url is that of the database through which the log is moved, empty for none.
	url    string
	rng    *rand.Rand
	groups int
	// target is the file system of the folder that the log will be moved to.
	target *vfs.MemFS
	// base and moves number the schemas.
	base, moves int64
}

var histories atomic.Int64

func newMoved(t *testing.T, url string) journaltest.Harness {
	m := &movedEmbedded{
		embedded: &embedded{t: t, clock: newClock()}, url: url, target: vfs.NewCrashableMem(), rng: rand.New(rand.NewPCG(1, 9)),
		base: 1000 * histories.Add(1),
	}
	m.clock.ns.Store(journaltest.Start.UnixNano())
	m.onCommit = m.copyMeanwhile
	m.open(newPoweredFS(newSwitchFS()))
	t.Cleanup(func() { m.shut(m.j) })
	return journaltest.Harness{
		Instances: []journal.Journal{m.j},
		Reopen: func(int) journal.Journal {
			m.move()
			return m.j
		},
		Crash: func(n int, during func()) []journal.Journal {
			if during != nil {
				m.fs.cutAt(n, 50*(n%2))
				during()
			}
			m.restart(50 * (n % 2))
			return []journal.Journal{m.j}
		},
		Low: m.low, Retain: m.retain, Backup: m.backup, Clock: m.clock.Advance,
	}
}

// copyMeanwhile copies the log from a backup, after some groups.
func (m *movedEmbedded) copyMeanwhile(committed) {
	if m.groups++; m.groups%11 != 0 {
		return
	}
	// Pebble panics when it cannot sync a copy, and this is the committer's goroutine.
	m.fs.steady.RLock()
	defer m.fs.steady.RUnlock()
	m.fs.mu.Lock()
	armed := m.fs.writes >= 0
	m.fs.mu.Unlock()
	if armed || m.fs.disk.isDead() {
		return
	}
	m.copies++
	dir := fmt.Sprint("copy", m.copies)
	fs := m.fs
	err := m.j.checkpoint(m.t.Context(), dir)
	if err == nil {
		err = m.run(Config{Dir: dir, FS: fs, Now: m.clock.Now}, false)
	}
	if err != nil && !fs.disk.isDead() && !errors.Is(err, journal.ErrUnavailable) {
		m.t.Errorf("copy: %v", err)
	}
}

// move closes the journal, moves it and opens it at its new place.
func (m *movedEmbedded) move() {
	m.t.Helper()
	m.shut(m.j)
	source := m.config(m.fs.cut(100))
	if err := m.run(source, true); err != nil {
		m.t.Fatalf("move: %v", err)
	}
	if _, err := Open(m.t.Context(), source); !errors.Is(err, journal.ErrMoved) {
		m.t.Errorf("the source opens: %v", err)
	}
	left := m.target.CrashClone(unsynced(0)) // the move is durable
	m.open(newPoweredFS(&switchFS{FS: left, current: left}))
	m.target = vfs.NewCrashableMem()
}

// run makes a run, which may be interrupted, and then goes on. A final run through PostgreSQL is two.
func (m *movedEmbedded) run(source Config, final bool) error {
	folder := func() (origin, error) { return OpenOrigin(source) }
	next := func() (target, error) { return OpenTarget(m.config(m.target)) }
	if m.url == "" {
		return m.hop(folder, next, final, true)
	}
	cfg := postgres.Config{URL: m.url, Schema: m.schema(), ReplicatedBy: postgres.ByNothing}
	database := func() (target, error) { return postgres.OpenTarget(m.t.Context(), cfg) }
	if err := m.hop(folder, database, final, false); err != nil || !final {
		return err
	}
	back := func(exclusive bool) func() (origin, error) {
		return func() (origin, error) { return postgres.OpenOrigin(m.t.Context(), cfg, exclusive) }
	}
	if err := m.hop(back(false), next, false, true); err != nil {
		return err
	}
	if err := m.hop(back(true), next, true, true); err != nil {
		return err
	}
	if _, err := postgres.Open(m.t.Context(), cfg); !errors.Is(err, journal.ErrMoved) {
		m.t.Errorf("the database opens: %v", err)
	}
	m.moves++
	return nil
}

// schema is that of the next move.
func (m *movedEmbedded) schema() string {
	return fmt.Sprintf("moved_%d", m.base+m.moves)
}

type origin interface {
	move.Origin
	io.Closer
}

type target interface {
	move.Target
	io.Closer
}

var errInterrupted = errors.New("interrupted")

// hop moves or copies from one place to another, with interruptions.
func (m *movedEmbedded) hop(from func() (origin, error), to func() (target, error), final, folder bool) error {
	for {
		err := m.hopOnce(from, to, final)
		if !errors.Is(err, errInterrupted) {
			return err
		}
		if !folder {
			continue
		}
		if j, err := Open(m.t.Context(), m.config(m.target)); err == nil {
			m.t.Errorf("the target opens before the move is complete")
			_ = j.Close()
		} else if !errors.Is(err, journal.ErrIncomplete) {
			m.t.Errorf("target: %v", err)
		}
	}
}

func (m *movedEmbedded) hopOnce(openFrom func() (origin, error), openTo func() (target, error), final bool) error {
	from, err := openFrom()
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	to, err := openTo()
	if err != nil {
		return err
	}
	defer func() { _ = to.Close() }()
	left := new(atomic.Int64)
	left.Store(int64(m.rng.IntN(40)))
	_, err = move.Run(m.t.Context(), &interruptedOrigin{from, left}, &interruptedTarget{to, left}, move.Options{Final: final, From: "there", To: "here"})
	return err
}

// interruptedTarget fails once a number of calls were made, before or after the last.
type interruptedTarget struct {
	move.Target
	left *atomic.Int64
}

func interrupt(left *atomic.Int64, call func() error) error {
	n := left.Add(-1)
	if n == 0 {
		return errInterrupted
	}
	if err := call(); err != nil || n != 1 {
		return err
	}
	left.Store(-1)
	return errInterrupted
}

func (i *interruptedTarget) Prepare(ctx context.Context, l move.Log, n move.Note) error {
	return interrupt(i.left, func() error { return i.Target.Prepare(ctx, l, n) })
}

func (i *interruptedTarget) Write(ctx context.Context, k move.Kind, r []move.Record, n move.Note) error {
	return interrupt(i.left, func() error { return i.Target.Write(ctx, k, r, n) })
}

func (i *interruptedTarget) Clear(ctx context.Context, k move.Kind) error {
	return interrupt(i.left, func() error { return i.Target.Clear(ctx, k) })
}

func (i *interruptedTarget) Finish(ctx context.Context, l move.Log) error {
	if i.left.Add(-1) == 0 {
		return errInterrupted
	}
	return i.Target.Finish(ctx, l)
}

type interruptedOrigin struct {
	move.Origin
	left *atomic.Int64
}

func (i *interruptedOrigin) MarkMoved(ctx context.Context, n move.Note) error {
	return interrupt(i.left, func() error { return i.Origin.MarkMoved(ctx, n) })
}
