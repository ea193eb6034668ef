package subscribe

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/internal/groups"
	"github.com/webhook-bridge/bridge/internal/journal/memgroups"
	"github.com/webhook-bridge/bridge/sinks/grpcstream"
	"github.com/webhook-bridge/bridge/sinks/memlog"
)

// rig is a log, a store of groups, and servers over both: replicas.
type rig struct {
	tb    testing.TB
	log   *memlog.Log
	store *memgroups.Store
	stops []func()
}

// bubble runs a test in a bubble with its own time.
func bubble(t *testing.T, f func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{tb: t, log: memlog.New("log"), store: memgroups.New(time.Now)}
		defer func() {
			for _, stop := range r.stops {
				stop()
			}
		}()
		f(t, r)
	})
}

// replica is a server with its part of the store.
type replica struct {
	*Server
	streams  *grpcstream.Streams
	instance *memgroups.Instance
	manager  *groups.Manager
}

// start starts a replica. It ends with the test at the latest.
func (r *rig) start(name string, change ...func(*grpcstream.Config, *groups.Config)) *replica {
	r.tb.Helper()
	x := &replica{streams: grpcstream.NewStreams(grpcstream.StreamsConfig{}), instance: r.store.Open(name)}
	tail := grpcstream.Config{Streams: x.streams}
	config := groups.Config{Groups: x.instance, Letters: x.instance, Log: r.log, Compile: Compile(x.streams)}
	for _, f := range change {
		f(&tail, &config)
	}
	var err error
	if x.manager, err = groups.New(config); err != nil {
		r.tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { _ = x.manager.Run(ctx) })
	r.stops = append(r.stops, func() {
		cancel()
		done.Wait()
	})
	x.Server = New(Config{Log: r.log, Tail: grpcstream.New(r.log, tail), Groups: x.manager})
	return x
}

// member subscribes to the group g with credit.
func (x *replica) member(tb testing.TB, change ...func(*streamv1.SubscribeStart)) *call {
	tb.Helper()
	start := &streamv1.SubscribeStart{Group: "g", Credit: &streamv1.Credit{Events: 1000}}
	for _, f := range change {
		f(start)
	}
	return subscribe(tb, x.Server, start)
}

// policy sets a group's policy.
func policy(p *streamv1.GroupPolicy) func(*streamv1.SubscribeStart) {
	return func(s *streamv1.SubscribeStart) { s.Policy = p }
}

func noCredit(s *streamv1.SubscribeStart) { s.Credit = nil }

func (x *replica) pull(tb testing.TB, r *streamv1.PullRequest) []*streamv1.Delivery {
	tb.Helper()
	r.Group = "g"
	response, err := x.Pull(tb.Context(), r)
	if err != nil {
		tb.Fatalf("pull: %v", err)
	}
	// As a client gets it: the deliveries are unknown fields before.
	return reencoded(tb, response, &streamv1.PullResponse{}).GetDeliveries()
}

func (x *replica) group(tb testing.TB) *streamv1.Group {
	tb.Helper()
	got, err := x.GetGroup(tb.Context(), &streamv1.GetGroupRequest{Group: "g"})
	if err != nil {
		tb.Fatal(err)
	}
	return got.GetGroup()
}

func (x *replica) parked(tb testing.TB) []*streamv1.ParkedEvent {
	tb.Helper()
	got, err := x.ListParked(tb.Context(), &streamv1.ListParkedRequest{Group: "g"})
	if err != nil {
		tb.Fatal(err)
	}
	return got.GetEvents()
}

func wantCode(tb testing.TB, err error, code codes.Code) {
	tb.Helper()
	if status.Code(err) != code {
		tb.Fatalf("%v, want %v", err, code)
	}
}

func wantText(tb testing.TB, err error, text string) {
	tb.Helper()
	if got := status.Convert(err).Message(); !strings.Contains(got, text) {
		tb.Errorf("the status says %q, want %q", got, text)
	}
}

func ids(all ...*streamv1.Delivery) (names []string) {
	for _, d := range all {
		names = append(names, d.GetId())
	}
	return names
}

// byNumber sorts deliveries by the numbers of their events.
func byNumber(all []*streamv1.Delivery) map[int]*streamv1.Delivery {
	found := make(map[int]*streamv1.Delivery)
	for _, d := range all {
		found[int(d.GetEvent().GetReceivedAt().AsTime().Sub(began)/time.Second)] = d
	}
	return found
}
