package ingress

import (
	"context"
	"runtime"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/internal/intake"
	"github.com/webhook-bridge/bridge/internal/source"
)

const (
	// reserveTimeout is how long a webhook waits for the bytes of its body before it is answered 503.
	reserveTimeout = 500 * time.Millisecond
	// maxDecoding is the most that one webhook reserves while it is decoded: the limit on values bounds what a longer body
	// becomes.
	maxDecoding = 256 * kibi
	// batchFactor is how many times its size an array reserves while it is decoded. Each of its webhooks is stored with its own
	// headers. The array with the most webhooks that a body can have reserves maxDecoding.
	batchFactor = 8
)

// budget is a number of bytes. A webhook reserves the memory that it needs now, before it uses it, and releases it when it
// is durable or refused. Safe for concurrent use.
//
// Each source has its own budgets, so a source that floods does not stop the others:
//
//   - bodies has the bytes of limits.in_flight. A body reserves as it arrives, and again when it is decompressed or copied.
//   - unverified is a quarter of that, for bodies whose signature is not verified yet. It is separate, so that unauthorized
//     senders cannot take the source's own bytes. Bytes count when they arrive: an announced length reserves nothing. The first
//     4 KiB are free, so small webhooks pass while those senders use up the rest.
//   - decoding is at most half of the whole edge's decoding budget. A decoded webhook can take hundreds of times its size: the
//     three bytes `{},` may become a message and an event. So large webhooks are decoded a few at a time, and hold their bytes
//     until they are durable, since the journal may still need their events. Small ones reserve nothing.
//
// A webhook waits for the bytes of its body at most reserveTimeout, and for its turn to decode until its commit's deadline.
type budget struct {
	bytes *semaphore.Weighted
	// size is how many bytes there are in all.
	size int64
	// edge is the budget of all sources that this one is part of. nil: none.
	edge *semaphore.Weighted
}

// newBudget returns a budget of so many bytes. edge is the budget of all sources, or nil.
func newBudget(size int64, edge *semaphore.Weighted) *budget {
	return &budget{bytes: semaphore.NewWeighted(size), size: size, edge: edge}
}

// continueFrom returns the old budget if it has the same size: its bytes in use are counted on. While a size changes, webhooks that are under
// way hold bytes of the old budget.
func (b *budget) continueFrom(old *budget) *budget {
	if b.size == old.size {
		return old
	}
	return b
}

// reservation is the part of a budget that one webhook holds. With only a budget it holds nothing.
type reservation struct {
	budget *budget
	held   int64
	// free is how many more bytes do not count.
	free int64
	// until is when waiting ends. The first wait sets it.
	until time.Time
}

// grow reserves n more bytes for a body. It waits at most reserveTimeout, over all calls; then the error is errBusy. If ctx
// ends first, the error is ctx's.
func (r *reservation) grow(ctx context.Context, n int64) error {
	free := min(n, r.free)
	if r.free, n = r.free-free, n-free; n == 0 {
		return nil
	}
	if r.budget.edge == nil && r.budget.bytes.TryAcquire(n) {
		r.held += n
		return nil
	}
	if r.until.IsZero() {
		r.until = time.Now().Add(reserveTimeout)
	}
	bounded, cancel := context.WithDeadline(ctx, r.until)
	defer cancel()
	err := r.reserve(bounded, n)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// reserve reserves n more bytes. It waits until ctx ends; then the error is errBusy.
func (r *reservation) reserve(ctx context.Context, n int64) error {
	if n == 0 {
		return nil
	}
	if r.budget.bytes.Acquire(ctx, n) != nil {
		return errBusy
	}
	if r.budget.edge != nil && r.budget.edge.Acquire(ctx, n) != nil {
		r.budget.bytes.Release(n)
		return errBusy
	}
	r.held += n
	return nil
}

// shrink releases all but n bytes.
func (r *reservation) shrink(n int64) {
	if n >= r.held {
		return
	}
	r.budget.bytes.Release(r.held - n)
	if r.budget.edge != nil {
		r.budget.edge.Release(r.held - n)
	}
	r.held = n
}

// release releases all bytes. It may be called again.
func (r *reservation) release() { r.shrink(0) }

// decodingBudget is the whole edge's, in bytes: a few of the largest webhooks at a time.
func decodingBudget() int64 { return int64(max(4, runtime.GOMAXPROCS(0))) * maxDecoding }

// bodiesBudget is the source's limit, or what one body needs if that is more: a body may be there twice, compressed and not,
// and its copies with it.
func bodiesBudget(s *source.Source) int64 {
	return max(s.Limits.InFlight, int64(2+copies(s.Connector, s.Connector.FormField != ""))*maxBuffer(s.Limits.Body))
}

// maxBuffer is the most that a body's buffer reserves. limit is the largest body.
func maxBuffer(limit int64) int64 { return max(limit, smallBody) + 1 }

// copies is how many copies are made of a body before it is decoded, at most: the field of a form, and the connector's
// correction of it.
func copies(c *connectors.Connector, form bool) int {
	n := 0
	if form {
		n++
	}
	if c.Normalize != nil {
		n++
	}
	return n
}

// decodingBytes returns the bytes that a webhook of this size reserves while it is decoded. Most are small, and not worth a lock.
func decodingBytes(size int) int64 {
	if size <= smallBody {
		return 0
	}
	return min(int64(size), maxDecoding)
}

// decodingBytes returns the bytes that a body reserves while it is decoded.
func (s *endpoint) decodingBytes(b *body) int64 {
	if s.Connector.Batches && (b.form || intake.IsArray(b.data)) {
		return decodingBytes(batchFactor * len(b.data))
	}
	return decodingBytes(len(b.data))
}
