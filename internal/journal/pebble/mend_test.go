package pebble

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"google.golang.org/protobuf/types/known/timestamppb"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/commit"
)

const year = 365 * 24 * time.Hour

// TestLookUpFailsForAllWithTheKey: a look-up that fails for one call of a group does not make the next call with the key new.
func TestLookUpFailsForAllWithTheKey(t *testing.T) {
	j, _, _ := clocked(t, vfs.NewMem())
	e := entry(1, 10, 1)
	appendAll(t, j, e)
	key := appendDedupeKey(nil, bucketAt(hourOf(start)), e.Keys[0].Hash)
	if err := j.store.db.Set(key, []byte("not a record"), pebble.Sync); err != nil {
		t.Fatal(err)
	}
	k := newKnown(j.store)
	k.Now = start
	for i := range 2 {
		if err := k.loadEntry(&commit.Pending{Item: commit.Item{Keys: e.Keys, Bytes: e.Bytes}}); !errors.Is(err, errCorrupt) {
			t.Errorf("call %d: %v", i, err)
		}
	}
}

// TestLimitsComeBack: the clock is a year ahead for several passes of retention. Once it is right, young webhooks stay, also
// after a restart.
func TestLimitsComeBack(t *testing.T) {
	for _, restart := range []bool{false, true} {
		j, c, cfg := clocked(t, vfs.NewMem())
		again := func() {
			if restart {
				shut(t, j)
				j = open(t, cfg)
			}
		}
		q, w := quarantined(1), entry(2, 10, 1)
		appendAll(t, j, q)
		appendAll(t, j, w)
		c.Advance(year)
		retainTwice(t, j)
		again()
		retainTwice(t, j)
		c.Advance(-year)
		again()
		q, w = quarantined(3), entry(4, 10, 1)
		q.Webhook.Id, w.Webhook.Id = idAt(c.Now(), 3), idAt(c.Now(), 4)
		appendAll(t, j, q)
		appendAll(t, j, w)
		for range 3 {
			c.Advance(time.Minute)
			retainTwice(t, j)
		}
		for _, id := range []string{q.Webhook.Id, w.Webhook.Id} {
			if _, err := j.Webhook(t.Context(), id); err != nil {
				t.Errorf("restart %t: webhook %s: %v", restart, id, err)
			}
		}
		if at := time.UnixMilli(j.store.retained.webhooks); at.After(c.Now()) {
			t.Errorf("restart %t: webhooks count as removed up to %v", restart, at)
		}
	}
}

// TestBucketOfTheNextHourStays: a bucket that the committer may come to fill during the pass is not removed.
func TestBucketOfTheNextHourStays(t *testing.T) {
	j, c, _ := clocked(t, vfs.NewMem())
	age := j.cfg.DedupeAge
	c.Advance(age + time.Hour)
	appendAll(t, j, windowed(1, time.Hour))
	c.Advance(-age - time.Hour)
	appendAll(t, j, windowed(2, time.Hour))
	c.Advance(age + 29*time.Minute + 59*time.Second) // the hour of the stray bucket is next
	r := retention{j: j, st: j.store, bounds: j.Bounds(), now: c.Now(), believed: c.Now()}
	stray, err := r.strayBuckets(c.Now().Add(-age))
	diff(t, "error", err, nil)
	diff(t, "stray", stray, []bucket(nil))
}

// slowDisk holds syncs back while it is blocked.
type slowDisk struct {
	blocked atomic.Bool
	free    chan struct{}
}

func isSync(op errorfs.Op) bool {
	return op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo
}

func (d *slowDisk) MaybeError(op errorfs.Op) error {
	if d.blocked.Load() && isSync(op) {
		<-d.free
	}
	return nil
}

func (d *slowDisk) String() string { return "slow" }

// TestParkedIsShownOnceDurable: operators do not see a parked event before its sync has ended.
func TestParkedIsShownOnceDurable(t *testing.T) {
	disk := &slowDisk{free: make(chan struct{})}
	fs := vfs.NewCrashableMem()
	j := open(t, testConfig(errorfs.Wrap(fs, disk)))
	appendAll(t, j, entry(1, 10, 1))
	c := registered(t, j, "sink", 1, journal.Hold)
	disk.blocked.Store(true)
	parked := make(chan error)
	go func() {
		parked <- c.Park(t.Context(), &journalv1.Parked{Position: 1, Reason: "refused", Event: entry(1, 10, 1).Events[0]})
	}()
	key := readerKey(prefixParked, "sink", 1)
	for visible := false; !visible; { // in Pebble
		_, err := j.store.get(key)
		visible = err == nil
	}
	shown := make(chan error)
	go func() {
		all, err := j.Parked(t.Context(), "sink", 0, 10)
		if err == nil && len(all) > 0 {
			after := open(t, testConfig(fs.CrashClone(vfs.CrashCloneCfg{})))
			if all, err = after.Parked(t.Context(), "sink", 0, 10); err == nil && len(all) == 0 {
				err = errors.New("shown, and lost in a crash")
			}
		}
		shown <- err
	}()
	select {
	case err := <-shown:
		t.Errorf("returned before the sync: %v", err)
		close(disk.free)
	case <-time.After(20 * time.Millisecond):
		close(disk.free)
		diff(t, "shown", <-shown, nil)
	}
	diff(t, "park", <-parked, nil)
}

// TestRecoversUnderLoad: callers that append again at once do not keep the folder from being opened again.
func TestRecoversUnderLoad(t *testing.T) {
	for _, writers := range []int{128, 600} {
		var fail atomic.Bool
		j := open(t, testConfig(errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
			// Not the watermark's: its failure harms no append.
			if isSync(op) && strings.HasSuffix(op.Path, ".log") && fail.CompareAndSwap(true, false) {
				return errors.New("the disk failed once")
			}
			return nil
		}))))
		var refused, after atomic.Bool
		var next atomic.Int64
		recovered, done := make(chan struct{}), make(chan struct{})
		var all sync.WaitGroup
		for range writers {
			all.Go(func() {
				for {
					select {
					case <-done:
						return
					default:
					}
					n := next.Add(1)
					if n == int64(10*writers) {
						fail.Store(true)
					}
					_, err := j.Append(t.Context(), entry(int(n), 300, 1))
					switch {
					case err != nil:
						refused.Store(true)
					case refused.Load() && j.reopens.Load() > 0 && after.CompareAndSwap(false, true):
						close(recovered)
					}
				}
			})
		}
		select {
		case <-recovered:
		case <-time.After(time.Minute):
			t.Errorf("%d writers: no append succeeded after the failed write; opened again %d times", writers, j.reopens.Load())
		}
		close(done)
		all.Wait()
	}
}

// TestNewestIsNotInTheFuture: a webhook that was received while the clock was ahead does not hide those of now.
func TestNewestIsNotInTheFuture(t *testing.T) {
	j, c, _ := clocked(t, vfs.NewMem())
	put := func(i int) {
		e := entry(i, 10, 1)
		e.Webhook.Id, e.Webhook.ReceivedAt = idAt(c.Now(), i), timestamppb.New(c.Now())
		appendAll(t, j, e)
	}
	c.Advance(year)
	put(1)
	c.Advance(-year)
	put(2)
	newest, err := j.Newest(t.Context(), []string{"till"})
	diff(t, "error", err, nil)
	diff(t, "newest", newest["till"].Equal(start), true)
}
