package ingress

import (
	"context"
	"runtime"

	"golang.org/x/sync/semaphore"

	"github.com/webhook-bridge/bridge/internal/intake"
)

const (
	// freeWork is the largest body that is processed without a limit. Most bodies are that small, and not worth a lock.
	freeWork = smallBody
	// maxWork is the most that one body counts for: the limit on values bounds the memory for any longer body.
	maxWork = 256 * kibi
	// listWork is the factor for a body that may be an array of webhooks, since each webhook is stored with its own record. With
	// it, the largest number of webhooks that fit into a body counts as maxWork.
	listWork = 8
)

// workload bounds the memory of webhooks while they are decoded, translated and made durable. A hostile sender can make that
// hundreds of times the size of the body: the three bytes of `{},` may become a message and an event. So at any moment only a
// limited number of bytes of bodies is processed, for all senders and connections together. Other webhooks wait in turn, while
// their bodies count against their lease.
//
// A webhook counts until it is durable, not only until it is encoded: its events are needed until the journal has said that
// it is no revision.
//
// No source gets more than half of it, so that one which floods does not stop the others.
type workload struct{ all *semaphore.Weighted }

// workers is the number of largest bodies that are processed at the same time.
func workers() int64 { return int64(max(4, runtime.GOMAXPROCS(0))) }

func newWorkload() *workload { return &workload{semaphore.NewWeighted(workers() * maxWork)} }

// newQuota returns the quota of one source.
func newQuota() *semaphore.Weighted { return semaphore.NewWeighted(workers() / 2 * maxWork) }

// work is one webhook's part of the workload. The zero value holds nothing.
type work struct {
	all, own *semaphore.Weighted
	held     int64
}

// begin waits for the turn of a body of size bytes, out of its source's own share. The error is errBusy: ctx has ended.
func (l *workload) begin(ctx context.Context, own *semaphore.Weighted, size int) (work, error) {
	n := workOf(size)
	if n == 0 {
		return work{}, nil
	}
	if own.Acquire(ctx, n) != nil {
		return work{}, errBusy
	}
	if l.all.Acquire(ctx, n) != nil {
		own.Release(n)
		return work{}, errBusy
	}
	return work{all: l.all, own: own, held: n}, nil
}

// shrink gives back what a body of size bytes does not need.
func (w *work) shrink(size int) {
	if n := workOf(size); n < w.held {
		w.all.Release(w.held - n)
		w.own.Release(w.held - n)
		w.held = n
	}
}

// end gives everything back. It may be called again.
func (w *work) end() { w.shrink(0) }

// workOf is the size to begin with for a body.
func (s *endpoint) workOf(b *body) int {
	if s.Connector.Batches && (b.form || intake.IsArray(b.data)) {
		return listWork * len(b.data)
	}
	return len(b.data)
}

func workOf(size int) int64 {
	if size <= freeWork {
		return 0
	}
	return min(int64(size), maxWork)
}
