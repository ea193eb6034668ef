package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// dialWithin limits the time until a server accepts a connection.
const dialWithin = 5 * time.Second

// Proxy is a loopback port in front of a server. It reads the messages of PostgreSQL's protocol, so that a test can break a connection at a
// chosen one. Connections must not be encrypted. It is safe for concurrent use.
type Proxy struct {
	listener net.Listener
	serving  sync.WaitGroup

	mu          sync.Mutex
	target      string
	connections map[*connection]bool
	refusing    bool
	// frozen is closed when bytes flow again; nil if they flow.
	frozen chan struct{}
	// held is what happens to COMMITs, if they do not simply pass.
	commits *Commits
	fuse    *Fuse
	// failing is the error for writes, if any.
	failing *failure
}

// failure is an error that the proxy answers in the server's place, to statements that begin with a word.
type failure struct{ code, message, word string }

// NewProxy returns a proxy without a target. The caller closes it.
func NewProxy() (*Proxy, error) {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("pgtest: proxy: %w", err)
	}
	p := &Proxy{listener: l, connections: make(map[*connection]bool)}
	p.serving.Go(p.accept)
	return p, nil
}

// Addr is where the proxy listens.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Forward sets the server, and cuts the connections to another one.
func (p *Proxy) Forward(to string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.target != to {
		p.cutLocked()
	}
	p.target = to
}

// Cut closes all connections. New ones are accepted.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cutLocked()
}

// Refuse closes all connections, and new ones as they come, until Accept.
func (p *Proxy) Refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuseLocked()
}

// Accept ends Refuse and CutAt.
func (p *Proxy) Accept() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refusing, p.fuse = false, nil
}

// Fuse refuses all connections of some proxies from a certain write on.
type Fuse struct {
	// Blown is closed when that happens.
	Blown <-chan struct{}

	mu    sync.Mutex
	left  int
	blown chan struct{}
	all   []*Proxy
}

// CutAt has proxies refuse connections from the n-th write on that they get together, counted from 0: that write is not delivered. A write
// is a statement that changes something, or begins or ends a transaction that may.
func CutAt(n int, all ...*Proxy) *Fuse {
	blown := make(chan struct{})
	f := &Fuse{Blown: blown, left: n, blown: blown, all: all}
	for _, p := range all {
		p.mu.Lock()
		p.fuse = f
		p.mu.Unlock()
	}
	return f
}

// pass is called before a write is delivered.
func (f *Fuse) pass() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left--
	if f.left >= 0 {
		return nil
	}
	if f.left == -1 {
		close(f.blown)
		for _, p := range f.all {
			p.Refuse()
		}
	}
	return errCut
}

// Freeze stops all bytes in both directions, until Thaw. Connections are accepted, and get no answer.
func (p *Proxy) Freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.frozen == nil {
		p.frozen = make(chan struct{})
	}
}

// Thaw ends Freeze.
func (p *Proxy) Thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.frozen != nil {
		close(p.frozen)
		p.frozen = nil
	}
}

// FailWrites answers every statement that changes something with an error of this SQLSTATE and message, and does not deliver it. mend
// ends that.
func (p *Proxy) FailWrites(code, message string) (mend func()) {
	return p.FailStatements("", code, message)
}

// FailStatements does it to the statements alone that begin with a word, such as insert.
func (p *Proxy) FailStatements(word, code, message string) (mend func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failing = &failure{code, message, word}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.failing = nil
	}
}

// Commits is what happens to the COMMITs of a proxy's clients.
type Commits struct {
	// Met is closed at the first COMMIT.
	Met <-chan struct{}

	met     chan struct{}
	once    sync.Once
	proxy   *Proxy
	swallow bool
	of      string
	resumed chan struct{}
	ending  sync.Once
}

// HoldCommits holds up each connection from its next COMMIT on. A COMMIT that only sends a notification passes.
func (p *Proxy) HoldCommits() *Commits { return p.setCommits(false, "") }

// SwallowCommit delivers the next COMMIT of a transaction that ran a statement with the text of, drops its answer and cuts the connection.
func (p *Proxy) SwallowCommit(of string) *Commits { return p.setCommits(true, of) }

func (p *Proxy) setCommits(swallow bool, of string) *Commits {
	p.mu.Lock()
	defer p.mu.Unlock()
	met := make(chan struct{})
	p.commits = &Commits{Met: met, met: met, proxy: p, swallow: swallow, of: of, resumed: make(chan struct{})}
	return p.commits
}

// Resume lets the COMMITs go on that were held.
func (c *Commits) Resume() { c.end(false) }

// Cut closes all connections instead. The COMMITs that were held are never delivered.
func (c *Commits) Cut() { c.end(true) }

func (c *Commits) end(cut bool) {
	c.ending.Do(func() {
		c.proxy.mu.Lock()
		defer c.proxy.mu.Unlock()
		if c.proxy.commits == c {
			c.proxy.commits = nil
		}
		if cut {
			c.proxy.cutLocked()
		}
		close(c.resumed)
	})
}

func (c *Commits) meet() { c.once.Do(func() { close(c.met) }) }

// Close closes the proxy, and returns when its goroutines have ended.
func (p *Proxy) Close() {
	_ = p.listener.Close() // may be closed already
	p.mu.Lock()
	commits := p.commits
	p.refuseLocked()
	p.mu.Unlock()
	p.Thaw()
	if commits != nil {
		commits.Cut()
	}
	p.serving.Wait()
}

func (p *Proxy) cutLocked() {
	for c := range p.connections {
		c.close()
	}
	clear(p.connections)
}

func (p *Proxy) refuseLocked() {
	p.refusing = true
	p.cutLocked()
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
	c := &connection{proxy: p, client: in, closed: make(chan struct{}), statements: make(map[string]string), portals: make(map[string]string)}
	defer c.close()
	if !p.connect(c) {
		return
	}
	var pipes sync.WaitGroup
	pipes.Go(func() { c.run(c.fromClient) })
	pipes.Go(func() { c.run(c.fromServer) })
	pipes.Wait()
}

// connect connects c to the server, unless the proxy refuses connections.
func (p *Proxy) connect(c *connection) bool {
	p.mu.Lock()
	target, refusing := p.target, p.refusing
	p.mu.Unlock()
	if refusing || target == "" {
		return false
	}
	out, err := (&net.Dialer{Timeout: dialWithin}).DialContext(context.Background(), "tcp", target)
	if err != nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	c.server = out
	if p.refusing || p.target != target {
		return false
	}
	p.connections[c] = true
	return true
}

func (p *Proxy) forget(c *connection) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.connections, c)
}

// errCut ends a connection that the proxy cut.
var errCut = errors.New("pgtest: cut")

// pass waits while the proxy is frozen.
func (p *Proxy) pass(c *connection) error {
	for {
		p.mu.Lock()
		frozen := p.frozen
		p.mu.Unlock()
		if frozen == nil {
			return nil
		}
		select {
		case <-frozen:
		case <-c.closed:
			return errCut
		}
	}
}

// passWrite is called before a write is delivered.
func (p *Proxy) passWrite() error {
	p.mu.Lock()
	f := p.fuse
	p.mu.Unlock()
	if f == nil {
		return nil
	}
	return f.pass()
}

func (p *Proxy) failure() *failure {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failing
}

// passCommit waits while COMMITs are held, and says whether the answer to this one is swallowed.
func (p *Proxy) passCommit(c *connection) (swallow bool, err error) {
	p.mu.Lock()
	commits := p.commits
	if commits != nil && commits.swallow {
		if !c.ran(commits.of) {
			p.mu.Unlock()
			return false, nil
		}
		p.commits = nil
	}
	p.mu.Unlock()
	if commits == nil {
		return false, nil
	}
	if commits.swallow {
		c.swallowing = commits
		return true, nil
	}
	commits.meet()
	select {
	case <-commits.resumed:
	case <-c.closed:
		return false, errCut
	}
	select {
	case <-c.closed:
		return false, errCut
	default:
		return false, nil
	}
}
