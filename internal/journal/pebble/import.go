package pebble

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/protobuf/types/known/timestamppb"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal/commit"
	"github.com/webhook-bridge/bridge/internal/journal/letters"
	"github.com/webhook-bridge/bridge/internal/journal/move"
	"github.com/webhook-bridge/bridge/sinks"
)

// Prepare implements [move.Target].
func (t *Transfer) Prepare(_ context.Context, l move.Log, n move.Note) error {
	return t.write(func(b *pebble.Batch) error {
		t.s.id, t.note, t.log = l.ID, &n, l
		lower, upper := span(prefixEpoch)
		kept := retained{earliest: l.Bounds.Earliest, webhooks: l.WebhooksFrom, quarantine: l.QuarantinedFrom}
		err := errors.Join(
			setFormat(b, formatMoving, &n),
			b.Set(keyID, []byte(l.ID), nil),
			b.Set(keyRetained, kept.append(nil), nil),
			b.DeleteRange(lower, upper, nil),
		)
		for _, e := range l.Epochs {
			err = errors.Join(err, b.Set(epochKey(e.Number), epochValue(e), nil))
		}
		return err
	})
}

// Write implements [move.Target].
func (t *Transfer) Write(_ context.Context, _ move.Kind, records []move.Record, n move.Note) error {
	var next sinks.Position
	return t.writeUpTo(0, func(b *pebble.Batch) error {
		for _, r := range records {
			if e, ok := r.(*move.Event); ok {
				next = max(next, e.Position+1)
			}
			if err := t.writeMoved(b, r); err != nil {
				return err
			}
		}
		t.s.numbering.position = max(t.s.numbering.position, next)
		return b.Set(keyMove, []byte(n.Encode()), nil)
	})
}

// writeMoved adds a record to a batch.
func (t *Transfer) writeMoved(b *pebble.Batch, r move.Record) error {
	switch r := r.(type) {
	case *move.Event:
		return b.Set(eventKey(r.Position), append(binary.BigEndian.AppendUint64(nil, uint64(r.At)), r.Encoded...), nil)
	case *move.Webhook:
		key, value := movedWebhook(r)
		return b.Set(key, value, nil)
	case *move.Key:
		key, value := movedKey(r)
		return b.Set(key, value, nil)
	case *move.Version:
		key, value := movedVersion(r)
		return b.Set(key, value, nil)
	case *move.Correction:
		return t.writeMovedCorrection(b, r)
	case move.DriftCount:
		key := binary.BigEndian.AppendUint32([]byte{prefixDrift}, t.drift)
		t.drift++
		return setMessage(b, key, r.DriftCount)
	case *move.Reader:
		c := cursor{position: r.Position, touched: time.Unix(0, r.Touched), paused: r.Paused, moved: r.Moved}
		return errors.Join(letters.CheckReader(r.Name), b.Set(cursorKey(r.Name), c.encode(), nil))
	case *move.Group:
		return b.Set(groupKey(r.Name), groupValue(r.Version, r.Definition), nil)
	case *move.Share:
		return b.Set(shareKey(r.Group, r.Index), shareValue(r.Epoch, r.Version, r.State), nil)
	case move.ParkedEvent:
		return setMessage(b, readerKey(prefixParked, r.GetSink(), sinks.Position(r.GetPosition())), r.Parked)
	case move.Gap:
		return setMessage(b, readerKey(prefixGap, r.GetSink(), sinks.Position(r.GetFrom())), r.Gap)
	case move.Replay:
		return setMessage(b, replayKey(r.GetSink(), r.GetId()), r.Replay)
	case *move.Request:
		key := requestKey(r.Reader, request{r.Position, requestKind(r.Kind)})
		return b.Set(key, binary.BigEndian.AppendUint64(nil, uint64(r.At)), nil)
	}
	return fmt.Errorf("journal: a record of the unknown type %T", r)
}

func movedWebhook(w *move.Webhook) (key, value []byte) {
	prefix := byte(prefixWebhook)
	if w.Quarantined {
		prefix = prefixQuarantine
	}
	value = make([]byte, 0, webhookHeaderLen+len(w.Encoded)+len(duplicateField))
	value = binary.BigEndian.AppendUint64(value, uint64(w.First))
	value = binary.BigEndian.AppendUint32(value, w.Events)
	value = append(value, w.Encoded...)
	if w.Duplicate {
		value = append(value, duplicateField...)
	}
	return webhookKey(prefix, w.ID), value
}

// movedKey puts the contents into the first bucket of their hour, where a look-up finds them, and Missing too.
func movedKey(k *move.Key) (key, value []byte) {
	contents := commit.Newest(k.Contents)
	value = make([]byte, contentsLen(len(contents)))
	putContents(value, k.Epoch, contents)
	return appendDedupeKey(nil, bucketAt(hourOf(time.Unix(0, k.At()))), k.Hash), value
}

func movedVersion(v *move.Version) (key, value []byte) {
	at := time.Unix(0, v.At)
	value = make([]byte, versionHeaderLen+len(v.Text))
	putVersion(value, v.Epoch, at, v.Text)
	return appendVersionKey(nil, bucketAt(hourOf(at)), v.Subject), value
}

// writeMovedCorrection puts a correction beside its webhook, which was written before.
func (t *Transfer) writeMovedCorrection(b *pebble.Batch, c *move.Correction) error {
	state, err := t.s.webhookState(c.Webhook)
	if err != nil {
		return err
	}
	prefix := byte(prefixWebhook)
	if state == commit.Quarantined || state == commit.Released {
		prefix = prefixQuarantine
	}
	m := &journalv1.Correction{Indexes: c.Indexes, At: timestamppb.New(time.Unix(0, c.At))}
	return setMessage(b, correctionKey(prefix, c.Webhook, c.First), m)
}

// Clear implements [move.Target].
func (t *Transfer) Clear(_ context.Context, k move.Kind) error {
	lower, upper := span(movedKinds[k].prefix)
	if k == move.Drift {
		t.drift = 0
	}
	return t.write(func(b *pebble.Batch) error { return b.DeleteRange(lower, upper, nil) })
}

// Missing implements [move.Target]. Sources with several records for one key are not of use here: the record must be there as it is.
func (t *Transfer) Missing(_ context.Context, _ move.Kind, records []move.Record) (missing int, err error) {
	for _, r := range records {
		var key, want []byte
		switch r := r.(type) {
		case *move.Key:
			key, want = movedKey(r)
		case *move.Version:
			key, want = movedVersion(r)
		}
		got, err := t.s.get(key)
		if err != nil && !errors.Is(err, pebble.ErrNotFound) {
			return missing, err
		}
		if !bytes.Equal(got, want) {
			missing++
		}
	}
	return missing, nil
}

// Finish implements [move.Target]. The watermark is there before the folder can be used.
func (t *Transfer) Finish(_ context.Context, l move.Log) error {
	mark := watermark{journal: l.ID, commit: t.s.number.Load(), next: l.Bounds.Next, at: t.j.cfg.Now()}
	if err := writeWatermark(t.j.cfg.FS, t.j.cfg.Dir, mark); err != nil {
		return fmt.Errorf("watermark: %w", err)
	}
	err := t.writeUpTo(l.Bounds.Next, func(b *pebble.Batch) error {
		return errors.Join(setFormat(b, format, nil), b.Set(keyMarked, nil, nil))
	})
	if err == nil {
		t.note = nil
	}
	return err
}
