package pebble

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/commit"
	"github.com/webhook-bridge/bridge/internal/journal/epoch"
	"github.com/webhook-bridge/bridge/sinks"
)

// recordKind is a kind of record, and how one is checked.
type recordKind struct {
	name  string
	check func(v *verifier, k, value []byte) error
}

// recordKinds are all kinds of records, by the first byte of their keys. A record of another kind is a problem.
var recordKinds = map[byte]recordKind{
	prefixCursor:     {"cursors", (*verifier).checkCursor},
	prefixDedupe:     {"dedupe keys", (*verifier).checkDedupe},
	prefixEvent:      {"events", nil}, // see checkEvents
	prefixDrift:      {"drift counts", checkMessage(func() proto.Message { return new(journalv1.DriftCount) })},
	prefixGap:        {"gaps", checkMessage(func() proto.Message { return new(journalv1.Gap) })},
	prefixLost:       {"losses", func(_ *verifier, k, value []byte) error { _, err := parseLost(k, value); return err }},
	prefixMeta:       {"metadata", func(*verifier, []byte, []byte) error { return nil }}, // read before
	prefixCommit:     {"commits", func(_ *verifier, k, value []byte) error { _, _, err := parseCommit(k, value); return err }},
	prefixEpoch:      {"epochs", func(_ *verifier, k, value []byte) error { _, err := parseEpoch(k, value); return err }},
	prefixParked:     {"parked events", checkMessage(func() proto.Message { return new(journalv1.Parked) })},
	prefixRequest:    {"requests", func(_ *verifier, k, _ []byte) error { _, _, _, err := parseReaderKey(k); return err }},
	prefixReplay:     {"replays", checkMessage(func() proto.Message { return new(journalv1.Replay) })},
	prefixShare:      {"shares of groups", (*verifier).checkShare},
	prefixGroup:      {"groups", (*verifier).checkGroup},
	prefixQuarantine: {"quarantined webhooks", (*verifier).checkWebhook},
	prefixVersion:    {"subjects' versions", (*verifier).checkVersion},
	prefixWebhook:    {"webhooks", (*verifier).checkWebhook},
	prefixCorrection: {"corrections", checkMessage(func() proto.Message { return new(journalv1.Correction) })},
}

// checkEvery is after how many records ctx is looked at.
const checkEvery = 1000

// checkRecords reads all records.
func (v *verifier) checkRecords(ctx context.Context) error {
	all, err := v.s.loadEpochs()
	if err != nil || len(all) == 0 {
		v.problem("epochs cannot be read: %v", err)
		return nil
	}
	e := epoch.NewList(all)
	v.j.epochs.Store(e)
	v.s.epochs = &v.j.epochs
	for prefix := range 256 {
		if err := ctx.Err(); err != nil {
			return err
		}
		kind, known := recordKinds[byte(prefix)]
		if byte(prefix) == prefixEvent {
			err = v.checkEvents(ctx)
		} else {
			err = v.checkKind(ctx, byte(prefix), kind, known)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// checkKind reads the records of one kind. Behind records that cannot be read it looks for the next that can.
func (v *verifier) checkKind(ctx context.Context, prefix byte, kind recordKind, known bool) error {
	lower, upper := []byte{prefix}, []byte{prefix + 1}
	if prefix == 255 {
		upper = nil
	}
	n := 0
	var last []byte
	err := v.s.eachKey(lower, upper, func(k, value []byte) (bool, error) {
		if n++; n%checkEvery == 0 && ctx.Err() != nil {
			return false, ctx.Err()
		}
		last = append(last[:0], k...)
		if !known {
			v.problem("record %q is of no known kind", k)
			return n < checkEvery, nil
		}
		v.count(kind.name, k, value)
		if err := kind.check(v, k, value); err != nil {
			v.problem("%s: record %x: %v", kind.name, k, err)
		}
		return true, nil
	})
	if err == nil || ctx.Err() != nil || cannotRead(err) != nil {
		return err
	}
	v.problem("%s: the records behind %x cannot be read: %v", kind.name, last, err)
	return nil
}

func (v *verifier) count(kind string, k, value []byte) {
	v.found.Records[kind]++
	v.found.Bytes += uint64(len(k) + len(value))
}

// checkEvents reads all events: positions are dense, and each event is one, of a webhook that is stored.
func (v *verifier) checkEvents(ctx context.Context) error {
	want := v.s.lost.pass(v.s.retained.earliest)
	n := 0
	for from := sinks.Position(0); ; {
		err := v.s.eachKey(eventKey(from), []byte{prefixEvent + 1}, func(k, value []byte) (bool, error) {
			if n++; n%checkEvery == 0 && ctx.Err() != nil {
				return false, ctx.Err()
			}
			p, event, err := parseEvent(k, value)
			if err != nil && p == 0 {
				v.problem("events: record %x: %v", k, err)
				return true, nil
			}
			v.count("events", k, value)
			if p > want {
				v.problem("events: positions %d to %d are missing", want, p-1)
			}
			want, from = max(want, v.s.lost.pass(p+1)), p+1
			if err == nil {
				err = v.checkEvent(event)
			}
			if err != nil {
				v.problem("events: position %d: %v", p, err)
			}
			return true, nil
		})
		if err == nil {
			break
		}
		if ctx.Err() != nil || cannotRead(err) != nil {
			return err
		}
		bad := max(from, want)
		next := v.readableFrom(bad)
		v.problem("events: positions %d to %d cannot be read: %v", bad, min(next, v.s.next)-1, err)
		if want = v.s.lost.pass(next); next >= v.s.next {
			break
		}
		from = next
	}
	if want < v.s.next {
		v.problem("events: positions %d to %d are missing", want, v.s.next-1)
	}
	return nil
}

// readableFrom returns a position behind one that cannot be read from which on events can be read, or the log's end.
func (v *verifier) readableFrom(bad sinks.Position) sinks.Position {
	for step := sinks.Position(1); bad+step < v.s.next; step *= 2 {
		err := v.s.eachKey(eventKey(bad+step), []byte{prefixEvent + 1}, func(_, _ []byte) (bool, error) { return false, nil })
		if err == nil {
			return bad + step
		}
	}
	return v.s.next
}

func (v *verifier) checkEvent(encoded []byte) error {
	e := new(eventv1.Event)
	if err := proto.Unmarshal(encoded, e); err != nil {
		return err
	}
	id, err := journal.ParseID(e.GetWebhookId())
	if err != nil {
		return fmt.Errorf("webhook id: %w", err)
	}
	state, err := v.s.webhookState(id)
	if err != nil {
		return fmt.Errorf("its webhook %s: %w", id, err)
	}
	at, err := webhookTime(webhookKey(prefixWebhook, id))
	// A webhook may go before its events, by the ages of webhooks and of the quarantine.
	if state == commit.Absent && err == nil && at.UnixMilli() >= max(v.s.retained.webhooks, v.s.retained.quarantine) {
		return fmt.Errorf("its webhook %s is missing", id)
	}
	return err
}

// checkWebhook checks a webhook, and that the first of its events is its own.
func (v *verifier) checkWebhook(k, value []byte) error {
	if len(k) != webhookKeyLen {
		return errCorrupt
	}
	w, err := decodeWebhook(value)
	if err != nil {
		return err
	}
	id, err := journal.ParseID(w.GetId())
	if err != nil || !bytes.Equal(id[:], k[1:]) {
		return fmt.Errorf("its id is %q", w.GetId())
	}
	first := sinks.Position(w.GetFirstPosition())
	if w.GetEventCount() == 0 || first < v.s.retained.earliest {
		return nil
	}
	if last := first + sinks.Position(w.GetEventCount()) - 1; last >= v.s.next {
		return fmt.Errorf("its last event would be at position %d, behind the log's end", last)
	}
	encoded, err := v.s.get(eventKey(first))
	if errors.Is(err, pebble.ErrNotFound) || isDamage(err) {
		return nil // reported with the events
	}
	if err != nil || len(encoded) < eventHeaderLen {
		return err
	}
	r, err := sinks.NewRecord(first, encoded[eventHeaderLen:])
	if err == nil && string(r.Header.WebhookID) != w.GetId() {
		return fmt.Errorf("the event at position %d is of webhook %q", first, r.Header.WebhookID)
	}
	return nil // an event that cannot be read is reported with the events
}

func (v *verifier) checkCursor(k, value []byte) error {
	c, err := parseCursor(value)
	if err == nil && c.position > v.s.next {
		return fmt.Errorf("reader %q is at position %d, behind the log's end at %d", k[1:], c.position, v.s.next)
	}
	return err
}

func (v *verifier) checkDedupe(k, value []byte) error {
	if _, _, err := parseBucketKey(k); err != nil {
		return err
	}
	_, err := appendContents(nil, value, v.j.epochs.Load())
	return err
}

func (v *verifier) checkVersion(k, value []byte) error {
	if _, _, err := parseBucketKey(k); err != nil {
		return err
	}
	_, _, err := parseVersion(value, v.j.epochs.Load())
	return err
}

// checkGroup checks a group, and that all of its shares are there.
func (v *verifier) checkGroup(k, value []byte) error {
	if _, _, err := parseGroup(value); err != nil || len(k) == 1 {
		return err
	}
	lower, upper := readerKeys(prefixShare, string(k[1:]))
	n, err := v.s.countKeys(context.Background(), lower, upper)
	if err == nil && n != journal.GroupShares {
		return fmt.Errorf("group %q has %d of %d shares", k[1:], n, journal.GroupShares)
	}
	return err
}

// checkShare checks a share, and that its group is there.
func (v *verifier) checkShare(k, value []byte) error {
	group, index, err := parseShareKey(k)
	if err != nil {
		return err
	}
	if _, err := parseShare(index, value); err != nil {
		return err
	}
	if _, err = v.s.get(groupKey(group)); errors.Is(err, pebble.ErrNotFound) {
		return fmt.Errorf("share %d is of group %q, which is missing", index, group)
	}
	return err
}

// checkMessage returns the check of a record that is a message.
func checkMessage(newMessage func() proto.Message) func(*verifier, []byte, []byte) error {
	return func(_ *verifier, _, value []byte) error { return proto.Unmarshal(value, newMessage()) }
}
