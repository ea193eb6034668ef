package pebble

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// leftFolder is a folder after a crash: some tables, and several files of Pebble's log that are in no table. Its watermark covers
// everything.
type leftFolder struct {
	disk    *vfs.MemFS
	entries []journal.Entry
}

// leave makes the folder. Flushes hang from the middle on, so that log files pile up.
func leave(t *testing.T) leftFolder {
	t.Helper()
	disk := vfs.NewCrashableMem()
	var hanging atomic.Bool
	release := make(chan struct{})
	cfg := testConfig(errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpCreate && strings.HasSuffix(op.Path, ".sst") && hanging.Load() {
			<-release
		}
		return nil
	})))
	cfg.tune = smallTables
	j := open(t, cfg)
	var l leftFolder
	for i := range 60 {
		if i == 30 {
			if err := j.store.db.Flush(); err != nil {
				t.Fatal(err)
			}
			hanging.Store(true)
		}
		e := entry(i, 2000, 1+i%2)
		if i%7 == 3 {
			e = quarantined(i)
		}
		l.entries = append(l.entries, e)
		appendAll(t, j, e)
	}
	j.markDurable()
	l.disk = disk.CrashClone(vfs.CrashCloneCfg{})
	hanging.Store(false)
	close(release)
	if logs := l.names(t, ".log"); len(logs) < 3 {
		t.Fatalf("log files %v", logs)
	}
	return l
}

// names returns the folder's files whose names have such an end, in order.
func (l leftFolder) names(t *testing.T, suffix string) (names []string) {
	t.Helper()
	all, err := l.disk.List("journal")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	for _, name := range all {
		if strings.HasSuffix(name, suffix) && l.size(t, name) > 0 {
			names = append(names, name)
		}
	}
	return names
}

func (l leftFolder) size(t *testing.T, name string) int64 {
	t.Helper()
	info, err := l.disk.Stat(path.Join("journal", name))
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// copied returns a copy in which change has replaced the content of a file; nil removes it.
func (l leftFolder) copied(t *testing.T, name string, change func([]byte) []byte) *vfs.MemFS {
	t.Helper()
	fs := l.disk.CrashClone(vfs.CrashCloneCfg{})
	full := path.Join("journal", name)
	if change(nil) == nil && name != "" {
		if err := fs.Remove(full); err != nil {
			t.Fatal(err)
		}
		return resynced(t, fs)
	}
	b := change(contentOf(t, fs, full))
	f, err := fs.Create(full, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
	return resynced(t, fs)
}

func resynced(t *testing.T, fs *vfs.MemFS) *vfs.MemFS {
	t.Helper()
	d, err := fs.OpenDir("journal")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		t.Fatal(err)
	}
	return fs
}

func contentOf(t *testing.T, fs vfs.FS, name string) []byte {
	t.Helper()
	f, err := fs.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(f)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return b
}

// contents returns everything in the folder except for the lock.
func contents(t *testing.T, fs vfs.FS) map[string]string {
	t.Helper()
	names, err := fs.List("journal")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, name := range names {
		if name != "LOCK" {
			all[name] = string(contentOf(t, fs, path.Join("journal", name)))
		}
	}
	return all
}

// The ways in which a file can suffer. nil, for no content, stands for a file that is gone.
func removed([]byte) []byte  { return nil }
func emptied([]byte) []byte  { return []byte{} }
func halved(b []byte) []byte { return append([]byte{}, b[:len(b)/2]...) }
func flipped(b []byte) []byte {
	b = append([]byte{}, b...)
	if len(b) > 0 {
		b[len(b)/2] ^= 0x10
	}
	return b
}

func zeroed(b []byte) []byte {
	b = append([]byte{}, b...)
	clear(b[len(b)/2:])
	return b
}

// TestLossIsRefused damages each kind of file in each way. Opening is refused, with the reason, and leaves the folder as it was: an operator
// may still put the file back.
func TestLossIsRefused(t *testing.T) {
	l := leave(t)
	logs, tables, blobs := l.names(t, ".log"), l.names(t, ".sst"), l.names(t, ".blob")
	newest := logs[len(logs)-1]
	manifest := l.manifest(t)
	all, err := l.disk.List("journal")
	if err != nil {
		t.Fatal(err)
	}
	marker := all[slices.IndexFunc(all, func(name string) bool { return strings.HasPrefix(name, "marker.manifest.") })]
	if len(blobs) == 0 || len(tables) == 0 {
		t.Fatalf("tables %v, value files %v", tables, blobs)
	}
	for _, c := range []struct {
		what, file string
		change     func([]byte) []byte
		want       error
	}{
		{"newest log cut to half", newest, halved, journal.ErrDataLoss},
		{"newest log removed", newest, removed, journal.ErrDataLoss},
		{"newest log empty", newest, emptied, journal.ErrDataLoss},
		{"newest log zeroed behind its middle", newest, zeroed, journal.ErrDataLoss},
		{"newest log with a flipped bit", newest, flipped, nil},
		{"middle log removed", logs[1], removed, journal.ErrDataLoss},
		{"middle log cut to half", logs[1], halved, nil},
		{"middle log empty", logs[1], emptied, journal.ErrDataLoss},
		{"middle log with a flipped bit", logs[1], flipped, nil},
		{"oldest log removed", logs[0], removed, journal.ErrDataLoss},
		{"table removed", tables[0], removed, nil},
		{"table cut to half", tables[0], halved, nil},
		{"value file removed", blobs[0], removed, nil},
		{"value file cut to half", blobs[0], halved, nil},
		{"manifest marker removed", marker, removed, journal.ErrDataLoss},
		{"manifest removed", manifest, removed, nil},
		{"manifest empty", manifest, emptied, nil},
		{"manifest cut to half", manifest, halved, nil},
		{"manifest with a flipped bit", manifest, flipped, nil},
		{"watermark removed", watermarkName, removed, journal.ErrDataLoss},
		{"watermark empty", watermarkName, emptied, journal.ErrDataLoss},
		{"watermark with a flipped bit", watermarkName, flipped, journal.ErrDataLoss},
		{"watermark of another journal", watermarkName, func(b []byte) []byte {
			if b == nil {
				return []byte{}
			}
			w, err := parseWatermark(b)
			if err != nil {
				t.Fatal(err)
			}
			w.journal = strings.Repeat("0", 32)
			return w.encode()
		}, journal.ErrDataLoss},
	} {
		t.Run(c.what, func(t *testing.T) {
			fs := l.copied(t, c.file, c.change)
			before := contents(t, fs)
			cfg := testConfig(fs)
			cfg.tune = smallTables
			_, err := Open(t.Context(), cfg)
			if err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Fatalf("open: %v", err)
			}
			t.Log(err)
			diff(t, "folder", contents(t, fs), before)
		})
	}
}

// manifest returns the name of the manifest in use.
func (l leftFolder) manifest(t *testing.T) string {
	t.Helper()
	var all []string
	for _, name := range l.names(t, "") {
		if strings.HasPrefix(name, "MANIFEST-") {
			all = append(all, name)
		}
	}
	return all[len(all)-1]
}

// A file that holds no data may be missing.
func TestMissingOptionsAreNoLoss(t *testing.T) {
	l := leave(t)
	for _, name := range l.names(t, "") {
		if strings.HasPrefix(name, "OPTIONS-") {
			j := open(t, testConfig(l.copied(t, name, removed)))
			diff(t, "events", decoded(t, readAll(t, j)), events(l.entries...))
			shut(t, j)
		}
	}
}

// TestAcceptedLoss accepts a loss. Nothing that is left is missing, the lost positions are not used again, readers are told, and the loss
// stays visible.
func TestAcceptedLoss(t *testing.T) {
	l := leave(t)
	whole := open(t, testConfig(l.disk.CrashClone(vfs.CrashCloneCfg{})))
	next := whole.Bounds().Next
	last := whole.Mark(next)
	shut(t, whole)
	logs := l.names(t, ".log")
	newest := logs[len(logs)-1]
	for _, c := range []struct {
		what, file string
		change     func([]byte) []byte
	}{
		{"middle removed", logs[1], removed},
		{"newest removed", newest, removed},
		{"newest cut", newest, halved},
		{"middle cut", logs[1], halved},
		{"middle flipped", logs[1], flipped},
		{"newest flipped", newest, flipped},
	} {
		t.Run(c.what, func(t *testing.T) {
			cfg := testConfig(l.copied(t, c.file, c.change))
			cfg.tune = smallTables
			cfg.AcceptLoss = true
			j := open(t, cfg)
			diff(t, "end", j.Bounds(), sinks.Bounds{Earliest: 1, Next: next})
			kept, missed := readPast(t, j)
			if missed == 0 || len(kept)+missed != int(next-1) {
				t.Fatalf("%d events kept and %d missed, of %d", len(kept), missed, next-1)
			}
			stats := j.Stats()
			if stats.LostEvents != uint64(missed) || stats.LostCommits == 0 || stats.Losses == 0 {
				t.Errorf("stats %+v, %d events missed", stats, missed)
			}
			if c.file == newest {
				// The reader of the lost end has seen events that are gone.
				wantErr(t, "mark behind the loss", j.Resolve(t.Context(), last), sinks.ErrForked)
			}
			if err := j.Resolve(t.Context(), j.Mark(next)); err != nil {
				t.Errorf("new mark: %v", err)
			}
			first := appendAll(t, j, entry(100, 10, 1))[0].First
			diff(t, "position of the next event", first, next)
			shut(t, j)

			cfg.AcceptLoss = false // it is recorded
			j = open(t, cfg)
			again, missedAgain := readPast(t, j)
			if len(again) != len(kept)+1 || missedAgain != missed {
				t.Errorf("after a restart: %d events and %d missed, want %d and %d", len(again), missedAgain, len(kept)+1, missed)
			}
			diff(t, "lost", j.Health().LostEvents, uint64(missed))
		})
	}
}

// readPast returns all events, and how many were lost between them.
func readPast(t *testing.T, j *Journal) (kept []sinks.Record, missed int) {
	t.Helper()
	b := j.Bounds()
	for p := b.Earliest; p < b.Next; {
		got, err := j.Read(t.Context(), p, make([]sinks.Record, 0, 16))
		var lost *sinks.LostError
		if errors.As(err, &lost) && errors.Is(err, sinks.ErrExpired) {
			missed += int(lost.To - p)
			p = lost.To
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range got {
			if r.Position != p {
				t.Fatalf("position %d, want %d", r.Position, p)
			}
			p++
		}
		kept = append(kept, got...)
	}
	return kept, missed
}

// A folder of an older version has no watermark. It is taken as it is, once.
func TestOlderFolderHasNoWatermark(t *testing.T) {
	fs := vfs.NewMem()
	j := open(t, testConfig(fs))
	appendAll(t, j, entry(1, 10, 1))
	// Older versions write neither the numbers of commits nor the mark.
	b := j.store.db.NewBatch()
	lower, upper := span(prefixCommit)
	err := errors.Join(b.Delete(keyMarked, nil), b.Delete(keyFirstCommit, nil), b.DeleteRange(lower, upper, nil), b.Commit(nil))
	if err != nil {
		t.Fatal(err)
	}
	shut(t, j)
	if err := fs.Remove("journal/" + watermarkName); err != nil {
		t.Fatal(err)
	}
	j = open(t, testConfig(fs))
	diff(t, "events", decoded(t, readAll(t, j)), events(entry(1, 10, 1)))
	shut(t, j)
	if err := fs.Remove("journal/" + watermarkName); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(context.Background(), testConfig(fs)); !errors.Is(err, journal.ErrDataLoss) {
		t.Errorf("open without the watermark it had: %v", err)
	}
}

// TestWatermarkIsBehind crashes a journal after every operation that writes the watermark. It never promises what is not
// durable.
func TestWatermarkFollows(t *testing.T) {
	fs := vfs.NewMem()
	cfg := testConfig(fs)
	j := open(t, cfg)
	for i := range 3 {
		appendAll(t, j, entry(i, 10, 2))
		j.markDurable()
		w, err := readWatermark(fs, "journal")
		if err != nil {
			t.Fatal(err)
		}
		diff(t, "watermark", fmt.Sprint(w.journal, w.commit, w.next), fmt.Sprint(j.ID(), j.store.number.Load(), j.Bounds().Next))
	}
	appendAll(t, j, quarantined(9)) // no event, and yet a commit
	shut(t, j)
	w, err := readWatermark(fs, "journal")
	if err != nil {
		t.Fatal(err)
	}
	diff(t, "at close", w.commit, j.durableCommit.Load())
}

// Records of commits that are in tables are removed, and the check of the next opening still finds a hole.
func TestCommitsArePruned(t *testing.T) {
	fs := vfs.NewMem()
	cfg := testConfig(fs)
	cfg.tune = smallTables
	j := open(t, cfg)
	for i := range pruneAtLeast + 500 {
		appendAll(t, j, entry(i, 10, 1))
	}
	if err := j.store.pruneCommits(cfg.Dir); err != nil {
		t.Fatal(err)
	}
	found, err := j.store.ending()
	if err != nil {
		t.Fatal(err)
	}
	if found.first < pruneAtLeast || len(found.missing) > 0 || found.commit != j.store.number.Load() {
		t.Errorf("found %+v", found)
	}
	shut(t, j)
	open(t, cfg)
}
