package pebble

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/epoch"
	"github.com/webhook-bridge/bridge/sinks"
)

// Every key starts with one byte for the kind of its record. Numbers are big-endian, so that keys sort as numbers do.
const (
	prefixCursor     = 'c' // name → position, time of the last save, flags
	prefixDedupe     = 'd' // bucket, key → number of the epoch, contents
	prefixEvent      = 'e' // position → commit time, event
	prefixDrift      = 'f' // number → bridge.journal.v1.DriftCount
	prefixLost       = 'l' // commit, number → a loss that was accepted
	prefixMeta       = 'm' // format, id, kept, first commit, watermark
	prefixCommit     = 'n' // number of a batch → next position after it
	prefixEpoch      = 'o' // number → id, first position, floor
	prefixShare      = 's' // group, NUL, index → epoch, version, state
	prefixGroup      = 'u' // name → version, definition
	prefixQuarantine = 'q' // webhook id → as prefixWebhook, for webhooks that were quarantined
	prefixVersion    = 'v' // bucket, subject → number of the epoch, time, greatest version
	prefixWebhook    = 'w' // webhook id → first position, number of events, webhook
	prefixCorrection = 'x' // key of the webhook, first position → bridge.journal.v1.Correction
)

var (
	keyFormat   = []byte("mformat")
	keyID       = []byte("mid")
	keyRetained = []byte("mkept")
	// keyFirstCommit has the first number whose record must be there, and keyMarked says that the folder has a watermark.
	keyFirstCommit = []byte("mcommit")
	keyMarked      = []byte("mwatermark")
	// keyMove has the note of a move, in a folder of format formatMoving.
	keyMove = []byte("mmove")
)

// format is the version of the layout. A folder with a greater one is refused. A folder with a lesser one is upgraded.
// Format 1 had no epochs, and one content a dedupe key.
const format = 2

// Format is the newest version of the layout that this program reads, and the one that it writes.
const Format = format

// formatMoving is the format of a folder that no program may open: its log has moved away, or the move to it is not complete. Programs
// that do not know it refuse it as a newer one.
const formatMoving = 1 << 31

const (
	eventKeyLen      = 1 + 8
	eventHeaderLen   = 8
	webhookKeyLen    = 1 + 16
	webhookHeaderLen = 8 + 4
	correctionKeyLen = 1 + webhookKeyLen + 8
	driftKeyLen      = 1 + 4
	dedupeKeyLen     = 1 + 6 + 16
	versionHeaderLen = 4 + 8
)

var errCorrupt = errors.New("malformed record")

// span returns the bounds of all keys with a prefix.
func span(prefix byte) (lower, upper []byte) {
	return []byte{prefix}, []byte{prefix + 1}
}

func appendEventKey(b []byte, p sinks.Position) []byte {
	return binary.BigEndian.AppendUint64(append(b, prefixEvent), uint64(p))
}

func eventKey(p sinks.Position) []byte {
	return appendEventKey(make([]byte, 0, eventKeyLen), p)
}

func parseEventKey(k []byte) (sinks.Position, error) {
	if len(k) != eventKeyLen {
		return 0, errCorrupt
	}
	return sinks.Position(binary.BigEndian.Uint64(k[1:])), nil
}

func webhookKey(prefix byte, id uuid.UUID) []byte {
	return append(append(make([]byte, 0, webhookKeyLen), prefix), id[:]...)
}

// webhookKeyAt is the least key of a webhook received at t or later: a version 7 UUID starts with its Unix milliseconds.
func webhookKeyAt(prefix byte, t time.Time) []byte {
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(max(t.UnixMilli(), 0)))
	return append([]byte{prefix}, ms[2:]...)
}

// webhookTime is when the webhook with this key was received.
func webhookTime(k []byte) (time.Time, error) {
	if len(k) != webhookKeyLen {
		return time.Time{}, errCorrupt
	}
	return time.UnixMilli(int64(binary.BigEndian.Uint64(k[1:]) >> 16)), nil
}

// correctionKey contains the key of the corrected webhook, so that both are removed by ranges with the same bounds.
func correctionKey(prefix byte, id uuid.UUID, first sinks.Position) []byte {
	k := append(make([]byte, 0, correctionKeyLen), prefixCorrection, prefix)
	return binary.BigEndian.AppendUint64(append(k, id[:]...), uint64(first))
}

// hourOf numbers the hours since 1970.
func hourOf(t time.Time) uint32 {
	return uint32(max(t.Unix(), 0) / 3600)
}

// bucketPrefixes are the kinds of records that lie in buckets.
var bucketPrefixes = [...]byte{prefixDedupe, prefixVersion}

// bucket is where a dedupe key or a subject's version lies: the hour it was added in, and its turn of bucketKeys keys within the hour. Keys that
// are added together lie together, also when an hour has many, and compactions do not move them again.
type bucket uint64

const (
	turnBits   = 16
	bucketKeys = 256 << 10
)

func bucketAt(hour uint32) bucket { return bucket(hour) << turnBits }

func (b bucket) hour() uint32 { return uint32(b >> turnBits) }

// next is the next turn of the same hour, or the same one after the last.
func (b bucket) next() bucket {
	if (b + 1).hour() != b.hour() {
		return b
	}
	return b + 1
}

func appendBucketKey(b []byte, prefix byte, at bucket) []byte {
	return append(b, prefix, byte(at>>40), byte(at>>32), byte(at>>24), byte(at>>16), byte(at>>8), byte(at))
}

func appendDedupeKey(b []byte, at bucket, key journal.Hash) []byte {
	return append(appendBucketKey(b, prefixDedupe, at), key[:]...)
}

func appendVersionKey(b []byte, at bucket, subject journal.Hash) []byte {
	return append(appendBucketKey(b, prefixVersion, at), subject[:]...)
}

// bucketKey is the least key with a prefix in a bucket.
func bucketKey(prefix byte, at bucket) []byte { return appendBucketKey(nil, prefix, at) }

// parseBucketKey reads a dedupe key, or the key of a subject's version.
func parseBucketKey(k []byte) (at bucket, key journal.Hash, err error) {
	if len(k) != dedupeKeyLen {
		return 0, key, errCorrupt
	}
	for _, b := range k[1:7] {
		at = at<<8 | bucket(b)
	}
	return at, journal.Hash(k[7:]), nil
}

// A value of a dedupe key is the number of the epoch that wrote it, and the contents. Folders of format 1 have values of one
// content without meaning, from before the first epoch that was recorded.
const (
	contentsHeaderLen = 4
	contentLen        = 8 + 16 + 16
	oldContentLen     = 8 + 16
)

func contentsLen(n int) int { return contentsHeaderLen + n*contentLen }

func putContents(v []byte, epoch uint32, contents []journal.Seen) {
	binary.BigEndian.PutUint32(v, epoch)
	v = v[contentsHeaderLen:]
	for _, s := range contents {
		binary.BigEndian.PutUint64(v, uint64(s.At.UnixNano()))
		copy(v[8:], s.Bytes[:])
		copy(v[24:], s.Meaning[:])
		v = v[contentLen:]
	}
}

// contentsEpoch returns the number of the epoch that wrote a value.
func contentsEpoch(v []byte) (uint32, error) {
	switch {
	case len(v) == oldContentLen:
		return 0, nil
	case len(v) < contentsHeaderLen || (len(v)-contentsHeaderLen)%contentLen != 0:
		return 0, errCorrupt
	}
	return binary.BigEndian.Uint32(v), nil
}

// appendContents appends the contents of a value, at times that are corrected for a clock that was put back since.
func appendContents(all []journal.Seen, v []byte, e *epoch.List) ([]journal.Seen, error) {
	number, err := contentsEpoch(v)
	if err != nil {
		return all, err
	}
	limit := e.Limit(number)
	if len(v) == oldContentLen {
		return append(all, journal.Seen{At: readTime(v, limit), Bytes: journal.Hash(v[8:])}), nil
	}
	for v = v[contentsHeaderLen:]; len(v) > 0; v = v[contentLen:] {
		all = append(all, journal.Seen{
			At: readTime(v, limit), Bytes: journal.Hash(v[8:24]), Meaning: journal.Hash(v[24:40]),
		})
	}
	return all, nil
}

// A value of a subject's version is the number of the epoch that wrote it, Unix nanoseconds, and the text.
func putVersion(v []byte, epoch uint32, at time.Time, text string) {
	binary.BigEndian.PutUint32(v, epoch)
	binary.BigEndian.PutUint64(v[4:], uint64(at.UnixNano()))
	copy(v[versionHeaderLen:], text)
}

// parseVersion is the inverse of putVersion. The time is corrected for a clock that was put back since.
func parseVersion(v []byte, e *epoch.List) (epoch uint32, s journal.SeenVersion, err error) {
	if len(v) < versionHeaderLen {
		return 0, s, errCorrupt
	}
	epoch = binary.BigEndian.Uint32(v)
	return epoch, journal.SeenVersion{At: readTime(v[4:], e.Limit(epoch)), Text: string(v[versionHeaderLen:])}, nil
}

// bucketEpoch returns the number of the epoch that wrote a value in a bucket.
func bucketEpoch(prefix byte, v []byte) (uint32, error) {
	if prefix == prefixDedupe {
		return contentsEpoch(v)
	}
	if len(v) < versionHeaderLen {
		return 0, errCorrupt
	}
	return binary.BigEndian.Uint32(v), nil
}

// readTime reads a time that is not later than limit.
func readTime(v []byte, limit int64) time.Time {
	return time.Unix(0, min(int64(binary.BigEndian.Uint64(v)), limit))
}

func cursorKey(name string) []byte {
	return append([]byte{prefixCursor}, name...)
}
