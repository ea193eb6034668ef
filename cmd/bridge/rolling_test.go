package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/webhook-bridge/bridge/internal/journal/postgres/pgtest"
)

const (
	// rollingRestarts is how often a replica is restarted in TestRollingRestarts, one after the other.
	rollingRestarts = 50
	// rollingRate is how many webhooks a second are sent meanwhile.
	rollingRate = 500
	// rollingPause is how long a replica has been ready before the next one is restarted.
	rollingPause = 250 * time.Millisecond
)

// TestRollingRestarts restarts two replicas in turn, behind a balancer, while a vendor sends each webhook once, on a connection of its
// own, and waits for a second. No webhook is refused, and none is lost.
func TestRollingRestarts(t *testing.T) {
	cluster := pgtest.Start(t, pgtest.Options{Standbys: 1})
	r := startReplicas(t, func(name string) string { return replicaConfig(name, cluster.URL(), "standby", "") }, "a", "b")
	s := startSender(t, r.balancer.addr(), rollingRate)
	began := time.Now()
	for n := range rollingRestarts {
		one := r.all[n%len(r.all)]
		r.stop(one)
		r.start(one)
		<-time.After(rollingPause)
	}
	took := time.Since(began)
	s.stop()
	lost := s.lost(tailShipments(t, r.all[0].process))
	t.Logf("%d restarts in %v: %d webhooks sent (%.0f/s), %d acknowledged, %d refused or unanswered, %d lost; the longest answer took %v",
		rollingRestarts, took.Round(time.Second), s.sent.Load(), float64(s.sent.Load())/took.Seconds(), len(s.acknowledged), len(s.failed),
		lost, s.longest.Round(time.Millisecond))
	if n := len(s.failed); n > 0 {
		t.Errorf("refused or unanswered, the first of them: %q", s.failed[:min(n, 10)])
	}
	if lost > 0 || len(s.acknowledged) == 0 {
		t.Errorf("%d lost of %d", lost, len(s.acknowledged))
	}
}

// tailShipments returns how many events a replica's journal has for each shipment.
func tailShipments(t *testing.T, p *process) map[string]int {
	t.Helper()
	found := map[string]int{}
	for _, e := range tailAll(t, p) {
		found[e.GetShipment().GetId()]++
	}
	return found
}

// sender sends webhooks at a rate, each once, on a connection of its own, and waits a second for the answer.
type sender struct {
	addr string
	// stop ends the sending, and waits for the answers.
	stop func()

	sent atomic.Int64
	mu   sync.Mutex
	// acknowledged are the numbers of the webhooks that were answered 200, failed are the other webhooks' outcomes, and longest is the
	// longest time until an answer. Guarded by mu, until stop has returned.
	acknowledged []int64
	failed       []string
	longest      time.Duration
}

// senderPatience is how long a sender waits for an answer.
const senderPatience = time.Second

// senderRequest renders the request once.
var senderRequest = sync.OnceValues(retinoRequest)

func startSender(t testing.TB, addr string, rate int) *sender {
	t.Helper()
	s := &sender{addr: addr}
	ctx, cancel := context.WithCancel(t.Context())
	var sending sync.WaitGroup
	sending.Go(func() {
		began := time.Now()
		tick := time.NewTicker(time.Second / time.Duration(rate))
		defer tick.Stop()
		for n := int64(1); ; n++ {
			// A late tick is made up for: the rate is that of an open loop.
			for due := began.Add(time.Duration(n) * time.Second / time.Duration(rate)); time.Now().Before(due); {
				select {
				case <-tick.C:
				case <-ctx.Done():
					return
				}
			}
			if ctx.Err() != nil {
				return
			}
			s.sent.Add(1)
			sending.Go(func() { s.send(n) })
		}
	})
	s.stop = sync.OnceFunc(func() {
		cancel()
		sending.Wait()
	})
	t.Cleanup(s.stop)
	return s
}

// send sends webhook n and notes its outcome.
func (s *sender) send(n int64) {
	began := time.Now()
	err := s.post(n, began.Add(senderPatience))
	took := time.Since(began)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.failed = append(s.failed, fmt.Sprintf("%d after %v: %v", n, took.Round(time.Millisecond), err))
		return
	}
	s.acknowledged = append(s.acknowledged, n)
	s.longest = max(s.longest, took)
}

func (s *sender) post(n int64, until time.Time) (err error) {
	d := net.Dialer{Deadline: until}
	conn, err := d.Dial("tcp", s.addr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if err := conn.SetDeadline(until); err != nil {
		return err
	}
	rendered, at := senderRequest()
	request := bytes.Clone(rendered)
	copy(request[at:], fmt.Appendf(nil, "%012d", n))
	if _, err := conn.Write(request); err != nil {
		return err
	}
	code, err := readAnswer(bufio.NewReader(conn))
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("status %d", code)
	}
	return err
}

// lost returns how many acknowledged webhooks have no event, or more than one.
func (s *sender) lost(found map[string]int) (n int) {
	for _, number := range s.acknowledged {
		if found[shipmentID(number)] != 1 {
			n++
		}
	}
	return n
}
