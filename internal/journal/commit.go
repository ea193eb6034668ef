package journal

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
)

const (
	// A group is at most so many entries, and ends with the entry that makes it so many bytes.
	groupEntries = 1024
	groupBytes   = 4 << 20
	// groupsAhead is how many groups may wait for their sync. While they do, the next one fills up.
	groupsAhead = 2
	// bufferKept bounds the buffers that are kept for the next entry.
	bufferKept = 64 << 10
)

// Commit describes a group of entries that was committed.
type Commit struct {
	// Webhooks and Events were added; Duplicates and Revised were not.
	Webhooks, Events, Duplicates, Revised int
	// Bytes were written.
	Bytes int
	// Took is the time from taking the first entry to the end of the sync.
	Took time.Duration
}

// pending is an entry on its way to the disk.
type pending struct {
	id          uuid.UUID
	quarantined bool
	key, body   Hash
	window      time.Duration
	// buf holds the webhook and then the events, encoded; ends says where each ends.
	buf  []byte
	ends []int
	// fresh is whether it is added, and first the position of its first event then. They are the committer's.
	fresh bool
	first Position

	receipt Receipt
	err     error
	// done gets one value, when receipt and err are set.
	done chan struct{}
}

var pendings = sync.Pool{New: func() any { return &pending{done: make(chan struct{}, 1)} }}

func (p *pending) finish(r Receipt, err error) {
	p.receipt, p.err = r, err
	p.done <- struct{}{}
}

func (p *pending) events() int { return len(p.ends) - 1 }

// encode takes over all of the entry, so that the caller may change it afterwards.
func (p *pending) encode(e *Entry, dedupeAge time.Duration) (err error) {
	if p.id, err = parseID(e.Webhook.GetId()); err != nil {
		return err
	}
	if e.Window < time.Second || e.Window > dedupeAge {
		return fmt.Errorf("window of %v is not between 1s and %v", e.Window, dedupeAge)
	}
	p.quarantined = e.Webhook.GetQuarantine() != nil
	p.key, p.body, p.window = e.Key, e.Body, e.Window
	p.buf, p.ends = p.buf[:0], p.ends[:0]
	if err := p.marshal(e.Webhook); err != nil {
		return err
	}
	for _, event := range e.Events {
		if err := p.marshal(event); err != nil {
			return err
		}
	}
	return nil
}

func (p *pending) marshal(m proto.Message) (err error) {
	p.buf, err = proto.MarshalOptions{}.MarshalAppend(p.buf, m)
	p.ends = append(p.ends, len(p.buf))
	return err
}

// release gives the entry back for the next append. Nobody else may know it any more.
func (p *pending) release() {
	if cap(p.buf) > bufferKept {
		p.buf = nil
	}
	p.receipt, p.err, p.fresh = Receipt{}, nil, false
	pendings.Put(p)
}

// Append adds an entry, whole or not at all, and returns once it is durable. It encodes the entry in the caller's
// goroutine and keeps nothing of it. An entry whose key was seen within its window is not added; a duplicate is
// acknowledged when the entry it repeats is durable, and fails with it.
//
// When ctx is done before that, Append returns its error, and the entry may still be committed.
//
// Errors: ErrUnavailable, ErrRevised, ErrClosed, ctx's, and that of an entry that cannot be encoded.
func (j *Journal) Append(ctx context.Context, e Entry) (Receipt, error) {
	p, _ := pendings.Get().(*pending)
	if err := p.encode(&e, j.cfg.DedupeAge); err != nil {
		p.release()
		return Receipt{}, fmt.Errorf("journal: append: %w", err)
	}
	if err := j.enqueue(p); err != nil {
		p.release()
		return Receipt{}, err
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		return Receipt{}, ctx.Err() // p stays with the committer
	}
	r, err := p.receipt, p.err
	p.release()
	return r, err
}

func (j *Journal) enqueue(p *pending) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.down != nil {
		return j.down
	}
	if j.low != nil {
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
	n, bytes := 0, 0
	for n < min(len(j.queue), groupEntries) && bytes < groupBytes {
		bytes += len(j.queue[n].buf)
		n++
	}
	members = append(members, j.queue[:n]...)
	rest := copy(j.queue, j.queue[n:])
	clear(j.queue[rest:])
	j.queue = j.queue[:rest]
	return members
}

// group is what is committed at once.
type group struct {
	batch   *pebble.Batch
	members []*pending
	// next is the durable position once the group is.
	next Position
	// written is whether there is anything to sync. The batch cannot tell: Pebble takes the data of a large one.
	written bool
	stats   Commit
	began   time.Time
}

// committer builds groups and applies them, in one goroutine, while a second waits for their syncs.
type committer struct {
	j  *Journal
	st *store
	// slots bounds the groups between apply and sync.
	slots chan struct{}
	// syncing carries groups to the syncer, in order.
	syncing chan *group
	spare   sync.Pool
	// flying are the keys of the group being built, which Pebble cannot be asked for yet.
	flying map[Hash]Hash
}

// commit runs until a write fails, and returns why, or until the journal closes and the queue is empty, and returns nil.
func (j *Journal) commit(st *store) error {
	c := &committer{
		j:       j,
		st:      st,
		slots:   make(chan struct{}, groupsAhead),
		syncing: make(chan *group, groupsAhead),
		spare:   sync.Pool{New: func() any { return new(group) }},
		flying:  make(map[Hash]Hash, groupEntries),
	}
	var syncer sync.WaitGroup
	syncer.Go(c.sync)
	err := c.loop()
	close(c.syncing)
	syncer.Wait()
	return err
}

func (c *committer) loop() error {
	for {
		c.slots <- struct{}{}
		g, _ := c.spare.Get().(*group)
		g.members = c.j.take(g.members[:0])
		for len(g.members) == 0 {
			closing := c.j.isClosing() // before the queue is looked at: nothing is added to it after
			if err := c.st.fence.err(); err != nil {
				return err
			}
			if g.members = c.j.take(g.members); len(g.members) > 0 {
				break
			}
			if closing {
				return nil
			}
			<-c.j.wake
		}
		if err := c.apply(g); err != nil {
			for _, p := range g.members {
				p.finish(Receipt{}, fmt.Errorf("%w: %w", ErrUnavailable, err))
			}
			c.st.fence.freeze(err)
			return err
		}
		c.syncing <- g
	}
}

// apply writes a group's entries to one batch and applies it.
func (c *committer) apply(g *group) error {
	now := c.j.cfg.Now()
	g.began, g.stats = now, Commit{}
	if g.batch == nil {
		g.batch = c.st.db.NewBatch(pebble.WithInitialSizeBytes(256<<10), pebble.WithMaxRetainedSizeBytes(2*groupBytes))
	}
	clear(c.flying)
	// Events sort by commit time as they do by position, also when the clock was put back.
	c.st.lastCommit = max(c.st.lastCommit, now.UnixNano())
	c.st.turn(now)
	for _, p := range g.members {
		c.place(g, p, now)
	}
	g.next = c.st.next
	g.written = g.stats.Webhooks > 0
	if !g.written {
		return nil
	}
	c.st.bucketKeys += g.stats.Webhooks
	c.write(g, now)
	g.stats.Bytes = g.batch.Len()
	c.j.applied.Add(1)
	return c.st.db.ApplyNoSyncWait(g.batch, pebble.Sync)
}

// place decides on an entry, and adds it to the batch if it is new. An entry whose key cannot be looked up is refused
// alone.
func (c *committer) place(g *group, p *pending, now time.Time) {
	v, err := c.judge(p, now)
	switch {
	case err != nil:
		p.err = fmt.Errorf("%w: dedupe key: %w", ErrUnavailable, err)
		return
	case v == duplicate:
		g.stats.Duplicates++
		p.receipt = Receipt{Duplicate: true}
		return
	case v == revised:
		g.stats.Revised++
		p.err = ErrRevised
		return
	}
	c.flying[p.key] = p.body
	c.st.filter.add(c.st.bucket, &p.key)
	p.fresh, p.first = true, c.st.next
	if p.events() > 0 {
		p.receipt.First = p.first
	}
	c.st.next += Position(p.events())
	g.stats.Webhooks++
	g.stats.Events += p.events()
}

func (c *committer) judge(p *pending, now time.Time) (verdict, error) {
	if body, ok := c.flying[p.key]; ok {
		return judge(body, p.body), nil
	}
	return c.st.lookup(p, now)
}

// write adds the keys of the entries that are new to the batch: their webhooks, then their events, then what makes them
// duplicates next time, since keys that come in order are cheaper to apply.
func (c *committer) write(g *group, now time.Time) {
	for _, p := range g.members {
		if p.fresh {
			p.writeWebhook(g.batch)
		}
	}
	for _, p := range g.members {
		if p.fresh {
			p.writeEvents(g.batch, c.st.lastCommit)
		}
	}
	for _, p := range g.members {
		if p.fresh {
			op := g.batch.SetDeferred(dedupeKeyLen, dedupeValueLen)
			appendDedupeKey(op.Key[:0], c.st.bucket, p.key)
			putDedupeValue(op.Value, now, p.body)
		}
	}
}

// writeWebhook puts the webhook's position, known only now, in front of what was encoded before.
func (p *pending) writeWebhook(b *pebble.Batch) {
	prefix := byte(prefixWebhook)
	if p.quarantined {
		prefix = prefixQuarantine
	}
	end := p.ends[0]
	op := b.SetDeferred(webhookKeyLen, webhookHeaderLen+end)
	op.Key[0] = prefix
	copy(op.Key[1:], p.id[:])
	binary.BigEndian.PutUint64(op.Value, uint64(p.first))
	binary.BigEndian.PutUint32(op.Value[8:], uint32(p.events()))
	copy(op.Value[webhookHeaderLen:], p.buf[:end])
}

// writeEvents puts the time of the commit in front of every event.
func (p *pending) writeEvents(b *pebble.Batch, commit int64) {
	for i := range p.events() {
		event := p.buf[p.ends[i]:p.ends[i+1]]
		op := b.SetDeferred(eventKeyLen, eventHeaderLen+len(event))
		appendEventKey(op.Key[:0], p.first+Position(i))
		binary.BigEndian.PutUint64(op.Value, uint64(commit))
		copy(op.Value[eventHeaderLen:], event)
	}
}

// sync waits for the groups' syncs, in order, moves the durable position and answers those who wait. After the first
// failure it refuses all.
func (c *committer) sync() {
	for g := range c.syncing {
		if err := c.await(g); err != nil {
			down := fmt.Errorf("%w: %w", ErrUnavailable, err)
			for _, p := range g.members {
				p.finish(Receipt{}, down)
			}
			c.j.signal()
			<-c.slots
			continue
		}
		c.j.durable.Store(uint64(g.next))
		if g.written {
			c.j.synced.Add(1)
		}
		c.j.notify()
		for _, p := range g.members {
			p.finish(p.receipt, p.err)
		}
		g.stats.Took = c.j.cfg.Now().Sub(g.began)
		c.j.cfg.OnCommit(g.stats)
		c.recycle(g)
		<-c.slots
	}
}

// await returns nil once all of the group is durable. A failed sync shows at the fence, not here: see fence.
func (c *committer) await(g *group) error {
	if err := c.st.fence.err(); err != nil {
		return err
	}
	if g.written {
		if err := g.batch.SyncWait(); err != nil {
			c.st.fence.freeze(err)
		}
	}
	return c.st.fence.err()
}

func (c *committer) recycle(g *group) {
	clear(g.members)
	g.batch.Reset()
	c.spare.Put(g)
}

// barrier waits until all that is visible now is durable. A reader that reads first and then passes it has seen only what
// is. Errors: ErrUnavailable if that became uncertain, ErrClosed, ctx's.
func (j *Journal) barrier(ctx context.Context, st *store) error {
	target := j.applied.Load()
	for {
		changed := j.changed()
		if err := st.fence.err(); err != nil {
			return ErrUnavailable
		}
		if j.synced.Load() >= target {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
