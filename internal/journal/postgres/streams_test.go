package postgres

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/postgres/pgtest"
	"github.com/webhook-bridge/bridge/internal/subscribe/subscribetest"
)

// streamPace is that of histories on the computer's clock: a lease runs out within one.
var streamPace = subscribetest.Pace{
	Steps: 12, Pause: 600 * time.Millisecond, Deadline: 3 * time.Second, Longest: 5 * time.Second,
	Tolerance: time.Second, Grace: 5 * time.Second, Calm: 90 * time.Second,
}

// TestStreamHistories: the subscription service keeps its promises with two replicas on one database, whatever happens to them and to their clients.
func TestStreamHistories(t *testing.T) {
	pgtest.Enabled(t)
	cluster := pgtest.Start(t, pgtest.Options{Settings: map[string]string{"max_connections": "600"}})
	using := make(chan struct{}, 1)
	subscribetest.Parallel(t, 6, 12, streamPace, func(t *testing.T, _ uint64) subscribetest.Harness { return newPair(t, cluster, using) })
}

// pair is two replicas, each behind a proxy of its own, on one schema.
type pair struct {
	t       *testing.T
	cluster *pgtest.Cluster
	// using is held by whoever uses the cluster, which is for one goroutine at a time.
	using   chan struct{}
	schema  string
	all     [replicas]*Journal
	proxies [replicas]*pgtest.Proxy
}

func newPair(t *testing.T, cluster *pgtest.Cluster, using chan struct{}) subscribetest.Harness {
	p := &pair{t: t, cluster: cluster, using: using, schema: newSchemaName()}
	t.Cleanup(p.close)
	return subscribetest.Harness{
		Replicas: replicas,
		Open:     p.open,
		Kill: func(i int) {
			p.proxies[i].Refuse()
			p.all[i].abandon()
		},
		Freeze: func(i int) func() {
			p.proxies[i].Freeze()
			return p.proxies[i].Thaw
		},
		Cut:    func(i int) { p.proxies[i].Cut() },
		Retain: p.retain,
		Age:    streamAge,
	}
}

// streamAge is how long events are kept.
const streamAge = 4 * time.Second

// alone uses the cluster.
func (p *pair) alone(use func()) {
	p.using <- struct{}{}
	defer func() { <-p.using }()
	use()
}

func (p *pair) open(i int) (journal.Journal, error) {
	if p.proxies[i] != nil {
		p.proxies[i].Close()
	}
	var err error
	if p.proxies[i], err = pgtest.NewProxy(); err != nil {
		return nil, err
	}
	p.proxies[i].Forward(p.cluster.Primary().Addr())
	j, err := Open(context.Background(), Config{
		URL: p.cluster.URLBy(p.proxies[i]), Schema: p.schema, ReplicatedBy: ByNothing, noRetention: true, lease: testLease, eventsPerPartition: 20,
		Retention: Retention{Age: streamAge, Size: -1},
	})
	if err != nil {
		return nil, err
	}
	p.all[i] = j
	return j, nil
}

// retain runs retention at a replica that can.
func (p *pair) retain() {
	for _, j := range p.all {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		err := j.retain(ctx)
		cancel()
		if err == nil {
			return
		}
		p.t.Logf("retention: %v", err) // The replica is dead, frozen or cut off.
	}
}

func (p *pair) close() {
	var closing sync.WaitGroup
	for _, j := range p.all {
		if j != nil {
			closing.Go(func() { _ = j.Close() }) // Some are dead.
		}
	}
	closing.Wait()
	for _, x := range p.proxies {
		if x != nil {
			x.Close()
		}
	}
	p.alone(func() { p.cluster.Exec(p.t, "drop schema if exists "+p.schema+" cascade") })
}
