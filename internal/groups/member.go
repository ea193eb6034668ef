package groups

import (
	"container/list"
	"context"
	"errors"
	"hash/crc32"
	"time"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// The limits of a member.
const (
	// maxMemberUndone bounds the events of all shares of a member that are outstanding, failed or held back.
	maxMemberUndone = 20_000
	// readRecords is how many events one read of the log returns at most.
	readRecords = 256
	// behindLag is how far from the log's end a member that had caught up falls behind.
	behindLag = 10_000
	// maxBatchBytes bounds the events of one batch, but for the last one.
	maxBatchBytes = 4 << 20
	// maxReads is how many reads of the log one Next makes while it has something to return.
	maxReads = 8
)

// Member takes part in a group.
type Member struct {
	group *group
	id    string
	label string
	start Start
	tag   uint32
	pull  bool
	// predicate and records belong to the goroutine in Next.
	predicate Predicate
	records   []sinks.Record

	// The group's lock protects the rest.
	err      error // Why the member has ended.
	ready    []*item
	sent     *list.List // Outstanding items, in the order of their deliveries.
	seq      uint64
	reading  int // Items that Next reads.
	full     bool
	caughtUp bool
	woken    bool
	cancel   context.CancelFunc // Of the wait in Next.
	position sinks.Position     // The greatest one that Status told.
	noted    note
	notedAt  time.Time
}

func newMember(g *group, id, label string, predicate Predicate) *Member {
	return &Member{
		group: g, id: id, label: label, predicate: predicate, sent: list.New(),
		tag: crc32.ChecksumIEEE([]byte(id)), records: make([]sinks.Record, 0, readRecords),
	}
}

// Start returns where the member starts.
func (m *Member) Start() Start { return m.start }

// wake lets a waiting Next look again. The group's lock is held.
func (m *Member) wake() {
	m.woken = true
	if m.cancel != nil {
		m.cancel()
	}
}

// wakeIfFull wakes a member that may have waited for room among its outstanding deliveries.
func (m *Member) wakeIfFull() {
	if m.sent.Len()+m.reading >= m.group.def.policy.MaxOutstanding-1 {
		m.wake()
	}
}

// Next returns deliveries within a budget, which are outstanding from then on. It waits until there is one, or a notice. One goroutine at a
// time may call it.
//
// Errors: [ErrLost], [ErrNotFound] when the group was deleted, [ErrDrained], [ErrLeft], an [*ExpiredError], those of reading the log, ctx's.
// After those of the log and ctx's it may be called again.
func (m *Member) Next(ctx context.Context, b Budget) (Batch, error) { return m.next(ctx, b, true) }

// next is Next. Without wait it returns an empty batch once there is nothing more in the log.
func (m *Member) next(ctx context.Context, b Budget, wait bool) (Batch, error) {
	f := &fill{member: m, group: m.group, budget: b}
	for reads := 0; ; {
		progress, err := f.step(ctx)
		if err != nil {
			if len(f.batch.Deliveries) > 0 && !f.fatal(err) {
				return f.finish()
			}
			f.undo()
			return Batch{}, err
		}
		reads++
		switch {
		case len(f.batch.Deliveries) > 0 && (!progress || f.spent() || reads >= maxReads):
			return f.finish()
		case f.batch.CaughtUp || f.batch.FellBehind:
			return f.finish()
		case progress:
			continue
		case !wait:
			return f.finish()
		}
		if err := f.wait(ctx); err != nil {
			return Batch{}, err
		}
	}
}

// fill is one call of Next.
type fill struct {
	member *Member
	group  *group
	budget Budget
	batch  Batch
	items  []*item // Of the deliveries.
	bytes  int64
	// mine are the shares that the read under way is for, with their scans.
	mine  [journal.GroupShares]*share
	scans [journal.GroupShares]sinks.Position
}

// spent reports whether the budget is used up.
func (f *fill) spent() bool {
	return len(f.batch.Deliveries) >= f.budget.Events || f.bytes >= maxBatchBytes || f.budget.Bytes > 0 && f.bytes >= f.budget.Bytes
}

// room reports whether another delivery may be made. The lock is held.
func (f *fill) room() bool {
	return !f.spent() && f.member.sent.Len()+f.member.reading < f.group.def.policy.MaxOutstanding
}

// fatal reports whether an error takes the deliveries away that were made before it.
func (f *fill) fatal(err error) bool { return f.group.lost() || errors.Is(err, f.memberErr()) }

func (f *fill) memberErr() error {
	f.group.mu.Lock()
	defer f.group.mu.Unlock()
	return f.member.err
}

// undo takes back the deliveries of a batch that is not returned.
func (f *fill) undo() {
	f.group.mu.Lock()
	defer f.group.mu.Unlock()
	for _, it := range f.items {
		if it.phase == outstanding && it.member == f.member && !it.gone {
			f.group.activate(it)
			f.group.moveIfIdle(it.share)
		}
	}
}

// finish returns the batch. What was lost meanwhile is not returned.
func (f *fill) finish() (Batch, error) {
	f.group.mu.Lock()
	err := f.member.err
	f.batch.Position, _ = f.member.scanned()
	f.group.mu.Unlock()
	if f.group.lost() {
		err = ErrLost
	}
	if err != nil {
		f.undo()
		return Batch{}, err
	}
	if next := f.group.events.Bounds().Next; next > f.batch.Position {
		f.batch.Lag = uint64(next - f.batch.Position)
	}
	if handed := f.group.run.manager.cfg.Handed; handed != nil {
		handed(f.group.name, f.member.id, f.batch.Deliveries)
	}
	return f.batch, nil
}

// step delivers what is ready, and then looks at further events. It reports whether there may be more without a wait.
func (f *fill) step(ctx context.Context) (progress bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if err := f.deliverReady(ctx); err != nil {
		return false, err
	}
	from, ok := f.plan()
	if end := f.group.events.Bounds().Next; !ok || from >= end {
		f.noticeEnd(end)
		return false, f.memberErr()
	}
	f.noticeBehind(from)
	return true, f.read(ctx, from)
}

// read looks at the events from a position on.
func (f *fill) read(ctx context.Context, from sinks.Position) error {
	records, err := f.group.events.Read(ctx, from, f.member.records[:0])
	if err != nil {
		return f.readFailed(from, err)
	}
	f.admitAll(f.choose(records))
	clear(records)
	return nil
}

// wait waits until the log has more, or something else changed.
func (f *fill) wait(ctx context.Context) error {
	m, g := f.member, f.group
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	g.mu.Lock()
	if m.woken {
		m.woken = false
		g.mu.Unlock()
		return nil
	}
	m.cancel = cancel
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		m.cancel, m.woken = nil, false
		g.mu.Unlock()
	}()
	from, ok := f.plan()
	if !ok {
		<-waiting.Done()
		return ctx.Err()
	}
	records, err := g.events.Read(waiting, from, m.records[:0])
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case waiting.Err() != nil:
		return nil
	case err != nil:
		return f.readFailed(from, err)
	}
	f.admitAll(f.choose(records))
	clear(records)
	return nil
}
