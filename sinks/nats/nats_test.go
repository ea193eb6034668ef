package nats_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/nats"
	"github.com/webhook-bridge/bridge/sinks/servertest"
	"github.com/webhook-bridge/bridge/sinks/sinktest"
)

const maxPayload = 1 << 20

// start runs a real nats-server. The environment has the program's path.
func start(tb testing.TB) *servertest.Server {
	tb.Helper()
	program := os.Getenv("BRIDGE_TEST_NATS")
	if program == "" {
		tb.Skip("BRIDGE_TEST_NATS is not set: needs the path of nats-server")
	}
	return servertest.Start(tb, servertest.Spec{
		Command: func(dir string, port int) *exec.Cmd {
			settings := fmt.Sprintf("jetstream {store_dir: %q}\nmax_payload: %d\n", dir, maxPayload)
			file := filepath.Join(dir, "nats.conf")
			if err := os.WriteFile(file, []byte(settings), 0o600); err != nil {
				tb.Error(err)
			}
			return exec.Command(program, "-c", file, "-a", "127.0.0.1", "-p", strconv.Itoa(port))
		},
		Ready: func(_ context.Context, address string) error {
			conn, err := natsgo.Connect("nats://" + address)
			if err == nil {
				conn.Close()
			}
			return err
		},
	})
}

// stored returns the messages of a stream.
func stored(ctx context.Context, address, stream string) ([]*jetstream.RawStreamMsg, error) {
	conn, err := natsgo.Connect("nats://" + address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, err
	}
	from, err := js.Stream(ctx, stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	all := make([]*jetstream.RawStreamMsg, from.CachedInfo().State.LastSeq)
	for i := range all {
		if all[i], err = from.GetMsg(ctx, uint64(i)+1); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func decode(messages []*jetstream.RawStreamMsg) ([]*eventv1.Event, error) {
	events := make([]*eventv1.Event, len(messages))
	for i, m := range messages {
		events[i] = &eventv1.Event{}
		if err := proto.Unmarshal(m.Data, events[i]); err != nil {
			return nil, err
		}
	}
	return events, nil
}

func TestRealNATS(t *testing.T) {
	server := start(t)
	made := 0
	t.Run("contract", func(t *testing.T) {
		sinktest.Run(t, func(tb testing.TB) sinktest.Harness {
			made++
			name := fmt.Sprintf("contract-%d", made)
			c := nats.Config{
				Servers: []string{server.Proxy.Addr().String()}, Subject: name + ".{source}",
				CreateStream: &nats.CreateStream{Name: name}, Timeout: 5 * time.Second,
			}
			return sinktest.Harness{
				Open: func(ctx context.Context) (sinks.Sink, error) { return nats.Open(ctx, c) },
				Received: func(ctx context.Context) ([]*eventv1.Event, error) {
					messages, err := stored(ctx, server.Address, name)
					if err != nil {
						return nil, err
					}
					return decode(messages)
				},
				Break:  server.Proxy.Disconnect,
				Stall:  server.Proxy.Stall,
				Repair: server.Proxy.Resume,
				Crash:  func() {}, // The sink has no state.
				Poison: func() sinks.Record {
					return record(tb, &eventv1.Event{
						Id: "large", Type: "unmapped", Source: "a", Subject: "b/1",
						Data: &eventv1.Event_Unmapped{Unmapped: &eventv1.Unmapped{Json: strings.Repeat("x", maxPayload)}},
					})
				},
			}
		}, sinktest.Features{MaxEvent: maxPayload / 2})
	})
	t.Run("duplicates", func(t *testing.T) { duplicates(t, server) })
	t.Run("kill", func(t *testing.T) { kill(t, server) })
	t.Run("no stream", func(t *testing.T) { noStream(t, server) })
}

func record(tb testing.TB, e *eventv1.Event) sinks.Record {
	tb.Helper()
	encoded, err := proto.Marshal(e)
	if err != nil {
		tb.Fatal(err)
	}
	r, err := sinks.NewRecord(1, encoded)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

func events(tb testing.TB, n int) []sinks.Record {
	tb.Helper()
	all := make([]sinks.Record, n)
	for i := range all {
		all[i] = record(tb, &eventv1.Event{Id: strconv.Itoa(i), Type: "order.created", Source: "till", Subject: fmt.Sprintf("order/%d", i%7)})
		all[i].Position = sinks.Position(i + 1)
	}
	return all
}

func open(tb testing.TB, c nats.Config) *nats.Sink {
	tb.Helper()
	s, err := nats.Open(tb.Context(), c)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// duplicates shows that a stream drops what it has, except for replays and what another sink publishes.
func duplicates(t *testing.T, server *servertest.Server) {
	c := nats.Config{Sink: "orders", Servers: []string{server.Address}, Subject: "dup.{source}.{type}", CreateStream: &nats.CreateStream{Name: "dup"}}
	all := events(t, 100)
	for _, batch := range [][]sinks.Record{all[:60], all} {
		if n, err := open(t, c).Deliver(t.Context(), batch); n != len(batch) {
			t.Fatalf("%d of %d: %v", n, len(batch), err)
		}
	}
	again := all[7]
	again.Header.Replay = []byte("r1")
	if n, err := open(t, c).Deliver(t.Context(), []sinks.Record{again}); n != 1 {
		t.Fatal(err)
	}
	messages, err := stored(t.Context(), server.Address, "dup")
	if err != nil {
		t.Fatal(err)
	}
	if len(messages) != len(all)+1 {
		t.Errorf("%d messages, want %d and the replay", len(messages), len(all))
	}
	last := messages[len(messages)-1]
	for header, want := range map[string]string{"ce-id": "7", "ce-type": "order.created", "ce-replay": "r1", "Content-Type": "application/protobuf", "Nats-Msg-Id": "orders/7/r1"} {
		if got := last.Header.Get(header); got != want {
			t.Errorf("%s: %q, want %q", header, got, want)
		}
	}
	if want := "dup.till.order.created"; last.Subject != want {
		t.Errorf("subject %s, want %s", last.Subject, want)
	}
	c.Sink = "another"
	if n, err := open(t, c).Deliver(t.Context(), all); n != len(all) {
		t.Fatal(err)
	}
	if messages, err = stored(t.Context(), server.Address, "dup"); err != nil || len(messages) != 2*len(all)+1 {
		t.Errorf("%d messages, %v; want those of both sinks and the replay", len(messages), err)
	}
}

// kill shows that a server loses no event that it has acknowledged.
func kill(t *testing.T, server *servertest.Server) {
	c := nats.Config{Servers: []string{server.Address}, Subject: "kill", CreateStream: &nats.CreateStream{Name: "kill"}, Timeout: time.Second}
	s, all := open(t, c), events(t, 50)
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
	messages, err := stored(t.Context(), server.Address, "kill")
	if err != nil || len(messages) != len(all) {
		t.Errorf("%d messages, %v; want %d", len(messages), err, len(all))
	}
}

func noStream(t *testing.T, server *servertest.Server) {
	s := open(t, nats.Config{Servers: []string{server.Address}, Subject: "nobody.listens", Timeout: time.Second})
	n, err := s.Deliver(t.Context(), events(t, 3))
	if n != 0 || err == nil || !strings.Contains(err.Error(), "create_stream") || errors.Is(err, sinks.ErrPermanent) {
		t.Errorf("%d, %v", n, err)
	}
}
