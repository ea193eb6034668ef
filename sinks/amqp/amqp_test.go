package amqp_test

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

	rabbit "github.com/rabbitmq/amqp091-go"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/amqp"
	"github.com/webhook-bridge/bridge/sinks/servertest"
	"github.com/webhook-bridge/bridge/sinks/sinktest"
)

// maxMessage is the broker's limit, in bytes.
const maxMessage = 1 << 20

// start runs a real RabbitMQ, if the environment asks for it.
func start(tb testing.TB) *servertest.Server {
	tb.Helper()
	if os.Getenv("BRIDGE_TEST_RABBITMQ") == "" {
		tb.Skip("BRIDGE_TEST_RABBITMQ is not set: needs RabbitMQ in /usr/lib/rabbitmq")
	}
	names, nodes := servertest.FreePort(tb), servertest.FreePort(tb)
	return servertest.Start(tb, servertest.Spec{
		Command: func(dir string, port int) *exec.Cmd {
			settings := filepath.Join(dir, "rabbitmq.conf")
			text := fmt.Sprintf("listeners.tcp.1 = 127.0.0.1:%d\ndisk_free_limit.absolute = 1MB\nmax_message_size = %d\n", port, maxMessage)
			if err := os.WriteFile(settings, []byte(text), 0o600); err != nil {
				tb.Error(err)
			}
			// The name server is a child, so that it ends with the broker.
			c := exec.Command("sh", "-c", `epmd -address 127.0.0.1 -port "$ERL_EPMD_PORT" & exec /usr/lib/rabbitmq/bin/rabbitmq-server`)
			c.Env = append(os.Environ(), "HOME="+dir, "RABBITMQ_NODENAME=test@localhost", "RABBITMQ_CONFIG_FILE="+settings,
				"RABBITMQ_MNESIA_BASE="+filepath.Join(dir, "data"), "RABBITMQ_LOG_BASE="+filepath.Join(dir, "log"),
				"RABBITMQ_ENABLED_PLUGINS_FILE="+filepath.Join(dir, "plugins"), "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=+S 2:2",
				"ERL_EPMD_ADDRESS=127.0.0.1", fmt.Sprint("ERL_EPMD_PORT=", names), fmt.Sprint("RABBITMQ_DIST_PORT=", nodes))
			return c
		},
		Ready: func(_ context.Context, address string) error {
			conn, err := rabbit.Dial("amqp://guest:guest@" + address)
			if err == nil {
				err = conn.Close()
			}
			return err
		},
	})
}

// channel opens a channel of another client.
func channel(tb testing.TB, address string) *rabbit.Channel {
	tb.Helper()
	conn, err := rabbit.Dial("amqp://guest:guest@" + address)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	c, err := conn.Channel()
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// declare makes a durable queue.
func declare(tb testing.TB, address, queue string) {
	tb.Helper()
	if _, err := channel(tb, address).QueueDeclare(queue, true, false, false, false, nil); err != nil {
		tb.Fatal(err)
	}
}

// messages returns the messages of a queue, which stay there.
func messages(tb testing.TB, address, queue string) []rabbit.Delivery {
	tb.Helper()
	c := channel(tb, address)
	defer c.Close() // This puts the messages back.
	var all []rabbit.Delivery
	for {
		m, ok, err := c.Get(queue, false)
		if err != nil {
			tb.Fatal(err)
		}
		if !ok {
			return all
		}
		all = append(all, m)
	}
}

func decode(messages []rabbit.Delivery) ([]*eventv1.Event, error) {
	events := make([]*eventv1.Event, len(messages))
	for i, m := range messages {
		events[i] = &eventv1.Event{}
		if err := proto.Unmarshal(m.Body, events[i]); err != nil {
			return nil, err
		}
	}
	return events, nil
}

func TestRealRabbitMQ(t *testing.T) {
	server := start(t)
	made := 0
	t.Run("contract", func(t *testing.T) {
		sinktest.Run(t, func(tb testing.TB) sinktest.Harness {
			made++
			queue := fmt.Sprintf("contract-%d", made)
			declare(tb, server.Address, queue)
			c := amqp.Config{Brokers: []string{server.Proxy.Addr().String()}, RoutingKey: queue, Timeout: 10 * time.Second}
			return sinktest.Harness{
				Open:     func(ctx context.Context) (sinks.Sink, error) { return amqp.Open(ctx, c) },
				Received: func(context.Context) ([]*eventv1.Event, error) { return decode(messages(tb, server.Address, queue)) },
				Break:    server.Proxy.Disconnect,
				Stall:    server.Proxy.Stall,
				Repair:   server.Proxy.Resume,
				Crash:    func() {}, // The sink has no state.
				Poison:   func() sinks.Record { return large(tb) },
			}
		}, sinktest.Features{TotalOrder: true, MaxEvent: maxMessage / 2})
	})
	t.Run("message", func(t *testing.T) { message(t, server) })
	t.Run("too large", func(t *testing.T) { tooLarge(t, server) })
	t.Run("unroutable", func(t *testing.T) { unroutable(t, server) })
	t.Run("kill", func(t *testing.T) { kill(t, server) })
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
		all[i] = record(tb, &eventv1.Event{Id: strconv.Itoa(i), Type: "order.created", Source: "till", Subject: fmt.Sprintf("order/%d", i%7), Stale: i == 1})
		all[i].Position = sinks.Position(i + 1)
	}
	return all
}

func open(tb testing.TB, c amqp.Config) *amqp.Sink {
	tb.Helper()
	s, err := amqp.Open(tb.Context(), c)
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

// message shows what a consumer gets, by an exchange that the sink declares.
func message(t *testing.T, server *servertest.Server) {
	c := amqp.Config{
		Brokers: []string{server.Address}, Exchange: "events", Declare: "topic", RoutingKey: "{source}.{type}",
		Username: "guest", Password: func() string { return "guest" }, Required: true,
	}
	s := open(t, c)
	declare(t, server.Address, "orders")
	if err := channel(t, server.Address).QueueBind("orders", "*.order.#", "events", false, nil); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Deliver(t.Context(), events(t, 2)); n != 2 {
		t.Fatal(n, err)
	}
	got := messages(t, server.Address, "orders")
	if len(got) != 2 {
		t.Fatalf("%d messages, want 2", len(got))
	}
	m := got[1]
	if m.MessageId != "1" || m.Type != "order.created" || m.ContentType != "application/protobuf" || m.DeliveryMode != rabbit.Persistent ||
		m.RoutingKey != "till.order.created" {
		t.Errorf("message: %+v", m)
	}
	for name, want := range map[string]any{"cloudEvents:id": "1", "cloudEvents:source": "till", "cloudEvents:stale": true, "cloudEvents:specversion": "1.0"} {
		if m.Headers[name] != want {
			t.Errorf("%s: %v, want %v", name, m.Headers[name], want)
		}
	}
}

// large returns an event above the broker's limit.
func large(tb testing.TB) sinks.Record {
	tb.Helper()
	return record(tb, &eventv1.Event{Id: "large", Type: "unmapped", Source: "a", Subject: "b/1", Data: &eventv1.Event_Unmapped{
		Unmapped: &eventv1.Unmapped{Json: strings.Repeat("x", maxMessage)},
	}})
}

// tooLarge shows that a message above the broker's limit is refused alone.
func tooLarge(t *testing.T, server *servertest.Server) {
	declare(t, server.Address, "small")
	s := open(t, amqp.Config{Brokers: []string{server.Address}, RoutingKey: "small"})
	all := events(t, 10)
	all[4] = large(t)
	n, err := s.Deliver(t.Context(), all)
	if n != 4 || !errors.Is(err, sinks.ErrPermanent) {
		t.Fatalf("%d, %v; want 4 and a refusal", n, err)
	}
	if n, err := s.Deliver(t.Context(), all[5:]); n != 5 {
		t.Fatal(n, err)
	}
}

// unroutable shows that an event that no queue takes is not delivered, unless the configuration says so.
func unroutable(t *testing.T, server *servertest.Server) {
	c := amqp.Config{Brokers: []string{server.Address}, RoutingKey: "{kind}-queue"}
	declare(t, server.Address, "order-queue")
	all := events(t, 3)
	all[1] = record(t, &eventv1.Event{Id: "lost", Type: "refund.created", Source: "till", Subject: "refund/1"})
	n, err := open(t, c).Deliver(t.Context(), all)
	if n != 1 || err == nil || !strings.Contains(err.Error(), "no queue takes it") || errors.Is(err, sinks.ErrPermanent) {
		t.Errorf("%d, %v", n, err)
	}
	c.Unroutable = amqp.Drop
	if n, err := open(t, c).Deliver(t.Context(), all); n != 3 {
		t.Errorf("%d, %v", n, err)
	}
}

// kill shows that a broker loses no event that it has confirmed.
func kill(t *testing.T, server *servertest.Server) {
	declare(t, server.Address, "kill")
	s, all := open(t, amqp.Config{Brokers: []string{server.Address}, RoutingKey: "kill"}), events(t, 50)
	if n, err := s.Deliver(t.Context(), all[:40]); n != 40 {
		t.Fatal(n, err)
	}
	server.Kill()
	if n, err := s.Deliver(t.Context(), all[40:]); n != 0 || err == nil {
		t.Errorf("without a broker: %d, %v", n, err)
	}
	server.Restart(t)
	if n, err := s.Deliver(t.Context(), all[40:]); n != 10 {
		t.Fatal(n, err)
	}
	if got := messages(t, server.Address, "kill"); len(got) != len(all) {
		t.Errorf("%d messages, want %d", len(got), len(all))
	}
}
