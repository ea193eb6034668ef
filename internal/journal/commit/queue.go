package commit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/webhook-bridge/bridge/internal/journal"
)

// Limits of a group and of a call.
const (
	// MaxEntries and MaxBytes end a group: with the call that reaches one of them.
	MaxEntries = 1024
	MaxBytes   = 4 << 20
	// discardsAtOnce bounds the webhooks that the committer looks up for one call of Discard. It reads each of them whole, and
	// appends wait meanwhile.
	discardsAtOnce = 16
	// refusalWait is how long a call waits for storage that is being opened.
	refusalWait = 50 * time.Millisecond
)

// Options are an engine's, for its queue.
type Options struct {
	// MaxWindow bounds the window of a key.
	MaxWindow time.Duration
	// Now is the clock.
	Now func() time.Time
	// Refill is called when the room that [Queue.SetRoom] gave is spent. The engine measures the storage, and gives room again
	// if there is some. Nil is never called: without SetRoom the room has no bound.
	Refill func()
}

// entryBytes is the space of an entry in the storage apart from its webhook and events: keys, dedupe keys, and its part of the tables.
const entryBytes = 512

// errSpent says that the room for entries is spent.
var errSpent = fmt.Errorf("%w: the storage is nearly full", journal.ErrUnavailable)

// Queue holds the appends that wait for a committer, and implements [journal.Writer]. It is safe for concurrent use.
type Queue struct {
	options Options
	wake    chan struct{}

	mu    sync.Mutex
	calls []*Pending
	// refusal is why nothing can be queued, and low why nothing but discards can be.
	refusal, low error
	// room is how many bytes may still be queued before the storage must be measured again, if it is bounded.
	room    int64
	bounded bool
	// unanswered is how many bytes were queued and are not answered yet: the storage may not have them.
	unanswered atomic.Int64
	// change is closed, and replaced, when refusal changes.
	change chan struct{}
	// pool has entries for the next calls.
	pool sync.Pool
}

// NewQueue returns an empty queue, which refuses calls until [Queue.Admit].
func NewQueue(o Options) *Queue {
	return &Queue{options: o, wake: make(chan struct{}, 1), refusal: journal.ErrUnavailable, change: make(chan struct{})}
}

// Append implements [journal.Writer].
func (q *Queue) Append(ctx context.Context, e journal.Entry) (journal.Receipt, error) {
	p := q.newPending()
	if err := p.encode(&e, &q.options); err != nil {
		p.recycle()
		return journal.Receipt{}, fmt.Errorf("journal: append: %w", err)
	}
	if err := q.submit(ctx, p); err != nil {
		return journal.Receipt{}, err
	}
	r, err := p.receipt, p.err
	p.recycle()
	if err != nil {
		return journal.Receipt{}, err
	}
	return r, nil
}

// AppendAll implements [journal.Writer].
func (q *Queue) AppendAll(ctx context.Context, entries []journal.Entry) ([]journal.Receipt, error) {
	if len(entries) == 0 {
		return nil, nil
	}
	all := make([]*Pending, len(entries))
	for i := range entries {
		all[i] = q.newPending()
		if err := all[i].encode(&entries[i], &q.options); err != nil {
			joinCall(all[:i+1]).recycle()
			return nil, fmt.Errorf("journal: append: entry %d: %w", i, err)
		}
	}
	call := joinCall(all)
	if err := q.submit(ctx, call); err != nil {
		return nil, err
	}
	defer call.recycle()
	if call.err != nil {
		return nil, call.err
	}
	receipts := make([]journal.Receipt, 0, len(entries))
	for _, p := range all {
		receipts = append(receipts, p.receipt)
	}
	return receipts, nil
}

// joinCall makes one call of several entries.
func joinCall(all []*Pending) *Pending {
	call := all[0]
	call.rest, call.Rest = all[1:], len(all)-1
	return call
}

// Discard implements [journal.Writer].
func (q *Queue) Discard(ctx context.Context, ids []string) (n int, err error) {
	for len(ids) > 0 {
		some := ids[:min(len(ids), discardsAtOnce)]
		ids = ids[len(some):]
		removed, err := q.discard(ctx, some)
		n += removed
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

func (q *Queue) discard(ctx context.Context, ids []string) (n int, err error) {
	var all []*Pending
	for _, id := range ids {
		u, err := journal.ParseID(id)
		if err != nil {
			continue // no webhook has it
		}
		p := q.newPending()
		p.Operation, p.ID, p.Quarantined = Discard, u, true
		all = append(all, p)
	}
	if len(all) == 0 {
		return 0, nil
	}
	call := joinCall(all)
	if err := q.submit(ctx, call); err != nil {
		return 0, err
	}
	defer call.recycle()
	if call.err != nil {
		return 0, call.err
	}
	for _, p := range all {
		if p.Decision.Outcome == Discarded {
			n++
		}
	}
	return n, nil
}

// submit queues a call and waits for its answer. On an error the call is no longer the caller's.
func (q *Queue) submit(ctx context.Context, call *Pending) error {
	if err := q.enqueueOrWait(ctx, call); err != nil {
		call.recycle()
		return err
	}
	select {
	case <-call.done:
		return nil
	case <-ctx.Done():
		return ctx.Err() // the committer has the call
	}
}

// enqueueOrWait queues a call. While the storage is being opened it waits for that a little before it gives up, so that
// callers who append again at once do not take the processor from the opening.
func (q *Queue) enqueueOrWait(ctx context.Context, call *Pending) error {
	change, err := q.enqueue(call)
	if errors.Is(err, errSpent) && q.options.Refill != nil {
		q.options.Refill()
		change, err = q.enqueue(call)
	}
	if change == nil || !errors.Is(err, journal.ErrUnavailable) {
		return err
	}
	timer := time.NewTimer(refusalWait)
	defer timer.Stop()
	select {
	case <-change:
		_, err = q.enqueue(call)
	case <-timer.C:
	case <-ctx.Done():
	}
	return err
}

// enqueue queues a call. When all calls are refused it also returns a channel that is closed at the next change of that.
func (q *Queue) enqueue(call *Pending) (change <-chan struct{}, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.refusal != nil {
		return q.change, q.refusal
	}
	if q.low != nil && call.Operation != Discard {
		return nil, q.low
	}
	cost := int64(call.size() + entryBytes*(1+call.Rest))
	if q.bounded && call.Operation != Discard {
		if q.room < cost {
			return nil, errSpent
		}
		q.room -= cost
	}
	q.unanswered.Add(cost)
	call.unanswered, call.cost = &q.unanswered, cost
	q.calls = append(q.calls, call)
	if len(q.calls) == 1 {
		q.Wake()
	}
	return nil, nil
}

// FillGroup moves calls from the queue to an empty group, and reports whether there were any.
func (q *Queue) FillGroup(g *Group) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, entries, bytes := 0, 0, 0
	for n < len(q.calls) && entries < MaxEntries && bytes < MaxBytes {
		entries, bytes = entries+1+q.calls[n].Rest, bytes+q.calls[n].size()
		n++
	}
	g.calls = append(g.calls, q.calls[:n]...)
	rest := copy(q.calls, q.calls[n:])
	clear(q.calls[rest:])
	q.calls = q.calls[:rest]
	return n > 0
}

// Wake makes [Queue.Awake] ready. It never waits.
func (q *Queue) Wake() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Awake gets a value when the queue is no longer empty, or after [Queue.Wake].
func (q *Queue) Awake() <-chan struct{} { return q.wake }

// Len returns the number of queued calls.
func (q *Queue) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.calls)
}

// Available reports whether an append would be queued now.
func (q *Queue) Available() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.refusal == nil && q.low == nil
}

// Admit has the queue accept calls again.
func (q *Queue) Admit() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.setRefusal(nil)
}

// setRefusal wakes the calls that wait for a change. The caller holds mu.
func (q *Queue) setRefusal(err error) {
	q.refusal = err
	close(q.change)
	q.change = make(chan struct{})
}

// Refuse has the queue answer all calls to come with an error. Those that wait stay queued.
func (q *Queue) Refuse(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.setRefusal(err)
}

// Fail is Refuse, and answers the calls that wait with the same error.
func (q *Queue) Fail(err error) {
	q.mu.Lock()
	q.setRefusal(err)
	calls := q.calls
	q.calls = nil
	q.mu.Unlock()
	for _, p := range calls {
		p.answer(err)
	}
}

// SetLow has the queue answer everything but discards with an error, because the storage is nearly full; nil ends that. It
// returns the error that was set before.
func (q *Queue) SetLow(err error) (before error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	before, q.low = q.low, err
	return before
}

// SetRoom bounds the bytes of entries that are queued until the next call. The bytes that are not answered yet are taken off: the
// measurement may not have seen them.
func (q *Queue) SetRoom(bytes int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.room, q.bounded = bytes-q.unanswered.Load(), true
}

// Low reports whether the storage is nearly full.
func (q *Queue) Low() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.low != nil
}

var _ journal.Writer = (*Queue)(nil)
