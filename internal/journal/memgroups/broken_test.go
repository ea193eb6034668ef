package memgroups_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/journaltest"
	"github.com/webhook-bridge/bridge/sinks"
)

type harness = journaltest.GroupHarness

// brokenStores each fail one case, and no other.
var brokenStores = []struct {
	name, fails string
	fault       func(h harness) harness
}{
	{"forgets a changed definition in a crash", "groups after a crash", forgetsDefinition},
	{"lists names from the given one on", "groups at every instance", eachStore(func(b *broken) {
		b.names = func(ctx context.Context, after string, limit int) ([]string, error) {
			if after != "" {
				after = after[:len(after)-1]
			}
			return b.GroupStore.GroupNames(ctx, after, limit)
		}
	})},
	{"writes one share after the other", "shares whole or not at all", splitsShares},
	{"unparks what a refused change names", "stale writes of shares", eachStore(func(b *broken) {
		b.save = func(ctx context.Context, group string, changes []journal.ShareChange) ([]bool, error) {
			saved, err := b.GroupStore.SaveShares(ctx, group, changes)
			for n, c := range changes {
				if err == nil && !saved[n] && len(c.Unpark) > 0 {
					_ = b.DiscardParked(ctx, journal.GroupReader(group), c.Unpark[0])
				}
			}
			return saved, err
		}
	})},
	{"says that each of several writes succeeded", "one of several writes of a share", eachStore(func(b *broken) {
		b.save = func(ctx context.Context, group string, changes []journal.ShareChange) ([]bool, error) {
			saved, err := b.GroupStore.SaveShares(ctx, group, changes)
			if err == nil && strings.HasPrefix(string(changes[0].State), "writer") {
				saved[0] = true
			}
			return saved, err
		}
	})},
	{"stores each of several definitions", "one of several definitions", eachStore(func(b *broken) {
		b.set = func(ctx context.Context, name string, version uint64, definition []byte, reset *journal.GroupReset) (uint64, error) {
			next, err := b.GroupStore.SetGroup(ctx, name, version, definition, reset)
			if errors.Is(err, journal.ErrConflict) && reset == nil && version > 1 {
				return version + 1, nil
			}
			return next, err
		}
	})},
	{"forgets an epoch in a crash", "epochs of owners", shifts(9, true)},
	{"forgets a version in a crash", "versions of states", shifts(10, false)},
	{"parks a discarded event again", "parked events of a group", eachStore(func(b *broken) {
		b.save = func(ctx context.Context, group string, changes []journal.ShareChange) ([]bool, error) {
			changes = slices.Clone(changes)
			for n := range changes {
				changes[n].Park = append(slices.Clone(changes[n].Park), changes[n].Attempted...)
				changes[n].Attempted = nil
			}
			return b.GroupStore.SaveShares(ctx, group, changes)
		}
	})},
	{"leaves a share to its owner in a reset", "reset", keepsOwner},
	{"writes a state from before a reset", "reset while shares are written", eachStore(func(b *broken) {
		b.save = writesLate(b, func(c journal.ShareChange) bool { return strings.HasPrefix(string(c.State), "write ") })
	})},
	{"resets after it has stored the definition", "reset whole or not at all", eachStore(func(b *broken) {
		b.set = func(ctx context.Context, name string, version uint64, definition []byte, reset *journal.GroupReset) (uint64, error) {
			if version == 0 || reset == nil || len(reset.State) > journal.MaxShareState {
				return b.GroupStore.SetGroup(ctx, name, version, definition, reset)
			}
			version, err := b.GroupStore.SetGroup(ctx, name, version, definition, nil)
			if err != nil {
				return 0, err
			}
			return b.GroupStore.SetGroup(ctx, name, version, definition, reset)
		}
	})},
	{"keeps the parked events of a deleted group", "deleted group", keepsLetters},
	{"deletes one after the other", "deleted whole or not at all", eachStore(func(b *broken) {
		b.delete = func(ctx context.Context, name string) error {
			_ = b.DiscardParked(ctx, journal.GroupReader(name), 7)
			return b.GroupStore.DeleteGroup(ctx, name)
		}
	})},
	{"repairs names", "limits of groups", eachStore(func(b *broken) {
		b.set = func(ctx context.Context, name string, version uint64, definition []byte, reset *journal.GroupReset) (uint64, error) {
			return b.GroupStore.SetGroup(ctx, strings.ToValidUTF8(name, "?"), version, definition, reset)
		}
	})},
	{"gives a session what it has", "one owner", eachSession(func(s *brokenSession, b *broken) {
		s.take = func(ctx context.Context, group string, indexes []int) ([]journal.Share, error) {
			taken, err := s.Session.Take(ctx, group, indexes)
			if err == nil && len(taken) == 0 && len(indexes) > 1 && len(indexes) < 10 {
				return b.Shares(ctx, group, indexes)
			}
			return taken, err
		}
	})},
	{"gives shares to two owners", "owners at the same instant", eachSession(func(s *brokenSession, b *broken) {
		s.take = func(ctx context.Context, group string, indexes []int) ([]journal.Share, error) {
			taken, err := s.Session.Take(ctx, group, indexes)
			if err == nil && len(indexes) > 10 {
				return b.Shares(ctx, group, indexes)
			}
			return taken, err
		}
	})},
	{"does not tell a session that it is closed", "lost before its shares are taken", eachSession(func(s *brokenSession, _ *broken) {
		var owned, closed atomic.Bool
		s.take = func(ctx context.Context, group string, indexes []int) ([]journal.Share, error) {
			taken, err := s.Session.Take(ctx, group, indexes)
			owned.Store(owned.Load() || len(taken) > 0 && taken[0].Index == 8)
			return taken, err
		}
		s.close = func(ctx context.Context) error {
			closed.Store(true)
			return s.Session.Close(ctx)
		}
		s.lost = func() <-chan struct{} {
			if owned.Load() && closed.Load() {
				return nil
			}
			return s.Session.Lost()
		}
	})},
	{"writes for an owner that was stopped", "owner of a stopped instance", writesForStopped},
	{"lets any session remove a member", "members", removesOthers},
	{"keeps the members of an instance that ended", "ended with its instance", keepsMembers},
	{"says nothing of changes", "changes are heard of", eachSession(func(s *brokenSession, _ *broken) {
		s.changed = func() <-chan struct{} { return nil }
	})},
	{"says that a failed write succeeded", "failed writes of groups", eachStore(func(b *broken) {
		b.save = func(ctx context.Context, group string, changes []journal.ShareChange) ([]bool, error) {
			saved, err := b.GroupStore.SaveShares(ctx, group, changes)
			if errors.Is(err, journal.ErrUnavailable) && string(changes[0].State) == "failing" {
				return []bool{true}, nil
			}
			return saved, err
		}
	})},
	{"shows what is not durable", "groups that are not durable", showsEarly},
	{"ignores the end of a context", "contexts of groups", eachStore(func(b *broken) {
		b.group = func(ctx context.Context, name string) (*journal.GroupState, error) {
			return b.GroupStore.Group(context.WithoutCancel(ctx), name)
		}
	})},
	{"does not say that it is closed", "groups of a closed journal", eachStore(func(b *broken) {
		b.replays = func(ctx context.Context, group string, from sinks.Position, limit int) ([]*journalv1.Parked, error) {
			all, err := b.GroupStore.Replays(ctx, group, from, limit)
			if errors.Is(err, sinks.ErrClosed) {
				err = nil
			}
			return all, err
		}
	})},
}

// TestKitFindsFaults: each broken store fails exactly the case that is meant for it.
func TestKitFindsFaults(t *testing.T) {
	t.Parallel()
	for _, s := range brokenStores {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			got := journaltest.FailingGroups(t, func(*testing.T) harness { return s.fault(newHarness(2)) })
			if d := cmp.Diff([]string{s.fails}, got); d != "" {
				t.Errorf("fails (-want +got):\n%s", d)
			}
		})
	}
}

func eachStore(fault func(b *broken)) func(harness) harness {
	return func(h harness) harness { return wrap(h, fault) }
}

func eachSession(fault func(s *brokenSession, b *broken)) func(harness) harness {
	return eachStore(func(b *broken) {
		b.session = func(s journal.Session) journal.Session {
			broken := &brokenSession{Session: s}
			fault(broken, b)
			return broken
		}
	})
}

func forgetsDefinition(h harness) harness {
	var mu sync.Mutex
	var crashed bool
	before := map[string]string{}
	h = wrap(h, func(b *broken) {
		b.set = func(ctx context.Context, name string, version uint64, definition []byte, reset *journal.GroupReset) (uint64, error) {
			g, _ := b.GroupStore.Group(ctx, name)
			next, err := b.GroupStore.SetGroup(ctx, name, version, definition, reset)
			if err == nil && g != nil && reset == nil {
				mu.Lock()
				before[name] = string(g.Definition)
				mu.Unlock()
			}
			return next, err
		}
		b.group = func(ctx context.Context, name string) (*journal.GroupState, error) {
			g, err := b.GroupStore.Group(ctx, name)
			mu.Lock()
			defer mu.Unlock()
			if old, ok := before[name]; err == nil && ok && crashed {
				g.Definition = []byte(old)
			}
			return g, err
		}
	})
	crash := h.Crash
	h.Crash = func(n int, during func()) []journaltest.GroupStore {
		mu.Lock()
		crashed = true
		mu.Unlock()
		return crash(n, during)
	}
	return h
}

func splitsShares(h harness) harness {
	return wrap(h, func(b *broken) {
		b.save = func(ctx context.Context, group string, changes []journal.ShareChange) (saved []bool, err error) {
			if len(changes) < 4 {
				return b.GroupStore.SaveShares(ctx, group, changes)
			}
			for _, c := range changes {
				one, err := b.GroupStore.SaveShares(ctx, group, []journal.ShareChange{c})
				if err != nil {
					return nil, err
				}
				saved = append(saved, one...)
			}
			return saved, nil
		}
	})
}

// shifts has an epoch, or a version, of a share that was made before a crash come again after it.
func shifts(index int, epoch bool) func(harness) harness {
	return func(h harness) harness {
		var shift atomic.Uint64
		var made atomic.Bool
		lower := func(s *journal.Share) {
			switch {
			case s.Index != index:
			case epoch:
				s.Epoch -= shift.Load()
			default:
				s.Version -= shift.Load()
			}
		}
		h = wrap(h, func(b *broken) {
			b.shares = func(ctx context.Context, group string, indexes []int) ([]journal.Share, error) {
				all, err := b.GroupStore.Shares(ctx, group, indexes)
				for n := range all {
					lower(&all[n])
				}
				return all, err
			}
			b.group = func(ctx context.Context, name string) (*journal.GroupState, error) {
				g, err := b.GroupStore.Group(ctx, name)
				if err == nil && epoch {
					g.Epochs[index] -= shift.Load()
				}
				return g, err
			}
			b.save = func(ctx context.Context, group string, changes []journal.ShareChange) ([]bool, error) {
				changes = slices.Clone(changes)
				for n := range changes {
					switch c := &changes[n]; {
					case c.Index != index:
					case epoch:
						c.Epoch += shift.Load()
					default:
						c.Version += shift.Load()
					}
				}
				saved, err := b.GroupStore.SaveShares(ctx, group, changes)
				if err == nil && saved[0] && changes[0].Index == index && !epoch {
					made.Store(true)
				}
				return saved, err
			}
			b.session = func(s journal.Session) journal.Session {
				return &brokenSession{Session: s, take: func(ctx context.Context, group string, indexes []int) ([]journal.Share, error) {
					all, err := s.Take(ctx, group, indexes)
					for n := range all {
						made.Store(made.Load() || epoch && all[n].Index == index)
						lower(&all[n])
					}
					return all, err
				}}
			}
		})
		crash := h.Crash
		h.Crash = func(n int, during func()) []journaltest.GroupStore {
			all := crash(n, during)
			if made.Swap(false) {
				shift.Add(1)
			}
			return all
		}
		return h
	}
}

// keepsOwner gives share 200 back to its owner after a reset.
func keepsOwner(h harness) harness {
	var mu sync.Mutex
	var owner journal.Session
	return wrap(h, func(b *broken) {
		b.session = func(s journal.Session) journal.Session {
			return &brokenSession{Session: s, take: func(ctx context.Context, group string, indexes []int) ([]journal.Share, error) {
				if indexes[0] == 200 {
					mu.Lock()
					owner = s
					mu.Unlock()
				}
				return s.Take(ctx, group, indexes)
			}}
		}
		b.set = func(ctx context.Context, name string, version uint64, definition []byte, reset *journal.GroupReset) (uint64, error) {
			next, err := b.GroupStore.SetGroup(ctx, name, version, definition, reset)
			mu.Lock()
			defer mu.Unlock()
			if err == nil && version > 0 && reset != nil && owner != nil {
				_, _ = owner.Take(ctx, name, []int{200})
			}
			return next, err
		}
	})
}

// writesLate writes refused changes that match, and says that they were refused.
func writesLate(b *broken, match func(journal.ShareChange) bool) func(context.Context, string, []journal.ShareChange) ([]bool, error) {
	return func(ctx context.Context, group string, changes []journal.ShareChange) ([]bool, error) {
		saved, err := b.GroupStore.SaveShares(ctx, group, changes)
		if err == nil && !saved[0] && match(changes[0]) {
			late := changes[0]
			if now, err := b.GroupStore.Shares(ctx, group, []int{late.Index}); err == nil {
				late.Epoch, late.Version = now[0].Epoch, now[0].Version
				_, _ = b.GroupStore.SaveShares(ctx, group, []journal.ShareChange{late})
			}
		}
		return saved, err
	}
}

func writesForStopped(h harness) harness {
	var stopped atomic.Bool
	freeze := h.Freeze
	h = wrap(h, func(b *broken) {
		b.save = writesLate(b, func(c journal.ShareChange) bool { return stopped.Load() && c.Index == 8 })
	})
	h.Freeze = func(i int) func() {
		stopped.Store(true)
		return freeze(i)
	}
	return h
}

func keepsLetters(h harness) harness {
	var mu sync.Mutex
	var kept []*journalv1.Parked
	return wrap(h, func(b *broken) {
		b.delete = func(ctx context.Context, name string) error {
			all, _ := b.GroupStore.Parked(ctx, journal.GroupReader(name), 0, 10)
			err := b.GroupStore.DeleteGroup(ctx, name)
			mu.Lock()
			defer mu.Unlock()
			if err == nil && name == "a" {
				kept = all
			}
			return err
		}
		b.parked = func(ctx context.Context, name string, from sinks.Position, limit int) ([]*journalv1.Parked, error) {
			if _, err := b.GroupStore.Group(ctx, "a"); errors.Is(err, journal.ErrNotFound) && name == journal.GroupReader("a") {
				mu.Lock()
				defer mu.Unlock()
				return kept, nil
			}
			return b.GroupStore.Parked(ctx, name, from, limit)
		}
	})
}

func removesOthers(h harness) harness {
	var mu sync.Mutex
	sessions := map[string]journal.Session{}
	return wrap(h, func(b *broken) {
		b.session = func(s journal.Session) journal.Session {
			return &brokenSession{
				Session: s,
				join: func(ctx context.Context, group, member string, note []byte) error {
					mu.Lock()
					sessions[member] = s
					mu.Unlock()
					return s.Join(ctx, group, member, note)
				},
				leave: func(ctx context.Context, group, member string) error {
					mu.Lock()
					joined := sessions[member]
					mu.Unlock()
					if joined != nil && s.Leave(ctx, group, member) == nil {
						return joined.Leave(ctx, group, member)
					}
					return s.Leave(ctx, group, member)
				},
			}
		}
	})
}

func keepsMembers(h harness) harness {
	var kept atomic.Pointer[[]journal.GroupMember]
	h = wrap(h, func(b *broken) {
		b.group = func(ctx context.Context, name string) (*journal.GroupState, error) {
			g, err := b.GroupStore.Group(ctx, name)
			if members := kept.Load(); err == nil && members != nil {
				g.Members = *members
			}
			return g, err
		}
	})
	reopen := h.Reopen
	h.Reopen = func(i int) journaltest.GroupStore {
		if g, err := h.Instances[i].Group(context.Background(), "a"); err == nil {
			kept.Store(&g.Members)
		}
		return reopen(i)
	}
	return h
}

// showsEarly shows a state of one share while writes are held up.
func showsEarly(h harness) harness {
	var stalled atomic.Bool
	stall := h.Stall
	h = wrap(h, func(b *broken) {
		b.shares = func(ctx context.Context, group string, indexes []int) ([]journal.Share, error) {
			all, err := b.GroupStore.Shares(ctx, group, indexes)
			if err == nil && stalled.Load() {
				all[0].State = []byte("late")
			}
			return all, err
		}
	})
	h.Stall = func() (<-chan struct{}, func(bool)) {
		held, resume := stall()
		stalled.Store(true)
		return held, func(fail bool) { stalled.Store(false); resume(fail) }
	}
	return h
}
