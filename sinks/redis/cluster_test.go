package redis_test

import (
	"io"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/memlog"
	"github.com/webhook-bridge/bridge/sinks/redis"
	"github.com/webhook-bridge/bridge/sinks/servertest"
)

// cutter forwards to a server. Once it is armed, it cuts the connection of the next answer, and forwards again.
type cutter struct {
	net.Listener
	to    string
	armed atomic.Bool
}

func newCutter(tb testing.TB, to string) *cutter {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = l.Close() })
	c := &cutter{Listener: l, to: to}
	go c.serve()
	return c
}

func (c *cutter) serve() {
	for {
		in, err := c.Accept()
		if err != nil {
			return
		}
		go c.forward(in)
	}
}

func (c *cutter) forward(in net.Conn) {
	defer in.Close()
	out, err := net.Dial("tcp", c.to)
	if err != nil {
		return
	}
	defer out.Close()
	go func() { _, _ = io.Copy(out, in) }()
	answer := make([]byte, 64<<10)
	for {
		n, err := out.Read(answer)
		if err != nil || c.armed.Swap(false) {
			return
		}
		if _, err := in.Write(answer[:n]); err != nil {
			return
		}
	}
}

// A client of a cluster sends a command again when its answer is lost. No event comes twice.
func TestRealRedisCluster(t *testing.T) {
	server := start(t, "--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(servertest.FreePort(t)))
	between := newCutter(t, server.Address)
	_, port, err := net.SplitHostPort(between.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"config", "set", "cluster-announce-ip", "127.0.0.1"},
		{"config", "set", "cluster-announce-port", port},
		{"cluster", "addslotsrange", "0", "16383"},
	} {
		if out, err := exec.Command("redis-cli", append([]string{"-u", "redis://" + server.Address}, args...)...).CombinedOutput(); err != nil || string(out) != "OK\n" {
			t.Fatalf("%v: %s, %v", args, out, err)
		}
	}
	client := goredis.NewClient(&goredis.Options{Addr: server.Address})
	defer client.Close()
	for again := time.NewTicker(20 * time.Millisecond); !strings.Contains(client.ClusterInfo(t.Context()).Val(), "cluster_state:ok"); {
		select {
		case <-again.C:
		case <-t.Context().Done():
			t.Fatal("the cluster has no state ok")
		}
	}
	address := between.Addr().String()
	s := open(t, redis.Config{Addresses: []string{address, address}, Stream: "clustered"}, sinks.Origin{Log: memlog.New("log"), Sink: "cluster"})
	all := events(t, 30)
	if n, err := s.Deliver(t.Context(), all[:10]); n != 10 {
		t.Fatal(n, err)
	}
	between.armed.Store(true)
	n, err := s.Deliver(t.Context(), all[10:20])
	if between.armed.Load() {
		t.Fatal("no answer was cut off")
	}
	t.Logf("with a lost answer: %d, %v", n, err)
	if n, err := s.Deliver(t.Context(), all[10+n:]); err != nil {
		t.Fatal(n, err)
	}
	if n, err := client.XLen(t.Context(), "clustered").Result(); n != 30 || err != nil {
		t.Errorf("%d entries, %v; want 30", n, err)
	}
}
