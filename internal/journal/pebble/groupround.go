package pebble

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// groups carries out all calls about groups, in rounds: a round decides on the calls that came during the round before, in their order,
// writes one batch, and answers them when that is durable. So calls that come at the same time share a sync.
type groups struct {
	j *Journal

	mu      sync.Mutex
	pending []*groupCall
	// awake has a value when pending may have calls.
	awake    chan struct{}
	sessions map[*session]struct{}
	closed   bool

	// The rest belongs to the rounds.

	// st is the store that known was read from. It is nil after a write that failed.
	st *store
	// known are the groups that were used, and count is how many there are.
	known map[string]*knownGroup
	count int
	// spent is the greatest version and epoch of the groups that were deleted.
	spent uint64
}

// knownGroup is a group as the rounds know it. Its definition and its states are on disk.
type knownGroup struct {
	// version is 0 after a write that failed: the disk tells what the group is.
	version uint64
	shares  [journal.GroupShares]groupShare
	members map[string]*groupMember
}

type groupShare struct {
	epoch, version uint64
	// owner may be a session that has ended.
	owner *session
}

// groupMember may be of a session that has ended.
type groupMember struct {
	session *session
	joined  time.Time
	note    []byte
}

// groupCall is a call that waits for its round.
type groupCall struct {
	// letters is the group whose parked events the call writes, or empty.
	letters string
	// decide adds what the call writes to the round. When it returns an error it has changed nothing.
	decide func(*groupRound) error
	// show is called when the round is durable, if decide returned nil. It may be nil.
	show func(*store) error
	err  error
	done chan error
}

// groupRound is a round under way.
type groupRound struct {
	j *Journal
	g *groups
	// batch shows what is on disk and what the round has written.
	batch *pebble.Batch
	// undo are called in reverse if the write fails. They give shares back to their owners: recalled shares tell whether these have them.
	undo []func()
	// readers have the parked events that the round writes.
	readers map[string]*reader
	// ended are requests that are carried out.
	ended map[*reader][]request
	// changed: sessions are told.
	changed bool
}

func (g *groups) begin(j *Journal) {
	g.j, g.awake, g.sessions, g.known = j, make(chan struct{}, 1), make(map[*session]struct{}), make(map[string]*knownGroup)
}

// close ends all sessions. Later calls are ErrClosed.
func (g *groups) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	for s := range g.sessions {
		g.end(s)
	}
}

// call has a round carry out a call, and returns its error. When ctx ends first, the call may be carried out still.
func (g *groups) call(ctx context.Context, c *groupCall) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.done = make(chan error, 1)
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return sinks.ErrClosed
	}
	g.pending = append(g.pending, c)
	g.mu.Unlock()
	select {
	case g.awake <- struct{}{}:
	default:
	}
	select {
	case err := <-c.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *groups) takePending() (calls []*groupCall) {
	g.mu.Lock()
	defer g.mu.Unlock()
	calls, g.pending = g.pending, nil
	return calls
}

// run carries out rounds until the journal closes.
func (g *groups) run() {
	for {
		if calls := g.takePending(); len(calls) > 0 {
			g.round(calls)
			continue
		}
		select {
		case <-g.awake:
		case <-g.j.ctx.Done():
			g.round(g.takePending()) // no call is added after
			return
		}
	}
}

// round carries out calls, and answers them.
func (g *groups) round(calls []*groupCall) {
	r := &groupRound{j: g.j, g: g, readers: make(map[string]*reader), ended: make(map[*reader][]request)}
	r.lockReaders(calls)
	err := r.commit(calls)
	if err == nil {
		for rd, all := range r.ended {
			g.j.readers.forgetRequests(rd, all)
		}
	} else {
		for _, undo := range slices.Backward(r.undo) {
			undo()
		}
		g.st = nil
	}
	for _, rd := range r.readers {
		g.j.readers.parkedChanged(rd)
		rd.writing.Unlock()
	}
	if r.changed {
		g.notify()
	}
	for _, c := range calls {
		if err != nil {
			c.err = err
		}
		c.done <- c.err
	}
}

// lockReaders has no other record of the readers be written whose parked events the calls write. That comes before the store is borrowed: a
// holder of a reader borrows it too.
func (r *groupRound) lockReaders(calls []*groupCall) {
	for _, c := range calls {
		if c.letters == "" || r.readers[c.letters] != nil {
			continue
		}
		rd := r.j.readers.get(journal.GroupReader(c.letters))
		rd.writing.Lock()
		r.readers[c.letters] = rd
	}
}

// commit decides on the calls, writes what they change, and has them show what they return.
func (r *groupRound) commit(calls []*groupCall) error {
	st, release, err := r.j.borrowStore()
	if err != nil {
		return err
	}
	defer release()
	if err := r.g.recall(st); err != nil {
		return r.j.viewError(err)
	}
	r.batch = st.db.NewIndexedBatch()
	if err := r.decide(st, calls); err != nil {
		return errors.Join(err, r.batch.Close())
	}
	if r.batch.Empty() {
		if err := errors.Join(r.batch.Close(), st.fs.err()); err != nil {
			return fmt.Errorf("%w: groups: %w", journal.ErrUnavailable, err)
		}
	} else if err := r.j.writeUpdate("groups", st, r.batch); err != nil {
		return err
	}
	for _, c := range calls {
		if c.err == nil && c.show != nil {
			c.err = r.j.viewError(readSafely(st, c.show))
		}
	}
	return nil
}

// decide decides on the calls. An error that a call meets after it has written a part of itself ends the round: nothing is written.
func (r *groupRound) decide(st *store, calls []*groupCall) error {
	for _, c := range calls {
		written := r.batch.Count()
		c.err = r.j.viewError(readSafely(st, func(*store) error { return c.decide(r) }))
		if c.err != nil && r.batch.Count() != written {
			return fmt.Errorf("%w: groups: %w", journal.ErrUnavailable, c.err)
		}
	}
	return nil
}

// recall reads what must be known about all groups, unless it is known of this store. What is known of each group is read again.
func (g *groups) recall(st *store) error {
	if g.st == st {
		return nil
	}
	g.count, g.spent = 0, 0
	lower, upper := span(prefixGroup)
	err := st.eachKey(lower, upper, func(k, v []byte) (bool, error) {
		if len(k) > 1 {
			g.count++
			return true, nil
		}
		spent, _, err := parseGroup(v)
		g.spent = spent
		return true, err
	})
	if err != nil {
		return err
	}
	for _, known := range g.known {
		known.version = 0
	}
	g.st = st
	return nil
}

// group returns a group. Errors: ErrNotFound, and those of the disk.
func (r *groupRound) group(name string) (*knownGroup, error) {
	known := r.g.known[name]
	if known != nil && known.version != 0 {
		return known, nil
	}
	v, closer, err := r.batch.Get(groupKey(name))
	switch {
	case errors.Is(err, pebble.ErrNotFound) || name == "":
		delete(r.g.known, name)
		return nil, fmt.Errorf("%w: group %q", journal.ErrNotFound, name)
	case err != nil:
		return nil, err
	}
	version, _, err := parseGroup(v)
	if err = errors.Join(err, closer.Close()); err != nil {
		return nil, err
	}
	if known == nil {
		known = &knownGroup{members: make(map[string]*groupMember)}
	}
	for n := range known.shares {
		s, err := getShare(r.batch, name, n)
		if err != nil {
			return nil, err
		}
		owner := known.shares[n].owner
		if known.shares[n].epoch != s.Epoch {
			owner = nil // a write that failed has happened all the same
		}
		known.shares[n] = groupShare{epoch: s.Epoch, version: s.Version, owner: owner}
	}
	known.version = version
	r.g.known[name] = known
	return known, nil
}

// greatest returns the greatest version and epoch of a group.
func (g *knownGroup) greatest() uint64 {
	n := g.version
	for _, s := range g.shares {
		n = max(n, s.epoch, s.version)
	}
	return n
}

// unreadableSpends is how much is added to the versions and epochs of later groups for a group that cannot be read.
const unreadableSpends = 1 << 40

// spend raises what deleted groups have used.
func (r *groupRound) spend(n uint64) error {
	r.g.spent = min(max(r.g.spent, n), math.MaxInt64/2)
	return r.batch.Set(groupKey(""), groupValue(r.g.spent, nil), nil)
}
