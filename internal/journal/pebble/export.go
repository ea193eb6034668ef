package pebble

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/move"
	"github.com/webhook-bridge/bridge/sinks"
)

// A page of a move has at most movedRecords records and about movedBytes, and is of at most movedScan records on disk.
const (
	movedRecords = 10_000
	movedBytes   = 16 << 20
	movedScan    = 10 * movedRecords
)

// movedKind is how the records of a kind lie on disk.
type movedKind struct {
	prefix byte
	// read makes a record of a key and a value, which are valid during the call. It returns nil for one from before the stamp.
	read func(k, v []byte, since move.Stamp) (move.Record, error)
}

var movedKinds = map[move.Kind]movedKind{
	move.Events:      {prefixEvent, readMovedEvent},
	move.Webhooks:    {prefixWebhook, readMovedWebhook},
	move.Keys:        {prefixDedupe, readMovedKey},
	move.Versions:    {prefixVersion, readMovedVersion},
	move.Quarantined: {prefixQuarantine, readMovedWebhook},
	move.Corrections: {prefixCorrection, readMovedCorrection},
	move.Drift:       {prefixDrift, readMovedDrift},
	move.Readers:     {prefixCursor, readMovedReader},
	move.Groups:      {prefixGroup, readMovedGroup},
	move.Shares:      {prefixShare, readMovedShare},
	move.Parked:      {prefixParked, readMovedParked},
	move.Gaps:        {prefixGap, readMovedGap},
	move.Requests:    {prefixRequest, readMovedRequest},
	move.Replays:     {prefixReplay, readMovedReplay},
}

// Read implements [move.Source].
func (t *Transfer) Read(ctx context.Context, k move.Kind, since move.Stamp, from string) (page move.Page, err error) {
	kind := movedKinds[k]
	lower, upper := t.firstMoved(k, since), []byte{kind.prefix + 1}
	if from != "" {
		if lower, err = hex.DecodeString(from); err != nil {
			return page, err
		}
	}
	scanned, size := 0, 0
	err = t.s.eachKey(lower, upper, func(key, v []byte) (bool, error) {
		if scanned == movedScan || len(page.Records) == movedRecords || size >= movedBytes {
			page.Next = hex.EncodeToString(key)
			return false, ctx.Err()
		}
		r, err := kind.read(key, v, since)
		if err == nil && r != nil {
			page.Records = append(page.Records, r)
			size += len(v)
		}
		scanned++
		return true, err
	})
	return page, err
}

// firstMoved is the first key of a kind that a record since a stamp may have.
func (t *Transfer) firstMoved(k move.Kind, since move.Stamp) []byte {
	prefix := movedKinds[k].prefix
	if since == (move.Stamp{}) {
		return []byte{prefix}
	}
	switch k {
	case move.Events:
		return eventKey(since.Next)
	case move.Webhooks:
		return webhookKeyAt(prefix, t.log.ReceivedFrom(since))
	case move.Keys, move.Versions:
		return bucketKey(prefix, bucketAt(hourOf(time.Unix(0, t.log.CommittedFrom(since)))))
	}
	return []byte{prefix}
}

func readMovedEvent(k, v []byte, _ move.Stamp) (move.Record, error) {
	p, err := parseEventKey(k)
	if err != nil || len(v) < eventHeaderLen {
		return nil, errCorrupt
	}
	at := int64(binary.BigEndian.Uint64(v))
	return &move.Event{Position: p, At: at, Encoded: append([]byte(nil), v[eventHeaderLen:]...)}, nil
}

func readMovedWebhook(k, v []byte, since move.Stamp) (move.Record, error) {
	if len(k) != webhookKeyLen || len(v) < webhookHeaderLen {
		return nil, errCorrupt
	}
	first := sinks.Position(binary.BigEndian.Uint64(v))
	if first < since.Next {
		return nil, nil
	}
	w := &move.Webhook{ID: uuid.UUID(k[1:]), First: first, Quarantined: k[0] == prefixQuarantine, Events: binary.BigEndian.Uint32(v[8:])}
	var err error
	w.Encoded, w.Duplicate, w.Released, err = withoutOwnFields(v[webhookHeaderLen:])
	return w, err
}

var duplicateNumber = fieldNumber("duplicate")

// withoutOwnFields copies an encoded webhook without the field that the journal added at its commit.
func withoutOwnFields(v []byte) (encoded []byte, duplicate, released bool, err error) {
	encoded = make([]byte, 0, len(v))
	for len(v) > 0 {
		number, _, n := protowire.ConsumeField(v)
		switch {
		case n < 0:
			return nil, false, false, errCorrupt
		case number == duplicateNumber:
			duplicate = true
		default:
			released = released || number == releasedAt
			encoded = append(encoded, v[:n]...)
		}
		v = v[n:]
	}
	return encoded, duplicate, released, nil
}

func readMovedKey(k, v []byte, since move.Stamp) (move.Record, error) {
	_, hash, err := parseBucketKey(k)
	if err != nil {
		return nil, err
	}
	key := &move.Key{Hash: hash}
	if key.Epoch, err = contentsEpoch(v); err != nil {
		return nil, err
	}
	key.Contents = storedContents(v)
	if since.Before(key.Epoch, key.At()) {
		return nil, nil
	}
	return key, nil
}

// storedContents returns the contents of a valid value, at the times as they were stored.
func storedContents(v []byte) (all []journal.Seen) {
	at := func(v []byte) time.Time { return time.Unix(0, int64(binary.BigEndian.Uint64(v))) }
	if len(v) == oldContentLen {
		return []journal.Seen{{At: at(v), Bytes: journal.Hash(v[8:])}}
	}
	for v = v[contentsHeaderLen:]; len(v) > 0; v = v[contentLen:] {
		all = append(all, journal.Seen{At: at(v), Bytes: journal.Hash(v[8:24]), Meaning: journal.Hash(v[24:40])})
	}
	return all
}

func readMovedVersion(k, v []byte, since move.Stamp) (move.Record, error) {
	_, subject, err := parseBucketKey(k)
	if err != nil || len(v) < versionHeaderLen {
		return nil, errCorrupt
	}
	one := &move.Version{
		Subject: subject, Epoch: binary.BigEndian.Uint32(v), At: int64(binary.BigEndian.Uint64(v[4:])), Text: string(v[versionHeaderLen:]),
	}
	if since.Before(one.Epoch, one.At) {
		return nil, nil
	}
	return one, nil
}

func readMovedCorrection(k, v []byte, _ move.Stamp) (move.Record, error) {
	c := new(journalv1.Correction)
	if err := proto.Unmarshal(v, c); err != nil || len(k) != correctionKeyLen {
		return nil, errCorrupt
	}
	return &move.Correction{
		Webhook: uuid.UUID(k[2:18]), First: sinks.Position(binary.BigEndian.Uint64(k[18:])), Indexes: c.GetIndexes(), At: c.GetAt().AsTime().UnixNano(),
	}, nil
}

func readMovedDrift(_, v []byte, _ move.Stamp) (move.Record, error) {
	c := new(journalv1.DriftCount)
	return move.DriftCount{DriftCount: c}, proto.Unmarshal(v, c)
}

func readMovedReader(k, v []byte, _ move.Stamp) (move.Record, error) {
	c, err := parseCursor(v)
	return &move.Reader{Name: string(k[1:]), Position: c.position, Touched: c.touched.UnixNano(), Paused: c.paused, Moved: c.moved}, err
}

// readMovedGroup also reads the record of the empty name, which has the same meaning in a move.
func readMovedGroup(k, v []byte, _ move.Stamp) (move.Record, error) {
	version, definition, err := parseGroup(v)
	return &move.Group{Name: string(k[1:]), Version: version, Definition: append([]byte(nil), definition...)}, err
}

func readMovedShare(k, v []byte, _ move.Stamp) (move.Record, error) {
	group, index, err := parseShareKey(k)
	if err != nil {
		return nil, err
	}
	s, err := parseShare(index, v)
	return &move.Share{Group: group, Index: index, Epoch: s.Epoch, Version: s.Version, State: append([]byte(nil), s.State...)}, err
}

func readMovedParked(_, v []byte, _ move.Stamp) (move.Record, error) {
	p := new(journalv1.Parked)
	return move.ParkedEvent{Parked: p}, proto.Unmarshal(v, p)
}

func readMovedGap(_, v []byte, _ move.Stamp) (move.Record, error) {
	g := new(journalv1.Gap)
	return move.Gap{Gap: g}, proto.Unmarshal(v, g)
}

func readMovedRequest(k, v []byte, _ move.Stamp) (move.Record, error) {
	name, p, kind, err := parseReaderKey(k)
	if err != nil || len(kind) != 1 || len(v) != 8 {
		return nil, errCorrupt
	}
	return &move.Request{Reader: name, Position: p, Kind: kind[0], At: int64(binary.BigEndian.Uint64(v))}, nil
}

func readMovedReplay(_, v []byte, _ move.Stamp) (move.Record, error) {
	r := new(journalv1.Replay)
	return move.Replay{Replay: r}, proto.Unmarshal(v, r)
}
