package web

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/internal/listener"
	"github.com/webhook-bridge/bridge/sinks/grpcstream"
	"github.com/webhook-bridge/bridge/sinks/memlog"
)

const streamService = "bridge.stream.v1.EventStreamService"

// token admits to everything but health.
const token = "a-token-for-tests"

// served is the whole port over a log in memory.
type served struct {
	log     *memlog.Log
	streams *grpcstream.Server
	url     string
	web     *http.Server
}

func limits(method string) listener.CallLimits {
	if strings.HasPrefix(method, "/grpc.health.") {
		return listener.CallLimits{Message: 4 << 10}
	}
	return listener.CallLimits{Message: 64 << 10, Messages: !strings.HasSuffix(method, "/Tail")}
}

func admit(ctx context.Context, info *tap.Info) (context.Context, error) {
	if strings.HasPrefix(info.FullMethodName, "/grpc.health.") {
		return ctx, nil
	}
	if v := info.Header.Get("authorization"); len(v) != 1 || v[0] != "Bearer "+token {
		return nil, status.Error(codes.Unauthenticated, "a bearer token is needed")
	}
	listener.Verified(ctx)
	return ctx, nil
}

// serve serves the port. change may change the configuration.
func serve(t testing.TB, change func(*Config, *grpcstream.StreamsConfig)) *served {
	t.Helper()
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &served{log: memlog.New("web"), url: "http://" + raw.Addr().String()}
	shared := listener.New(raw, listener.Config{Limit: 1000}).Share(nil, limits)
	rpc := grpc.NewServer(append(shared.Options(), grpc.InTapHandle(admit))...)
	var limit grpcstream.StreamsConfig
	c := Config{
		RPC: rpc, Services: []string{streamService, healthv1.Health_ServiceDesc.ServiceName, "grpc.reflection.v1.ServerReflection"}, Limits: limits, Admit: admit,
		Tail: func(r *streamv1.TailRequest, out grpc.ServerStreamingServer[streamv1.TailResponse]) error {
			return s.streams.Tail(r, out)
		},
	}
	if change != nil {
		change(&c, &limit)
	}
	s.streams = grpcstream.New(s.log, grpcstream.Config{Streams: grpcstream.NewStreams(limit), Sources: []string{"shop"}})
	streamv1.RegisterEventStreamServiceServer(rpc, s.streams)
	healthv1.RegisterHealthServer(rpc, health.NewServer())
	reflection.Register(rpc)
	h, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	s.web = &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	shared.Prepare(s.web)
	var running sync.WaitGroup
	running.Go(func() { _ = shared.Serve() })
	running.Go(func() { _ = rpc.Serve(shared.RPC()) })
	running.Go(func() { _ = s.web.Serve(shared.Web()) })
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = shared.Close()
		_ = s.web.Close()
		rpc.Stop()
		running.Wait()
		if err := s.streams.Shutdown(ctx); err != nil {
			t.Errorf("streams are left: %v", err)
		}
	})
	return s
}

// event returns the nth event. Every third is a deleted customer.
func event(n int) *eventv1.Event {
	e := &eventv1.Event{Id: fmt.Sprintf("event-%d", n), Type: "order.changed", Source: "shop", Subject: fmt.Sprintf("order/%d", n)}
	if n%3 == 0 {
		e.Type = "customer.deleted"
	}
	return e
}

// add appends the events with the numbers from up to, not including, to.
func (s *served) add(t testing.TB, from, to int) {
	t.Helper()
	events := make([]*eventv1.Event, 0, to-from)
	for n := from; n < to; n++ {
		events = append(events, event(n))
	}
	if _, err := s.log.Append(events...); err != nil {
		t.Fatal(err)
	}
}

// client returns a client of HTTP/1.1 or of HTTP/2 whose requests have the token.
func client(t *testing.T, http2 bool) *http.Client {
	t.Helper()
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP1(!http2)
	transport.Protocols.SetUnencryptedHTTP2(http2)
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: bearer{transport}}
}

type bearer struct{ http.RoundTripper }

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Header.Get("Authorization") == "" {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return b.RoundTripper.RoundTrip(r)
}

// answer is an answer whose body is closed with the test.
type answer struct{ *http.Response }

// get begins a request.
func (s *served) get(t *testing.T, c *http.Client, path string, header ...string) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return answer{resp}
}
