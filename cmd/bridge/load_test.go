package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// load sends webhooks over many connections, each a new fact, and counts the answers. It writes requests that were
// rendered once, so that it takes little of the machine it shares with the server.
type load struct {
	addr        string
	connections int
	// limit is how many webhooks to send in all; 0 is no limit.
	limit int64
	// acknowledged, if not nil, is called with the number of each webhook that was answered 200.
	acknowledged func(n int64)
	// answered, if not nil, is called with the time from each request to its answer.
	answered func(took time.Duration)

	next     atomic.Int64
	ok       atomic.Int64
	failures atomic.Int64
}

// marker is replaced by the webhook's number: the last twelve digits of the shipment's id in the sample.
const marker = "85d89721174e"

// run sends until ctx is done or the limit is reached. A connection that breaks is not opened again: the server is gone.
func (l *load) run(ctx context.Context) {
	var wg sync.WaitGroup
	for range l.connections {
		wg.Go(func() { l.connection(ctx) })
	}
	wg.Wait()
}

func (l *load) connection(ctx context.Context) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", l.addr)
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()

	request, at := retinoRequest()
	answers := bufio.NewReaderSize(conn, 4096)
	for ctx.Err() == nil {
		n := l.next.Add(1)
		if l.limit > 0 && n > l.limit {
			return
		}
		copy(request[at:], fmt.Appendf(nil, "%012d", n))
		began := time.Now()
		if _, err := conn.Write(request); err != nil {
			return
		}
		code, err := readAnswer(answers)
		switch {
		case err != nil:
			return
		case code != http.StatusOK:
			l.failures.Add(1)
			continue
		}
		l.ok.Add(1)
		if l.answered != nil {
			l.answered(time.Since(began))
		}
		if l.acknowledged != nil {
			l.acknowledged(n)
		}
	}
}

// retinoRequest renders one webhook and returns where its number goes.
func retinoRequest() (request []byte, at int) {
	body := sampleBody("retino", "shipping_ordered")
	head := fmt.Sprintf("POST /webhooks/returns HTTP/1.1\r\nHost: bridge\r\nContent-Type: application/json\r\n"+
		"User-Agent: Retino\r\nX-Retino-Secret: %s\r\nContent-Length: %d\r\n\r\n", testSecret, len(body))
	request = append([]byte(head), body...)
	return request, bytes.Index(request, []byte(marker))
}

// readAnswer reads one answer with a Content-Length and returns its status.
func readAnswer(r *bufio.Reader) (int, error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	code, err := strconv.Atoi(string(bytes.Fields(line)[1]))
	if err != nil {
		return 0, err
	}
	var length int
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		if line = bytes.TrimSpace(line); len(line) == 0 {
			break
		}
		if value, found := bytes.CutPrefix(line, []byte("Content-Length: ")); found {
			if length, err = strconv.Atoi(string(value)); err != nil {
				return 0, err
			}
		}
	}
	_, err = io.CopyN(io.Discard, r, int64(length))
	return code, err
}

// shipmentID is the id that the load gives webhook n.
func shipmentID(n int64) string { return fmt.Sprintf("2b20e85f-2201-494a-b3f9-%012d", n) }

func TestLoadSendsWhatItSays(t *testing.T) {
	request, at := retinoRequest()
	if at < 0 {
		t.Fatal("the sample has no marker")
	}
	copy(request[at:], fmt.Appendf(nil, "%012d", 7))
	if !bytes.Contains(request, []byte(shipmentID(7))) {
		t.Fatalf("the request lacks %s:\n%s", shipmentID(7), request)
	}
}
