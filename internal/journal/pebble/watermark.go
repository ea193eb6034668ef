package pebble

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/webhook-bridge/bridge/sinks"
)

const (
	// watermarkName is the watermark's file in the folder, and watermarkTemp the file that takes its place.
	watermarkName = "WATERMARK"
	watermarkTemp = watermarkName + ".new"
	// watermarkBytes is how much may be written to the log before the watermark follows, even within the interval.
	watermarkBytes = 16 << 20
	// largestWatermark bounds the file.
	largestWatermark = 4 << 10
)

// errWatermark is returned for a watermark that cannot be read.
var errWatermark = errors.New("the file " + watermarkName + " is damaged")

// watermark says how far the log was durable at some time. It lies in a file of its own, outside of Pebble's log: a log
// that ends before it has lost data. It is written after the sync of everything that it covers, so a crash leaves it behind
// the log's end, never ahead of it.
type watermark struct {
	// journal is the journal's identity.
	journal string
	// commit is the number of a durable commit, and next the position after the last durable event.
	commit uint64
	next   sinks.Position
	// at is when it was written.
	at time.Time
}

// encode returns the file's content: text that an operator can read, with a checksum in its last line.
func (w watermark) encode() []byte {
	b := fmt.Appendf(nil, "bridge journal watermark 1\njournal %s\ncommit %d\nnext %d\nat %s\n",
		w.journal, w.commit, w.next, w.at.UTC().Format(time.RFC3339Nano))
	return fmt.Appendf(b, "crc32c %08x\n", checksum(b))
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// parseWatermark is the inverse of encode. Errors: errWatermark.
func parseWatermark(b []byte) (w watermark, err error) {
	var at string
	var sum uint32
	n, err := fmt.Sscanf(string(b), "bridge journal watermark 1\njournal %s\ncommit %d\nnext %d\nat %s\ncrc32c %x\n",
		&w.journal, &w.commit, &w.next, &at, &sum)
	if err != nil || n != 5 {
		return watermark{}, errWatermark
	}
	if w.at, err = time.Parse(time.RFC3339Nano, at); err != nil {
		return watermark{}, errWatermark
	}
	if !bytes.Equal(w.encode(), b) {
		return watermark{}, errWatermark
	}
	return w, nil
}

// readWatermark returns a folder's watermark. Errors: fs.ErrNotExist, errWatermark, the disk's.
func readWatermark(files vfs.FS, dir string) (watermark, error) {
	f, err := files.Open(files.PathJoin(dir, watermarkName))
	if err != nil {
		return watermark{}, err
	}
	b, err := io.ReadAll(io.LimitReader(f, largestWatermark))
	if err := errors.Join(err, f.Close()); err != nil {
		return watermark{}, err
	}
	return parseWatermark(b)
}

// writeWatermark replaces a folder's watermark, durably. After a crash there is the old one or the new one.
func writeWatermark(files vfs.FS, dir string, w watermark) error {
	temp := files.PathJoin(dir, watermarkTemp)
	f, err := files.Create(temp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(w.encode())
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := files.Rename(temp, files.PathJoin(dir, watermarkName)); err != nil {
		return err
	}
	d, err := files.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// keepWatermark writes the watermark at intervals, and after many bytes, until the journal closes. It is no part of a
// commit: no append waits for it.
func (j *Journal) keepWatermark() {
	tick := time.NewTicker(j.cfg.watermarkInterval)
	defer tick.Stop()
	for {
		select {
		case <-j.ctx.Done():
			return
		case <-tick.C:
		case <-j.marking.enough:
		}
		j.markDurable()
	}
}

// marking is the state of writing the watermark.
type marking struct {
	// enough gets a value when many bytes were written since the last watermark.
	enough chan struct{}

	// The rest belongs to the goroutine that writes, and at Close to the one that closes: the last commit that the
	// watermark covers, and whether the last attempt failed.
	commit uint64
	failed bool
}

// markDurable writes the watermark if it has moved. A failure weakens the next check of the folder, and harms nothing now.
func (j *Journal) markDurable() {
	j.unmarked.Store(0)
	if j.durableCommit.Load() == j.marking.commit {
		return
	}
	err := j.writeMark()
	if err != nil && !j.marking.failed {
		j.cfg.Logger.Warn("journal: the watermark cannot be written; a loss of data may stay unseen", "error", err)
	}
	j.marking.failed = err != nil
}

// writeMark writes what is durable now. The number is read before the position: each is a lower bound by itself.
func (j *Journal) writeMark() error {
	w := watermark{journal: j.id, commit: j.durableCommit.Load(), next: sinks.Position(j.durable.Load()), at: j.cfg.Now()}
	if err := writeWatermark(j.cfg.FS, j.cfg.Dir, w); err != nil {
		return fmt.Errorf("watermark: %w", err)
	}
	j.marking.commit = w.commit
	return nil
}

// noteDurable records that a commit is durable, and all before it.
func (j *Journal) noteDurable(commit uint64, bytes int) {
	for {
		before := j.durableCommit.Load()
		if before >= commit || j.durableCommit.CompareAndSwap(before, commit) {
			break
		}
	}
	if j.unmarked.Add(int64(bytes)) < watermarkBytes {
		return
	}
	select {
	case j.marking.enough <- struct{}{}:
	default:
	}
}

// markFolder writes the first watermark of an opening, and notes in the journal that the folder has one: from then on a
// folder without it is no older one.
func (j *Journal) markFolder(st *store) error {
	j.durableCommit.Store(st.number.Load())
	j.durable.Store(uint64(st.next))
	if err := j.writeMark(); err != nil {
		return err
	}
	if st.marked {
		return nil
	}
	b := st.db.NewBatch()
	if err := b.Set(keyMarked, nil, nil); err != nil {
		return errors.Join(err, b.Close())
	}
	return st.write(b)
}

// isMissing reports whether a file is not there.
func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
