package daemon

import (
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/webhook-bridge/bridge/internal/admin"
	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/internal/dispatch"
)

// pushes are the configured sinks. They change while the server runs. The zero value has none.
type pushes struct {
	mu  sync.Mutex
	all []*push
	// runs has how to end the run of a push. It is nil while the sinks do not run: before start, and after the end.
	runs map[*push]context.CancelFunc
	run  func(*push) context.CancelFunc
}

// newPush returns a sink of a configuration.
func (a *Server) newPush(s config.Sink, cfg *config.Config) *push {
	elsewhere := s.Replica != "" && cfg.Journal.Postgres != nil && s.Replica != cfg.Journal.Postgres.Replica
	return &push{
		elsewhere: elsewhere, cfg: s, plugins: a.plugins, journal: a.journal, grace: pushGrace(cfg), counters: new(dispatch.Counters), log: a.log,
		tracer: a.telemetry.Tracer(),
	}
}

// pushGrace is how long a delivery under way may go on when its sink ends: a part of the time of a shutdown.
func pushGrace(cfg *config.Config) time.Duration { return cfg.ShutdownTimeout / 5 }

func (s *pushes) list() []*push {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.all)
}

func (s *pushes) named(name string) *push {
	for _, p := range s.list() {
		if p.name() == name {
			return p
		}
	}
	return nil
}

func (s *pushes) forOperators() []admin.Sink {
	var all []admin.Sink
	for _, p := range s.list() {
		all = append(all, p.forOperators())
	}
	return all
}

// set sets the sinks before they are started.
func (s *pushes) set(all []*push) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = all
}

// start starts the sinks' dispatchers, and later those that replace adds. The channel gets the first error, and is closed when all have ended.
// All end when ctx is done, and when one dispatcher fails before that.
func (s *pushes) start(ctx context.Context) <-chan error {
	group, ctx := errgroup.WithContext(ctx)
	s.mu.Lock()
	s.runs = map[*push]context.CancelFunc{}
	s.run = func(p *push) context.CancelFunc {
		ctx, stop := context.WithCancel(ctx)
		group.Go(func() error {
			defer s.ended(p)
			defer stop()
			return p.run(ctx)
		})
		return stop
	}
	for _, p := range s.all {
		s.runs[p] = s.run(p)
	}
	s.mu.Unlock()
	group.Go(func() error { // The group waits for this, so that others may be added until then.
		<-ctx.Done()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.run = nil
		return nil
	})
	ended := make(chan error, 1)
	go func() {
		defer close(ended)
		if err := group.Wait(); err != nil {
			ended <- err
		}
	}()
	return ended
}

// ended notes that a sink delivers no more. One that was removed is unknown to retention from then on, unless there is another of its name.
func (s *pushes) ended(p *push) {
	p.close() // lanes that were opened before there was a claim
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.Contains(s.all, p) {
		return // It is for another replica, or the server is shutting down.
	}
	delete(s.runs, p)
	if s.run == nil || slices.ContainsFunc(s.all, func(o *push) bool { return o.name() == p.name() }) {
		return
	}
	p.journal.Unregister(p.name())
}

// replace makes others the sinks. What is new is started, what is gone is stopped: it ends as at a shutdown, and replace does not wait for it.
func (s *pushes) replace(all []*push) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = all
	if s.run == nil { // The server is shutting down. What was opened for this is used by nobody.
		for _, p := range all {
			if s.runs[p] == nil {
				p.close()
			}
		}
		return
	}
	for _, p := range all {
		if s.runs[p] == nil {
			s.runs[p] = s.run(p)
		}
	}
	for p, stop := range s.runs {
		if !slices.Contains(all, p) {
			stop()
		}
	}
}

// close closes the sinks that are open.
func (s *pushes) close() {
	for _, p := range s.list() {
		p.close()
	}
}
