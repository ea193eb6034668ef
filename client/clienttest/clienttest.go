// Package clienttest is a server for tests of programs that subscribe. It runs in the test's process, over a log in memory, and is otherwise what
// Bridge runs: the same service, the same groups.
//
//	server := clienttest.New(t)
//	go client.Subscribe(ctx, server.Config(client.Config{Group: "billing"}), handle)
//	server.Publish(&eventv1.Event{Type: "order.created", Subject: "order/1"})
//	server.AwaitHandled("billing")
package clienttest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/webhook-bridge/bridge/client"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/internal/groups"
	"github.com/webhook-bridge/bridge/internal/journal/memgroups"
	"github.com/webhook-bridge/bridge/internal/subscribe"
	"github.com/webhook-bridge/bridge/sinks/grpcstream"
	"github.com/webhook-bridge/bridge/sinks/memlog"
)

const (
	// Source is the source of events that name none.
	Source = "test"
	// patience bounds what the server waits for.
	patience = 30 * time.Second
	// joinPatience bounds the wait for a group's first member.
	joinPatience = 5 * time.Second
	// idleSave is short, so that a test learns soon that a group has dealt with everything.
	idleSave = 20 * time.Millisecond
	buffer   = 1 << 20
)

// Server is a server with a log of its own. It is safe for concurrent use, and ends with the test.
type Server struct {
	tb    testing.TB
	log   *memlog.Log
	store *memgroups.Store
	conn  *grpc.ClientConn
	// joining is how long to wait for a group's first member.
	joining time.Duration

	// dial connects to the process that runs now.
	mu  sync.Mutex
	now *process
}

// New starts a server.
func New(tb testing.TB) *Server {
	tb.Helper()
	s := &Server{tb: tb, log: memlog.New("clienttest"), store: memgroups.New(time.Now), joining: joinPatience}
	s.now = s.start()
	conn, err := grpc.NewClient("passthrough:clienttest", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return s.process().listener.DialContext(ctx) }))
	if err != nil {
		tb.Fatal(err)
	}
	s.conn = conn
	tb.Cleanup(func() {
		_ = conn.Close()
		s.process().kill()
	})
	return s
}

// Conn is a connection to the server, for every call of bridge.stream.v1.
func (s *Server) Conn() grpc.ClientConnInterface { return s.conn }

// Config returns a configuration that subscribes here, with short pauses.
func (s *Server) Config(c client.Config) client.Config {
	c.Conn, c.MinBackoff, c.MaxBackoff = s.conn, time.Millisecond, 10*time.Millisecond
	return c
}

// Publish appends events to the log. What every event has and these lack is filled in: id, source, connector, vendor_event, webhook_id and received_at.
// The events are not changed.
func (s *Server) Publish(events ...*eventv1.Event) {
	s.tb.Helper()
	published := make([]*eventv1.Event, len(events))
	for i, e := range events {
		published[i] = completed(e)
	}
	if _, err := s.log.Append(published...); err != nil {
		s.tb.Fatalf("clienttest: publish: %v", err)
	}
}

func completed(e *eventv1.Event) *eventv1.Event {
	e = proto.CloneOf(e)
	for field, otherwise := range map[*string]string{
		&e.Id: uuid.NewString(), &e.WebhookId: uuid.NewString(), &e.Source: Source, &e.Connector: Source, &e.VendorEvent: e.GetType(),
	} {
		if *field == "" {
			*field = otherwise
		}
	}
	if e.ReceivedAt == nil {
		e.ReceivedAt = timestamppb.Now()
	}
	return e
}

// Expire removes all events from the log, as retention does. Who has not received them gets [client.ExpiredError], or what its policy says.
func (s *Server) Expire() { s.log.Expire(s.log.Bounds().Next) }

// Restart ends the server's process in order, as a deploy does, and starts it again: streams end with a goodbye. Log and groups stay.
func (s *Server) Restart() { s.replace((*process).stop) }

// Kill ends the server's process at once, as kill -9 does, and starts it again. Log and groups stay.
func (s *Server) Kill() { s.replace((*process).kill) }

func (s *Server) replace(end func(*process)) {
	s.tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	end(s.now)
	s.now = s.start()
}

func (s *Server) process() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// AwaitHandled waits until a group has dealt with all events that were published before the call: each was acknowledged, skipped or parked. It fails
// the test after half a minute, and after five seconds if the group has no member.
func (s *Server) AwaitHandled(group string) {
	s.tb.Helper()
	end := s.log.Bounds().Next
	s.await(group, func(g *groups.Info) error {
		if g.Position < end {
			return fmt.Errorf("it has not dealt with %d events, %d of them are outstanding", end-g.Position, g.Outstanding)
		}
		return nil
	})
}

// AwaitParked waits until a group has so many dead letters. It fails the test as AwaitHandled does.
func (s *Server) AwaitParked(group string, n int) {
	s.tb.Helper()
	s.await(group, func(g *groups.Info) error {
		if g.Parked != uint64(n) {
			return fmt.Errorf("it has %d dead letters, not %d", g.Parked, n)
		}
		return nil
	})
}

// await waits until a group is as it should be.
func (s *Server) await(group string, check func(*groups.Info) error) {
	s.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	late := time.Now().Add(s.joining)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		info, err := s.process().groups.Get(ctx, group)
		if err == nil {
			err = check(info)
		}
		switch {
		case err == nil:
			return
		case errors.Is(err, groups.ErrNotFound) && time.Now().After(late):
			s.tb.Fatalf("clienttest: nobody has joined the group %q%s", group, s.joined(ctx))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			s.tb.Fatalf("clienttest: group %s: %v", group, err)
		}
	}
}

// joined says which groups there are.
func (s *Server) joined(ctx context.Context) string {
	const most = 10
	all, err := s.process().groups.List(ctx, "", most)
	if err != nil || len(all) == 0 {
		return "; there is no group: does a subscription with Config.Group run?"
	}
	names := make([]string, len(all))
	for i := range all {
		names[i] = all[i].Name
	}
	return "; the groups are " + strings.Join(names, ", ")
}

// process has everything that ends with a process of the server.
type process struct {
	listener *bufconn.Listener
	server   *grpc.Server
	tail     *grpcstream.Server
	store    *memgroups.Instance
	groups   *groups.Manager
	end      context.CancelFunc
	running  sync.WaitGroup
}

// start starts a process over the log and the groups.
func (s *Server) start() *process {
	s.tb.Helper()
	streams := grpcstream.NewStreams(grpcstream.StreamsConfig{})
	p := &process{
		listener: bufconn.Listen(buffer), server: grpc.NewServer(), store: s.store.Open("clienttest"),
		tail: grpcstream.New(s.log, grpcstream.Config{Streams: streams}),
	}
	var err error
	p.groups, err = groups.New(groups.Config{Groups: p.store, Letters: p.store, Log: s.log, Compile: subscribe.Compile(streams), IdleSave: idleSave})
	if err != nil {
		s.tb.Fatalf("clienttest: %v", err)
	}
	streamv1.RegisterEventStreamServiceServer(p.server, subscribe.New(subscribe.Config{Log: s.log, Tail: p.tail, Groups: p.groups}))
	var ctx context.Context
	ctx, p.end = context.WithCancel(context.Background())
	p.running.Go(func() { _ = p.groups.Run(ctx) })
	p.running.Go(func() { _ = p.server.Serve(p.listener) })
	return p
}

// stop ends the process in order: streams get their goodbye, and what was acknowledged is saved.
func (p *process) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	p.groups.Drain()
	_ = p.tail.Shutdown(ctx) // the streams that are left are cut
	p.server.GracefulStop()
	p.end()
	p.running.Wait()
	_ = p.store.Close()
}

// kill ends the process as it is.
func (p *process) kill() {
	_ = p.store.Close() // first, so that nothing more is saved
	p.server.Stop()
	p.end()
	p.running.Wait()
}
