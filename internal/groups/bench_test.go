package groups

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/internal/journal/memgroups"
	"github.com/webhook-bridge/bridge/sinks/memlog"
)

// BenchmarkAssign computes who has which share. It is done at each join and leave, with the group's lock held.
func BenchmarkAssign(b *testing.B) {
	for _, n := range []int{8, 64, 1000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			all := members(n, 1)
			for b.Loop() {
				assign(all)
			}
		})
	}
}

// BenchmarkGroup delivers and acknowledges events of 1,000 subjects to one group, over a store in memory.
func BenchmarkGroup(b *testing.B) {
	for _, members := range []int{1, 8, 64} {
		b.Run(strconv.Itoa(members), func(b *testing.B) { benchmarkGroup(b, members) })
	}
}

func benchmarkGroup(b *testing.B, members int) {
	log := memlog.New("log")
	for i := range b.N {
		_, err := log.Append(&eventv1.Event{Id: strconv.Itoa(i), Type: "order.created", Source: "shop", Subject: fmt.Sprint("order/", i%1000)})
		if err != nil {
			b.Fatal(err)
		}
	}
	instance := memgroups.New(time.Now).Open("a")
	m, err := New(Config{Groups: instance, Letters: instance, Log: log, Compile: compile, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	var running, working sync.WaitGroup
	running.Go(func() { _ = m.Run(ctx) })
	var all []*Member
	for range members {
		member, err := m.Join(ctx, Request{Group: "g"})
		if err != nil {
			b.Fatal(err)
		}
		all = append(all, member)
	}
	b.ResetTimer()
	work, stop := context.WithCancel(ctx)
	var done atomic.Int64
	for _, member := range all {
		working.Go(func() {
			for {
				batch, err := member.Next(work, Budget{Events: 100})
				if err != nil {
					return
				}
				if len(batch.Deliveries) == 0 {
					continue
				}
				receipt, err := member.Answer(Answer{UpTo: batch.Deliveries[len(batch.Deliveries)-1].ID})
				if err != nil {
					b.Error(err)
					return
				}
				working.Go(func() {
					res, _ := receipt.Wait(work)
					if done.Add(int64(res.Accepted)) == int64(b.N) {
						stop()
					}
				})
			}
		})
	}
	working.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	stop()
	cancel()
	running.Wait()
}
