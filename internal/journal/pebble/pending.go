package pebble

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
)

const (
	// bufferKept bounds the buffers that are kept for the next entry.
	bufferKept = 64 << 10
	// discardsAtOnce bounds the webhooks that the committer looks up for one call of Discard. It reads each whole, and appends
	// wait meanwhile.
	discardsAtOnce = 16
)

// discard is what Discard asks of the committer, besides the acts of entries.
const discard Act = 255

// pending is an entry on its way to the disk.
type pending struct {
	act       Act
	id        uuid.UUID
	key, body Hash
	window    time.Duration
	// buf holds the webhook, or the correction, and then the events, encoded; ends says where each ends.
	buf  []byte
	ends []int
	// drift is what of the webhook is counted; nil if nothing.
	drift *observation
	// more are the entries that stand and fall with this one. They are answered by its done; its err is theirs too.
	more []*pending

	// prefix is that of the webhook's key: the committer finds it out where the entry is of an earlier webhook.
	prefix  byte
	verdict verdict
	// first is the position of the first event, if the verdict is fresh.
	first Position

	receipt Receipt
	err     error
	// done gets one value, when receipt and err are set.
	done chan struct{}
}

var pendings = sync.Pool{New: func() any { return &pending{done: make(chan struct{}, 1)} }}

func newPending() *pending {
	p, _ := pendings.Get().(*pending)
	return p
}

func (p *pending) finish(r Receipt, err error) {
	p.receipt, p.err = r, err
	p.done <- struct{}{}
}

// events is how many are added.
func (p *pending) events() int {
	if p.verdict != fresh {
		return 0
	}
	return max(len(p.ends)-1, 0)
}

// keyed is whether a dedupe key is added, and leaves whether a webhook leaves the quarantine.
func (p *pending) keyed() bool { return p.verdict == fresh && p.act != discard }

func (p *pending) leaves() bool {
	return p.act == Release && p.verdict != revised || p.act == discard && p.verdict == fresh
}

// load is how many entries are committed with p, itself one of them, and how many bytes they take.
func (p *pending) load() (entries, bytes int) {
	entries, bytes = 1+len(p.more), len(p.buf)
	for _, m := range p.more {
		bytes += len(m.buf)
	}
	return entries, bytes
}

// encode takes over all of the entry, so that the caller may change it afterwards.
func (p *pending) encode(e *Entry, cfg *Config) (err error) {
	if p.id, err = parseID(e.Webhook.GetId()); err != nil {
		return err
	}
	if len(e.Keys) == 0 {
		return errors.New("no key given")
	}
	for _, k := range e.Keys {
		if k.Window < time.Second || k.Window > cfg.DedupeAge {
			return fmt.Errorf("window of %v is not between 1s and %v", k.Window, cfg.DedupeAge)
		}
	}
	p.act, p.key, p.body, p.window = e.Operation, e.Keys[0].Hash, e.Bytes, e.Keys[0].Window
	p.buf, p.ends = p.buf[:0], p.ends[:0]
	if err := p.encodeRecord(e, cfg.Now); err != nil {
		return err
	}
	for _, event := range e.Events {
		p.buf = append(p.buf, event...)
		p.ends = append(p.ends, len(p.buf))
	}
	return nil
}

// encodeRecord encodes what is stored besides the events.
func (p *pending) encodeRecord(e *Entry, now func() time.Time) error {
	switch e.Operation {
	case Receive:
		p.prefix = prefixWebhook
		if e.Webhook.GetQuarantine() != nil {
			p.prefix = prefixQuarantine
		}
		p.drift = observe(e.Webhook)
	case Release:
		p.prefix = prefixQuarantine
		if e.Webhook.GetReleasedAt() == nil {
			return errors.New("webhook to release has no released_at")
		}
	case Correct:
		if len(e.Events) == 0 || len(e.Events) != len(e.Indexes) {
			return fmt.Errorf("correction has %d events for %d indexes", len(e.Events), len(e.Indexes))
		}
		return p.marshal(&journalv1.Correction{Indexes: e.Indexes, At: timestamppb.New(now())})
	default:
		return fmt.Errorf("unknown operation %d", e.Operation)
	}
	return p.marshal(e.Webhook)
}

func (p *pending) marshal(m proto.Message) (err error) {
	p.buf, err = proto.MarshalOptions{}.MarshalAppend(p.buf, m)
	p.ends = append(p.ends, len(p.buf))
	return err
}

// release gives the entry, and those that go with it, back for the next append. Nobody else may know them any more.
func (p *pending) release() {
	for _, m := range p.more {
		m.release()
	}
	if cap(p.buf) > bufferKept {
		p.buf = nil
	}
	*p = pending{buf: p.buf[:0], ends: p.ends[:0], done: p.done}
	pendings.Put(p)
}

// Append adds an entry, whole or not at all, and returns once it is durable. It encodes the entry in the caller's
// goroutine and keeps nothing of it. An entry whose key was seen within its window is not added; a duplicate is
// acknowledged when the entry it repeats is durable, and fails with it.
//
// When ctx is done before that, Append returns its error, and the entry may still be committed.
//
// Errors: ErrUnavailable, ErrRevised, ErrNotFound of a webhook that is not where the entry's act needs it, ErrClosed,
// ErrEncoding, ctx's, and that of an entry that breaks the rules.
func (j *Journal) Append(ctx context.Context, e Entry) (Receipt, error) {
	p := newPending()
	if err := p.encode(&e, &j.cfg); err != nil {
		p.release()
		return Receipt{}, fmt.Errorf("journal: append: %w", err)
	}
	if err := j.submit(ctx, p); err != nil {
		return Receipt{}, err
	}
	r, err := p.receipt, p.err
	p.release()
	return r, err
}

// AppendAll adds entries at once: all of them, those that are duplicates aside, or none, also across a crash. They are
// judged in order, so of two equal ones the second is a duplicate. The receipts are the entries', in order. It is else as
// Append. Its entries should be small: together they are one group, and others wait for it.
//
// Errors: *RevisedError with all entries that are ErrRevised, and Append's.
func (j *Journal) AppendAll(ctx context.Context, entries []Entry) ([]Receipt, error) {
	if len(entries) == 0 {
		return nil, nil
	}
	head := newPending()
	head.more = make([]*pending, 0, len(entries)-1)
	for i := range entries {
		p := head
		if i > 0 {
			p = newPending()
			head.more = append(head.more, p)
		}
		if err := p.encode(&entries[i], &j.cfg); err != nil {
			head.release()
			return nil, fmt.Errorf("journal: append: entry %d: %w", i, err)
		}
	}
	if err := j.submit(ctx, head); err != nil {
		return nil, err
	}
	defer head.release()
	if head.err != nil {
		return nil, head.err
	}
	receipts := make([]Receipt, 0, len(entries))
	receipts = append(receipts, head.receipt)
	for _, p := range head.more {
		receipts = append(receipts, p.receipt)
	}
	return receipts, nil
}

// Discard removes webhooks from quarantine, and returns how many once that is durable. What is not there, or was released,
// stays as it is. It makes room, so it goes on while the disk is too full for appends. Errors: ErrUnavailable, ErrClosed,
// ctx's; some of the webhooks may then be gone.
func (j *Journal) Discard(ctx context.Context, ids []string) (n int, err error) {
	for len(ids) > 0 {
		some := ids[:min(len(ids), discardsAtOnce)]
		ids = ids[len(some):]
		gone, err := j.discard(ctx, some)
		n += gone
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

func (j *Journal) discard(ctx context.Context, ids []string) (n int, err error) {
	var all []*pending
	for _, id := range ids {
		u, err := parseID(id)
		if err != nil {
			continue // it cannot be there
		}
		p := newPending()
		p.act, p.id, p.prefix = discard, u, prefixQuarantine
		all = append(all, p)
	}
	if len(all) == 0 {
		return 0, nil
	}
	head := all[0]
	head.more = all[1:]
	if err := j.submit(ctx, head); err != nil {
		return 0, err
	}
	defer head.release()
	if head.err != nil {
		return 0, head.err
	}
	for _, p := range all {
		if p.verdict == fresh {
			n++
		}
	}
	return n, nil
}

// submit queues p and waits for the committer's answer. On an error p is not the caller's any more.
func (j *Journal) submit(ctx context.Context, p *pending) error {
	if err := j.enqueue(p); err != nil {
		p.release()
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return ctx.Err() // p stays with the committer
	}
}

func (j *Journal) enqueue(p *pending) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.down != nil {
		return j.down
	}
	if j.low != nil && p.act != discard {
		return j.low
	}
	j.queue = append(j.queue, p)
	if len(j.queue) == 1 {
		j.signal()
	}
	return nil
}

// take moves what waits, up to a group, from the queue to members.
func (j *Journal) take(members []*pending) []*pending {
	j.mu.Lock()
	defer j.mu.Unlock()
	n, entries, bytes := 0, 0, 0
	for n < len(j.queue) && entries < groupEntries && bytes < groupBytes {
		e, b := j.queue[n].load()
		entries, bytes, n = entries+e, bytes+b, n+1
	}
	members = append(members, j.queue[:n]...)
	rest := copy(j.queue, j.queue[n:])
	clear(j.queue[rest:])
	j.queue = j.queue[:rest]
	return members
}
