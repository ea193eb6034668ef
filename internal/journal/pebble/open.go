package pebble

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/commit"
	"github.com/webhook-bridge/bridge/internal/journal/epoch"
	"github.com/webhook-bridge/bridge/sinks"
)

// Errors of [Open].
var (
	// ErrLocked means that another process has the folder open.
	ErrLocked = errors.New("journal: folder is in use by another process")
	// ErrNewerFormat means that the folder was written by a newer version of this program.
	ErrNewerFormat = errors.New("journal: folder has a newer format")
)

// Config says where the journal is and how long it keeps what. Only Dir has no default.
type Config struct {
	// Dir is the folder. It is made when absent.
	Dir string
	// FS is the file system. Default is the operating system's.
	FS vfs.FS
	// Retention says how long things are kept.
	Retention Retention
	// DedupeAge is how long dedupe keys are kept, at least the longest window of any entry. Default 168h.
	DedupeAge time.Duration
	// MinFree is how many bytes of disk must be free for the journal to take more. 0 is none.
	MinFree uint64
	// Interval is how often the disk is looked at. Retention runs at every sixth. Default 10s.
	Interval time.Duration
	// Logger is told of failures and recoveries. Default is none.
	Logger *slog.Logger
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// Registerer gets the journal's metrics. Default is none.
	Registerer prometheus.Registerer
	// AcceptLoss opens a folder whose disk lost data that were confirmed, and records the loss. Otherwise such a folder is
	// refused, unchanged.
	AcceptLoss bool
	// Name and Version are those of the instance, for [Journal.Replicas].
	Name, Version string

	// onCommit is called after every group, from one goroutine, for tests.
	onCommit func(committed)
	// tune changes Pebble's options, for tests.
	tune func(*pebble.Options)
	// watermarkInterval is how often the watermark is written while anything is committed. Default 1s, or never where Interval
	// is.
	watermarkInterval time.Duration
}

// Retention bounds the data that are kept, by age and by size. 0 is the default, and less than 0 is no bound.
type Retention struct {
	// Age of events and of their webhooks. Default 168h.
	Age time.Duration
	// Size of events and webhooks together in bytes, as compressed on disk. Default 8 GiB. Quarantined webhooks, dedupe
	// keys and removed data that are not compacted yet come on top.
	Size int64
	// QuarantineAge is the age of quarantined webhooks. Default 720h.
	QuarantineAge time.Duration
	// ParkedAge is how long an event stays parked, from when it was parked last. Default 720h.
	ParkedAge time.Duration
}

func (c Config) withDefaults() Config {
	orDefault(&c.FS, vfs.Default)
	orDefault(&c.Logger, slog.New(slog.DiscardHandler))
	orDefault(&c.DedupeAge, 168*time.Hour)
	orDefault(&c.Interval, 10*time.Second)
	orDefault(&c.watermarkInterval, time.Second)
	orDefault(&c.Retention.Age, 168*time.Hour)
	orDefault(&c.Retention.Size, 8<<30)
	orDefault(&c.Retention.QuarantineAge, 720*time.Hour)
	orDefault(&c.Retention.ParkedAge, 720*time.Hour)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.onCommit == nil {
		c.onCommit = func(committed) {}
	}
	if c.tune == nil {
		c.tune = func(*pebble.Options) {}
	}
	return c
}

func orDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

var _ journal.Journal = (*Journal)(nil)

// Journal is an open journal. It is safe for concurrent use.
type Journal struct {
	cfg  Config
	lock *pebble.Lock
	// instance is this process.
	instance *instance
	filter   *filter

	// storeMu is held for reading while the store is used, and for writing while it is replaced. So no store is closed in use.
	// A holder never waits for the committer.
	storeMu sync.RWMutex
	// store is nil while the folder is being opened again, and after Close.
	store *store
	id    string

	// durable is the next position that readers do not see yet: all before it is covered by a sync that succeeded. It
	// moves in commit order, by the syncer only, and when a store was recovered.
	durable atomic.Uint64
	// earliest is the first position kept. It is moved before the events go.
	earliest atomic.Uint64
	// applied and synced count groups and updates. Everything that is visible in Pebble when applied is read is durable once synced has
	// reached that number.
	applied, synced atomic.Uint64

	// epochs are the log's epochs, for readers. They outlive the store.
	epochs atomic.Pointer[epoch.List]
	// queue holds the appends that the committer has not begun with. It is also woken when a write fails and when the journal
	// closes.
	queue *commit.Queue
	// lastPass is the clock's reading at the last pass of retention, or at opening.
	lastPass time.Time
	metrics  *metrics

	mu sync.Mutex
	// change is closed, and replaced, when any of durable, earliest, synced, store or closing changes.
	change chan struct{}

	closing chan struct{}
	closed  sync.Once
	// done is closed when all goroutines have ended and the folder is released.
	done     chan struct{}
	closeErr error

	// durableCommit is the number of the last batch that is known to be durable, and unmarked the bytes written since the last
	// watermark.
	durableCommit atomic.Uint64
	unmarked      atomic.Int64
	marking       marking
	// problem is why there is no store, or nil.
	problem atomic.Pointer[error]
	// damaged counts reads that met damage, and damagedAt is the position of the last one.
	damaged, damagedAt atomic.Uint64
	// lost are the losses that were accepted, for readers.
	lost atomic.Pointer[losses]

	readers readers
	groups  groups
	reopens atomic.Uint64
	free    atomic.Uint64
	// measuring is held while the disk is measured.
	measuring sync.Mutex
	ctx       context.Context // of the background work, done when closing
	cancel    context.CancelFunc
	workers   sync.WaitGroup
}

// Open opens the journal in cfg.Dir, or makes one, and recovers it. It takes as long as replaying the last few dozen
// megabytes of the log takes, twice: first it looks at the log's end without writing. Dedupe keys are read afterwards, in the
// background. Errors: ErrLocked, ErrNewerFormat, journal.ErrDataLoss, the disk's. After an error the folder has what it had.
func Open(ctx context.Context, cfg Config) (*Journal, error) {
	if cfg.Dir == "" {
		return nil, errors.New("journal: open: no folder given")
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	dir, err := absolute(cfg)
	if err != nil {
		return nil, fmt.Errorf("journal: open: %w", err)
	}
	cfg.Dir = dir
	j := &Journal{
		cfg:     cfg.withDefaults(),
		change:  make(chan struct{}),
		closing: make(chan struct{}),
		done:    make(chan struct{}),
		marking: marking{enough: make(chan struct{}, 1)},
	}
	j.instance = newInstance(j.cfg.Now())
	j.groups.begin(j)
	j.queue = commit.NewQueue(commit.Options{MaxWindow: j.cfg.DedupeAge, Now: j.cfg.Now, Refill: j.checkDisk})
	if err := j.lockFolder(); err != nil {
		return nil, err
	}
	st, err := j.openStore()
	if err != nil {
		return nil, fmt.Errorf("journal: open %s: %w", cfg.Dir, errors.Join(err, j.lock.Close()))
	}
	if err := j.start(st); err != nil {
		return nil, fmt.Errorf("journal: open %s: %w", cfg.Dir, errors.Join(err, st.close(), j.lock.Close()))
	}
	return j, nil
}

// absolute makes the folder's name independent of the working directory. Only the operating system's file system has one.
func absolute(cfg Config) (string, error) {
	if cfg.FS != nil && cfg.FS != vfs.Default {
		return cfg.Dir, nil
	}
	return filepath.Abs(cfg.Dir)
}

func (j *Journal) lockFolder() error {
	if err := makeFolder(j.cfg.FS, j.cfg.Dir); err != nil {
		return fmt.Errorf("journal: open: %w", err)
	}
	lock, err := pebble.LockDirectory(j.cfg.Dir, j.cfg.FS)
	var path *fs.PathError
	switch {
	case errors.As(err, &path):
		return fmt.Errorf("journal: open: %w", err)
	case err != nil:
		return fmt.Errorf("%w: %s: %w", ErrLocked, j.cfg.Dir, err)
	}
	j.lock = lock
	return nil
}

// makeFolder makes the folder and its parents where they are missing. It syncs the parents' directories: without that, a crash
// could remove the folder with its contents. Pebble syncs the folder itself.
func makeFolder(fs vfs.FS, dir string) error {
	var parents []string
	for child := dir; ; {
		if _, err := fs.Stat(child); err == nil {
			break
		}
		parent := fs.PathDir(child)
		if parent == child {
			break
		}
		parents = append(parents, parent)
		child = parent
	}
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, parent := range parents {
		d, err := fs.OpenDir(parent)
		if err != nil {
			return err
		}
		if err := errors.Join(d.Sync(), d.Close()); err != nil {
			return err
		}
	}
	return nil
}

// start activates the first store and starts the goroutines.
func (j *Journal) start(st *store) error {
	buckets, err := storedBuckets(st.db)
	if err != nil {
		return err
	}
	j.filter = newFilter(buckets)
	st.filter = j.filter
	if err := j.loadReaders(st); err != nil {
		return err
	}
	if j.metrics, err = newMetrics(j, j.cfg.Registerer); err != nil {
		return err
	}
	j.id = st.id
	if err := j.markFolder(st); err != nil {
		return err
	}
	j.lastPass = j.cfg.Now()
	j.ctx, j.cancel = context.WithCancel(context.Background())
	j.checkDisk()
	j.activate(st)
	j.workers.Go(j.background)
	j.workers.Go(j.keepWatermark)
	j.workers.Go(j.groups.run)
	go j.run(st)
	j.cfg.Logger.Info("journal: opened", "position", uint64(st.next-1), "earliest", j.earliest.Load(), "commit", st.number.Load())
	return nil
}

// background reads the dedupe keys on disk. Meanwhile, and until the journal closes, it looks at the disk and runs retention.
func (j *Journal) background() {
	j.workers.Go(j.learnAll)
	tick := time.NewTicker(j.cfg.Interval)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-j.ctx.Done():
			return
		case <-tick.C:
		}
		j.checkDisk()
		if n%retainEvery != 0 {
			continue
		}
		if err := j.retain(); err != nil && !errors.Is(err, journal.ErrUnavailable) && j.ctx.Err() == nil {
			j.cfg.Logger.Error("journal: retention", "error", err)
		}
	}
}

// learnAll adds the dedupe keys on disk to the filter. It starts again after a failed write.
func (j *Journal) learnAll() {
	for {
		changed := j.changed()
		err := j.learnBuckets(j.ctx, j.filter)
		switch {
		case err == nil || j.ctx.Err() != nil:
			return
		case !errors.Is(err, journal.ErrUnavailable):
			// The buckets stay unknown: Pebble is asked for their keys.
			j.cfg.Logger.Error("journal: dedupe keys cannot be read; appends stay slow", "error", err)
			return
		}
		select {
		case <-changed:
		case <-j.ctx.Done():
			return
		}
	}
}

// ID implements [sinks.Log]. The id is random, made with the folder, and never changes.
func (j *Journal) ID() string { return j.id }

// Bounds implements [sinks.Log].
func (j *Journal) Bounds() sinks.Bounds {
	earliest := sinks.Position(j.earliest.Load())
	return sinks.Bounds{Earliest: earliest, Next: max(sinks.Position(j.durable.Load()), earliest)}
}

// Close implements [journal.Journal].
func (j *Journal) Close() error {
	j.closed.Do(func() {
		j.queue.Refuse(sinks.ErrClosed)
		close(j.closing)
		j.readers.close()
		j.groups.close()
		j.cancel()
		j.notify()
		j.queue.Wake()
	})
	<-j.done
	return j.closeErr
}

func (j *Journal) isClosing() bool {
	select {
	case <-j.closing:
		return true
	default:
		return false
	}
}

// changed returns a channel that is closed at the next change. Take it before looking, so that none is missed.
func (j *Journal) changed() <-chan struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.change
}

func (j *Journal) notify() {
	j.mu.Lock()
	defer j.mu.Unlock()
	close(j.change)
	j.change = make(chan struct{})
}

// Append implements [journal.Writer].
func (j *Journal) Append(ctx context.Context, e journal.Entry) (journal.Receipt, error) {
	return j.queue.Append(ctx, e)
}

// AppendAll implements [journal.Writer].
func (j *Journal) AppendAll(ctx context.Context, entries []journal.Entry) ([]journal.Receipt, error) {
	return j.queue.AppendAll(ctx, entries)
}

// Discard implements [journal.Writer].
func (j *Journal) Discard(ctx context.Context, ids []string) (int, error) {
	return j.queue.Discard(ctx, ids)
}

// borrowStore returns the store, which stays open until release is called. Errors: ErrUnavailable while there is none, ErrClosed.
func (j *Journal) borrowStore() (st *store, release func(), err error) {
	j.storeMu.RLock()
	if j.store != nil {
		return j.store, j.storeMu.RUnlock, nil
	}
	j.storeMu.RUnlock()
	if j.isClosing() {
		return nil, nil, sinks.ErrClosed
	}
	return nil, nil, journal.ErrUnavailable
}
