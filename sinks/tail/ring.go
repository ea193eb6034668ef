package tail

import "github.com/webhook-bridge/bridge/sinks"

// blockEntries is the number of entries that are allocated at once.
const blockEntries = 128

// ring has consecutive records. They never move: a new record goes to the last block, and a block is released when its last record is.
type ring struct {
	first, next sinks.Position
	base        sinks.Position // Of the first entry of the first block.
	blocks      []*block
	bytes       int // Of all entries.
}

type block [blockEntries]entry

// entry is a record in the tail. Its record points to its memo.
type entry struct {
	record sinks.Record
	memo   sinks.Memo
	bytes  int
}

func newRing(p sinks.Position) ring { return ring{first: p, next: p, base: p} }

// at returns the entry of a position between first and next.
func (r *ring) at(p sinks.Position) *entry {
	i := p - r.base
	return &r.blocks[i/blockEntries][i%blockEntries]
}

// add appends a record, whose position must be next.
func (r *ring) add(record *sinks.Record, owner sinks.MemoOwner) {
	if int(r.next-r.base) == len(r.blocks)*blockEntries {
		r.blocks = append(r.blocks, new(block))
	}
	e := r.at(r.next)
	e.record, e.bytes = *record, len(record.Encoded)+overhead
	e.memo.Begin(owner, r.next)
	e.record.Memo = &e.memo
	r.bytes += e.bytes
	r.next++
}

// charge counts memory that belongs to a record, unless it has left the ring.
func (r *ring) charge(p sinks.Position, bytes int) {
	if p < r.first || p >= r.next {
		return
	}
	r.at(p).bytes += bytes
	r.bytes += bytes
}

// shrink removes the oldest records until the rest has the size.
func (r *ring) shrink(limit int) {
	for r.bytes > limit && r.first < r.next {
		e := r.at(r.first)
		r.bytes -= e.bytes
		e.record = sinks.Record{}
		e.memo.Forget()
		r.first++
		if r.first-r.base == blockEntries {
			r.blocks[0] = nil
			r.blocks = r.blocks[1:]
			r.base = r.first
		}
	}
}
