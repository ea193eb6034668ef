package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

const (
	// checkEvery is how often a balancer asks a replica whether it is ready.
	checkEvery = 25 * time.Millisecond
	// checkWithin is how long the answer may take.
	checkWithin = time.Second
)

// balancer forwards TCP connections to the replicas that are ready, in turn. It asks them as a load balancer does, and tries the next
// one where a connection is refused.
type balancer struct {
	listener net.Listener
	client   http.Client

	mu sync.Mutex
	// backends are the replicas, and next is the one whose turn it is. Guarded by mu.
	backends []*backend
	next     int
}

type backend struct {
	webhooks, ops string
	// ready is guarded by the balancer's mutex.
	ready bool
}

func startBalancer(t testing.TB) *balancer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &balancer{listener: l, client: http.Client{Timeout: checkWithin}}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { b.accept(ctx, &running) })
	running.Go(func() { b.check(ctx) })
	t.Cleanup(func() {
		cancel()
		_ = l.Close()
		running.Wait()
	})
	return b
}

func (b *balancer) addr() string { return b.listener.Addr().String() }

// add adds a replica that is ready.
func (b *balancer) add(p *process) *backend {
	b.mu.Lock()
	defer b.mu.Unlock()
	added := &backend{webhooks: p.addr("webhooks"), ops: p.addr("ops"), ready: true}
	b.backends = append(b.backends, added)
	return added
}

func (b *balancer) remove(gone *backend) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.backends = slices.DeleteFunc(b.backends, func(other *backend) bool { return other == gone })
}

// check asks the replicas until ctx is done.
func (b *balancer) check(ctx context.Context) {
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for {
		b.mu.Lock()
		all := slices.Clone(b.backends)
		b.mu.Unlock()
		var asked sync.WaitGroup
		for _, one := range all {
			asked.Go(func() {
				ready := b.ask(ctx, one.ops)
				b.mu.Lock()
				defer b.mu.Unlock()
				one.ready = ready
			})
		}
		asked.Wait()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// ask reports whether a replica is ready.
func (b *balancer) ask(ctx context.Context, ops string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+ops+"/readyz", nil)
	if err != nil {
		return false
	}
	resp, err := b.client.Do(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

func (b *balancer) accept(ctx context.Context, running *sync.WaitGroup) {
	for {
		in, err := b.listener.Accept()
		if err != nil {
			return
		}
		running.Go(func() { b.forward(ctx, in) })
	}
}

// forward carries the bytes of a connection in both directions.
func (b *balancer) forward(ctx context.Context, in net.Conn) {
	defer func() { _ = in.Close() }()
	out, err := b.dial(ctx)
	if err != nil {
		return
	}
	defer func() { _ = out.Close() }()
	defer context.AfterFunc(ctx, func() { _ = errors.Join(in.Close(), out.Close()) })()
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(in, out)
		_ = in.(*net.TCPConn).CloseWrite()
		_ = out.Close() // an answer is complete, or never will be
	})
	_, _ = io.Copy(out, in)
	_ = out.(*net.TCPConn).CloseWrite()
	back.Wait()
}

// dial connects to a replica that is ready.
func (b *balancer) dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	for _, one := range b.turn() {
		if out, err := d.DialContext(ctx, "tcp", one); err == nil {
			return out, nil
		}
	}
	return nil, errors.New("no replica is ready")
}

// turn returns the addresses of the replicas that are ready, beginning with the one whose turn it is.
func (b *balancer) turn() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next++
	var ready []string
	for i := range b.backends {
		if one := b.backends[(b.next+i)%len(b.backends)]; one.ready {
			ready = append(ready, one.webhooks)
		}
	}
	return ready
}
