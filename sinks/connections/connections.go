// Package connections lets a sink close its client's connections at once. Clients wait for an answer, or for a time-out, when a call
// must end; without its connection the call ends.
package connections

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// Set is the open connections of a client and the ones that are being opened. It is safe for concurrent use.
type Set struct {
	dialer *net.Dialer

	mu    sync.Mutex
	open  map[*connection]bool
	ctx   context.Context // Of the dials in progress.
	abort context.CancelFunc
}

type connection struct {
	net.Conn
	in *Set
}

// New returns an empty set, whose connections the dialer opens.
func New(d *net.Dialer) *Set {
	l := &Set{dialer: d, open: map[*connection]bool{}}
	l.ctx, l.abort = context.WithCancel(context.Background())
	return l
}

// Dial opens a connection. Errors: the dialer's; ctx's or another one if [Set.CloseAll] was called meanwhile.
func (l *Set) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	l.mu.Lock()
	until := l.ctx
	l.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(until, cancel)()
	conn, err := l.dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := until.Err(); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	one := &connection{conn, l}
	l.open[one] = true
	return one, nil
}

// CloseAll closes all connections and cancels the dials. Later ones are opened as before.
func (l *Set) CloseAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.abort()
	l.ctx, l.abort = context.WithCancel(context.Background())
	for one := range l.open {
		// An error of closing an abandoned connection does not matter.
		_ = one.Conn.Close()
	}
	clear(l.open)
}

// Close implements [net.Conn].
func (o *connection) Close() error {
	o.in.mu.Lock()
	delete(o.in.open, o)
	o.in.mu.Unlock()
	return o.Conn.Close()
}

// CloseAfter closes all connections, and so ends the requests in progress, when ctx has been done for d. After stop has returned, it does
// not do so any more.
func (l *Set) CloseAfter(ctx context.Context, d time.Duration) (stop func()) {
	over, ended := make(chan struct{}), make(chan struct{})
	unwatch := context.AfterFunc(ctx, func() {
		defer close(ended)
		late := time.NewTimer(d)
		defer late.Stop()
		select {
		case <-late.C:
			l.CloseAll()
		case <-over:
		}
	})
	return func() {
		close(over)
		if !unwatch() {
			<-ended
		}
	}
}
