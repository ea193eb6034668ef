// Package proxytest puts a proxy in front of a real server, so that a test can disconnect and stall its clients.
package proxytest

import (
	"context"
	"fmt"
	"net"
	"sync"
)

// Proxy is a loopback port that forwards to another one. It can disconnect and stall its clients. It is safe for concurrent
// use.
type Proxy struct {
	listener net.Listener
	serving  sync.WaitGroup

	mu          sync.RWMutex // Held for reading while bytes are forwarded.
	target      string
	state       state
	connections map[*connection]bool
	change      chan struct{} // Closed at the next change of state.
	watch       func() func(sent []byte)
}

type state int

const (
	forwarding state = iota
	disconnected
	stalled
	closed
)

// connection is a connection through the proxy.
type connection struct{ in, out net.Conn }

func (c *connection) close() {
	// Both ends are abandoned; the other side sees the close.
	_ = c.in.Close()
	if c.out != nil {
		_ = c.out.Close()
	}
}

// New returns a proxy that has no target until Forward is called. The caller closes it.
func New() (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("proxytest: %w", err)
	}
	p := &Proxy{listener: l, connections: map[*connection]bool{}, change: make(chan struct{})}
	p.serving.Go(p.accept)
	return p, nil
}

// Addr is where the proxy listens.
func (p *Proxy) Addr() net.Addr { return p.listener.Addr() }

// Forward sets the address to forward to.
func (p *Proxy) Forward(to string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = to
}

// Watch calls watch for each new connection from now on. The function that it returns gets the bytes that the client sends, in
// order, before they are forwarded, and may block.
func (p *Proxy) Watch(watch func() func(sent []byte)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watch = watch
}

// Disconnect closes all connections, and new ones as they come, until Resume.
func (p *Proxy) Disconnect() { p.setState(disconnected, true) }

// Stall stops all bytes until Resume. New connections are accepted.
func (p *Proxy) Stall() { p.setState(stalled, false) }

// Resume ends Disconnect or Stall. It closes the connections that were stalled.
func (p *Proxy) Resume() { p.setState(forwarding, true) }

// Close closes the proxy, and returns when its goroutines have ended.
func (p *Proxy) Close() {
	p.setState(closed, true)
	// The listener may already be closed.
	_ = p.listener.Close()
	p.serving.Wait()
}

func (p *Proxy) setState(s state, drop bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state = s
	if drop {
		for c := range p.connections {
			c.close()
		}
		clear(p.connections)
	}
	close(p.change)
	p.change = make(chan struct{})
}

func (p *Proxy) accept() {
	for {
		in, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.serving.Go(func() { p.serve(in) })
	}
}

func (p *Proxy) serve(in net.Conn) {
	c := &connection{in: in}
	defer c.close()
	if !p.connect(c) {
		return
	}
	ignore := func([]byte) {}
	var pipes sync.WaitGroup
	pipes.Go(func() { p.pipe(c, c.out, c.in, p.watcher(ignore)) })
	pipes.Go(func() { p.pipe(c, c.in, c.out, ignore) })
	pipes.Wait()
}

// connect connects c to the target, unless the proxy refuses connections.
func (p *Proxy) connect(c *connection) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state == disconnected || p.state == closed {
		return false
	}
	out, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", p.target)
	if err != nil {
		return false
	}
	c.out = out
	p.connections[c] = true
	return true
}

// watcher returns the function for a new connection.
func (p *Proxy) watcher(otherwise func([]byte)) func(sent []byte) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.watch == nil {
		return otherwise
	}
	return p.watch()
}

func (p *Proxy) pipe(c *connection, to, from net.Conn, see func([]byte)) {
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.connections, c)
		c.close()
	}()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		see(buffer[:n])
		if err != nil || !p.forwardBytes(c, to, buffer[:n]) {
			return
		}
	}
}

// forwardBytes waits until the proxy forwards, then writes b. It returns false if the connection was closed.
func (p *Proxy) forwardBytes(c *connection, to net.Conn, b []byte) bool {
	for {
		p.mu.RLock()
		if !p.connections[c] {
			p.mu.RUnlock()
			return false
		}
		if p.state == forwarding {
			_, err := to.Write(b)
			p.mu.RUnlock()
			return err == nil
		}
		changed := p.change
		p.mu.RUnlock()
		<-changed
	}
}
