package pebble

import (
	"errors"
	"math/rand/v2"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/webhook-bridge/bridge/internal/journal"
)

// boundedDisk is a disk of a size. It notes the least room that it had.
type boundedDisk struct {
	vfs.FS
	size  int64
	least atomic.Int64
}

func newBoundedDisk(size int64) *boundedDisk {
	d := &boundedDisk{size: size}
	d.least.Store(size)
	mem := vfs.NewMem()
	d.FS = errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpRemove {
			d.measure(mem)
		}
		return nil
	}))
	return d
}

// measure adds up the files.
func (d *boundedDisk) measure(mem vfs.FS) int64 {
	names, err := mem.List("journal")
	if err != nil {
		return d.size
	}
	free := d.size
	for _, name := range names {
		if info, err := mem.Stat(path.Join("journal", name)); err == nil {
			free -= info.Size()
		}
	}
	for {
		least := d.least.Load()
		if free >= least || d.least.CompareAndSwap(least, free) {
			return free
		}
	}
}

func (d *boundedDisk) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: uint64(max(d.measure(d.FS), 0)), TotalBytes: uint64(d.size)}, nil
}

// TestBurstKeepsMinFree fills a disk in one burst, between two looks at the disk. The reserve stays free, also while all that was
// accepted is written to tables and compacted; and most of the disk is used.
func TestBurstKeepsMinFree(t *testing.T) {
	const size, keep = 96 << 20, 24 << 20
	disk := newBoundedDisk(size)
	cfg := testConfig(disk)
	cfg.MinFree = keep
	cfg.tune = func(o *pebble.Options) { o.MemTableSize = 2 << 20; o.L0CompactionThreshold = 2 }
	j := open(t, cfg)
	var accepted atomic.Int64
	var refused atomic.Int64
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			var seed [32]byte
			seed[0] = byte(w)
			random := rand.NewChaCha8(seed)
			for i := 0; refused.Load() < 20 && i < 20_000; i++ {
				e := entry(w*20_000+i, 16<<10, 1)
				_, _ = random.Read(e.Webhook.Body) // does not compress
				_, err := j.Append(t.Context(), e)
				switch {
				case err == nil:
					accepted.Add(int64(len(e.Webhook.Body)))
				case errors.Is(err, journal.ErrUnavailable) && strings.Contains(err.Error(), "full"),
					errors.Is(err, journal.ErrUnavailable) && strings.Contains(err.Error(), "must keep"):
					refused.Add(1)
				default:
					t.Error(err)
					return
				}
			}
		})
	}
	writers.Wait()
	if refused.Load() == 0 {
		t.Fatal("nothing was refused")
	}
	if err := j.store.db.Flush(); err != nil {
		t.Fatal(err)
	}
	shut(t, j)
	least := disk.least.Load()
	t.Logf("%d MiB accepted; at least %d MiB of %d were free; a byte took %.2f", accepted.Load()>>20, least>>20, size>>20,
		float64(size-least)/float64(accepted.Load()))
	if least < keep {
		t.Errorf("only %d bytes were free, want %d", least, keep)
	}
	if accepted.Load() < (size-keep)/4 {
		t.Errorf("%d bytes were accepted", accepted.Load())
	}
}
