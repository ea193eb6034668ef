package postgres

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// The server's machine may vanish without a word. Then the kernel ends the connection: a quiet one by keepAlive, and one with data
// on their way after vanishedAfter.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 3 * time.Second, Count: 3}

const vanishedAfter = 15 * time.Second

// connections are the open connections of an instance.
type connections struct {
	mu sync.Mutex
	// open has the server that each leads to, empty until it is known.
	open map[net.Conn]string
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
		c.open = make(map[net.Conn]string)
	}
	c.open[conn] = ""
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

// note notes the server of a session.
func (c *connections) note(session *pgx.Conn) {
	under := session.PgConn().Conn()
	if secure, ok := under.(*tls.Conn); ok {
		under = secure.NetConn()
	}
	conn, ok := under.(*connection)
	if !ok {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, open := c.open[conn.Conn]; open {
		c.open[conn.Conn] = serverOf(session)
	}
}

// cutServer closes all connections to a server that was replaced. It may be frozen: then it answers nothing that it was asked, and the
// connections stay. What it commits may be unknown to the server that took its place.
func (c *connections) cutServer(server string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn, leadsTo := range c.open {
		if leadsTo == server {
			_ = conn.Close() // whoever uses it gets the error
		}
	}
}
