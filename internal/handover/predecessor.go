//go:build unix

package handover

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The lines of a hand-over.
const (
	linePrepared = "prepared"
	lineGo       = "go"
	lineServing  = "serving"
)

// Predecessor is the process that started this one to take its place.
type Predecessor struct {
	control net.Conn
	lines   *bufio.Reader
}

func newPredecessor(fd int) (*Predecessor, error) {
	c, err := controlConn(fd)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	return &Predecessor{control: c, lines: bufio.NewReader(c)}, nil
}

// controlConn makes a connection of a descriptor, which it closes.
func controlConn(fd int) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "control")
	if f == nil {
		return nil, unix.EBADF
	}
	defer func() { _ = f.Close() }()
	return net.FileConn(f)
}

// Prepared says that this process can take over, and waits until the predecessor has let go of the storage. It returns when the
// predecessor stopped accepting connections: the zero time if it ended without a word. Errors: ctx's.
func (p *Predecessor) Prepared(ctx context.Context) (stopped time.Time, err error) {
	if _, err := fmt.Fprintln(p.control, linePrepared); err != nil {
		return stopped, nil // the predecessor is gone, and so its storage is free
	}
	stop := context.AfterFunc(ctx, func() { _ = p.control.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	line, err := p.lines.ReadString('\n')
	if ctx.Err() != nil {
		return stopped, ctx.Err()
	}
	word, at, _ := strings.Cut(strings.TrimSpace(line), " ")
	if err != nil || word != lineGo {
		return stopped, nil
	}
	nanos, err := strconv.ParseInt(at, 10, 64)
	if err != nil {
		return stopped, errors.New("handover: the predecessor's version speaks otherwise")
	}
	return time.Unix(0, nanos), nil
}

// Serving says that this process serves. The predecessor ends then.
func (p *Predecessor) Serving() {
	_, _ = fmt.Fprintln(p.control, lineServing) // if the predecessor is gone, nobody needs to know
	_ = p.control.Close()
}
