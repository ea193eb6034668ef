package pebble

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// smallTables makes Pebble turn its log every few kilobytes.
func smallTables(o *pebble.Options) { o.MemTableSize = 24 << 10 }

// crash is the folder after a crash, with the numbers of entries acknowledged and of records delivered before it.
type crash struct {
	what             string
	fs               *vfs.MemFS
	acked, delivered int
}

// TestCrash cuts the power before every single write, sync, creation, renaming and removal of a run, and recovers: once
// with the synced data alone, once with some of the data that were not synced.
func TestCrash(t *testing.T) {
	const n = 126
	w := newWorkload(n)
	disk := newSwitchFS()
	var mu sync.Mutex
	var crashes []crash
	fs := errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() != errorfs.OpIsWrite || op.Kind == errorfs.OpFileClose {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		w.mu.Lock()
		c := crash{acked: len(w.acked), delivered: len(w.delivered)}
		w.mu.Unlock()
		// What was promised is noted before the power goes.
		for _, percent := range []int{0, 20 + 60*(len(crashes)%2)} {
			rng := rand.New(rand.NewPCG(1, uint64(len(crashes))))
			c.what = fmt.Sprintf("op %d, kind %d on %s, %d%% of unsynced", len(crashes)/2, op.Kind, path.Base(op.Path), percent)
			c.fs = disk.crash(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng})
			crashes = append(crashes, c)
		}
		return nil
	}))
	cfg := testConfig(fs)
	cfg.tune, cfg.Now = smallTables, unsteady()
	j := open(t, cfg)
	w.run(t, j)
	shut(t, j)
	diff(t, "several epochs", j.epochs.Load().Len() > 2, true)
	if got := len(w.delivered); got != w.events() {
		t.Fatalf("%d events delivered, want %d", got, w.events())
	}
	t.Logf("%d crashes", len(crashes))
	var wg sync.WaitGroup
	var next atomic.Int64
	for range 2 {
		wg.Go(func() {
			for i := next.Add(1) - 1; int(i) < len(crashes); i = next.Add(1) - 1 {
				c := crashes[i]
				if testing.Short() && i%8 > 1 {
					continue
				}
				t.Run("", func(t *testing.T) {
					defer func() {
						if t.Failed() {
							t.Log(c.what)
						}
					}()
					j := open(t, testConfig(c.fs))
					w.checkJournal(t, j, w.acked[:c.acked], w.delivered[:c.delivered])
				})
			}
		})
	}
	wg.Wait()
}

// TestFailedWrite fails every single write, sync, creation and renaming of a run in turn, also in the background, while
// appends and reads go on. The journal recovers by itself; everything is there once, in the order that readers saw, and
// the process lives. Once the disk keeps the data that were not synced, once it drops them, as disks do after a failed sync.
func TestFailedWrite(t *testing.T) {
	for _, drop := range []bool{false, true} {
		t.Run(fmt.Sprintf("drop=%v", drop), func(t *testing.T) {
			for n := int64(0); ; n++ {
				if testing.Short() {
					n += 6
				}
				if !failAt(t, n, drop) {
					t.Logf("%d failures", n)
					return
				}
			}
		})
	}
}

// failAt fails the n-th operation and returns whether there were so many.
func failAt(t *testing.T, n int64, drop bool) bool {
	disk := newSwitchFS()
	var count atomic.Int64
	count.Store(-1 << 40) // not before the journal is open
	var injected atomic.Bool
	fs := errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if !breaks(op.Kind) || count.Add(1)-1 != n {
			return nil
		}
		injected.Store(true)
		if drop {
			disk.drop()
		}
		return errorfs.ErrInjected
	}))
	cfg := testConfig(fs)
	cfg.tune, cfg.Now = smallTables, unsteady()
	w := newWorkload(84)
	t.Run("", func(t *testing.T) {
		j := open(t, cfg)
		count.Store(0)
		w.run(t, j)
		count.Store(-1 << 40)
		w.checkJournal(t, j, w.acked, w.delivered)
		diff(t, "reader's cursor", readersOf(t, j)[0].Position, sinks.Position(w.events()+1))
		shut(t, j)
		j = open(t, cfg)
		w.checkJournal(t, j, w.acked, w.delivered)
	})
	return injected.Load() && !t.Failed()
}

func breaks(k errorfs.OpKind) bool {
	switch k {
	case errorfs.OpCreate, errorfs.OpRename, errorfs.OpReuseForWrite, errorfs.OpFileWrite, errorfs.OpFileWriteAt,
		errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
		return true
	default:
		return false
	}
}

// TestUnsyncedIsUnseen delays a sync. Until it ends, no reader sees the data that Pebble shows already, and a duplicate waits.
// When it fails, both appends get its error.
func TestUnsyncedIsUnseen(t *testing.T) {
	var armed atomic.Bool
	reached, fail := make(chan struct{}), make(chan struct{})
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		sync := op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData
		if sync && strings.HasSuffix(op.Path, ".log") && armed.CompareAndSwap(true, false) {
			close(reached)
			<-fail
			return errorfs.ErrInjected
		}
		return nil
	}))
	var groups atomic.Int64
	cfg := testConfig(fs)
	cfg.Now = func() time.Time { groups.Add(1); return time.Now() }
	first := make(chan struct{}, 100)
	cfg.onCommit = func(committed) { first <- struct{}{} }
	j := open(t, cfg)
	appendAll(t, j, entry(1, 10, 1))
	<-first
	groups.Store(0)
	armed.Store(true)
	e := entry(2, 10, 1)
	type answer struct {
		done chan struct{}
		err  error
	}
	send := func() *answer {
		a := &answer{done: make(chan struct{})}
		go func() {
			defer close(a.done)
			_, a.err = j.Append(context.Background(), e)
		}()
		return a
	}
	original := send()
	<-reached
	repeated := send()
	for groups.Load() < 2 { // the committer has it
		runtime.Gosched()
	}
	diff(t, "bounds", j.Bounds(), sinks.Bounds{Earliest: 1, Next: 2})
	ctx, cancel := context.WithCancel(t.Context())
	seen := false
	err := j.view(ctx, func(st *store) error {
		cancel()
		id, err := journal.ParseID(e.Webhook.GetId())
		if err != nil {
			return err
		}
		// The log's sync may begin before what it covers is visible.
		for err = pebble.ErrNotFound; errors.Is(err, pebble.ErrNotFound) && t.Context().Err() == nil; runtime.Gosched() {
			_, err = st.get(webhookKey(prefixWebhook, id))
		}
		seen = err == nil
		return err
	})
	if !seen || !errors.Is(err, context.Canceled) {
		t.Errorf("webhook is visible in Pebble: %v, view: %v", seen, err)
	}
	for _, a := range []*answer{original, repeated} {
		select {
		case <-a.done:
			t.Fatal("answered before its sync ended")
		default:
		}
	}
	close(fail)
	for _, a := range []*answer{original, repeated} {
		<-a.done
		if !errors.Is(a.err, journal.ErrUnavailable) || !strings.Contains(a.err.Error(), "injected") {
			t.Errorf("append: %v", a.err)
		}
	}
	if _, err := retry(func() (journal.Receipt, error) { return j.Append(t.Context(), e) }); err != nil {
		t.Error(err)
	}
	diff(t, "events", decoded(t, readAll(t, j)), events(entry(1, 10, 1), e))
	diff(t, "recoveries", j.Stats().Recoveries, uint64(1))
}

// TestBrokenDisk closes a journal whose disk does not recover.
func TestBrokenDisk(t *testing.T) {
	var broken atomic.Bool
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if broken.Load() && breaks(op.Kind) {
			return errorfs.ErrInjected
		}
		return nil
	}))
	j := open(t, testConfig(fs))
	appendAll(t, j, entry(1, 10, 1))
	broken.Store(true)
	for i := range 3 {
		if _, err := j.Append(t.Context(), entry(2+i, 10, 1)); !errors.Is(err, journal.ErrUnavailable) {
			t.Errorf("append: %v", err)
		}
	}
	if s := j.Stats(); s.Available {
		t.Errorf("stats %+v", s)
	}
	shut(t, j)
	broken.Store(false)
	j = open(t, testConfig(fs))
	w := &workload{entries: []journal.Entry{entry(1, 10, 1), entry(2, 10, 1), entry(3, 10, 1), entry(4, 10, 1)}}
	w.calls = [][]int{{0}, {1}, {2}, {3}}
	w.checkJournal(t, j, []acknowledged{{receipt: journal.Receipt{First: 1}}}, nil)
}

// TestBrokenFromTheStart: a journal on a disk that cannot be written does not open.
func TestBrokenFromTheStart(t *testing.T) {
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData {
			return errorfs.ErrInjected
		}
		return nil
	}))
	if _, err := Open(t.Context(), testConfig(fs)); !errors.Is(err, errorfs.ErrInjected) {
		t.Errorf("open: %v", err)
	}
}

// TestFailedOpen fails every write of opening a folder that a crash left, in turn. Nothing is lost by trying.
func TestFailedOpen(t *testing.T) {
	w := newWorkload(28)
	disk := newSwitchFS()
	cfg := testConfig(disk)
	cfg.Dir = "a/b/journal"
	cfg.tune = smallTables
	j := open(t, cfg)
	w.run(t, j)
	left := disk.crash(vfs.CrashCloneCfg{})
	for n, last := int64(0), false; !last; n++ {
		disk := left.CrashClone(vfs.CrashCloneCfg{})
		var count atomic.Int64
		var failed atomic.Bool
		cfg.FS = errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if breaks(op.Kind) && count.Add(1)-1 == n {
				failed.Store(true)
				return errorfs.ErrInjected
			}
			return nil
		}))
		j, err := Open(t.Context(), cfg)
		last = !failed.Load()
		if last != (err == nil) {
			t.Fatalf("write %d: failed: %v, open: %v", n, !last, err)
		}
		if err == nil {
			shut(t, j)
			t.Logf("%d writes", n)
		}
		cfg.FS = disk.CrashClone(vfs.CrashCloneCfg{})
		j = open(t, cfg)
		w.checkJournal(t, j, w.acked, w.delivered)
		shut(t, j)
	}
}
