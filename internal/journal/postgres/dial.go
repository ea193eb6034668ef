package postgres

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// The server's machine may vanish without a word. Then the kernel ends the connection: a quiet one by keepAlive, and one with data
// on their way after vanishedAfter.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 3 * time.Second, Count: 3}

const vanishedAfter = 15 * time.Second

// connections are the open connections of an instance.
type connections struct {
	mu   sync.Mutex
	open map[net.Conn]struct{}
	// cutOff refuses new ones.
	cutOff bool
}

var errCutOff = errors.New("journal: the connections were cut")

// connection leaves the connections when it is closed.
type connection struct {
	net.Conn
	all *connections
}

func (c *connection) Close() error {
	c.all.mu.Lock()
	delete(c.all.open, c.Conn)
	c.all.mu.Unlock()
	return c.Conn.Close()
}

// dial opens a connection.
func (c *connections) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{KeepAliveConfig: keepAlive, Control: setUserTimeout}
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cutOff {
		_ = conn.Close() // nobody has used it
		return nil, errCutOff
	}
	if c.open == nil {
		c.open = make(map[net.Conn]struct{})
	}
	c.open[conn] = struct{}{}
	return &connection{conn, c}, nil
}

// cut closes all connections at once, without a word to the server, and refuses new ones.
func (c *connections) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cutOff = true
	for conn := range c.open {
		_ = conn.Close() // whoever uses it gets the error
	}
}
