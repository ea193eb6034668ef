package kafkatest

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/webhook-bridge/bridge/sinks/proxytest"
)

// Version is the version of Apache Kafka that Start runs.
const Version = "4.3.1"

// startWithin limits the time until a new broker answers.
const startWithin = 2 * time.Minute

// Broker is a node of an Apache Kafka on loopback, in its own process, behind a proxy.
type Broker struct {
	// ID is the node's.
	ID int
	// Proxy is in front of the broker: clients connect to it.
	Proxy *proxytest.Proxy

	// direct and controller are the ports for clients that bypass the proxy, and for controllers; client is behind the proxy.
	client, direct, controller, internal string

	jars, dir string
	process   *exec.Cmd
	exited    chan struct{} // Closed when process has ended.
}

// Start runs a broker until the test ends. properties are additional lines of its server.properties. Unless the environment has
// BRIDGE_TEST_KAFKA=1, Start skips the test; with it, a missing program fails the test.
//
// It needs Java 17 or later. The first time it also needs Maven, to download the broker's jars from Maven Central into the
// user's cache.
func Start(tb testing.TB, properties ...string) *Broker {
	tb.Helper()
	return StartCluster(tb, 1, properties...)[0]
}

// StartCluster behaves like Start for several nodes. Each of them is a controller too, and has all topics of Kafka's own.
func StartCluster(tb testing.TB, nodes int, properties ...string) []*Broker {
	tb.Helper()
	if os.Getenv("BRIDGE_TEST_KAFKA") != "1" {
		tb.Skip("a real Apache Kafka is left out; BRIDGE_TEST_KAFKA=1 runs one (it takes Java and Maven)")
	}
	ctx, cancel := context.WithTimeout(tb.Context(), 10*time.Minute)
	defer cancel()
	jars, err := fetch(ctx)
	if err != nil {
		tb.Fatal(err)
	}
	var cluster []*Broker
	for i := range nodes {
		b, err := newBroker(i+1, jars, tb.TempDir())
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(b.Proxy.Close)
		cluster = append(cluster, b)
	}
	if err := prepare(ctx, cluster, properties); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		for _, b := range cluster {
			if err := b.stop(syscall.SIGKILL); err != nil {
				tb.Error(err)
			}
		}
	})
	for _, b := range cluster {
		if err := b.launch(ctx); err != nil {
			tb.Fatal(err)
		}
	}
	for _, b := range cluster {
		if err := b.await(ctx); err != nil {
			tb.Fatal(err)
		}
	}
	return cluster
}

// Addresses returns the addresses of several nodes for clients.
func Addresses(cluster []*Broker) []string {
	var all []string
	for _, b := range cluster {
		all = append(all, b.Brokers()...)
	}
	return all
}

func newBroker(id int, jars, dir string) (*Broker, error) {
	ports, err := freePorts(4)
	if err != nil {
		return nil, err
	}
	proxy, err := proxytest.New()
	if err != nil {
		return nil, fmt.Errorf("kafkatest: start: %w", err)
	}
	b := &Broker{ID: id, Proxy: proxy, jars: jars, dir: dir}
	b.client, b.direct, b.controller, b.internal = ports[0], ports[1], ports[2], ports[3]
	proxy.Forward(b.client)
	return b, nil
}

// Brokers returns the addresses for clients.
func (b *Broker) Brokers() []string { return []string{b.Proxy.Addr().String()} }

// Direct returns the addresses for clients that bypass the proxy.
func (b *Broker) Direct() []string { return []string{b.direct} }

// Stop shuts the broker down.
func (b *Broker) Stop(tb testing.TB) {
	tb.Helper()
	if err := b.stop(syscall.SIGTERM); err != nil {
		tb.Fatal(err)
	}
}

// Kill kills the broker's process.
func (b *Broker) Kill(tb testing.TB) {
	tb.Helper()
	if err := b.stop(syscall.SIGKILL); err != nil {
		tb.Fatal(err)
	}
}

// Freeze stops the broker's process in the middle of everything, until Thaw. Its connections stay open.
func (b *Broker) Freeze(tb testing.TB) { b.signal(tb, syscall.SIGSTOP) }

// Thaw lets a frozen broker continue.
func (b *Broker) Thaw(tb testing.TB) { b.signal(tb, syscall.SIGCONT) }

func (b *Broker) signal(tb testing.TB, signal syscall.Signal) {
	tb.Helper()
	if err := b.process.Process.Signal(signal); err != nil {
		tb.Fatal(err)
	}
}

// Restart starts the stopped broker with its data, and returns when it answers.
func (b *Broker) Restart(tb testing.TB) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), startWithin)
	defer cancel()
	if err := b.launch(ctx); err != nil {
		tb.Fatal(err)
	}
	if err := b.await(ctx); err != nil {
		tb.Fatal(err)
	}
}

func (b *Broker) properties() string { return filepath.Join(b.dir, "server.properties") }

// prepare writes the nodes' configurations and formats their storages.
func prepare(ctx context.Context, cluster []*Broker, more []string) error {
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		return fmt.Errorf("kafkatest: start: %w", err)
	}
	id[0] &= 0x7f // An id must not begin with a dash.
	name := base64.RawURLEncoding.EncodeToString(id)
	var voters []string
	for _, b := range cluster {
		voters = append(voters, fmt.Sprintf("%d@%s", b.ID, b.controller))
	}
	var formats errgroup.Group
	for _, b := range cluster {
		formats.Go(func() error { return b.prepare(ctx, name, strings.Join(voters, ","), len(cluster), more) })
	}
	return formats.Wait()
}

func (b *Broker) prepare(ctx context.Context, cluster, voters string, nodes int, more []string) error {
	lines := extend([]string{
		"process.roles=broker,controller",
		fmt.Sprintf("node.id=%d", b.ID),
		"listeners=CLIENT://" + b.client + ",DIRECT://" + b.direct + ",INTERNAL://" + b.internal + ",CONTROLLER://" + b.controller,
		"advertised.listeners=CLIENT://" + b.Proxy.Addr().String() + ",DIRECT://" + b.direct + ",INTERNAL://" + b.internal,
		"listener.security.protocol.map=CLIENT:PLAINTEXT,DIRECT:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"controller.listener.names=CONTROLLER",
		"inter.broker.listener.name=INTERNAL",
		"controller.quorum.voters=" + voters,
		"log.dirs=" + filepath.Join(b.dir, "data"),
		fmt.Sprintf("offsets.topic.replication.factor=%d", nodes),
		fmt.Sprintf("transaction.state.log.replication.factor=%d", nodes),
		fmt.Sprintf("transaction.state.log.min.isr=%d", (nodes+1)/2),
		"offsets.topic.num.partitions=4",
		"transaction.state.log.num.partitions=4",
		"auto.create.topics.enable=false",
		// A node that was killed may come back after this time.
		"broker.session.timeout.ms=5000",
		"broker.heartbeat.interval.ms=500",
		"group.initial.rebalance.delay.ms=0",
		"num.partitions=6",
		// Tests' events are from the past. Retention would delete them, for the first time half a minute after the start.
		"log.retention.ms=-1",
	}, more)
	if err := os.WriteFile(b.properties(), []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		return fmt.Errorf("kafkatest: start: %w", err)
	}
	out, err := b.java(ctx, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", b.properties()).CombinedOutput()
	if err != nil {
		return fmt.Errorf("kafkatest: format storage: %w\n%s", err, out)
	}
	return nil
}

func (b *Broker) java(ctx context.Context, class string, args ...string) *exec.Cmd {
	args = append([]string{"-Xmx512m", "-cp", filepath.Join(b.jars, "*"), class}, args...)
	return exec.CommandContext(ctx, "java", args...) //nolint:gosec // The arguments are ours.
}

// launch starts the broker's process.
func (b *Broker) launch(ctx context.Context) error {
	log, err := os.OpenFile(filepath.Join(b.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("kafkatest: start: %w", err)
	}
	// The process outlives ctx; stop ends it.
	b.process = b.java(context.WithoutCancel(ctx), "kafka.Kafka", b.properties())
	b.process.Stdout, b.process.Stderr = log, log
	err = errors.Join(b.process.Start(), log.Close())
	if err != nil {
		return fmt.Errorf("kafkatest: start: %w", err)
	}
	b.exited = make(chan struct{})
	go func(process *exec.Cmd, exited chan struct{}) {
		// The exit status does not matter: a signal ended the process.
		_ = process.Wait()
		close(exited)
	}(b.process, b.exited)
	return nil
}

// await returns when the broker answers.
func (b *Broker) await(ctx context.Context) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Brokers()...))
	if err != nil {
		return fmt.Errorf("kafkatest: start: %w", err)
	}
	defer client.Close()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for client.Ping(ctx) != nil {
		select {
		case <-again.C:
		case <-b.exited:
			return fmt.Errorf("kafkatest: start: the broker ended\n%s", b.log())
		case <-ctx.Done():
			return fmt.Errorf("kafkatest: start: the broker does not answer\n%s", b.log())
		}
	}
	return nil
}

func (b *Broker) log() []byte {
	text, err := os.ReadFile(filepath.Join(b.dir, "log"))
	if err != nil {
		return []byte(err.Error())
	}
	return text
}

func (b *Broker) stop(signal os.Signal) error {
	if b.process == nil {
		return nil
	}
	process := b.process
	b.process = nil
	if err := process.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kafkatest: stop: %w", err)
	}
	late := time.NewTimer(startWithin)
	defer late.Stop()
	select {
	case <-b.exited:
		return nil
	case <-late.C:
		return errors.Join(errors.New("kafkatest: stop: the broker does not end"), process.Process.Kill())
	}
}

// freePorts returns loopback addresses that were free a moment ago. Kafka cannot report a port that it selects itself.
func freePorts(n int) ([]string, error) {
	var ports []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("kafkatest: free port: %w", err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().String())
	}
	return ports, nil
}
