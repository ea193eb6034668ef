package grpcstream

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// catchUpTime is how often, for each processor, a stream that is behind may read while live streams send: on two processors, that is some
	// 10,000 events a second, and some hundredths of their time.
	catchUpTime = 24 * time.Millisecond
	// maxLate is how much longer it takes at most when the processors are busy. So streams that are behind still read some 6,000 events a
	// second, and catch up.
	maxLate = 20 * time.Millisecond
	// maxWait is how long a stream waits at most for a read, however many are behind. So each reads 2,500 events a second: more than
	// arrive, so that it catches up.
	maxWait = 50 * time.Millisecond
	// liveTime is how long after a new event the live streams are taken to be sending.
	liveTime = 100 * time.Millisecond
)

// pace lets streams at the log's end go before those that are behind. Without it, a stream that reads a million old events would take
// the processors from a hundred others that have one new event to send.
type pace struct {
	interval time.Duration
	last     atomic.Int64 // When a live stream had something to send last, in Unix nanoseconds.

	mu   sync.Mutex
	next time.Time // When the next stream that is behind may read.
}

func newPace() *pace { return &pace{interval: catchUpTime / time.Duration(runtime.GOMAXPROCS(0))} }

// live is called when a stream at the log's end has something to send.
func (p *pace) live() { p.last.Store(time.Now().UnixNano()) }

// giveWay waits until a stream that is behind may read.
func (p *pace) giveWay(ctx context.Context) {
	now := time.Now()
	if now.Sub(time.Unix(0, p.last.Load())) > liveTime {
		return
	}
	p.mu.Lock()
	if p.next.Before(now) {
		p.next = now
	}
	wait := min(p.next.Sub(now), maxWait)
	p.next = now.Add(wait + p.interval)
	p.mu.Unlock()
	if wait <= 0 {
		return
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		p.late(time.Since(now) - wait)
	case <-ctx.Done():
	}
}

// late notes how much too late a stream went on: that is how long goroutines wait for a processor, and live streams wait as long.
func (p *pace) late(by time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = p.next.Add(min(2*by, maxLate))
}
