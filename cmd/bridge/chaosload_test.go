package main

import (
	"bytes"
	"context"
	"fmt"
	"hash/maphash"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
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

// chaosLanes is how many senders a vendor has. Each sends facts of its own, one after the other, so that there is an order in which facts of
// one subject are sent.
const chaosLanes = 8

// laneFacts is the number of facts that a lane has. It is a multiple of versions.
const laneFacts = 10_000_000

// chaosLoad sends webhooks of all vendors until it is stopped.
type chaosLoad struct {
	t *testing.T
	// addr returns where a lane's webhooks go now.
	addr func(lane int) string
	stop func()

	seed         maphash.Seed
	sent         atomic.Int64
	acknowledged atomic.Int64
	mu           sync.Mutex
	// facts are the hashes of the acknowledged facts. Guarded by mu.
	facts map[uint64]struct{}
}

func startChaosLoad(t *testing.T, addr func(lane int) string) *chaosLoad {
	l := &chaosLoad{t: t, addr: addr, seed: maphash.MakeSeed(), facts: map[uint64]struct{}{}}
	ctx, cancel := context.WithCancel(t.Context())
	var senders sync.WaitGroup
	for _, v := range chaosVendors() {
		for lane := range chaosLanes {
			senders.Go(func() { l.send(ctx, v, lane) })
		}
	}
	l.stop = func() {
		cancel()
		senders.Wait()
	}
	t.Cleanup(l.stop)
	return l
}

// await waits until that many more webhooks are acknowledged.
func (l *chaosLoad) await(ctx context.Context, more int64) {
	more += l.acknowledged.Load()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for l.acknowledged.Load() < more && ctx.Err() == nil {
		<-tick.C
	}
}

// send sends a lane's webhooks. One that got no answer is not sent again: it may be there or not.
func (l *chaosLoad) send(ctx context.Context, v chaosVendor, lane int) {
	client := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for n := int64(lane) * laneFacts; ctx.Err() == nil; n++ {
		url := "http://" + l.addr(lane) + "/webhooks/" + v.source + v.path
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(v.render(n)))
		if err != nil {
			l.t.Error(err)
			return
		}
		req.Header.Set(v.header, testSecret)
		l.sent.Add(1)
		resp, err := client.Do(req)
		if err != nil {
			<-time.After(20 * time.Millisecond)
			continue
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			<-time.After(5 * time.Millisecond)
			continue
		}
		l.acknowledged.Add(1)
		l.mu.Lock()
		l.facts[maphash.String(l.seed, v.key(n))] = struct{}{}
		l.mu.Unlock()
	}
}
