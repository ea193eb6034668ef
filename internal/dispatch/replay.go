package dispatch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/filter"
)

// scanned bounds how many positions a replay reads before it gives the lanes what it found, so that its progress is seen.
const scanned = 100_000

// replays are the replays that operators asked for. It is safe for concurrent use.
type replays struct {
	mu  sync.Mutex
	all []*journalv1.Replay
	// ended are the ids of replays that this dispatcher carried out. They may be heard of once more.
	ended map[string]bool
	// changed is closed, and replaced, when the replays that go on were heard.
	changed chan struct{}
}

// heard replaces the replays that go on.
func (s *replays) heard(all []*journalv1.Replay) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = all
	close(s.changed)
	s.changed = make(chan struct{})
}

// first returns the first replay that goes on, or nil, and a channel that is closed at the next look at the requests.
func (s *replays) first() (*journalv1.Replay, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.all {
		if !s.ended[r.GetId()] {
			return r, s.changed
		}
	}
	return nil, s.changed
}

// goesOn reports whether an operator has not ended a replay.
func (s *replays) goesOn(id string) (bool, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.all, func(r *journalv1.Replay) bool { return r.GetId() == id }), s.changed
}

func (s *replays) end(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended[id] = true
}

// runReplays carries out replays, one after the other, until ctx is done.
func (d *Dispatcher) runReplays(ctx, work context.Context) {
	for {
		r, changed := d.replays.first()
		switch {
		case r == nil:
		case d.carryOut(ctx, work, r):
			continue
		default:
			return // What was heard of the replay is old now. The next run hears what was saved.
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// replay is the work on one replay. It reads the events in chunks. Each lane delivers its part of a chunk, and the next chunk begins
// when all lanes have. So events of one subject stay in order, and what is saved counts each event once.
type replay struct {
	*journalv1.Replay

	d       *Dispatcher
	filter  *filter.Filter
	saved   time.Time
	scratch []sinks.Record
}

// chunk is a part of a replay.
type chunk struct {
	// lanes has the records of each lane.
	lanes [][]sinks.Record
	// next is the first position behind the chunk.
	next            sinks.Position
	count, bytes    int
	undecided, gone uint64
}

// carryOut delivers the events of a replay until it has ended, an operator has ended it, or ctx is done. It reports whether the replay
// has ended.
func (d *Dispatcher) carryOut(ctx, work context.Context, request *journalv1.Replay) bool {
	r := &replay{Replay: request, d: d, saved: time.Now(), scratch: make([]sinks.Record, 0, d.cfg.Batch.Count)}
	id := r.GetId()
	log := d.cfg.Logger.With("replay", id)
	if r.GetStartedAt() == nil {
		r.StartedAt = timestamppb.Now()
		log.Info("dispatch: a replay begins", "from", r.GetFrom(), "to", r.GetTo())
	}
	r.Next, r.State = max(r.GetNext(), r.GetFrom()), journalv1.ReplayState_REPLAY_STATE_RUNNING
	err := r.run(ctx)
	switch goesOn, _ := d.replays.goesOn(id); {
	case ctx.Err() != nil:
		last, done := context.WithTimeout(context.WithoutCancel(ctx), d.cfg.Grace)
		defer done()
		r.save(last)
		return false
	case !goesOn:
		log.Info("dispatch: a replay was cancelled", "delivered", r.GetDelivered())
		d.replays.end(id)
		return true
	case err != nil:
		r.State, r.Problem = journalv1.ReplayState_REPLAY_STATE_FAILED, err.Error()
		log.Error("dispatch: a replay failed", "position", r.GetNext(), "error", err)
	default:
		r.State = journalv1.ReplayState_REPLAY_STATE_DONE
		log.Info("dispatch: a replay has ended", "delivered", r.GetDelivered(), "parked", r.GetParked(), "expired", r.GetExpired())
	}
	r.EndedAt = timestamppb.Now()
	err = d.persist(ctx, work, "the end of a replay", sinks.Position(r.GetNext()), func(ctx context.Context) error {
		return d.cfg.Claim.SaveReplay(ctx, r.Replay)
	})
	if err != nil {
		return false
	}
	d.replays.end(id)
	return true
}

// run delivers chunk after chunk. It returns nil, too, when ctx is done or an operator ended the replay. An error is final.
func (r *replay) run(ctx context.Context) (err error) {
	if r.filter, err = filter.New(r.GetFilter(), nil); err != nil {
		return err
	}
	r.save(ctx)
	for r.GetNext() < r.GetTo() {
		if !r.await(ctx) {
			return nil
		}
		c, err := r.read(ctx)
		if err != nil || ctx.Err() != nil {
			return err
		}
		if goesOn, err := r.deliver(ctx, c); err != nil || !goesOn {
			return err
		}
		r.Next = uint64(c.next)
		r.Expired += c.gone
		r.Undecided += c.undecided
		if time.Since(r.saved) >= r.d.cfg.SaveInterval {
			r.save(ctx)
		}
	}
	return nil
}

// limit is the first position that the sink has not dealt with, or the replay's end. What comes later has its turn in the sink's own
// deliveries first.
func (r *replay) limit() (limit sinks.Position, moved <-chan struct{}) {
	lowest, moved := r.d.progress.get()
	return min(lowest, sinks.Position(r.GetTo())), moved
}

// await waits until the sink is past the replay's next event. It reports false when the replay does not go on.
func (r *replay) await(ctx context.Context) bool {
	for {
		goesOn, changed := r.d.replays.goesOn(r.GetId())
		limit, moved := r.limit()
		if !goesOn || ctx.Err() != nil || sinks.Position(r.GetNext()) < limit {
			return goesOn && ctx.Err() == nil
		}
		select {
		case <-changed:
		case <-moved:
		case <-ctx.Done():
		}
	}
}

// read reads the next chunk, of about a batch for each lane. An error is final for the replay.
func (r *replay) read(ctx context.Context) (c chunk, err error) {
	lanes := len(r.d.lanes)
	c = chunk{lanes: make([][]sinks.Record, lanes), next: sinks.Position(r.GetNext())}
	limit, _ := r.limit()
	limit = min(limit, c.next+scanned)
	for failures := 1; c.next < limit && c.count < lanes*r.d.cfg.Batch.Count && c.bytes < lanes*r.d.cfg.Batch.Bytes; {
		records, err := r.d.cfg.Log.Read(ctx, c.next, r.scratch[:0])
		switch {
		case err == nil:
			r.add(&c, records, limit)
			failures = 1
			continue
		case errors.Is(err, sinks.ErrExpired):
			to := min(r.keptFrom(err), limit)
			c.gone += uint64(to - c.next)
			c.next = to
			continue
		case ctx.Err() != nil, errors.Is(err, sinks.ErrClosed):
			<-ctx.Done()  // The lanes end, too, when the log is closed.
			return c, nil //nolint:nilerr // the run ends
		case errors.Is(err, sinks.ErrDamaged):
			if c.count > 0 {
				return c, nil
			}
			return c, fmt.Errorf("the event at position %d cannot be read: another replay can begin after it", c.next)
		}
		r.d.cfg.Logger.Error("dispatch: the journal cannot be read", "position", c.next, "error", err)
		if !pause(ctx, r.d.wait(failures)) {
			return c, nil
		}
		failures++
	}
	return c, nil
}

// keptFrom is the first position that can be read after an [sinks.ErrExpired].
func (r *replay) keptFrom(err error) sinks.Position {
	var lost *sinks.LostError
	if errors.As(err, &lost) {
		return lost.To
	}
	return r.d.cfg.Log.Bounds().Earliest
}

// add adds the records before limit that the replay and the sink choose.
func (r *replay) add(c *chunk, records []sinks.Record, limit sinks.Position) {
	for i := range records {
		e := &records[i]
		if e.Position >= limit {
			break
		}
		c.next = e.Position + 1
		chosen, err := r.filter.Decide(e)
		if err == nil && chosen {
			chosen, err = r.d.choose(e)
		}
		if err != nil {
			c.undecided++
		}
		if err != nil || !chosen {
			continue
		}
		again := e.Clone() // The record is marked, and kept for longer than the others of the read.
		again.Header.Replay = []byte(r.GetId())
		lane := laneOf(&again.Header, len(c.lanes))
		c.lanes[lane] = append(c.lanes[lane], again)
		c.count++
		c.bytes += len(again.Encoded)
	}
	clear(records)
}

// deliver has the lanes deliver a chunk. It reports false when the replay does not go on. An error is final: the destination wants no more events.
func (r *replay) deliver(ctx context.Context, c chunk) (goesOn bool, err error) {
	var errands []*errand
	for i, records := range c.lanes {
		if len(records) == 0 {
			continue
		}
		e := &errand{replay: r.GetId(), records: records, done: make(chan struct{})}
		errands = append(errands, e)
		r.d.lanes[i].runErrand(e)
		defer r.d.lanes[i].runErrand(nil)
	}
	for _, e := range errands {
		if !r.awaitErrand(ctx, e) {
			return false, nil
		}
	}
	for _, e := range errands {
		r.Delivered += e.delivered
		r.Parked += e.parked
		err = cmp.Or(err, e.failed)
	}
	return true, err
}

// awaitErrand waits for the end of an errand. It reports false when the replay does not go on.
func (r *replay) awaitErrand(ctx context.Context, e *errand) bool {
	for {
		goesOn, changed := r.d.replays.goesOn(r.GetId())
		if !goesOn {
			return false
		}
		select {
		case <-e.done:
			return true
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// save stores how far the replay is. If it fails, more of the replay is repeated after a crash.
func (r *replay) save(ctx context.Context) {
	r.saved = time.Now()
	err := r.d.cfg.Claim.SaveReplay(ctx, r.Replay)
	if err != nil && ctx.Err() == nil && !errors.Is(err, journal.ErrLost) {
		r.d.cfg.Logger.Warn("dispatch: the progress of a replay cannot be saved", "replay", r.GetId(), "error", err)
	}
}
