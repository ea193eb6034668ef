package daemon

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
)

const (
	groupEvents = 50_000
	// groupCredit is what each member may have outstanding.
	groupCredit = 1000

	// The webhooks of BenchmarkWebhookToAck.
	ackRate = 2000
	ackSpan = 10 * time.Second
)

// member is one member of a group, which acknowledges what it gets, batch by batch.
type member struct {
	stream grpc.BidiStreamingClient[streamv1.SubscribeRequest, streamv1.SubscribeResponse]
	// waiting are the deliveries of acknowledgements without an answer.
	mu      sync.Mutex
	waiting [][]*streamv1.Delivery
}

// joinGroup starts a member, without credit.
func joinGroup(b *testing.B, ctx context.Context, client streamv1.EventStreamServiceClient, start *streamv1.SubscribeStart) *member { //nolint:revive // b comes first in helpers
	b.Helper()
	stream, err := client.Subscribe(ctx)
	if err != nil {
		b.Fatal(err)
	}
	m := &member{stream: stream}
	if err := stream.Send(&streamv1.SubscribeRequest{Message: &streamv1.SubscribeRequest_Start{Start: start}}); err != nil {
		b.Fatal(err)
	}
	if r, err := stream.Recv(); err != nil || r.GetSubscribed() == nil {
		b.Fatal(r, err)
	}
	return m
}

// begin gives the first credit.
func (m *member) begin() error {
	return m.stream.Send(&streamv1.SubscribeRequest{Message: &streamv1.SubscribeRequest_Credit{Credit: &streamv1.Credit{Events: groupCredit}}})
}

// run acknowledges until the stream ends, and tells what was confirmed.
func (m *member) run(confirmed func([]*streamv1.Delivery)) error {
	for {
		r, err := m.stream.Recv()
		if err != nil {
			return err
		}
		if result := r.GetAckResult(); result != nil {
			m.mu.Lock()
			deliveries := m.waiting[0]
			m.waiting = m.waiting[1:]
			m.mu.Unlock()
			if len(result.GetStale()) > 0 || int(result.GetAccepted()) != len(deliveries) {
				return fmt.Errorf("of %d deliveries %v were stale", len(deliveries), result.GetStale())
			}
			confirmed(deliveries)
			continue
		}
		deliveries := r.GetBatch().GetDeliveries()
		if len(deliveries) == 0 {
			continue
		}
		ids := make([]string, len(deliveries))
		for i, d := range deliveries {
			ids[i] = d.GetId()
		}
		m.mu.Lock()
		m.waiting = append(m.waiting, deliveries)
		m.mu.Unlock()
		for _, request := range []*streamv1.SubscribeRequest{
			{Message: &streamv1.SubscribeRequest_Ack{Ack: &streamv1.Ack{Which: &streamv1.Ack_Ids{Ids: &streamv1.DeliveryIds{Ids: ids}}}}},
			{Message: &streamv1.SubscribeRequest_Credit{Credit: &streamv1.Credit{Events: uint32(len(ids))}}},
		} {
			if err := m.stream.Send(request); err != nil {
				return err
			}
		}
	}
}

// BenchmarkGroups measures groups of 1, 8 and 64 members that go through a journal on disk and acknowledge all of it, durably, against one
// Tail of the same journal, in one run. It prints the ratios.
func BenchmarkGroups(b *testing.B) {
	dir := b.TempDir()
	writeJournal(b, dir, groupEvents)
	client := dial(b, startServer(b, retinoConfig(dir)))
	for n := range b.N {
		began := time.Now()
		readStream(b, client, groupEvents)
		tail := groupEvents / time.Since(began).Seconds()
		b.ReportMetric(tail, "tail-events/s")
		for _, members := range []int{1, 8, 64} {
			joined, took := acknowledgeAll(b, client, fmt.Sprintf("group-%d-%d", members, n), members)
			rate := groupEvents / took.Seconds()
			b.Logf("%d members, joined in %v: %.0f acknowledged events/s; Tail %.0f events/s; ratio %.2f",
				members, joined.Round(time.Millisecond), rate, tail, rate/tail)
			b.ReportMetric(rate/tail, fmt.Sprintf("of-tail-with-%d", members))
		}
	}
	b.ReportMetric(0, "ns/op")
}

// acknowledgeAll has the members of a group acknowledge all events of the journal. It returns how long they took to join, one after the other, and then to
// acknowledge.
func acknowledgeAll(b *testing.B, client streamv1.EventStreamServiceClient, group string, members int) (joined, took time.Duration) {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	var mu sync.Mutex
	missing := groupEvents
	done := make(chan struct{})
	began := time.Now()
	var all []*member
	for range members {
		m := joinGroup(b, ctx, client, &streamv1.SubscribeStart{Group: group})
		all = append(all, m)
		running.Go(func() {
			err := m.run(func(deliveries []*streamv1.Delivery) {
				mu.Lock()
				defer mu.Unlock()
				if missing -= len(deliveries); missing == 0 {
					close(done)
				}
			})
			if ctx.Err() == nil {
				b.Error(err)
			}
		})
	}
	joined = time.Since(began)
	began = time.Now()
	for _, m := range all {
		if err := m.begin(); err != nil {
			b.Fatal(err)
		}
	}
	select {
	case <-done:
	case <-time.After(5 * time.Minute):
		b.Fatalf("%d events are missing", missing)
	}
	return joined, time.Since(began)
}

// BenchmarkWebhookToAck measures the time from a webhook's request to the confirmation that its event was acknowledged in a group, at 2,000
// webhooks a second from 32 connections, over loopback, with one member and with four. The time until the webhook's answer stands beside it.
func BenchmarkWebhookToAck(b *testing.B) {
	for _, members := range []int{1, 4} {
		b.Run(fmt.Sprintf("members=%d", members), func(b *testing.B) {
			for range b.N {
				webhookToAck(b, members)
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

func webhookToAck(b *testing.B, members int) {
	b.Helper()
	a := startServer(b, retinoConfig(b.TempDir()))
	client := dial(b, a)
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	var mu sync.Mutex
	var times, answered []time.Duration
	sent := make(map[string]time.Time)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	const webhooks = ackRate * int(ackSpan/time.Second)
	done := make(chan struct{})
	for range members {
		m := joinGroup(b, ctx, client, &streamv1.SubscribeStart{Group: "group"})
		if err := m.begin(); err != nil {
			b.Fatal(err)
		}
		running.Go(func() {
			err := m.run(func(deliveries []*streamv1.Delivery) {
				now := time.Now()
				mu.Lock()
				defer mu.Unlock()
				for _, d := range deliveries {
					_, id, _ := strings.Cut(d.GetEvent().GetSubject(), "/")
					times = append(times, now.Sub(sent[id]))
				}
				if len(times) == webhooks {
					close(done)
				}
			})
			if ctx.Err() == nil {
				b.Error(err)
			}
		})
	}
	sendPaced(b, "http://"+a.Addr("webhooks")+"/webhooks/returns", webhooks, func(id string) (done func()) {
		began := time.Now()
		mu.Lock()
		defer mu.Unlock()
		sent[id] = began
		return func() {
			took := time.Since(began)
			mu.Lock()
			defer mu.Unlock()
			answered = append(answered, took)
		}
	})
	select {
	case <-done:
	case <-time.After(time.Minute):
		b.Fatalf("%d of %d events were acknowledged", len(times), webhooks)
	}
	slices.Sort(times)
	slices.Sort(answered)
	at := func(times []time.Duration, q float64) float64 {
		return float64(times[int(q*float64(len(times)-1))].Microseconds()) / 1000
	}
	b.Logf("%d members, %d webhooks at %d/s: acknowledged p50 %.1f ms, p99 %.1f ms, max %.1f ms; answered p50 %.1f ms, p99 %.1f ms, max %.1f ms",
		members, webhooks, ackRate, at(times, 0.5), at(times, 0.99), at(times, 1), at(answered, 0.5), at(answered, 0.99), at(answered, 1))
	b.ReportMetric(at(times, 0.5), "p50-ms")
	b.ReportMetric(at(times, 0.99), "p99-ms")
	b.ReportMetric(at(answered, 0.99), "answered-p99-ms")
}

// sendPaced sends webhooks about shipments of their own, at ackRate. It says before each which it is, and calls done when it was answered.
func sendPaced(b *testing.B, url string, webhooks int, sending func(id string) (done func())) {
	b.Helper()
	const connections = 32
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections}}
	began := time.Now()
	numbers := make(chan int)
	var senders sync.WaitGroup
	for range connections {
		senders.Go(func() {
			for range numbers {
				id := uuid.NewString()
				done := sending(id)
				if err := sendShipment(b.Context(), client, url, id); err != nil {
					b.Error(err)
				}
				done()
			}
		})
	}
	for n := range webhooks {
		<-time.After(time.Until(began.Add(time.Duration(n) * time.Second / ackRate)))
		numbers <- n
	}
	close(numbers)
	senders.Wait()
}

func sendShipment(ctx context.Context, client *http.Client, url, id string) error {
	body := fmt.Sprintf(`{"event_type":"shipping.ordered","created_at":%q,"shipping":{"id":%q}}`, time.Now().UTC().Format(time.RFC3339Nano), id)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-Retino-Secret", "a-secret-for-tests")
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the webhook was answered with %s", response.Status)
	}
	return nil
}
