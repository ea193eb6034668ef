package groups_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/groups"
	"github.com/webhook-bridge/bridge/internal/groups/groupstest"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/memgroups"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/memlog"
)

// parts are what a node's manager is made of. A test of the checker breaks one.
type parts struct {
	groups  journal.Groups
	letters journal.DeadLetters
	log     sinks.Log
	now     func() time.Time
}

// node is a manager over a store in memory.
type node struct {
	store *memgroups.Store
	log   *memlog.Log
	name  string
	broke func(parts) parts
	seed  uint64

	mu       sync.Mutex
	instance *memgroups.Instance
	manager  *groups.Manager
	cancel   context.CancelFunc
	running  sync.WaitGroup
	// frozen is closed when a frozen node goes on.
	frozen chan struct{}
}

func (n *node) Manager() *groups.Manager {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.manager
}

func (n *node) Start() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.instance = n.store.Open(n.name)
	p := parts{groups: &flaky{Groups: n.instance, node: n, rand: rand.New(rand.NewPCG(n.seed, 3))}, letters: n.instance, log: n.log, now: time.Now}
	if n.broke != nil {
		p = n.broke(p)
	}
	m, err := groups.New(groups.Config{Groups: p.groups, Letters: p.letters, Log: p.log, Now: p.now, Compile: compile})
	if err != nil {
		panic(err)
	}
	var ctx context.Context
	ctx, n.cancel = context.WithCancel(context.Background())
	n.manager = m
	n.running.Go(func() { _ = m.Run(ctx) })
}

func compile(filter []byte) (groups.Predicate, error) {
	return func(r *sinks.Record) bool { return strings.HasPrefix(string(r.Header.Type), string(filter)) }, nil
}

func (n *node) Kill() {
	n.mu.Lock()
	defer n.mu.Unlock()
	_ = n.instance.Close()
	n.cancel()
}

func (n *node) Freeze(lose bool) (thaw func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	frozen := make(chan struct{})
	n.frozen = frozen
	resume := n.instance.Freeze()
	if lose {
		n.instance.Lose()
	}
	return func() {
		resume()
		close(frozen)
	}
}

// waitThawed waits while the node is frozen.
func (n *node) waitThawed() {
	n.mu.Lock()
	frozen := n.frozen
	n.mu.Unlock()
	if frozen != nil {
		<-frozen
	}
}

// flaky is a store that does not answer at times, also after it has done what was asked.
type flaky struct {
	journal.Groups
	node *node
	mu   sync.Mutex
	rand *rand.Rand
}

func (f *flaky) lost() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.rand.IntN(30) == 0 {
		return journal.ErrUnavailable
	}
	return nil
}

// Group, Shares and Replays do not answer at times.
func (f *flaky) Group(ctx context.Context, name string) (*journal.GroupState, error) {
	if err := f.lost(); err != nil {
		return nil, err
	}
	return f.Groups.Group(ctx, name)
}

func (f *flaky) Shares(ctx context.Context, group string, indexes []int) ([]journal.Share, error) {
	if err := f.lost(); err != nil {
		return nil, err
	}
	return f.Groups.Shares(ctx, group, indexes)
}

func (f *flaky) Replays(ctx context.Context, group string, from sinks.Position, limit int) ([]*journalv1.Parked, error) {
	if err := f.lost(); err != nil {
		return nil, err
	}
	return f.Groups.Replays(ctx, group, from, limit)
}

func (f *flaky) SaveShares(ctx context.Context, group string, changes []journal.ShareChange) ([]bool, error) {
	if err := f.lost(); err != nil {
		return nil, err // Nothing was written.
	}
	saved, err := f.Groups.SaveShares(ctx, group, changes)
	if err == nil {
		err = f.lost()
	}
	return saved, err
}

func (f *flaky) Enlist(ctx context.Context) (journal.Session, error) {
	s, err := f.Groups.Enlist(ctx)
	if err != nil {
		return nil, err
	}
	late := &flakySession{s, f, make(chan struct{})}
	go func() {
		<-s.Lost()
		f.node.waitThawed()
		close(late.lost)
	}()
	return late, nil
}

// flakySession learns that it is lost only when its node is not frozen.
type flakySession struct {
	journal.Session
	f    *flaky
	lost chan struct{}
}

func (s *flakySession) Lost() <-chan struct{} { return s.lost }

func (s *flakySession) Take(ctx context.Context, group string, indexes []int) ([]journal.Share, error) {
	taken, err := s.Session.Take(ctx, group, indexes)
	if err == nil {
		err = s.f.lost()
	}
	return taken, err
}

// drive runs a history in memory, in a bubble with its own time.
func drive(t *testing.T, plan groupstest.Plan, broke func(parts) parts) (breaches []error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		log, store := memlog.New("log"), memgroups.New(time.Now)
		cluster := groupstest.Cluster{Append: func(e *eventv1.Event) (sinks.Position, error) { return log.Append(e) }, Bounds: log.Bounds, Expire: log.Expire}
		nodes := make([]*node, 1+plan.Seed%3)
		for i := range nodes {
			nodes[i] = &node{store: store, log: log, name: fmt.Sprint("node-", i), broke: broke, seed: plan.Seed}
			nodes[i].Start()
			cluster.Nodes = append(cluster.Nodes, nodes[i])
		}
		history, err := groupstest.Drive(t.Context(), plan, cluster)
		for _, n := range nodes {
			n.cancel()
			n.running.Wait()
		}
		if err != nil {
			t.Error(err)
			return
		}
		breaches = history.Check()
		if len(breaches) > 0 && broke == nil {
			t.Logf("%+v\n%s", plan, history.Explain(mentioned(breaches[len(breaches)-1])...))
		}
	})
	return breaches
}

// mentioned returns the positions in an error's text.
func mentioned(err error) (all []sinks.Position) {
	for _, word := range strings.FieldsFunc(err.Error(), func(r rune) bool { return r < '0' || r > '9' }) {
		if p, err := strconv.ParseUint(word, 10, 64); err == nil {
			all = append(all, sinks.Position(p))
		}
	}
	return all
}

// The variables of random histories: how many run, and the one that runs alone.
const (
	seedsVariable = "BRIDGE_TEST_SEEDS"
	seedVariable  = "BRIDGE_TEST_SEED"
)

// seeds returns the first and the last seed of the histories to make.
func seeds(t *testing.T) (first, last uint64) {
	t.Helper()
	first, last = 1, 150
	if testing.Short() {
		last = 20
	}
	if text := os.Getenv(seedsVariable); text != "" {
		last = number(t, text)
	}
	if text := os.Getenv(seedVariable); text != "" {
		first = number(t, text)
		last = first
	}
	return first, last
}

func number(t *testing.T, text string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestHistories checks every promise of the package with random histories. A seed gives the same plan again; the order in which goroutines run differs.
func TestHistories(t *testing.T) {
	t.Parallel()
	first, last := seeds(t)
	for seed := first; seed <= last; seed++ {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			breaches := drive(t, groupstest.RandomPlan(seed), nil)
			for _, breach := range breaches {
				t.Error(breach)
			}
			if len(breaches) > 0 {
				t.Logf("repeat it in this package: %s=%d go test -count=20 -run '^TestHistories$' .", seedVariable, seed)
			}
		})
	}
}
