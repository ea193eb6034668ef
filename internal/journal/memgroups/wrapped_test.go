package memgroups_test

import (
	"context"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/journaltest"
	"github.com/webhook-bridge/bridge/sinks"
)

// broken is an instance with a fault on purpose. Its functions take the place of the instance's where they are set.
type broken struct {
	journaltest.GroupStore
	names   func(ctx context.Context, after string, limit int) ([]string, error)
	group   func(ctx context.Context, name string) (*journal.GroupState, error)
	set     func(ctx context.Context, name string, version uint64, definition []byte, reset *journal.GroupReset) (uint64, error)
	delete  func(ctx context.Context, name string) error
	shares  func(ctx context.Context, group string, indexes []int) ([]journal.Share, error)
	save    func(ctx context.Context, group string, changes []journal.ShareChange) ([]bool, error)
	replays func(ctx context.Context, group string, from sinks.Position, limit int) ([]*journalv1.Parked, error)
	parked  func(ctx context.Context, name string, from sinks.Position, limit int) ([]*journalv1.Parked, error)
	session func(s journal.Session) journal.Session
}

func (b *broken) GroupNames(ctx context.Context, after string, limit int) ([]string, error) {
	if b.names != nil {
		return b.names(ctx, after, limit)
	}
	return b.GroupStore.GroupNames(ctx, after, limit)
}

func (b *broken) Group(ctx context.Context, name string) (*journal.GroupState, error) {
	if b.group != nil {
		return b.group(ctx, name)
	}
	return b.GroupStore.Group(ctx, name)
}

func (b *broken) SetGroup(ctx context.Context, name string, version uint64, definition []byte, reset *journal.GroupReset) (uint64, error) {
	if b.set != nil {
		return b.set(ctx, name, version, definition, reset)
	}
	return b.GroupStore.SetGroup(ctx, name, version, definition, reset)
}

func (b *broken) DeleteGroup(ctx context.Context, name string) error {
	if b.delete != nil {
		return b.delete(ctx, name)
	}
	return b.GroupStore.DeleteGroup(ctx, name)
}

func (b *broken) Shares(ctx context.Context, group string, indexes []int) ([]journal.Share, error) {
	if b.shares != nil {
		return b.shares(ctx, group, indexes)
	}
	return b.GroupStore.Shares(ctx, group, indexes)
}

func (b *broken) SaveShares(ctx context.Context, group string, changes []journal.ShareChange) ([]bool, error) {
	if b.save != nil {
		return b.save(ctx, group, changes)
	}
	return b.GroupStore.SaveShares(ctx, group, changes)
}

func (b *broken) Replays(ctx context.Context, group string, from sinks.Position, limit int) ([]*journalv1.Parked, error) {
	if b.replays != nil {
		return b.replays(ctx, group, from, limit)
	}
	return b.GroupStore.Replays(ctx, group, from, limit)
}

func (b *broken) Parked(ctx context.Context, name string, from sinks.Position, limit int) ([]*journalv1.Parked, error) {
	if b.parked != nil {
		return b.parked(ctx, name, from, limit)
	}
	return b.GroupStore.Parked(ctx, name, from, limit)
}

func (b *broken) Enlist(ctx context.Context) (journal.Session, error) {
	s, err := b.GroupStore.Enlist(ctx)
	if err == nil && b.session != nil {
		s = b.session(s)
	}
	return s, err
}

// brokenSession is a session with a fault on purpose.
type brokenSession struct {
	journal.Session
	join    func(ctx context.Context, group, member string, note []byte) error
	leave   func(ctx context.Context, group, member string) error
	take    func(ctx context.Context, group string, indexes []int) ([]journal.Share, error)
	changed func() <-chan struct{}
	lost    func() <-chan struct{}
	close   func(ctx context.Context) error
}

func (b *brokenSession) Join(ctx context.Context, group, member string, note []byte) error {
	if b.join != nil {
		return b.join(ctx, group, member, note)
	}
	return b.Session.Join(ctx, group, member, note)
}

func (b *brokenSession) Leave(ctx context.Context, group, member string) error {
	if b.leave != nil {
		return b.leave(ctx, group, member)
	}
	return b.Session.Leave(ctx, group, member)
}

func (b *brokenSession) Take(ctx context.Context, group string, indexes []int) ([]journal.Share, error) {
	if b.take != nil {
		return b.take(ctx, group, indexes)
	}
	return b.Session.Take(ctx, group, indexes)
}

func (b *brokenSession) Changed() <-chan struct{} {
	if b.changed != nil {
		return b.changed()
	}
	return b.Session.Changed()
}

func (b *brokenSession) Lost() <-chan struct{} {
	if b.lost != nil {
		return b.lost()
	}
	return b.Session.Lost()
}

func (b *brokenSession) Close(ctx context.Context) error {
	if b.close != nil {
		return b.close(ctx)
	}
	return b.Session.Close(ctx)
}

// wrap breaks all instances of a harness.
func wrap(h journaltest.GroupHarness, fault func(b *broken)) journaltest.GroupHarness {
	one := func(s journaltest.GroupStore) journaltest.GroupStore {
		b := &broken{GroupStore: s}
		fault(b)
		return b
	}
	all := func(stores []journaltest.GroupStore) (wrapped []journaltest.GroupStore) {
		for _, s := range stores {
			wrapped = append(wrapped, one(s))
		}
		return wrapped
	}
	reopen, crash := h.Reopen, h.Crash
	h.Instances = all(h.Instances)
	h.Reopen = func(i int) journaltest.GroupStore { return one(reopen(i)) }
	h.Crash = func(n int, during func()) []journaltest.GroupStore { return all(crash(n, during)) }
	return h
}
