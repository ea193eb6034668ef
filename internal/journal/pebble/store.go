package pebble

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable/block"
)

const (
	// cacheSize is shared by blocks and memtables, so it bounds what Pebble holds. It is taken as needed.
	cacheSize    = 64 << 20
	memTableSize = 32 << 20
	// separateValues is from what size on bodies go to files of their own, so that compactions move keys and not bodies.
	// It nearly halves the CPU time of an append; short values are cheaper in place.
	separateValues = 256
	// pebbleFormat is what new files are written as.
	pebbleFormat = pebble.FormatValueSeparation
)

// store is one opening of the folder, from recovery to the first write that fails.
type store struct {
	db    *pebble.DB
	fence *fence
	id    string
	kept  kept
	// next and lastCommit are the committer's: the next position to be given, and when the last event was committed.
	next       Position
	lastCommit int64
	filter     *filter
	// drift is the committer's.
	drift *driftCounts
	// bucket is where the committer puts dedupe keys, and bucketKeys how many it has put there. found and key are its for
	// lookups.
	bucket     bucket
	bucketKeys int
	found      []bucket
	key        []byte
}

// kept says from where on events and webhooks are kept. What lies before was given up, and may or may not be on disk.
type kept struct {
	earliest Position
	// webhooks and quarantine are the Unix milliseconds of the oldest webhook kept.
	webhooks, quarantine int64
}

func (k kept) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(k.earliest))
	b = binary.BigEndian.AppendUint64(b, uint64(k.webhooks))
	return binary.BigEndian.AppendUint64(b, uint64(k.quarantine))
}

func parseKept(b []byte) (kept, error) {
	if len(b) != 24 {
		return kept{}, errCorrupt
	}
	return kept{
		earliest:   Position(binary.BigEndian.Uint64(b)),
		webhooks:   int64(binary.BigEndian.Uint64(b[8:])),
		quarantine: int64(binary.BigEndian.Uint64(b[16:])),
	}, nil
}

// openStore opens the folder and recovers what a reader may see: all that is in it once Pebble has replayed its log and
// flushed it. It fails if any write failed on the way.
func (j *Journal) openStore() (_ *store, err error) {
	f := newFence(j.cfg.FS, j.cfg.Dir, j.tripped)
	if err := refuseNewerPebble(f, j.cfg.Dir); err != nil {
		return nil, err
	}
	db, err := pebble.Open(j.cfg.Dir, j.pebbleOptions(f))
	if err != nil {
		return nil, errors.Join(err, f.err())
	}
	s := &store{db: db, fence: f, filter: j.filter}
	if err := s.recover(); err != nil {
		return nil, errors.Join(err, s.close())
	}
	if err := f.err(); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (j *Journal) pebbleOptions(f *fence) *pebble.Options {
	o := &pebble.Options{
		FS:                          f,
		Lock:                        j.lock,
		Logger:                      pebbleLogger{log: j.cfg.Logger, fence: f},
		FormatMajorVersion:          pebbleFormat,
		CacheSize:                   cacheSize,
		MemTableSize:                memTableSize,
		MemTableStopWritesThreshold: 4,
		// Webhooks and events are written in key order, so compactions mostly move files.
		L0CompactionThreshold: 8,
		L0StopWritesThreshold: 64,
		LBaseMaxBytes:         64 << 20,
		MaxOpenFiles:          512,
		WALBytesPerSync:       0, // every batch is synced
		FlushDelayDeleteRange: flushDeletes,
		CompactionConcurrencyRange: func() (int, int) {
			return 1, 2
		},
		EventListener: &pebble.EventListener{
			BackgroundError: func(err error) { pebbleLogger{log: j.cfg.Logger, fence: f}.error("background", err.Error()) },
			DataCorruption: func(info pebble.DataCorruptionInfo) {
				pebbleLogger{log: j.cfg.Logger, fence: f}.error("corruption", info.String())
			},
		},
	}
	o.Experimental.ValueSeparationPolicy = func() pebble.ValueSeparationPolicy {
		return pebble.ValueSeparationPolicy{
			Enabled:               true,
			MinimumSize:           separateValues,
			MaxBlobReferenceDepth: 10,
			RewriteMinimumAge:     time.Hour,
			// What is written together is given up together, so a file of values is hardly ever half empty.
			TargetGarbageRatio: 0.5,
		}
	}
	// Never zstd: builds without cgo have a slow one.
	o.ApplyCompressionSettings(func() pebble.DBCompressionSettings {
		return pebble.UniformDBCompressionSettings(block.FastestCompression)
	})
	for i := range o.TargetFileSizes {
		o.TargetFileSizes[i] = min(int64(4<<20)<<i, 64<<20)
	}
	j.cfg.tune(o)
	return o
}

// refuseNewerPebble tells a folder that a newer Pebble wrote, which this one says only in prose.
func refuseNewerPebble(f *fence, dir string) error {
	names, err := f.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		// marker.format-version.000013.024
		rest, ok := strings.CutPrefix(name, "marker.format-version.")
		if !ok {
			continue
		}
		_, version, _ := strings.Cut(rest, ".")
		if v, err := strconv.ParseUint(version, 10, 64); err == nil && v > uint64(pebble.FormatNewest) {
			return fmt.Errorf("%w: Pebble's %d, this program knows up to %d", ErrNewerFormat, v, pebble.FormatNewest)
		}
	}
	return nil
}

// recover reads what the folder says of itself, or mints it.
func (s *store) recover() error {
	if err := s.identify(); err != nil {
		return err
	}
	k, err := s.get(keyKept)
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		s.kept = kept{earliest: 1}
	case err != nil:
		return err
	default:
		if s.kept, err = parseKept(k); err != nil {
			return err
		}
	}
	// Retention may have taken all events: their positions are still not to be used again.
	s.next = s.kept.earliest
	if s.drift, err = s.loadDrift(); err != nil {
		return err
	}
	return s.recoverLast()
}

func (s *store) identify() error {
	v, err := s.get(keyFormat)
	if errors.Is(err, pebble.ErrNotFound) {
		return s.mint()
	}
	if err != nil {
		return err
	}
	if len(v) != 4 {
		return errCorrupt
	}
	if n := binary.BigEndian.Uint32(v); n > format {
		return fmt.Errorf("%w: %d, this program knows up to %d", ErrNewerFormat, n, format)
	}
	id, err := s.get(keyID)
	s.id = string(id)
	return err
}

func (s *store) mint() error {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	s.id = hex.EncodeToString(id[:])
	b := s.db.NewBatch()
	err := errors.Join(
		b.Set(keyFormat, binary.BigEndian.AppendUint32(nil, format), nil),
		b.Set(keyID, []byte(s.id), nil),
	)
	if err != nil {
		return errors.Join(err, b.Close())
	}
	return b.Commit(pebble.Sync)
}

func (s *store) recoverLast() (err error) {
	lower, upper := span(prefixEvent)
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	if !it.Last() {
		return it.Error()
	}
	last, err := parseEventKey(it.Key())
	if err != nil {
		return err
	}
	v, err := it.ValueAndErr()
	if err != nil {
		return err
	}
	if len(v) < eventHeaderLen {
		return errCorrupt
	}
	s.next = max(s.next, last+1)
	s.lastCommit = int64(binary.BigEndian.Uint64(v))
	return nil
}

// get returns a copy of a value.
func (s *store) get(key []byte) ([]byte, error) {
	v, closer, err := s.db.Get(key)
	if err != nil {
		return nil, err
	}
	v = append([]byte(nil), v...)
	return v, closer.Close()
}

// write commits a batch of the journal's own and returns once it is durable. The batch is spent.
func (s *store) write(b *pebble.Batch) error {
	if err := b.Commit(pebble.Sync); err != nil {
		return err
	}
	if err := s.fence.err(); err != nil {
		return err
	}
	return b.Close()
}

func (s *store) close() error {
	return s.db.Close()
}

// pebbleLogger passes on what Pebble says. Pebble calls Fatalf where it cannot go on, and expects it not to return; the
// folder is frozen there instead, so that nothing that Pebble does before it is closed reaches the disk.
type pebbleLogger struct {
	log   *slog.Logger
	fence *fence
}

func (l pebbleLogger) Infof(format string, args ...any) {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.log.Debug("pebble", "message", fmt.Sprintf(format, args...))
	}
}

func (l pebbleLogger) Errorf(format string, args ...any) {
	l.error("error", fmt.Sprintf(format, args...))
}

func (l pebbleLogger) Fatalf(format string, args ...any) {
	message := fmt.Sprintf(format, args...)
	l.error("fatal", message)
	l.fence.freeze(errors.New(message))
}

// error logs an error, unless the folder is frozen: what fails after that was bound to.
func (l pebbleLogger) error(kind, message string) {
	level := slog.LevelError
	if l.fence.err() != nil {
		level = slog.LevelDebug
	}
	l.log.Log(context.Background(), level, "pebble", "kind", kind, "message", message)
}

var _ pebble.Logger = pebbleLogger{}
