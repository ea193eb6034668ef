package kafkatest

import (
	"context"
	"fmt"
	"net"
	"sync"
)

// Gate is a loopback port in front of another that can shut and fall silent. It is safe for concurrent use.
type Gate struct {
	listener net.Listener
	serving  sync.WaitGroup

	mu     sync.RWMutex // Held for reading while bytes pass.
	target string
	state  state
	pairs  map[*pair]bool
	change chan struct{} // Closed at the next change of state.
}

type state int

const (
	open state = iota
	shut
	silent
	gone
)

// pair is a connection through the gate.
type pair struct{ in, out net.Conn }

func (p *pair) close() {
	// Both ends are being given up; the other end learns of it.
	_ = p.in.Close()
	if p.out != nil {
		_ = p.out.Close()
	}
}

// NewGate returns an open gate that leads nowhere until Lead is called. The caller closes it.
func NewGate() (*Gate, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("kafkatest: gate: %w", err)
	}
	g := &Gate{listener: l, pairs: map[*pair]bool{}, change: make(chan struct{})}
	g.serving.Go(g.accept)
	return g, nil
}

// Addr is where the gate listens.
func (g *Gate) Addr() net.Addr { return g.listener.Addr() }

// Lead makes the gate lead to an address.
func (g *Gate) Lead(to string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.target = to
}

// Shut closes all connections, and new ones as they come.
func (g *Gate) Shut() { g.become(shut, true) }

// Silence stops all bytes. New connections are accepted.
func (g *Gate) Silence() { g.become(silent, false) }

// Open ends what Shut or Silence began. What was held up is dropped, with its connections.
func (g *Gate) Open() { g.become(open, true) }

// Close closes the gate and returns when nothing of it is left.
func (g *Gate) Close() {
	g.become(gone, true)
	// A listener that is closed already is what is wanted.
	_ = g.listener.Close()
	g.serving.Wait()
}

func (g *Gate) become(s state, drop bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.state = s
	if drop {
		for p := range g.pairs {
			p.close()
		}
		clear(g.pairs)
	}
	close(g.change)
	g.change = make(chan struct{})
}

func (g *Gate) accept() {
	for {
		in, err := g.listener.Accept()
		if err != nil {
			return
		}
		g.serving.Go(func() { g.serve(in) })
	}
}

func (g *Gate) serve(in net.Conn) {
	p := &pair{in: in}
	defer p.close()
	if !g.admit(p) {
		return
	}
	var pipes sync.WaitGroup
	pipes.Go(func() { g.pipe(p, p.out, p.in) })
	pipes.Go(func() { g.pipe(p, p.in, p.out) })
	pipes.Wait()
}

// admit connects p, unless the gate is shut.
func (g *Gate) admit(p *pair) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state == shut || g.state == gone {
		return false
	}
	out, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", g.target)
	if err != nil {
		return false
	}
	p.out = out
	g.pairs[p] = true
	return true
}

func (g *Gate) pipe(p *pair, to, from net.Conn) {
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.pairs, p)
		p.close()
	}()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil || !g.pass(p, to, buffer[:n]) {
			return
		}
	}
}

// pass writes bytes when the gate is open, unless the connection was given up before.
func (g *Gate) pass(p *pair, to net.Conn, b []byte) bool {
	for {
		g.mu.RLock()
		if !g.pairs[p] {
			g.mu.RUnlock()
			return false
		}
		if g.state == open {
			_, err := to.Write(b)
			g.mu.RUnlock()
			return err == nil
		}
		changed := g.change
		g.mu.RUnlock()
		<-changed
	}
}
