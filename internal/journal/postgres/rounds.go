package postgres

import (
	"context"
	"sync"
	"time"
)

// rounds let callers share work of one kind. Each round serves the callers that joined before it began.
type rounds struct {
	// asked gets a value when a caller joins.
	asked chan struct{}

	mu sync.Mutex
	// next is the round that callers join, and running the one that began. They are nil while nobody joins.
	next, running *round
}

// round is the work for some callers.
type round struct {
	// joined is when the last of them joined.
	joined time.Time
	// done is closed when the work has ended, with err.
	done chan struct{}
	err  error
}

func (r *rounds) init() { r.asked = make(chan struct{}, 1) }

// join returns the next round, for a caller that waits for it.
func (r *rounds) join() *round {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next == nil {
		r.next = &round{done: make(chan struct{})}
		signal(r.asked)
	}
	r.next.joined = time.Now()
	return r.next
}

// begin begins the next round. It reports whether a caller waits for it.
func (r *rounds) begin() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running, r.next = r.next, nil
	return r.running != nil
}

// end ends the round that began.
func (r *rounds) end(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running != nil {
		r.running.end(err)
		r.running = nil
	}
}

// served ends the rounds whose callers all joined before a time: the same work that began then was done elsewhere.
func (r *rounds) served(began time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running != nil && r.running.joined.Before(began) {
		r.running.end(nil)
		r.running = nil
	}
	if r.next != nil && r.next.joined.Before(began) {
		r.next.end(nil)
		r.next = nil
	}
}

func (r *round) end(err error) {
	r.err = err
	close(r.done)
}

// await waits for the end of a round. Errors: the round's, ErrClosed, ctx's.
func (j *Journal) await(ctx context.Context, r *round) error {
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	case <-j.closing:
		return errClosed
	}
}

// signal wakes the one who waits for a channel of capacity 1.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
