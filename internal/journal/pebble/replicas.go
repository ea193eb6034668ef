package pebble

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// instance is the one instance that a folder has. What it reports lives in memory.
type instance struct {
	id      string
	started time.Time

	mu     sync.Mutex
	report journal.Report
}

func newInstance(now time.Time) *instance {
	return &instance{id: uuid.NewString(), started: now}
}

// Replicas implements [journal.Replicas].
func (j *Journal) Replicas(ctx context.Context) ([]journal.Replica, error) {
	if err := j.open(ctx); err != nil {
		return nil, err
	}
	i := j.instance
	i.mu.Lock()
	defer i.mu.Unlock()
	return []journal.Replica{{
		ID: i.id, Name: j.cfg.Name, Version: j.cfg.Version, Started: i.started, Seen: j.cfg.Now(), Self: true,
		Claims: j.readers.claimed(), Report: cloneReport(i.report),
	}}, nil
}

// Report implements [journal.Replicas].
func (j *Journal) Report(ctx context.Context, r journal.Report) error {
	if err := j.open(ctx); err != nil {
		return err
	}
	i := j.instance
	i.mu.Lock()
	defer i.mu.Unlock()
	i.report = cloneReport(r)
	return nil
}

// open returns why nothing can be asked: the journal is closing, or ctx is done.
func (j *Journal) open(ctx context.Context) error {
	if j.isClosing() {
		return sinks.ErrClosed
	}
	return ctx.Err()
}

func cloneReport(r journal.Report) journal.Report {
	r.Counts = cloneCounts(r.Counts)
	return r
}

func cloneCounts(counts []*journalv1.SourceCounts) []*journalv1.SourceCounts {
	if counts == nil {
		return nil
	}
	all := make([]*journalv1.SourceCounts, len(counts))
	for i, c := range counts {
		all[i] = proto.CloneOf(c)
	}
	return all
}

// claimed returns the names that have a holder, in order.
func (rs *readers) claimed() (names []string) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for name, r := range rs.named {
		if r.holder != nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
