package pgtest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// maxMessage is the longest message that a proxy forwards.
const maxMessage = 1 << 30

// The messages that a proxy reads. See "Message Formats" in PostgreSQL's documentation.
const (
	startup = 0 // has no type: the first message of a client

	query   = 'Q'
	parse   = 'P'
	bind    = 'B'
	execute = 'E'
	synced  = 'S'

	commandComplete = 'C'
	readyForQuery   = 'Z'

	sslRequest = 80877103
	gssRequest = 80877104
)

// connection is a connection through a proxy.
type connection struct {
	proxy          *Proxy
	client, server net.Conn
	closed         chan struct{}
	closing        sync.Once

	// statements and portals have the text of a statement by the name of the statement and of the portal.
	statements, portals map[string]string
	// readOnly: the transaction that began last writes nothing.
	readOnly bool
	// transaction has the statements of the transaction that began last.
	transaction []string
	// skipping: a statement was answered with an error, so messages are ignored until the client's Sync.
	skipping bool
	// inTransaction is the last status that the server reported.
	inTransaction atomic.Bool
	swallowing    *Commits
	swallow       atomic.Bool
	writing       sync.Mutex // to the client
}

func (c *connection) close() {
	c.closing.Do(func() { close(c.closed) })
	_ = c.client.Close() // both ends are abandoned
	if c.server != nil {
		_ = c.server.Close()
	}
}

// run forwards in one direction until it ends, and ends the connection.
func (c *connection) run(forward func() error) {
	_ = forward() // the client sees the end
	c.proxy.forget(c)
	c.close()
}

// message is one message, with its type and its length.
type message struct {
	kind byte
	raw  []byte
}

func (m message) body() []byte {
	if m.kind == startup {
		return m.raw[4:]
	}
	return m.raw[5:]
}

func readMessage(from io.Reader, typed bool) (m message, err error) {
	header := make([]byte, 4)
	if typed {
		header = make([]byte, 5)
	}
	if _, err := io.ReadFull(from, header); err != nil {
		return m, err
	}
	size := header
	if typed {
		m.kind, size = header[0], header[1:]
	}
	n := binary.BigEndian.Uint32(size)
	if n < 4 || n > maxMessage {
		return m, fmt.Errorf("pgtest: a message of %d bytes", n)
	}
	m.raw = append(m.raw, header...)
	m.raw = append(m.raw, make([]byte, n-4)...)
	_, err = io.ReadFull(from, m.raw[len(header):])
	return m, err
}

// fromClient forwards what the client sends.
func (c *connection) fromClient() error {
	if err := c.start(); err != nil {
		return err
	}
	for {
		m, err := readMessage(c.client, true)
		if err == nil {
			err = c.deliver(m)
		}
		if err != nil {
			return err
		}
	}
}

// start forwards the first message. A client that asks for encryption is told that there is none.
func (c *connection) start() error {
	for {
		m, err := readMessage(c.client, false)
		if err != nil {
			return err
		}
		if code := binary.BigEndian.Uint32(m.body()); code == sslRequest || code == gssRequest {
			if _, err := c.client.Write([]byte{'N'}); err != nil {
				return err
			}
			continue
		}
		if err := c.proxy.pass(c); err != nil {
			return err
		}
		_, err = c.server.Write(m.raw)
		return err
	}
}

// deliver forwards a message of the client, unless the proxy is to do something else at it.
func (c *connection) deliver(m message) error {
	if err := c.proxy.pass(c); err != nil {
		return err
	}
	text, runs := c.statement(m)
	if runs && first(text) == "begin" {
		c.transaction = c.transaction[:0]
		c.readOnly = strings.Contains(strings.ToLower(text), "read only")
	}
	if runs {
		c.transaction = append(c.transaction, text)
	}
	runs = runs && !c.readOnly
	if c.skipping {
		if m.kind != synced {
			return nil
		}
		c.skipping = false
	}
	if runs && isWrite(text) {
		if err := c.proxy.passWrite(); err != nil {
			return err
		}
		if f := c.proxy.failure(); f != nil && f.meets(text) {
			return c.refuse(m, f)
		}
	}
	if runs && isCommit(text) {
		swallow, err := c.proxy.passCommit(c)
		if err != nil {
			return err
		}
		c.swallow.Store(swallow)
	}
	_, err := c.server.Write(m.raw)
	return err
}

// ran reports whether the transaction ran a statement with a text.
func (c *connection) ran(text string) bool {
	return slices.ContainsFunc(c.transaction, func(statement string) bool { return strings.Contains(statement, text) })
}

// statement returns the text of the statement that a message runs, if it runs one.
func (c *connection) statement(m message) (text string, runs bool) {
	switch m.kind {
	case query:
		text, _ = cString(m.body())
		return text, true
	case parse:
		name, rest := cString(m.body())
		text, _ = cString(rest)
		c.statements[name] = text
	case bind:
		portal, rest := cString(m.body())
		name, _ := cString(rest)
		c.portals[portal] = c.statements[name]
	case execute:
		portal, _ := cString(m.body())
		return c.portals[portal], true
	}
	return "", false
}

// cString reads a text that ends with a zero byte.
func cString(b []byte) (text string, rest []byte) {
	before, after, _ := bytes.Cut(b, []byte{0})
	return string(before), after
}

// refuse answers a statement with an error, in the server's place.
func (c *connection) refuse(m message, f *failure) error {
	var body []byte
	for _, field := range []string{"SERROR", "VERROR", "C" + f.code, "M" + f.message} {
		body = append(append(body, field...), 0)
	}
	answer := frame('E', append(body, 0))
	if m.kind == query {
		status := byte('I')
		if c.inTransaction.Load() {
			status = 'E'
		}
		answer = append(answer, frame(readyForQuery, []byte{status})...)
	} else {
		c.skipping = true
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	_, err := c.client.Write(answer)
	return err
}

func frame(kind byte, body []byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(body)+4))
	return append(b, body...)
}

// fromServer forwards what the server sends.
func (c *connection) fromServer() error {
	for {
		m, err := readMessage(c.server, true)
		if err != nil {
			return err
		}
		if err := c.proxy.pass(c); err != nil {
			return err
		}
		switch {
		case m.kind == readyForQuery && len(m.body()) > 0:
			c.inTransaction.Store(m.body()[0] != 'I')
		case m.kind == commandComplete && c.swallow.Load() && bytes.HasPrefix(m.body(), []byte("COMMIT")):
			c.swallowing.meet()
			return errors.New("pgtest: swallowed")
		}
		c.writing.Lock()
		_, err = c.client.Write(m.raw)
		c.writing.Unlock()
		if err != nil {
			return err
		}
	}
}

// first is a statement's first word.
func first(statement string) string {
	statement = strings.TrimSpace(statement)
	if end := strings.IndexFunc(statement, func(r rune) bool { return r < 'A' || r > 'z' }); end >= 0 {
		statement = statement[:end]
	}
	return strings.ToLower(statement)
}

// isWrite reports whether a statement changes something, or begins or ends a transaction that may.
func isWrite(text string) bool {
	switch first(text) {
	case "", "select", "set", "show", "listen", "notify", "table", "values", "deallocate":
		return false
	case "begin":
		return !strings.Contains(text, "notify")
	default:
		return true
	}
}

// meets reports whether a statement fails.
func (f *failure) meets(text string) bool {
	word := first(text)
	if f.word != "" {
		return word == f.word
	}
	return isWrite(text) && word != "begin" && word != "commit" && word != "rollback"
}

// isCommit reports whether a statement commits, and not only a notification.
func isCommit(text string) bool {
	if strings.Contains(text, "notify") {
		return false
	}
	for statement := range strings.SplitSeq(text, ";") {
		if first(statement) == "commit" {
			return true
		}
	}
	return false
}
