package pebble

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/journaltest"
)

func TestKit(t *testing.T) { journaltest.Run(t, newEmbedded) }

func TestHistories(t *testing.T) { journaltest.Histories(t, newEmbedded) }

func TestGroupHistories(t *testing.T) { journaltest.GroupHistories(t, newEmbedded) }

// newEmbedded is the embedded engine for the kit: one instance, on a file system in memory that loses power.
func newEmbedded(t *testing.T) journaltest.Harness {
	e := &embedded{t: t, clock: newClock()}
	e.clock.ns.Store(journaltest.Start.UnixNano())
	e.open(newPoweredFS(newSwitchFS()))
	t.Cleanup(func() { e.shut(e.j) })
	return journaltest.Harness{
		Instances: []journal.Journal{e.j},
		Reopen: func(int) journal.Journal {
			e.restart(100)
			return e.j
		},
		Crash: func(n int, during func()) []journal.Journal {
			percent := 50 * (n % 2)
			if during != nil {
				e.fs.cutAt(n, percent)
				during()
			}
			e.restart(percent)
			return []journal.Journal{e.j}
		},
		Stall:   func() (<-chan struct{}, func(bool)) { return e.fs.stall(t) },
		Certain: true,
		Fail:    func() func() { return e.fs.set(&e.fs.failing) },
		Low:     e.low,
		Retain:  e.retain,
		Backup:  e.backup,
		Clock:   e.clock.Advance,
	}
}

type embedded struct {
	t     *testing.T
	clock *clock
	fs    *poweredFS
	j     *Journal
	// copies numbers the backups.
	copies int
	// onCommit is called after every group, if set.
	onCommit func(committed)
}

func (e *embedded) config(fs vfs.FS) Config {
	cfg := testConfig(fs)
	cfg.Now = e.clock.Now
	cfg.MinFree = 1
	cfg.onCommit = e.onCommit
	cfg.DedupeAge = journaltest.MaxWindow
	cfg.Retention = Retention{
		Age: journaltest.EventAge, Size: -1, QuarantineAge: journaltest.QuarantineAge, ParkedAge: journaltest.ParkedAge,
	}
	return cfg
}

func (e *embedded) open(fs *poweredFS) {
	e.t.Helper()
	j, err := Open(context.Background(), e.config(fs))
	if err != nil {
		e.t.Fatal(err)
	}
	e.fs, e.j = fs, j
}

// shut closes a journal. What it says does not matter where its power is gone.
func (e *embedded) shut(j *Journal) {
	if err := j.Close(); err != nil && !e.fs.disk.isDead() {
		e.t.Errorf("close: %v", err)
	}
}

// restart cuts the power, unless that has happened, and opens what is left.
func (e *embedded) restart(percent int) {
	e.t.Helper()
	left := e.fs.cut(percent)
	e.shut(e.j)
	e.open(newPoweredFS(&switchFS{FS: left, current: left}))
}

// low has the disk look nearly full.
func (e *embedded) low() func() {
	full := e.fs.set(&e.fs.full)
	e.j.checkDisk()
	return func() {
		full()
		e.j.checkDisk()
	}
}

func (e *embedded) retain() {
	if err := e.j.retain(); err != nil {
		e.t.Errorf("retention: %v", err)
	}
}

func (e *embedded) backup(of journal.Journal) func() journal.Journal {
	j, ok := of.(*Journal)
	if !ok {
		e.t.Fatalf("a backup of %T", of)
	}
	fs, ok := j.cfg.FS.(*poweredFS)
	if !ok {
		e.t.Fatalf("a backup on %T", j.cfg.FS)
	}
	e.copies++
	dir := fmt.Sprint("backup", e.copies)
	if err := j.checkpoint(context.Background(), dir); err != nil {
		e.t.Error(err)
	}
	left := fs.disk.crash(unsynced(100))
	return func() journal.Journal {
		mem := left.CrashClone(unsynced(100))
		cfg := e.config(newPoweredFS(&switchFS{FS: mem, current: mem}))
		cfg.Dir = dir
		return open(e.t, cfg)
	}
}

// unsynced keeps some of what was not synced. The same part each time.
func unsynced(percent int) vfs.CrashCloneCfg {
	return vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(1, 2))}
}

// poweredFS is a disk that loses power at a write, that fails, and that stalls.
type poweredFS struct {
	vfs.FS
	disk          *switchFS
	failing, full atomic.Bool

	// steady is held by work that no power cut may interrupt. It is locked before mu.
	steady sync.RWMutex

	mu sync.Mutex
	// writes counts down to the write before which the power is cut, with percent of what is not synced. Below 0 it is off.
	writes, percent int
	left            *vfs.MemFS
	// stalled holds up the syncs of the log, if set.
	stalled *stall
}

type stall struct {
	held     chan struct{}
	once     sync.Once
	resume   chan struct{}
	fail     bool
	resuming sync.Once
}

func newPoweredFS(disk *switchFS) *poweredFS {
	p := &poweredFS{disk: disk, writes: -1}
	p.FS = errorfs.Wrap(disk, errorfs.InjectorFunc(p.before))
	return p
}

// before is called before each operation.
func (p *poweredFS) before(op errorfs.Op) error {
	if op.Kind.ReadOrWrite() != errorfs.OpIsWrite || op.Kind == errorfs.OpFileClose {
		return nil
	}
	p.mu.Lock()
	if p.writes == 0 {
		p.cutLocked(p.percent)
	}
	p.writes = max(p.writes-1, -1)
	s := p.stalled
	p.mu.Unlock()
	sync := op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData
	if s != nil && sync && strings.HasSuffix(op.Path, ".log") {
		s.once.Do(func() { close(s.held) })
		<-s.resume
		if s.fail {
			return errorfs.ErrInjected
		}
	}
	if p.failing.Load() && breaks(op.Kind) {
		return errorfs.ErrInjected
	}
	return nil
}

// cutAt has the power cut before the n-th write from now on.
func (p *poweredFS) cutAt(n, percent int) {
	p.steady.Lock()
	defer p.steady.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.writes, p.percent = n, percent
}

// cut cuts the power, unless that has happened, and returns what is left.
func (p *poweredFS) cut(percent int) *vfs.MemFS {
	p.steady.Lock()
	defer p.steady.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cutLocked(percent)
	return p.left
}

func (p *poweredFS) cutLocked(percent int) {
	if p.left == nil {
		p.left = p.disk.die(unsynced(percent))
	}
}

func (p *poweredFS) stall(t *testing.T) (<-chan struct{}, func(bool)) {
	s := &stall{held: make(chan struct{}), resume: make(chan struct{})}
	p.mu.Lock()
	p.stalled = s
	p.mu.Unlock()
	resume := func(fail bool) {
		s.resuming.Do(func() {
			p.mu.Lock()
			p.stalled = nil
			p.mu.Unlock()
			s.fail = fail
			close(s.resume)
		})
	}
	t.Cleanup(func() { resume(true) })
	return s.held, resume
}

func (p *poweredFS) set(flag *atomic.Bool) (unset func()) {
	flag.Store(true)
	return func() { flag.Store(false) }
}

// GetDiskUsage implements [vfs.FS].
func (p *poweredFS) GetDiskUsage(string) (vfs.DiskUsage, error) {
	if p.full.Load() {
		return vfs.DiskUsage{}, nil
	}
	return vfs.DiskUsage{AvailBytes: 1 << 40}, nil
}
