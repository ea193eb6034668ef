package pebble

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/protobuf/encoding/protowire"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/commit"
	"github.com/webhook-bridge/bridge/sinks"
)

// groupsAhead is how many groups may wait for their sync. While they do, the next one fills up.
const groupsAhead = 2

// group is a group on its way through apply and sync.
type group struct {
	commit.Group
	batch *pebble.Batch
	// next is the durable position once the group is.
	next sinks.Position
	// number is the batch's, if anything is written.
	number uint64
	// written is whether there is anything to sync. The batch cannot tell: Pebble takes the data of a large batch away.
	written bool
	stats   committed
	began   time.Time
}

// committed describes a group that was committed.
type committed struct {
	commit.Counts
	// Bytes were written.
	Bytes int
	// Took is the time from reading the clock for the group to the end of the sync.
	Took time.Duration
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

	known known
	// contents is the memory for one record.
	contents []journal.Seen
}

// commit runs until a write fails, and returns the cause. When the journal closes, it commits what is queued and returns nil.
func (j *Journal) commit(st *store) error {
	c := newCommitter(j, st)
	var syncer sync.WaitGroup
	syncer.Go(c.syncGroups)
	err := c.applyGroups()
	close(c.syncing)
	syncer.Wait()
	return err
}

func newCommitter(j *Journal, st *store) *committer {
	return &committer{
		j:       j,
		st:      st,
		slots:   make(chan struct{}, groupsAhead),
		syncing: make(chan *group, groupsAhead),
		spare:   sync.Pool{New: func() any { return new(group) }},
		known:   newKnown(st),
	}
}

func (c *committer) applyGroups() error {
	for {
		c.slots <- struct{}{}
		if err := c.st.fs.err(); err != nil {
			return err // also when the queue is never empty
		}
		g, _ := c.spare.Get().(*group)
		for !c.j.queue.FillGroup(&g.Group) {
			closing := c.j.isClosing() // before the queue is looked at: nothing is added to it after
			if err := c.st.fs.err(); err != nil {
				return err
			}
			if c.j.queue.FillGroup(&g.Group) {
				break
			}
			if closing {
				return nil
			}
			<-c.j.queue.Awake()
		}
		if err := c.applyGroup(g); err != nil {
			g.Answer(fmt.Errorf("%w: %w", journal.ErrUnavailable, err))
			c.st.fs.isolate(err)
			return err
		}
		c.syncing <- g
	}
}

// applyGroup decides on a group, writes its plan to one batch and applies that.
func (c *committer) applyGroup(g *group) error {
	g.began = c.j.cfg.Now()
	if g.batch == nil {
		g.batch = c.st.db.NewBatch(pebble.WithInitialSizeBytes(256<<10), pebble.WithMaxRetainedSizeBytes(2*commit.MaxBytes))
	}
	now, err := c.st.advance(g.began.UnixNano(), g.batch)
	if err != nil {
		return err
	}
	c.known.loadGroup(&g.Group, now)
	g.next, g.stats.Counts = g.Decide(&c.known.Known, c.st.next)
	c.st.next = g.next
	if err := c.writeGroup(g, now); err != nil {
		return err
	}
	g.written = !g.batch.Empty()
	if !g.written {
		return nil
	}
	g.stats.Bytes = g.batch.Len()
	c.j.applied.Add(1)
	g.number, err = c.st.apply(g.batch, g.next)
	return err
}

// writeGroup adds a group to its batch: the webhooks, then their events, then the contents under their keys, since keys that come
// in order are cheaper to apply.
func (c *committer) writeGroup(g *group, now int64) error {
	for _, p := range g.Entries() {
		if err := writeRecord(g.batch, p); err != nil {
			return err
		}
	}
	for _, p := range g.Entries() {
		if p.Decision.Adds() {
			writeEvents(g.batch, p, now)
		}
		if p.Drift != nil && (p.Decision.Adds() || p.Decision.Outcome == commit.Kept) {
			c.st.drift.addWebhook(p)
		}
	}
	c.writeKeys(g)
	return c.st.drift.write(g.batch)
}

// prefixOf returns the prefix of the keys of an entry's webhook.
func prefixOf(p *commit.Pending) byte {
	if p.Quarantined || p.Decision.State == commit.Quarantined || p.Decision.State == commit.Released {
		return prefixQuarantine
	}
	return prefixWebhook
}

// writeRecord stores or removes the entry's webhook, or stores its correction.
func writeRecord(b *pebble.Batch, p *commit.Pending) error {
	prefix, outcome := prefixOf(p), p.Decision.Outcome
	switch {
	case outcome == commit.Discarded:
		return b.Delete(webhookKey(prefix, p.ID), nil)
	case outcome == commit.NotFound || outcome == commit.Void:
	case p.Operation == journal.Correct && p.Decision.Adds():
		return b.Set(correctionKey(prefix, p.ID, p.First), p.Record(), nil)
	case p.Operation == journal.Receive && outcome != commit.Duplicate, p.Operation == journal.Release:
		writeWebhook(b, p, prefix)
	}
	return nil
}

// duplicateField is the field that the journal adds to a duplicate's webhook.
var duplicateField = protowire.AppendVarint(protowire.AppendTag(nil, fieldNumber("duplicate"), protowire.VarintType), 1)

func fieldNumber(name string) protowire.Number {
	return (*journalv1.Webhook)(nil).ProtoReflect().Descriptor().Fields().ByTextName(name).Number()
}

// writeWebhook stores an encoded webhook. The position and the number of its events stand in front of it, and the mark of a
// duplicate behind: they are known only at commit.
func writeWebhook(b *pebble.Batch, p *commit.Pending, prefix byte) {
	var events int
	var suffix []byte
	if p.Decision.Adds() {
		events = p.Events
	} else {
		suffix = duplicateField
	}
	record := p.Record()
	op := b.SetDeferred(webhookKeyLen, webhookHeaderLen+len(record)+len(suffix))
	op.Key[0] = prefix
	copy(op.Key[1:], p.ID[:])
	binary.BigEndian.PutUint64(op.Value, uint64(p.First))
	binary.BigEndian.PutUint32(op.Value[8:], uint32(events))
	copy(op.Value[webhookHeaderLen:], record)
	copy(op.Value[webhookHeaderLen+len(record):], suffix)
}

// writeEvents puts the time of the commit in front of every event, and the mark of a stale one behind.
func writeEvents(b *pebble.Batch, p *commit.Pending, now int64) {
	for i := range p.Events {
		event, suffix := p.Event(i), p.EventSuffix(i)
		op := b.SetDeferred(eventKeyLen, eventHeaderLen+len(event)+len(suffix))
		appendEventKey(op.Key[:0], p.First+sinks.Position(i))
		binary.BigEndian.PutUint64(op.Value, uint64(now))
		copy(op.Value[eventHeaderLen:], event)
		copy(op.Value[eventHeaderLen+len(event):], suffix)
	}
}

// syncGroups waits for the groups' syncs, in order, moves the durable position and answers the callers. After the first failure
// all groups fail.
func (c *committer) syncGroups() {
	for g := range c.syncing {
		if err := c.awaitSync(g); err != nil {
			g.Answer(fmt.Errorf("%w: %w", journal.ErrUnavailable, err))
			c.j.queue.Wake()
			<-c.slots
			continue
		}
		c.j.durable.Store(uint64(g.next))
		if g.written {
			c.j.synced.Add(1)
			c.j.noteDurable(g.number, g.stats.Bytes)
		}
		c.j.notify()
		g.Answer(nil)
		g.stats.Took = c.j.cfg.Now().Sub(g.began)
		c.j.metrics.observe(g.stats)
		c.j.cfg.onCommit(g.stats)
		g.batch.Reset()
		c.spare.Put(g)
		<-c.slots
	}
}

// awaitSync returns nil once the group is durable. A failed sync shows at the file system, not here: see isolatingFS.
func (c *committer) awaitSync(g *group) error {
	if err := c.st.fs.err(); err != nil {
		return err
	}
	if g.written {
		if err := g.batch.SyncWait(); err != nil {
			c.st.fs.isolate(err)
		}
	}
	return c.st.fs.err()
}

// barrier waits until everything that is visible now is durable. A reader calls it after reading, and so shows only durable
// data. Errors: ErrUnavailable if that became uncertain, ErrClosed, ctx's.
func (j *Journal) barrier(ctx context.Context, st *store) error {
	target := j.applied.Load()
	for {
		changed := j.changed()
		// A write that fails says why before it counts as ended. So what has ended is read first.
		ended := j.synced.Load() >= target
		if st.fs.err() != nil {
			return journal.ErrUnavailable
		}
		if ended {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
