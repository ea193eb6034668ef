package main

import (
	"context"
	"fmt"
	"hash/maphash"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/internal/journal/postgres/pgtest"
	"github.com/webhook-bridge/bridge/sinks/kafka/kafkatest"
)

// envEvents is how many webhooks must be acknowledged in TestChaos, at least.
const envEvents = "BRIDGE_TEST_EVENTS"

// chaosSchema is the schema of the PostgreSQL sink.
const chaosSchema = "warehouse"

// TestChaos breaks everything around the webhooks of five vendors, which are pushed to the real Kafka, a file and PostgreSQL at once: bridge,
// the broker and PostgreSQL are killed and frozen, connections are cut, the file's folder is taken away. At the end the
// ledger must add up: each webhook that was answered with success is one event of the journal, and each event of the journal is in
// each sink once, in order for its subject.
func TestChaos(t *testing.T) {
	for _, journal := range []struct {
		name  string
		start func(*testing.T) *chaos
	}{{"pebble", startChaos}, {"postgres", startReplicatedChaos}} {
		t.Run(journal.name, func(t *testing.T) {
			c := journal.start(t)
			c.run()
			c.settle()
			judgeTopic(t, c.broker, c.order).once(t, "topic")
			judgeFiles(t, filepath.Join(c.dir, "out"), c.order).once(t, "archive")
			judgeTable(t, c.cluster, c.order).once(t, "table")
			seen := countTransactions(t, c.broker)
			t.Logf("topic:   %d records with those of aborted transactions; markers: %d commits, %d aborts (one for each partition)",
				seen.records, seen.commits, seen.aborts)
		})
	}
}

// TestChaosControl does the same to a Kafka sink that delivers at least once. It must show repeats. Otherwise TestChaos shows nothing.
func TestChaosControl(t *testing.T) {
	broker := kafkatest.Start(t)
	c := newChaos(t, broker, nil)
	c.replicas = startReplicas(t, func(string) string {
		return c.config(c.embedded(), c.topicSink("at_least_once"))
	}, "a")
	c.load = startChaosLoad(t, c.webhooks)
	for range 2 {
		c.calm()
		c.flicker()
		c.kill(0)
	}
	c.settle()
	j := judgeTopic(t, c.broker, c.order)
	t.Logf("topic:   %s", j)
	if j.missing() > 0 || j.skipped > 0 || j.strange > 0 {
		t.Error("events are missing or out of order")
	}
	if j.twice == 0 {
		t.Error("no event is there twice, so TestChaos shows nothing")
	}
}

// chaos is a bridge under load whose surroundings fail.
type chaos struct {
	t        *testing.T
	dir      string
	broker   *kafkatest.Broker
	cluster  *pgtest.Cluster
	replicas *replicas
	load     *chaosLoad
	order    *order
	did      map[string]int
}

func newChaos(t *testing.T, broker *kafkatest.Broker, cluster *pgtest.Cluster) *chaos {
	t.Helper()
	c := &chaos{t: t, dir: t.TempDir(), broker: broker, cluster: cluster, order: newOrder(), did: map[string]int{}}
	if err := os.Mkdir(filepath.Join(c.dir, "out"), 0o700); err != nil {
		t.Fatal(err)
	}
	return c
}

// startChaos starts one bridge with the embedded journal.
func startChaos(t *testing.T) *chaos {
	c := newChaos(t, kafkatest.Start(t), pgtest.Start(t, pgtest.Options{}))
	sinks := c.topicSink("exactly_once") + c.fileSink("") + c.tableSink()
	c.replicas = startReplicas(t, func(string) string { return c.config(c.embedded(), sinks) }, "a")
	c.load = startChaosLoad(t, c.webhooks)
	return c
}

// startReplicatedChaos starts two bridges with the journal in PostgreSQL.
func startReplicatedChaos(t *testing.T) *chaos {
	c := newChaos(t, kafkatest.Start(t), pgtest.Start(t, pgtest.Options{}))
	sinks := c.topicSink("exactly_once") + c.fileSink(", replica: a") + c.tableSink()
	c.replicas = startReplicas(t, func(name string) string {
		return c.config(fmt.Sprintf("{postgres: {url: %q, replicated_by: nothing, replica: %s}}", c.cluster.URL(), name), sinks)
	}, "a", "b")
	c.load = startChaosLoad(t, c.webhooks)
	return c
}

func (c *chaos) embedded() string {
	return fmt.Sprintf("{dir: %q, min_free: 1Mi}", filepath.Join(c.dir, "journal"))
}

func (c *chaos) config(journal, sinks string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `
listen: {webhooks: "127.0.0.1:0", ops: "127.0.0.1:0", grpc: "127.0.0.1:0", admin: "127.0.0.1:0"}
journal: %s
log: {format: json}
sinks:
%ssources:
`, journal, sinks)
	for _, s := range []struct{ name, connector, header string }{
		{"returns", "retino", "X-Retino-Secret"},
		{"till", "kasafik", "X-Till"},
		{"loyalty", "openloyalty", "X-Loyalty-Token"},
		{"erp", "dealpos", "X-API-Key"},
		{"diner", "linga", "X-API-Key"},
	} {
		fmt.Fprintf(&b, "  - {name: %s, connector: %s, currency: CZK, time_zone: Europe/Prague, auth: {header: {name: %s, values: [%s]}}}\n",
			s.name, s.connector, s.header, testSecret)
	}
	return b.String()
}

func (c *chaos) topicSink(delivery string) string {
	return fmt.Sprintf(`  - name: topic
    kafka: {brokers: [%q], topic: %s, create_topics: {partitions: 6}, timeout: 5s, delivery: %s}
    backoff: {min: 50ms, max: 500ms}
`, c.broker.Brokers()[0], chaosTopic, delivery)
}

func (c *chaos) fileSink(more string) string {
	return fmt.Sprintf(`  - {name: archive, file: {path: %q, rotate: {size: 4Mi}}, backoff: {min: 50ms, max: 500ms}%s}
`, filepath.Join(c.dir, "out", "events.jsonl"), more)
}

func (c *chaos) tableSink() string {
	return fmt.Sprintf(`  - {name: table, postgres: {url: %q, schema: %s, timeout: 5s}, backoff: {min: 50ms, max: 500ms}}
`, c.cluster.URL(), chaosSchema)
}

// webhooks returns the address that a lane sends to.
func (c *chaos) webhooks(lane int) string {
	all := c.replicas.addrs("webhooks")
	return all[lane%len(all)]
}

// chaosRounds is how often everything is broken, at least, where a number of webhooks is asked for.
const chaosRounds = 4

// run breaks things until everything was broken once and enough webhooks are acknowledged.
func (c *chaos) run() {
	enough, _ := strconv.ParseInt(os.Getenv(envEvents), 10, 64)
	for round := 0; round == 0 || c.load.acknowledged.Load() < enough; round++ {
		c.load.await(c.t.Context(), enough/chaosRounds/2)
		for _, strike := range []func(){
			c.killHolder, c.freezeHolder, c.killBroker, c.freezeBroker, c.crashDatabase, c.flicker, c.takeFolderAway,
		} {
			c.calm()
			c.load.await(c.t.Context(), enough/chaosRounds/14)
			strike()
		}
		c.t.Logf("after round %d: %d webhooks acknowledged", round+1, c.load.acknowledged.Load())
	}
	c.calm()
}

// calm lets the load go on for a while.
func (c *chaos) calm() {
	<-time.After(500 * time.Millisecond)
	for _, one := range c.replicas.all {
		select {
		case <-one.process.exited:
			c.t.Fatalf("the bridge ended by itself: %v", one.process.err)
		default:
		}
	}
}

// kill kills a replica by SIGKILL, and starts it again.
func (c *chaos) kill(i int) {
	c.did["bridge killed"]++
	c.replicas.kill(c.replicas.all[i])
	c.replicas.start(c.replicas.all[i])
}

// killHolder kills the replica that delivers to the topic.
func (c *chaos) killHolder() { c.kill(c.holder()) }

// freezeHolder stops the process that delivers to the topic. If there is another replica, it lets it continue when the other one has taken
// the sinks over.
func (c *chaos) freezeHolder() {
	i := c.holder()
	var before float64
	if len(c.replicas.all) > 1 {
		before = c.delivered(c.replicas.all[1-i])
	}
	c.did["bridge frozen"]++
	frozen := c.replicas.all[i].process.cmd.Process
	c.signal(frozen, syscall.SIGSTOP)
	defer c.signal(frozen, syscall.SIGCONT)
	if len(c.replicas.all) == 1 {
		<-time.After(2 * time.Second)
		return
	}
	successor := c.replicas.all[1-i]
	await(c.t, "a successor takes over", func() bool { return c.delivered(successor) > before })
	c.did["a successor took over from a frozen bridge"]++
	c.calm()
}

func (c *chaos) signal(p *os.Process, s os.Signal) {
	c.t.Helper()
	if err := p.Signal(s); err != nil {
		c.t.Fatal(err)
	}
}

// holder returns the index of the replica that delivers to the topic.
func (c *chaos) holder() (holder int) {
	var before []float64
	for _, one := range c.replicas.all {
		before = append(before, c.delivered(one))
	}
	await(c.t, "a replica delivers to the topic", func() bool {
		for i, one := range c.replicas.all {
			if c.delivered(one) > before[i] {
				holder = i
				return true
			}
		}
		return false
	})
	return holder
}

var topicDelivered = regexp.MustCompile(`(?m)^bridge_sink_delivered_total\{sink="topic"\} (\S+)$`)

// delivered returns how many events a process has delivered to the topic. It is 0 if the process does not tell.
func (c *chaos) delivered(one *replica) (n float64) {
	metrics, err := fetch(c.t.Context(), "http://"+one.process.addr("ops")+"/metrics", "", "")
	if found := topicDelivered.FindStringSubmatch(metrics); err == nil && found != nil {
		n, _ = strconv.ParseFloat(found[1], 64)
	}
	return n
}

// killBroker kills the broker, and a bridge while there is none.
func (c *chaos) killBroker() {
	c.did["broker killed"]++
	c.broker.Kill(c.t)
	c.calm()
	c.kill(0)
	c.broker.Restart(c.t)
}

func (c *chaos) freezeBroker() {
	c.did["broker frozen"]++
	c.broker.Freeze(c.t)
	defer c.broker.Thaw(c.t)
	<-time.After(3 * time.Second)
}

// crashDatabase crashes PostgreSQL, and starts it again.
func (c *chaos) crashDatabase() {
	c.did["PostgreSQL crashed"]++
	c.cluster.Restart(c.t)
}

// flicker cuts the connection to the broker at random.
func (c *chaos) flicker() {
	for range 15 {
		c.did["connection to the broker cut"]++
		c.broker.Proxy.Disconnect()
		<-time.After(time.Duration(rand.IntN(60)) * time.Millisecond)
		c.broker.Proxy.Resume()
		<-time.After(time.Duration(rand.IntN(120)) * time.Millisecond)
	}
}

// takeFolderAway makes the file sink's folder unusable for a while; root may write to a folder that is read-only, so its
// name goes away instead.
func (c *chaos) takeFolderAway() {
	c.did["folder taken away"]++
	folder := filepath.Join(c.dir, "out")
	if err := os.Rename(folder, folder+".away"); err != nil {
		c.t.Fatal(err)
	}
	c.calm()
	if err := os.Rename(folder+".away", folder); err != nil {
		c.t.Fatal(err)
	}
}

// settle stops the load, waits until the sinks have caught up, and compares the acknowledged webhooks with the journal.
func (c *chaos) settle() {
	c.t.Helper()
	c.load.stop()
	facts := map[uint64]int{}
	subscriber := &reader{untilIdle: true, handle: func(e *eventv1.Event) {
		c.order.add(e.GetId(), e.GetSource(), e.GetSubject())
		facts[maphash.String(c.load.seed, factOf(e))]++
	}}
	subscriber.read(c.t.Context(), c.t, c.replicas.all[0].process.addr("grpc"))
	c.awaitSinks()
	missing, twice := 0, c.order.twice
	for fact := range c.load.facts {
		if facts[fact] == 0 {
			missing++
		}
	}
	for _, n := range facts {
		twice += n - 1
	}
	for _, what := range slices.Sorted(maps.Keys(c.did)) {
		c.t.Logf("%3d × %s", c.did[what], what)
	}
	c.t.Logf("journal: %d webhooks sent, %d acknowledged; %d events of %d subjects: %d acknowledged but missing, %d twice",
		c.load.sent.Load(), len(c.load.facts), len(c.order.places), len(c.order.length), missing, twice)
	if missing > 0 || twice > 0 || len(c.load.facts) == 0 {
		c.t.Error("the journal has not what was acknowledged")
	}
}

var anyLag = regexp.MustCompile(`(?m)^bridge_sink_lag_events\{sink="\w+"\} (\S+)$`)

// awaitSinks waits until all replicas say that no sink is behind.
func (c *chaos) awaitSinks() {
	ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Minute)
	defer cancel()
	began := time.Now()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		var behind []string
		for _, addr := range c.replicas.addrs("ops") {
			metrics, err := fetch(ctx, "http://"+addr+"/metrics", "", "")
			all := anyLag.FindAllStringSubmatch(metrics, -1)
			for _, lag := range all {
				if lag[1] != "0" {
					behind = append(behind, lag[0])
				}
			}
			if err != nil || len(all) == 0 {
				behind = append(behind, addr+" does not tell")
			}
		}
		if len(behind) == 0 {
			c.t.Logf("the sinks caught up within %v", time.Since(began).Round(100*time.Millisecond))
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			c.t.Fatalf("the sinks did not catch up:\n%s", strings.Join(behind, "\n"))
		}
	}
}
