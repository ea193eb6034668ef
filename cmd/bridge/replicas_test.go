package main

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/internal/journal/postgres/pgtest"
)

// replicas are several `bridge serve` on one database, behind a balancer.
type replicas struct {
	t        testing.TB
	config   func(name string) string
	balancer *balancer

	mu  sync.Mutex
	all []*replica
}

// replica is one of them. The process changes when it is started again.
type replica struct {
	name    string
	process *process
	backend *backend
}

// replicaConfig is a configuration with one source and the journal in PostgreSQL.
func replicaConfig(name, url, replicatedBy, more string) string {
	return fmt.Sprintf(`
listen: {webhooks: "127.0.0.1:0", ops: "127.0.0.1:0", grpc: "127.0.0.1:0", admin: "127.0.0.1:0"}
journal: {postgres: {url: %q, replicated_by: %s, replica: %s}}
shutdown_delay: 1s
log: {format: json}
sources:
  - name: returns
    connector: retino
    auth: {header: {name: X-Retino-Secret, values: [%s]}}
%s`, url, replicatedBy, name, testSecret, more)
}

func startReplicas(t testing.TB, config func(name string) string, names ...string) *replicas {
	t.Helper()
	r := &replicas{t: t, config: config, balancer: startBalancer(t)}
	for _, name := range names {
		one := &replica{name: name}
		r.start(one)
		r.all = append(r.all, one)
	}
	return r
}

// start starts a replica and adds it to the balancer.
func (r *replicas) start(one *replica) {
	p := startBridge(r.t, r.config(one.name))
	r.mu.Lock()
	defer r.mu.Unlock()
	one.process = p
	one.backend = r.balancer.add(p)
}

// kill ends a replica by SIGKILL.
func (r *replicas) kill(one *replica) {
	one.process.kill()
	r.balancer.remove(one.backend)
}

// stop ends a replica by SIGTERM, as a deploy does.
func (r *replicas) stop(one *replica) {
	r.t.Helper()
	if err := one.process.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		r.t.Fatal(err)
	}
	select {
	case <-one.process.exited:
	case <-time.After(time.Minute):
		r.t.Fatal("it did not end within a minute")
	}
	if err := one.process.err; err != nil {
		r.t.Fatalf("it ended with %v\n%s", err, one.process.text())
	}
	r.balancer.remove(one.backend)
}

// addrs returns an address of each replica.
func (r *replicas) addrs(listener string) (all []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, one := range r.all {
		all = append(all, one.process.addr(listener))
	}
	return all
}

// await waits until done says so, for a minute.
func await(t testing.TB, what string, done func() bool) {
	t.Helper()
	limit := time.After(time.Minute)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%s: not within a minute", what)
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		}
	}
}

// follower is a client that reads all events from any replica, and resumes by its token where its stream ends.
type follower struct {
	replicas *replicas

	mu sync.Mutex
	// ids are the events in the order in which they came: the first has position 1. Guarded by mu.
	ids []string
	// resumed is how often a stream began at a token. refused are the errors that say that the token is not good any more. Guarded by mu.
	resumed int
	refused []string
	// hangUp ends the stream. Guarded by mu.
	hangUp func()

	token string
}

// reconnect has the follower go on at another replica.
func (f *follower) reconnect() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hangUp()
}

// run reads until ctx is done.
func (f *follower) run(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		addrs := f.replicas.addrs("grpc")
		err := f.read(ctx, addrs[n%len(addrs)])
		switch status.Code(err) {
		case codes.FailedPrecondition, codes.OutOfRange, codes.InvalidArgument, codes.NotFound, codes.DataLoss:
			f.mu.Lock()
			f.refused = append(f.refused, err.Error())
			f.mu.Unlock()
			return
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// read reads from one replica until the stream ends.
func (f *follower) read(ctx context.Context, addr string) error {
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f.mu.Lock()
	f.hangUp = cancel
	f.mu.Unlock()
	silent := time.AfterFunc(3*time.Second, cancel) // so many heartbeats without one is a dead server
	defer silent.Stop()
	start := &streamv1.Start{At: &streamv1.Start_Earliest{Earliest: &streamv1.Earliest{}}}
	if f.token != "" {
		start = &streamv1.Start{At: &streamv1.Start_Token{Token: f.token}}
	}
	stream, err := streamv1.NewEventStreamServiceClient(conn).Tail(ctx, &streamv1.TailRequest{
		Start: start, HeartbeatInterval: durationpb.New(100 * time.Millisecond),
	})
	if err != nil {
		return err
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		silent.Reset(3 * time.Second)
		f.receive(m)
	}
}

func (f *follower) receive(m *streamv1.TailResponse) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m.GetSubscribed() != nil && f.token != "" {
		f.resumed++
	}
	token := m.GetSubscribed().GetToken() + m.GetHeartbeat().GetToken() + m.GetGoodbye().GetToken() // one of them is set, or none
	for _, d := range m.GetEvents().GetEvents() {
		f.ids = append(f.ids, d.GetEvent().GetId())
		token = d.GetToken()
	}
	if token != "" {
		f.token = token
	}
}

func (f *follower) seen() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.ids)
}

// moved returns how many of the events that were seen are not at their positions any more. all are the journal's events.
func moved(seen, all []string) (n int) {
	for i, id := range seen {
		if i >= len(all) || all[i] != id {
			n++
		}
	}
	return n
}

// dense fails the test unless the positions of the database's events are 1 to n.
func dense(t testing.TB, c *pgtest.Cluster, n int) {
	t.Helper()
	var count, first, last int
	row := c.Admin(t).QueryRow(t.Context(), "select count(*), coalesce(min(position), 1), coalesce(max(position), 0) from bridge.event")
	if err := row.Scan(&count, &first, &last); err != nil {
		t.Fatal(err)
	}
	if count != n || first != 1 || last != n {
		t.Errorf("the database has %d events at positions %d to %d, want %d", count, first, last, n)
	}
}

var sinkLag = regexp.MustCompile(`(?m)^bridge_sink_lag_events\{sink="topic"\} (\S+)$`)

// delivered reports whether some replica says that the sink has everything.
func (r *replicas) delivered() bool {
	for _, addr := range r.addrs("ops") {
		text, err := fetch(r.t.Context(), "http://"+addr+"/metrics", "", "")
		if m := sinkLag.FindStringSubmatch(text); err == nil && m != nil && strings.TrimSpace(m[1]) == "0" {
			return true
		}
	}
	return false
}
