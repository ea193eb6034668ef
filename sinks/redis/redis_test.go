package redis_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	goredis "github.com/redis/go-redis/v9"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/content"
	"github.com/webhook-bridge/bridge/sinks/memlog"
	"github.com/webhook-bridge/bridge/sinks/redis"
	"github.com/webhook-bridge/bridge/sinks/servertest"
	"github.com/webhook-bridge/bridge/sinks/sinktest"
)

// start runs a real Redis that syncs each write, if the environment asks for it.
func start(tb testing.TB, more ...string) *servertest.Server {
	tb.Helper()
	if os.Getenv("BRIDGE_TEST_REDIS") == "" {
		tb.Skip("BRIDGE_TEST_REDIS is not set: needs redis-server")
	}
	return servertest.Start(tb, servertest.Spec{
		Command: func(dir string, port int) *exec.Cmd {
			return exec.Command("redis-server", append([]string{
				"--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", dir, "--save", "",
				"--appendonly", "yes", "--appendfsync", "always", "--proto-max-bulk-len", "512mb",
			}, more...)...)
		},
		Ready: func(ctx context.Context, address string) error {
			client := goredis.NewClient(&goredis.Options{Addr: address})
			defer client.Close()
			return client.Ping(ctx).Err()
		},
	})
}

// entries returns the stream's values as events.
func entries(ctx context.Context, address, stream string) ([]*eventv1.Event, error) {
	client := goredis.NewClient(&goredis.Options{Addr: address, ReadTimeout: -1})
	defer client.Close()
	all, err := client.XRange(ctx, stream, "-", "+").Result()
	if err != nil {
		return nil, err
	}
	events := make([]*eventv1.Event, len(all))
	for i, entry := range all {
		value, ok := entry.Values["value"].(string)
		if !ok {
			return nil, fmt.Errorf("entry %s has no value", entry.ID)
		}
		events[i] = &eventv1.Event{}
		if err := proto.Unmarshal([]byte(value), events[i]); err != nil {
			return nil, err
		}
	}
	return events, nil
}

func TestRealRedis(t *testing.T) {
	server := start(t)
	made := 0
	sinktest.Run(t, func(tb testing.TB) sinktest.Harness {
		made++
		stream := fmt.Sprintf("contract-%d", made)
		c := redis.Config{Addresses: []string{server.Proxy.Addr().String()}, Stream: stream}
		var copied map[string]string
		return sinktest.Harness{
			OpenFrom: func(ctx context.Context, from sinks.Origin) (sinks.Sink, error) { return redis.Open(ctx, c, from) },
			Received: func(ctx context.Context) ([]*eventv1.Event, error) { return entries(ctx, server.Address, stream) },
			Break:    server.Proxy.Disconnect,
			Stall:    server.Proxy.Stall,
			Repair:   server.Proxy.Resume,
			Crash:    func() {}, // The sink's state is the destination's.
			Backup:   func() { copied = dump(tb, server.Address) },
			Restore:  func() { restore(tb, server.Address, copied) },
			Poison:   func() sinks.Record { return sinks.Record{Encoded: []byte("\x12\x05order")} },
		}
	}, sinktest.Features{TotalOrder: true, SharedDestination: true})
}

// dump copies all keys.
func dump(tb testing.TB, address string) map[string]string {
	tb.Helper()
	client := goredis.NewClient(&goredis.Options{Addr: address})
	defer client.Close()
	all := map[string]string{}
	for _, key := range client.Keys(tb.Context(), "*").Val() {
		value, err := client.Dump(tb.Context(), key).Result()
		if err != nil {
			tb.Fatal(err)
		}
		all[key] = value
	}
	return all
}

// restore makes the keys those of a copy.
func restore(tb testing.TB, address string, all map[string]string) {
	tb.Helper()
	client := goredis.NewClient(&goredis.Options{Addr: address})
	defer client.Close()
	if err := client.FlushAll(tb.Context()).Err(); err != nil {
		tb.Fatal(err)
	}
	for key, value := range all {
		if err := client.Restore(tb.Context(), key, 0, value).Err(); err != nil {
			tb.Fatal(err)
		}
	}
}

func open(tb testing.TB, c redis.Config, from sinks.Origin) *redis.Sink {
	tb.Helper()
	s, err := redis.Open(tb.Context(), c, from)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	if _, _, err := s.Resume(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return s
}

func events(tb testing.TB, n int) []sinks.Record {
	tb.Helper()
	all := make([]sinks.Record, n)
	for i := range all {
		encoded, err := proto.Marshal(&eventv1.Event{
			Id: strconv.Itoa(i), Type: "order.created", Source: []string{"till", "shop"}[i%2], Subject: fmt.Sprintf("order/%d", i%7),
		})
		if err != nil {
			tb.Fatal(err)
		}
		if all[i], err = sinks.NewRecord(sinks.Position(i+1), encoded); err != nil {
			tb.Fatal(err)
		}
	}
	return all
}

func TestRealRedisStreams(t *testing.T) {
	server := start(t)
	from := sinks.Origin{Log: memlog.New("log"), Sink: "streams"}
	t.Run("entry", func(t *testing.T) { entry(t, server, from) })
	t.Run("part", func(t *testing.T) { part(t, server, from) })
	t.Run("length", func(t *testing.T) { length(t, server, from) })
	t.Run("replicas", func(t *testing.T) { replicas(t, server, from) })
	t.Run("kill", func(t *testing.T) { kill(t, server, from) })
}

// entry shows what a consumer reads.
func entry(t *testing.T, server *servertest.Server, from sinks.Origin) {
	s := open(t, redis.Config{Addresses: []string{server.Address}, Stream: "events:{source}:{kind}", Format: content.JSON}, from)
	if n, err := s.Deliver(t.Context(), events(t, 3)); n != 3 {
		t.Fatal(n, err)
	}
	client := goredis.NewClient(&goredis.Options{Addr: server.Address})
	defer client.Close()
	all, err := client.XRange(t.Context(), "events:till:order", "-", "+").Result()
	if err != nil || len(all) != 2 {
		t.Fatal(len(all), err)
	}
	want := map[string]any{
		"specversion": "1.0", "id": "2", "type": "order.created", "source": "till", "subject": "order/2", "contenttype": "application/json",
		"value": `{"id":"2","type":"order.created","source":"till","subject":"order/2"}`,
	}
	if diff := cmp.Diff(want, all[1].Values); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// part shows that the position counts the events before one that cannot be appended.
func part(t *testing.T, server *servertest.Server, from sinks.Origin) {
	client := goredis.NewClient(&goredis.Options{Addr: server.Address})
	defer client.Close()
	if err := client.Set(t.Context(), "part:shop", "no stream", 0).Err(); err != nil {
		t.Fatal(err)
	}
	s := open(t, redis.Config{Addresses: []string{server.Address}, Stream: "part:{source}"}, from)
	n, err := s.Deliver(t.Context(), events(t, 3))
	if n != 1 || err == nil || !strings.Contains(err.Error(), "WRONGTYPE") || errors.Is(err, sinks.ErrPermanent) {
		t.Errorf("%d, %v", n, err)
	}
	if reached, ok, err := s.Resume(t.Context()); err != nil || !ok || reached.Mark.Position != 2 {
		t.Errorf("%+v, %t, %v; want position 2", reached, ok, err)
	}
}

// length shows that a stream with a limit loses its oldest entries.
func length(t *testing.T, server *servertest.Server, from sinks.Origin) {
	s := open(t, redis.Config{Addresses: []string{server.Address}, Stream: "short", MaxLength: 100}, from)
	if n, err := s.Deliver(t.Context(), events(t, 1500)); n != 1500 {
		t.Fatal(n, err)
	}
	left, err := entries(t.Context(), server.Address, "short")
	// The server removes whole nodes of its tree, of a hundred entries.
	if err != nil || len(left) < 100 || len(left) > 300 || left[len(left)-1].GetId() != "1499" {
		t.Errorf("%d entries, %v", len(left), err)
	}
}

// replicas shows that an event that too few replicas have is not delivered, and comes once all the same.
func replicas(t *testing.T, server *servertest.Server, from sinks.Origin) {
	c := redis.Config{Addresses: []string{server.Address}, Stream: "replicated", Replicas: 1, Timeout: time.Second}
	s := open(t, c, from)
	for range 2 {
		if n, err := s.Deliver(t.Context(), events(t, 3)); n != 0 || err == nil || !strings.Contains(err.Error(), "0 of 1 replicas") {
			t.Errorf("%d, %v", n, err)
		}
	}
	if got, err := entries(t.Context(), server.Address, "replicated"); err != nil || len(got) != 3 {
		t.Errorf("%d entries, %v; want 3", len(got), err)
	}
}

// kill shows that a server that syncs each write loses nothing, and that nothing comes twice.
func kill(t *testing.T, server *servertest.Server, from sinks.Origin) {
	s, all := open(t, redis.Config{Addresses: []string{server.Address}, Stream: "kill", Timeout: time.Second}, from), events(t, 50)
	if n, err := s.Deliver(t.Context(), all[:40]); n != 40 {
		t.Fatal(n, err)
	}
	server.Kill()
	if n, err := s.Deliver(t.Context(), all[40:]); n != 0 || err == nil {
		t.Errorf("without a server: %d, %v", n, err)
	}
	server.Restart(t)
	if n, err := s.Deliver(t.Context(), all[40:]); n != 10 {
		t.Fatal(n, err)
	}
	if got, err := entries(t.Context(), server.Address, "kill"); err != nil || len(got) != len(all) {
		t.Errorf("%d entries, %v; want %d", len(got), err, len(all))
	}
}
