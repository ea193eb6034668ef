package subscribetest

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/webhook-bridge/bridge/internal/groups"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/subscribe"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/grpcstream"
	"github.com/webhook-bridge/bridge/sinks/tail"
)

// Harness is an engine with some replicas, for one history.
type Harness struct {
	// Replicas is their number.
	Replicas int
	// Open opens the journal of a replica.
	Open func(i int) (journal.Journal, error)
	// Kill ends a replica's process: nothing that it does from now on is stored, and it says nothing to anybody.
	Kill func(i int)
	// Arm has a replica's journal die before its n-th write from now on. Kill follows. Nil: the engine cannot.
	Arm func(i, n int)
	// Freeze keeps a replica from its storage, until it is thawed, and Cut breaks its connections. Nil: the engine cannot.
	Freeze func(i int) (thaw func())
	Cut    func(i int)
	// Retain runs a pass of retention, which removes the events that are older than Age at this pass and at the one before.
	Retain func()
	Age    time.Duration
}

// Parts are what the service of a replica stands on. A test of the checker breaks one.
type Parts struct {
	Groups  journal.Groups
	Letters journal.DeadLetters
	Log     sinks.Log
}

// process is a server over one journal, composed as the program composes it.
type process struct {
	*subscribe.Server
	// name is that of the pulls' member in the history, which is one a process.
	name    string
	journal journal.Journal
	streams *grpcstream.Server
	manager *groups.Manager
	// alive ends with the process: connections break.
	alive   context.Context
	die     context.CancelFunc
	end     context.CancelFunc // Of the manager and the tail.
	running sync.WaitGroup
	suspect atomic.Bool // What it does may be late.
}

// streamAge is short, so that streams reach it.
const streamAge = 40 * time.Second

// startProcess starts a server. handed is told of each delivery when it begins.
func startProcess(
	name string, j journal.Journal, broke func(Parts) Parts, handed func(p *process, group, member string, all []groups.Delivery),
) (*process, error) {
	p := &process{name: name, journal: j}
	parts := Parts{Groups: j, Letters: j, Log: j}
	if broke != nil {
		parts = broke(parts)
	}
	newest := tail.New(parts.Log, 64<<10)
	streams := grpcstream.NewStreams(grpcstream.StreamsConfig{MaxAge: streamAge})
	p.streams = grpcstream.New(newest, grpcstream.Config{Streams: streams})
	var err error
	p.manager, err = groups.New(groups.Config{
		Groups: parts.Groups, Letters: parts.Letters, Log: newest, Compile: subscribe.Compile(streams), IdleSave: time.Second,
		Handed: func(group, member string, all []groups.Delivery) { handed(p, group, member, all) },
	})
	if err != nil {
		return nil, err
	}
	p.Server = subscribe.New(subscribe.Config{Log: newest, Tail: p.streams, Groups: p.manager})
	p.alive, p.die = context.WithCancel(context.Background())
	var running context.Context
	running, p.end = context.WithCancel(context.Background())
	p.running.Go(func() { newest.Run(running) })
	p.running.Go(func() { _ = p.manager.Run(running) })
	return p, nil
}

// kill ends what is left of a process whose journal is dead.
func (p *process) kill() {
	p.die()
	p.end()
	p.running.Wait()
}

// drain ends a process in order, as a deploy does.
func (p *process) drain(ctx context.Context) {
	p.manager.Drain()
	stopping, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_ = p.streams.Shutdown(stopping) // Streams whose clients do not read are cut.
	p.end()
	p.running.Wait()
	p.die()
}
