package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks/kafka/kafkatest"
)

// chaosVendor is one of five senders: a sample in which a number takes the place of what tells its facts apart.
type chaosVendor struct {
	source, path, header string
	body                 []byte
	mark                 string
	number               func(n int64) string
	// key is how an event of the vendor's fact number n is known, see factOf.
	key func(n int64) string
}

// versions is how many webhooks of one KASA FIK order come, so that there is an order to keep.
const versions = 40

func chaosVendors() []chaosVendor {
	hex := func(n int64) string { return fmt.Sprintf("%012d", n) }
	order := func(n int64) int64 { return 4_000_000_000_000_000 + n/versions }
	return []chaosVendor{
		{
			"returns", "", "X-Retino-Secret", sampleBody("retino", "shipping_ordered"), "85d89721174e", hex,
			func(n int64) string { return "returns/shipment/2b20e85f-2201-494a-b3f9-" + hex(n) + "@" },
		},
		{
			"till", "", "X-Till", sampleBody("kasafik", "orders"), `1541274974010`,
			func(n int64) string { return strconv.FormatInt(1_541_274_974_010+n, 10) },
			func(n int64) string { return fmt.Sprintf("till/order/%d@%d", order(n), 1_541_274_974_010+n) },
		},
		{
			"loyalty", "", "X-Loyalty-Token", sampleBody("openloyalty", "account_available_points_amount_changed"), "4df343e5f333", hex,
			func(n int64) string { return "loyalty/transfer/e82c96cf-32a3-43bd-9034-" + hex(n) },
		},
		{
			"erp", "/paymentCreated", "X-API-Key", sampleBody("dealpos", "payment_created"), "a36110c34c7a", hex,
			func(n int64) string { return "erp/payment/1c2a88a6-d99c-4915-91af-" + hex(n) + "@" },
		},
		{
			"diner", "/close", "X-API-Key", sampleBody("linga", "close"), "0d1e2f3a4b5c", hex,
			func(n int64) string { return "diner/order/a3c1f0d2-1c2b-4f7e-9b9a-" + hex(n) + "@" },
		},
	}
}

// render is the vendor's webhook number n.
func (v chaosVendor) render(n int64) []byte {
	body := bytes.Replace(v.body, []byte(v.mark), []byte(v.number(n)), 1)
	if v.source == "till" {
		body = bytes.Replace(body, []byte("3317888960569993"), fmt.Append(nil, 4_000_000_000_000_000+n/versions), 1)
	}
	return body
}

// factOf is how an event is known to the one who sent its webhook.
func factOf(e *eventv1.Event) string {
	if c := e.GetLoyaltyPointsChange(); c != nil {
		return e.GetSource() + "/transfer/" + c.GetTransferId()
	}
	return e.GetSource() + "/" + e.GetSubject() + "@" + e.GetSubjectVersion()
}

func chaosConfig(dir string, brokers []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `
listen: {webhooks: "127.0.0.1:0", ops: "127.0.0.1:0", grpc: "127.0.0.1:0", admin: "127.0.0.1:0"}
journal: {dir: %q, min_free: 1Mi}
log: {format: json}
sinks:
  - name: topic
    kafka: {brokers: [%q], topic: bridge.events, create_topics: {partitions: 6}, timeout: 5s}
    concurrency: 4
    backoff: {min: 50ms, max: 500ms}
  - name: archive
    file: {path: %q, rotate: {size: 1Mi}}
    backoff: {min: 50ms, max: 500ms}
sources:
`, filepath.Join(dir, "journal"), brokers[0], filepath.Join(dir, "out", "events.jsonl"))
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

// chaos is a bridge under load whose surroundings fail.
type chaos struct {
	t       *testing.T
	dir     string
	broker  *kafkatest.Broker
	process *process
	base    atomic.Pointer[string] // where webhooks go now

	sent         atomic.Int64
	mu           sync.Mutex
	acknowledged map[string]bool
}

// TestChaos breaks everything around five vendors' webhooks: the broker is stopped, killed and cut off, the file sink's
// folder taken away, the bridge itself killed. At the end the ledger must add up: every webhook that was answered with
// success is one event of the journal, and every event of the journal is in each sink, in order for its subject.
func TestChaos(t *testing.T) {
	broker := kafkatest.Start(t)
	c := &chaos{t: t, dir: t.TempDir(), broker: broker, acknowledged: map[string]bool{}}
	if err := os.Mkdir(filepath.Join(c.dir, "out"), 0o700); err != nil {
		t.Fatal(err)
	}
	c.start()
	ctx, stop := context.WithCancel(t.Context())
	var senders sync.WaitGroup
	for _, v := range chaosVendors() {
		// One sender a vendor keeps the order in which facts of one subject are sent.
		senders.Go(func() { c.send(ctx, v) })
	}
	c.calm()
	for range 2 {
		broker.Stop(t)
		c.calm()
		broker.Restart(t)
		c.takeFolderAway()
		c.flicker()
		c.kill()
		broker.Kill(t)
		c.kill()
		broker.Restart(t)
		c.calm()
	}
	stop()
	senders.Wait()
	c.settle()
}

func (c *chaos) start() {
	c.process = startBridge(c.t, chaosConfig(c.dir, c.broker.Brokers()))
	base := "http://" + c.process.addr("webhooks")
	c.base.Store(&base)
}

func (c *chaos) kill() {
	c.process.kill()
	c.start()
	c.calm()
}

// calm lets the load go on for a while.
func (c *chaos) calm() {
	select {
	case <-time.After(500 * time.Millisecond):
	case <-c.process.exited:
		c.t.Fatalf("the bridge ended by itself: %v", c.process.err)
	}
}

// flicker cuts the connection to the broker at random.
func (c *chaos) flicker() {
	for range 20 {
		c.broker.Proxy.Disconnect()
		<-time.After(time.Duration(rand.IntN(60)) * time.Millisecond)
		c.broker.Proxy.Resume()
		<-time.After(time.Duration(rand.IntN(120)) * time.Millisecond)
	}
}

// takeFolderAway makes the file sink's folder unusable for a while; root may write to a folder that is read-only, so its
// name goes away instead.
func (c *chaos) takeFolderAway() {
	folder := filepath.Join(c.dir, "out")
	if err := os.Rename(folder, folder+".away"); err != nil {
		c.t.Fatal(err)
	}
	c.calm()
	if err := os.Rename(folder+".away", folder); err != nil {
		c.t.Fatal(err)
	}
}

// send sends a vendor's webhooks, one after the other. One that got no answer is not sent again: it may be there or not.
func (c *chaos) send(ctx context.Context, v chaosVendor) {
	client := &http.Client{Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	for n := int64(0); ctx.Err() == nil; n++ {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, *c.base.Load()+"/webhooks/"+v.source+v.path, bytes.NewReader(v.render(n)))
		if err != nil {
			c.t.Error(err)
			return
		}
		req.Header.Set(v.header, testSecret)
		c.sent.Add(1)
		resp, err := client.Do(req)
		if err != nil {
			<-time.After(20 * time.Millisecond)
			continue
		}
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			c.mu.Lock()
			c.acknowledged[v.key(n)] = true
			c.mu.Unlock()
		}
	}
}

// settle waits until the sinks have caught up, then holds requests, journal and sinks against each other.
func (c *chaos) settle() {
	var journal []*eventv1.Event
	subscriber := &reader{untilIdle: true, handle: func(e *eventv1.Event) { journal = append(journal, e) }}
	subscriber.read(c.t.Context(), c.t, c.process.addr("grpc"))
	c.awaitSinks()

	facts := map[string]int{}
	for _, e := range journal {
		facts[factOf(e)]++
	}
	missing, twice := 0, 0
	for fact := range c.acknowledged {
		if facts[fact] == 0 {
			missing++
		}
	}
	for _, n := range facts {
		if n > 1 {
			twice++
		}
	}
	c.t.Logf("requests: %d sent, %d acknowledged; journal: %d events, %d acknowledged but missing, %d twice",
		c.sent.Load(), len(c.acknowledged), len(journal), missing, twice)
	if missing > 0 || twice > 0 || len(c.acknowledged) == 0 {
		c.t.Fail()
	}
	c.compare("topic", journal, c.topic())
	c.compare("archive", journal, c.archive())
}

// awaitSinks waits until both sinks lag behind nothing.
func (c *chaos) awaitSinks() {
	ctx, cancel := context.WithTimeout(c.t.Context(), 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		metrics, err := fetch(ctx, "http://"+c.process.addr("ops")+"/metrics", "", "")
		if err == nil && strings.Contains(metrics, "bridge_sink_lag_events{sink=\"topic\"} 0\n") &&
			strings.Contains(metrics, "bridge_sink_lag_events{sink=\"archive\"} 0\n") {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			c.t.Fatalf("the sinks did not catch up:\n%s", metrics)
		}
	}
}

// compare holds what a sink has against the journal: every event at least once, each subject's in order, where after a step
// back nothing may be skipped.
func (c *chaos) compare(sink string, journal, got []*eventv1.Event) {
	type place struct {
		subject string
		index   int
	}
	places, length := map[string]place{}, map[string]int{}
	for _, e := range journal {
		subject := e.GetSource() + "/" + e.GetSubject()
		places[e.GetId()] = place{subject, length[subject]}
		length[subject]++
	}
	reached, strange, skipped := map[string]int{}, 0, 0
	for _, e := range got {
		p, known := places[e.GetId()]
		switch {
		case !known:
			strange++
		case p.index > reached[p.subject]:
			skipped++
		case p.index == reached[p.subject]:
			reached[p.subject]++
		}
	}
	missing := 0
	for subject, n := range length {
		missing += n - reached[subject]
	}
	c.t.Logf("%s: %d events for the journal's %d (%d repeated), %d missing, %d out of order, %d of unknown origin",
		sink, len(got), len(journal), len(got)-len(journal), missing, skipped, strange)
	if missing > 0 || skipped > 0 || strange > 0 {
		c.t.Fail()
	}
}

func (c *chaos) topic() []*eventv1.Event {
	records, err := kafkatest.Read(c.t.Context(), c.broker.Brokers(), "bridge.events")
	if err != nil {
		c.t.Fatal(err)
	}
	var all []*eventv1.Event
	for _, r := range records {
		e := new(eventv1.Event)
		if err := proto.Unmarshal(r.Value, e); err != nil {
			c.t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

// archive reads the rotated files, whose names sort by time, and then the active one.
func (c *chaos) archive() []*eventv1.Event {
	rotated, err := filepath.Glob(filepath.Join(c.dir, "out", "events-*.jsonl"))
	if err != nil {
		c.t.Fatal(err)
	}
	var all []*eventv1.Event
	for _, path := range append(rotated, filepath.Join(c.dir, "out", "events.jsonl")) {
		text, err := os.ReadFile(path)
		if err != nil {
			c.t.Fatal(err)
		}
		lines := bufio.NewScanner(bytes.NewReader(text))
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			e := new(eventv1.Event)
			if err := protojson.Unmarshal(lines.Bytes(), e); err != nil {
				c.t.Fatalf("%s: %v", path, err)
			}
			all = append(all, e)
		}
	}
	return all
}
