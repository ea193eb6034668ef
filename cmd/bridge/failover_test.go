package main

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/internal/journal/postgres/pgtest"
	"github.com/webhook-bridge/bridge/internal/simulate"
	"github.com/webhook-bridge/bridge/sinks/kafka/kafkatest"
)

// failoverRate is how many webhooks a second a vendor sends in these tests, for failoverSpan, with retries.
const (
	failoverRate = 200
	failoverSpan = 25 * time.Second
)

// TestFailover kills a replica, and later all processes of the primary, while a vendor sends, a client reads, and a sink delivers. A
// standby takes over. What was acknowledged is there once, at the position at which the client saw it, and in the topic in order.
func TestFailover(t *testing.T) {
	broker := kafkatest.Start(t)
	cluster := pgtest.Start(t, pgtest.Options{Standbys: 2})
	f := startFailover(t, cluster, "standby", fmt.Sprintf(`sinks:
  - name: topic
    kafka: {brokers: [%q], topic: bridge.events, create_topics: {partitions: 6}, timeout: 5s}
    concurrency: 4
    backoff: {min: 50ms, max: 500ms}
`, broker.Brokers()[0]))

	f.pause(4 * time.Second)
	f.replicas.kill(f.replicas.all[0])
	f.pause(5 * time.Second)
	f.replicas.start(f.replicas.all[0])
	f.pause(2 * time.Second)
	began := time.Now()
	cluster.Primary().Kill(t)
	cluster.Promote(t, cluster.Newest(t))
	t.Logf("a standby was promoted after %v", time.Since(began).Round(time.Millisecond))
	f.pause(time.Second)
	f.follower.reconnect()

	l := f.settle()
	t.Logf("%+v", l)
	if l.lost > 0 || l.twice > 0 || l.moved > 0 || l.acknowledged == 0 || l.resumed < 2 || len(l.refused) > 0 {
		t.Errorf("lost, twice or moved, or the client did not resume: %+v", l)
	}
	if l.unreachable == 0 {
		t.Error("the vendor did not notice anything")
	}
	dense(t, cluster, len(f.events))
	await(t, "the sink catches up", f.replicas.delivered)
	order := newOrder()
	for _, e := range f.events {
		order.add(e.GetId(), e.GetSource(), e.GetSubject())
	}
	j := judgeTopic(t, broker, order)
	t.Logf("topic: %s", j)
	if j.missing() > 0 || j.skipped > 0 || j.strange > 0 {
		t.Fail()
	}
}

// TestFailoverControl is the same without synchronous standbys: it must lose webhooks. Otherwise TestFailover shows nothing.
func TestFailoverControl(t *testing.T) {
	cluster := pgtest.Start(t, pgtest.Options{Standbys: 1, Asynchronous: true})
	f := startFailover(t, cluster, "nothing", "")
	f.pause(8 * time.Second)
	cluster.Standby(0).FreezeReceiver(t)
	f.pause(1500 * time.Millisecond)
	cluster.Primary().Kill(t)
	cluster.Promote(t, 0)

	l := f.settle()
	t.Logf("%+v", l)
	if l.lost == 0 || l.moved == 0 {
		t.Errorf("nothing was lost, so TestFailover shows nothing: %+v", l)
	}
	t.Logf("without a synchronous standby %d of %d acknowledged webhooks are lost, and %d of %d shown events are not at their positions",
		l.lost, l.acknowledged, l.moved, l.seen)
}

// failover is two replicas with a vendor that sends and a client that reads.
type failover struct {
	t          *testing.T
	replicas   *replicas
	simulation *simulation
	follower   *follower
	// stop ends the client.
	stop func()
	// events are the journal's at the end.
	events []*eventv1.Event
}

func startFailover(t *testing.T, cluster *pgtest.Cluster, replicatedBy, more string) *failover {
	t.Helper()
	config := func(name string) string { return replicaConfig(name, cluster.URL(), replicatedBy, more) }
	r := startReplicas(t, config, "a", "b")
	f := &failover{t: t, replicas: r, follower: &follower{replicas: r}}
	ctx, cancel := context.WithCancel(t.Context())
	var reading sync.WaitGroup
	reading.Go(func() { f.follower.run(ctx) })
	f.stop = func() {
		cancel()
		reading.Wait()
	}
	t.Cleanup(f.stop)
	// The longest wait before a retry is an hour: three seconds here.
	f.simulation = startSimulationAt(t, r.balancer.addr(), config("simulator"),
		"--rate", strconv.Itoa(failoverRate), "--for", failoverSpan.String(), "--time-scale", "1200")
	return f
}

// pause lets the load go on.
func (f *failover) pause(d time.Duration) {
	f.t.Helper()
	select {
	case <-time.After(d):
	case <-f.simulation.ended:
		f.t.Fatalf("the load ended early: %s%s", &f.simulation.stdout, &f.simulation.stderr)
	}
}

// failoverLedger compares the acknowledged webhooks and the shown events with the journal.
type failoverLedger struct {
	acknowledged, retries, unreachable, refusals int64
	longest                                      time.Duration
	events, lost, twice                          int
	seen, moved, resumed                         int
	refused                                      []string
}

// settle waits for the end of the load and makes the ledger.
func (f *failover) settle() failoverLedger {
	f.t.Helper()
	report := f.simulation.wait(f.t)
	f.awaitReady()
	f.events = tailAll(f.t, f.replicas.all[1].process)
	ids := make([]string, len(f.events))
	for i, e := range f.events {
		ids[i] = e.GetId()
	}
	await(f.t, "the client catches up", func() bool {
		f.follower.mu.Lock()
		defer f.follower.mu.Unlock()
		return len(f.follower.ids) >= len(ids) || len(f.follower.refused) > 0
	})
	f.stop()

	seen := f.follower.seen()
	l := failoverLedger{
		acknowledged: report.Total.Acknowledged, retries: report.Requests.Retries, unreachable: report.Answers.Unreachable,
		longest: time.Duration(report.Answers.Longest * float64(time.Second)).Round(time.Millisecond),
		events:  len(f.events), seen: len(seen), moved: moved(seen, ids), resumed: f.follower.resumed, refused: f.follower.refused,
	}
	for code, n := range report.Answers.Status {
		if code != 200 {
			l.refusals += n
		}
	}
	expected := f.acknowledged()
	times := map[string]int{}
	for _, e := range f.events {
		times[fingerprint(f.t, e)]++
	}
	for said := range expected {
		if times[said] == 0 {
			l.lost++
		}
	}
	for _, n := range times {
		if n > 1 {
			l.twice++
		}
	}
	return l
}

// awaitReady waits until all replicas are ready again.
func (f *failover) awaitReady() {
	await(f.t, "the replicas are ready", func() bool {
		for _, addr := range f.replicas.addrs("ops") {
			if !f.replicas.balancer.ask(f.t.Context(), addr) {
				return false
			}
		}
		return true
	})
}

// acknowledged returns what the acknowledged webhooks mean.
func (f *failover) acknowledged() map[string]bool {
	expected := map[string]bool{}
	for _, r := range readRecords(f.t, f.simulation.record) {
		if r.Outcome != simulate.Acknowledged || r.Kind != simulate.Valid {
			continue
		}
		w := simulate.Webhook{Event: r.Event, Path: r.Path, Key: r.Key, Body: r.Body}
		events, _, fault := translateWebhook(f.t, allConnectors()["retino"], &w)
		if fault != nil {
			f.t.Fatalf("%v: %s", fault, r.Body)
		}
		for _, e := range events {
			expected[fingerprint(f.t, e)] = true
		}
	}
	return expected
}
