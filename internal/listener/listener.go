package listener

import (
	"cmp"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/time/rate"
)

const (
	// failingFor is how long an error of Accept is a [Listener.Problem].
	failingFor = time.Minute
	// logEvery is how often one listener logs that it cannot accept, or that its limit is reached.
	logEvery = time.Minute
	// spared is how long a connection must have been idle to be closed for want of a descriptor.
	spared = 250 * time.Millisecond
	// maxWait is the longest wait after an error of Accept.
	maxWait = time.Second
)

// Config has the settings of a [Listener].
type Config struct {
	// Name of the listener, in metrics and in the log.
	Name string
	// Limit is how many connections may be open at once, 1 or more.
	Limit int
	// Log gets a warning at most once a minute, and of debug level why a connection was closed. nil discards.
	Log *slog.Logger
	// Metrics count the connections. nil counts nowhere.
	Metrics *Metrics
}

// Listener accepts connections up to a limit. Its connections are for [Listener.HTTP] or [Listener.GRPC]. It is safe for concurrent
// use.
type Listener struct {
	net.Listener
	config  Config
	metrics counters

	mu sync.Mutex
	// open has all open connections, at their own indexes. Guarded by mu.
	open []*Conn
	// draining: each answer is the last one of its connection.
	draining atomic.Bool
	// accepting is how many calls of Accept there are.
	accepting atomic.Int32

	closed    chan struct{}
	closeOnce sync.Once
	// failedAt and fullAt are when Accept failed, and when the limit was reached, in nanoseconds since 1970.
	failedAt, fullAt atomic.Int64
	failures, full   *rate.Sometimes
}

// New returns a listener for the connections of l.
func New(l net.Listener, c Config) *Listener {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	once := func() *rate.Sometimes { return &rate.Sometimes{First: 1, Interval: logEvery} }
	return &Listener{
		Listener: l, config: c, metrics: c.Metrics.of(c.Name, c.Limit), closed: make(chan struct{}), failures: once(), full: once(),
	}
}

// Accept waits for the next connection. It returns an error only once the listener is closed or broken.
func (l *Listener) Accept() (net.Conn, error) {
	l.accepting.Add(1)
	defer l.accepting.Add(-1)
	wait := 5 * time.Millisecond
	for {
		raw, err := l.Listener.Accept()
		switch {
		case err == nil:
			if c := l.admit(raw); c != nil {
				return c, nil
			}
			wait = 5 * time.Millisecond
		case !temporary(err):
			return nil, err
		case l.fail(err):
			// A connection was closed, so there is a descriptor.
		case !l.pause(wait):
			return nil, net.ErrClosed
		default:
			wait = min(2*wait, maxWait)
		}
	}
}

// temporary reports whether Accept may succeed later.
func temporary(err error) bool {
	var e interface{ Temporary() bool }
	return errors.As(err, &e) && e.Temporary()
}

// Close stops accepting. Open connections stay open.
func (l *Listener) Close() error {
	l.closeOnce.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// pause waits. It reports false if the listener was closed.
func (l *Listener) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.closed:
		return false
	}
}

// fail notes an error of Accept. If the process has no descriptor left, it closes a connection. It reports whether it closed one.
func (l *Listener) fail(err error) bool {
	l.metrics.acceptErrors.Inc()
	if errors.Is(err, syscall.ECONNABORTED) {
		return true // The client went away before it was accepted.
	}
	l.failedAt.Store(time.Now().UnixNano())
	l.failures.Do(func() {
		l.config.Log.Warn("cannot accept connections", "listener", l.config.Name, "open", l.Open(), "error", err)
	})
	if !errors.Is(err, syscall.EMFILE) && !errors.Is(err, syscall.ENFILE) {
		return false
	}
	// The system says so also when no connection waits. So only a connection is closed that had its time.
	before := time.Now().Add(-spared).UnixNano()
	l.mu.Lock()
	victims := l.victims(1, func(c *Conn) bool { return c.active.Load() == 0 && c.idleSince.Load() <= before })
	l.mu.Unlock()
	l.drop(victims, reasonDescriptors)
	return len(victims) > 0
}

// Open returns how many connections are open.
func (l *Listener) Open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open)
}

// Problem returns why vendors may not reach this listener, or "". It reports an error for a minute.
func (l *Listener) Problem() string {
	if within(&l.failedAt, failingFor) {
		return l.config.Name + " cannot accept connections"
	}
	return ""
}

// Full reports whether the limit was reached within the last minute.
func (l *Listener) Full() bool { return within(&l.fullAt, failingFor) }

func within(at *atomic.Int64, d time.Duration) bool {
	n := at.Load()
	return n != 0 && time.Since(time.Unix(0, n)) < d
}

// admit adds a connection. If there is no room and none can be made, it closes the connection and returns nil.
func (l *Listener) admit(raw net.Conn) *Conn {
	c := &Conn{Conn: raw, listener: l, address: addressOf(raw)}
	c.idleSince.Store(time.Now().UnixNano())
	l.mu.Lock()
	full := len(l.open) >= l.config.Limit
	var victims []*Conn
	if full {
		victims = l.victims(1+l.config.Limit/64, func(c *Conn) bool { return !c.verified.Load() || c.active.Load() == 0 })
	}
	refused := full && len(victims) == 0
	if !refused {
		c.index = len(l.open)
		l.open = append(l.open, c)
		l.metrics.open.Inc()
	}
	l.mu.Unlock()
	if full {
		l.fullAt.Store(time.Now().UnixNano())
		l.full.Do(func() {
			l.config.Log.Warn("connection limit reached: idle connections are closed", "listener", l.config.Name, "limit", l.config.Limit)
		})
	}
	l.drop(victims, reasonLimit)
	if refused {
		l.metrics.dropped[reasonLimit].Inc()
		_ = raw.Close()
		return nil
	}
	return c
}

// victims removes up to n of the connections that may be closed from the table and returns them: see the package comment. The caller
// holds mu.
func (l *Listener) victims(n int, may func(*Conn) bool) []*Conn {
	strangers, most := make(map[netip.Prefix]int), 0
	for _, c := range l.open {
		if !c.verified.Load() {
			strangers[c.address]++
		}
	}
	// best has the candidates of the lowest rank.
	var best []*Conn
	lowest := ranks
	for _, c := range l.open {
		if !may(c) {
			continue
		}
		r := c.rank()
		count := strangers[c.address]
		if r > lowest || r == lowest && r < rankKnown && count < most {
			continue
		}
		if r < lowest || r < rankKnown && count > most {
			best, lowest, most = best[:0], r, count
		}
		best = append(best, c)
	}
	if lowest < rankKnown {
		n = min(n, max(1, len(best)-1)) // The newest one may be a genuine sender's.
	}
	slices.SortFunc(best, func(a, b *Conn) int { return cmp.Compare(a.idleSince.Load(), b.idleSince.Load()) })
	best = best[:min(n, len(best))]
	for _, c := range best {
		l.remove(c)
	}
	return best
}

// remove takes a connection off the table. The caller holds mu.
func (l *Listener) remove(c *Conn) {
	if c.removed {
		return
	}
	c.removed = true
	last := len(l.open) - 1
	l.open[c.index] = l.open[last]
	l.open[c.index].index = c.index
	l.open[last] = nil
	l.open = l.open[:last]
	l.metrics.open.Dec()
}

func (l *Listener) drop(victims []*Conn, why reason) {
	for _, c := range victims {
		c.drop(why)
	}
}

// addressOf returns the network of the other side: an address of IPv4, or a /64 of IPv6, which one sender may have whole.
func addressOf(c net.Conn) netip.Prefix {
	remote, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := remote.AddrPort().Addr().Unmap()
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	p, _ := ip.WithZone("").Prefix(bits)
	return p
}
