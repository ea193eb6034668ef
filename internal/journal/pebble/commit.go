package pebble

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/google/uuid"
)

const (
	// A group ends with the append that makes it so many entries or bytes.
	groupEntries = 1024
	groupBytes   = 4 << 20
	// groupsAhead is how many groups may wait for their sync. While they do, the next one fills up.
	groupsAhead = 2
)

// Commit describes a group of entries that was committed.
type Commit struct {
	// Webhooks came in and Events were added; Duplicates and Revised entries were not.
	Webhooks, Events, Duplicates, Revised int
	// Bytes were written.
	Bytes int
	// Took is the time from taking the first entry to the end of the sync.
	Took time.Duration
}

// group is what is committed at once.
type group struct {
	batch *pebble.Batch
	// members are the appends to answer, entries what is added of them, in order.
	members, entries []*pending
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
	// flying are the keys of the group being built, and left the webhooks that leave the quarantine with it, which Pebble
	// cannot be asked for yet.
	flying map[Hash]Hash
	left   map[uuid.UUID]struct{}
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
		left:    make(map[uuid.UUID]struct{}),
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
	clear(c.left)
	// Events sort by commit time as they do by position, also when the clock was put back.
	c.st.lastCommit = max(c.st.lastCommit, now.UnixNano())
	c.st.turn(now)
	g.entries = g.entries[:0]
	for _, p := range g.members {
		c.place(g, p, now)
	}
	g.next = c.st.next
	if err := c.write(g, now); err != nil {
		return err
	}
	g.written = !g.batch.Empty()
	if !g.written {
		return nil
	}
	g.stats.Bytes = g.batch.Len()
	c.j.applied.Add(1)
	return c.st.db.ApplyNoSyncWait(g.batch, pebble.Sync)
}

// place decides on what was appended at once, and adds it to the group, or refuses it whole.
func (c *committer) place(g *group, p *pending, now time.Time) {
	from := len(g.entries)
	g.entries = append(append(g.entries, p), p.more...)
	all := g.entries[from:]
	p.err = c.decide(all, now)
	if p.err != nil {
		var revised *RevisedError
		if errors.As(p.err, &revised) {
			g.stats.Revised += len(revised.Entries)
		}
		g.entries = g.entries[:from]
		return
	}
	for _, p := range all {
		c.admit(g, p)
	}
}

// decide sets the verdicts of what was appended at once. On an error it is as if it had never been.
func (c *committer) decide(all []*pending, now time.Time) error {
	var revisions []int
	for i, p := range all {
		if err := c.judge(p, now); err != nil {
			c.undo(all[:i])
			return err
		}
		if p.verdict == revised {
			revisions = append(revisions, i)
		}
		if p.leaves() {
			c.left[p.id] = struct{}{}
		}
		if p.keyed() {
			c.flying[p.key] = p.body
		}
	}
	if len(revisions) > 0 {
		c.undo(all)
		return &RevisedError{Entries: revisions}
	}
	return nil
}

// undo forgets entries that were decided on.
func (c *committer) undo(all []*pending) {
	for _, p := range all {
		if p.leaves() {
			delete(c.left, p.id)
		}
		if p.keyed() {
			delete(c.flying, p.key)
		}
	}
}

// judge sets an entry's verdict. Errors: ErrNotFound, and ErrUnavailable of what cannot be looked up.
func (c *committer) judge(p *pending, now time.Time) (err error) {
	if p.act != Receive {
		if err := c.locate(p); err != nil || p.act == discard {
			return err
		}
	}
	if body, ok := c.flying[p.key]; ok {
		p.verdict = judge(body, p.body)
		return nil
	}
	if p.verdict, err = c.st.lookup(p, now); err != nil {
		return fmt.Errorf("%w: dedupe key: %w", ErrUnavailable, err)
	}
	return nil
}

// admit gives an entry its place in the group.
func (c *committer) admit(g *group, p *pending) {
	if p.act == discard {
		return
	}
	if p.verdict == duplicate {
		g.stats.Duplicates++
		p.receipt = Receipt{Duplicate: true}
		return
	}
	if p.act == Receive {
		g.stats.Webhooks++
	}
	c.st.filter.add(c.st.bucket, &p.key)
	c.st.bucketKeys++
	p.first = c.st.next
	if p.events() > 0 {
		p.receipt.First = p.first
	}
	c.st.next += Position(p.events())
	g.stats.Events += p.events()
	if p.drift != nil {
		c.st.drift.count(p)
	}
}

// write adds the keys of the entries that are new to the batch: their webhooks, then their events, then what makes them
// duplicates next time, since keys that come in order are cheaper to apply.
func (c *committer) write(g *group, now time.Time) error {
	for _, p := range g.entries {
		if err := p.writeRecord(g.batch); err != nil {
			return err
		}
	}
	for _, p := range g.entries {
		p.writeEvents(g.batch, c.st.lastCommit)
	}
	for _, p := range g.entries {
		if p.keyed() {
			op := g.batch.SetDeferred(dedupeKeyLen, dedupeValueLen)
			appendDedupeKey(op.Key[:0], c.st.bucket, p.key)
			putDedupeValue(op.Value, now, p.body)
		}
	}
	return c.st.drift.write(g.batch)
}

// writeRecord writes, or removes, what the entry is besides its events.
func (p *pending) writeRecord(b *pebble.Batch) error {
	switch {
	case p.verdict != fresh && p.act != Release:
	case p.act == Correct:
		return b.Set(correctionKey(p.prefix, p.id, p.first), p.buf[:p.ends[0]], nil)
	case p.act == discard:
		return b.Delete(webhookKey(p.prefix, p.id), nil)
	default:
		p.writeWebhook(b)
	}
	return nil
}

// writeWebhook puts the webhook's position, known only now, in front of what was encoded before.
func (p *pending) writeWebhook(b *pebble.Batch) {
	end := p.ends[0]
	op := b.SetDeferred(webhookKeyLen, webhookHeaderLen+end)
	op.Key[0] = p.prefix
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
	clear(g.entries)
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
