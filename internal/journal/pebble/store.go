package pebble

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable/block"

	"github.com/webhook-bridge/bridge/internal/journal/epoch"
	"github.com/webhook-bridge/bridge/sinks"
)

const (
	// cacheSize bounds the memory of blocks and memtables together. It is allocated as needed.
	cacheSize    = 64 << 20
	memTableSize = 32 << 20
	// separateValues is the size from which values are written to files of their own, so that compactions do not move them.
	// It nearly halves the CPU time of an append. Short values are cheaper in place.
	separateValues = 256
	// pebbleFormat is the format of new files.
	pebbleFormat = pebble.FormatValueSeparation
)

// store is one opening of the folder, from recovery to the first write that fails.
type store struct {
	db *pebble.DB
	fs *isolatingFS
	id string
	// retained has the bounds that retention has left.
	retained retained
	filter   *filter
	// epochs are the journal's. The committer adds to them, and retention prunes them.
	epochs *atomic.Pointer[epoch.List]
	// lost are the losses that were accepted.
	lost *losses

	// number is that of the last batch, and firstCommit the first whose record is kept. marked says that the folder is known
	// to have a watermark.
	number      atomic.Uint64
	numbering   numbering
	firstCommit uint64
	marked      bool
	// noteDurable is told of batches that are durable.
	noteDurable func(commit uint64, bytes int)

	// The rest is the committer's: the next position to assign, and the time of the last commit.
	next       sinks.Position
	lastCommit int64
	drift      *driftCounts
	// bucket is the bucket of the next dedupe keys, and bucketKeys is how many were added to it.
	bucket     bucket
	bucketKeys int
}

// retained says from where on retention has left events and webhooks. Older ones may still be on disk.
type retained struct {
	earliest sinks.Position
	// webhooks and quarantine are when the oldest webhooks were received, in Unix milliseconds.
	webhooks, quarantine int64
}

// advanced returns what is left after a pass with the limits in k. Webhooks before a limit of an earlier pass are gone, also
// while their files still exist. A limit ahead of the clock is one of a clock that was ahead: it does not stay.
func (r retained) advanced(k retained, now time.Time) retained {
	k.webhooks = max(k.webhooks, min(r.webhooks, now.UnixMilli()))
	k.quarantine = max(k.quarantine, min(r.quarantine, now.UnixMilli()))
	return k
}

func (r retained) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(r.earliest))
	b = binary.BigEndian.AppendUint64(b, uint64(r.webhooks))
	return binary.BigEndian.AppendUint64(b, uint64(r.quarantine))
}

func parseRetained(b []byte) (retained, error) {
	if len(b) != 24 {
		return retained{}, errCorrupt
	}
	return retained{
		earliest:   sinks.Position(binary.BigEndian.Uint64(b)),
		webhooks:   int64(binary.BigEndian.Uint64(b[8:])),
		quarantine: int64(binary.BigEndian.Uint64(b[16:])),
	}, nil
}

// openStore opens the folder and recovers. Once Pebble has replayed its log and flushed it, everything in the folder is durable,
// and readers may see it. It fails if any write fails on the way.
func (j *Journal) openStore() (_ *store, err error) {
	f := newIsolatingFS(j.cfg.FS, j.cfg.Dir, j.writeFailed)
	if err := refuseNewerPebble(f, j.cfg.Dir); err != nil {
		return nil, err
	}
	found, err := j.examine()
	var loss *lossError
	if err != nil && (!errors.As(err, &loss) || !j.acceptsLoss()) {
		return nil, err
	}
	if loss != nil && len(loss.logs) > 0 {
		if found, loss, err = j.lookAgain(loss); err != nil {
			return nil, err
		}
	}
	s := &store{fs: f, filter: j.filter, epochs: &j.epochs, marked: found.marked, firstCommit: found.first, noteDurable: j.noteDurable}
	s.number.Store(found.commit)
	o := j.pebbleOptions(f)
	o.EventListener.WALCreated = func(i pebble.WALCreateInfo) { s.logCreated(uint64(i.FileNum)) }
	if s.db, err = openIdle(j.cfg.Dir, o); err != nil {
		return nil, f.because(err)
	}
	if err := j.recover(s, loss); err != nil {
		return nil, errors.Join(f.because(err), s.close())
	}
	if err := f.err(); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// openIdle opens the folder without compactions: an opening that fails would leave one behind that runs into what was closed, and ends
// the process. Compactions begin with the next flush.
func openIdle(dir string, o *pebble.Options) (*pebble.DB, error) {
	lower, upper := o.CompactionConcurrencyRange()
	var opened atomic.Bool
	o.CompactionConcurrencyRange = func() (int, int) {
		if opened.Load() {
			return lower, upper
		}
		return 0, upper
	}
	db, err := pebble.Open(dir, o)
	opened.Store(err == nil)
	return db, err
}

// acceptsLoss reports whether the operator accepts a loss: once, at the start.
func (j *Journal) acceptsLoss() bool { return j.cfg.AcceptLoss && j.id == "" }

func (j *Journal) pebbleOptions(f *isolatingFS) *pebble.Options {
	o := &pebble.Options{
		FS:                          f,
		Lock:                        j.lock,
		Logger:                      pebbleLogger{log: j.cfg.Logger, fs: f},
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
			BackgroundError: func(err error) { pebbleLogger{log: j.cfg.Logger, fs: f}.error("background", err.Error()) },
			DataCorruption: func(info pebble.DataCorruptionInfo) {
				pebbleLogger{log: j.cfg.Logger, fs: f}.error("corruption", info.String())
			},
		},
	}
	o.Experimental.ValueSeparationPolicy = func() pebble.ValueSeparationPolicy {
		return pebble.ValueSeparationPolicy{
			Enabled:               true,
			MinimumSize:           separateValues,
			MaxBlobReferenceDepth: 10,
			RewriteMinimumAge:     time.Hour,
			// Values that were written together are removed together, so a file of values is hardly ever half empty.
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

// refuseNewerPebble recognizes a folder that a newer Pebble wrote. Pebble's own error for it has no type.
func refuseNewerPebble(f *isolatingFS, dir string) error {
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

// get returns a copy of a value.
func (s *store) get(key []byte) (_ []byte, err error) {
	defer recoverDamage(&err)
	v, closer, err := s.db.Get(key)
	if err != nil {
		return nil, err
	}
	v = append([]byte(nil), v...)
	return v, closer.Close()
}

// close closes Pebble. After a read that made Pebble panic, closing it panics too, for what that read still holds.
func (s *store) close() (err error) {
	defer recoverDamage(&err)
	return s.db.Close()
}

// pebbleLogger logs Pebble's messages. Pebble calls Fatalf where it cannot go on, and expects it not to return; the
// folder is isolated there instead, so that no later write of Pebble reaches the disk.
type pebbleLogger struct {
	log *slog.Logger
	fs  *isolatingFS
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
	l.fs.isolate(errors.New(message))
}

// error logs an error. Errors in an isolated folder are expected.
func (l pebbleLogger) error(kind, message string) {
	level := slog.LevelError
	if l.fs.err() != nil {
		level = slog.LevelDebug
	}
	l.log.Log(context.Background(), level, "pebble", "kind", kind, "message", message)
}

var _ pebble.Logger = pebbleLogger{}
