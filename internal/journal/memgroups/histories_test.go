package memgroups_test

import (
	"context"
	"testing"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/journaltest"
	"github.com/webhook-bridge/bridge/sinks"
)

func TestGroupHistories(t *testing.T) {
	t.Parallel()
	journaltest.RunGroupHistories(t, func(*testing.T) harness { return newHarness(2) })
}

// TestHistoriesFindFaults: random histories find each of these faults.
func TestHistoriesFindFaults(t *testing.T) {
	t.Parallel()
	for _, s := range []struct {
		name  string
		fault func(h harness) harness
	}{
		{"writes one share after the other", eachStore(func(b *broken) {
			b.save = func(ctx context.Context, group string, changes []journal.ShareChange) (saved []bool, err error) {
				if len(changes) == 0 {
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
		})},
		{"does not look at versions", eachStore(func(b *broken) {
			b.save = func(ctx context.Context, group string, changes []journal.ShareChange) ([]bool, error) {
				now, err := b.Shares(ctx, group, everyShare())
				if err != nil {
					return nil, err
				}
				late := append([]journal.ShareChange(nil), changes...)
				for n := range late {
					if late[n].Epoch == now[late[n].Index].Epoch {
						late[n].Version = now[late[n].Index].Version
					}
				}
				return b.GroupStore.SaveShares(ctx, group, late)
			}
		})},
		{"forgets a version in a crash", shifts(0, false)},
		{"forgets a changed definition in a crash", forgetsDefinition},
		{"lets any session remove a member", removesOthers},
		{"forgets requests", eachStore(func(b *broken) {
			b.session = func(s journal.Session) journal.Session {
				return &brokenSession{Session: s, take: func(ctx context.Context, group string, indexes []int) ([]journal.Share, error) {
					for p := range sinks.Position(4) {
						if all, err := b.Replays(ctx, group, p, 1); err == nil && len(all) > 0 {
							_ = b.DiscardParked(ctx, journal.GroupReader(group), sinks.Position(all[0].GetPosition()))
						}
					}
					return s.Take(ctx, group, indexes)
				}}
			}
		})},
	} {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			failure := journaltest.FailingGroupHistory(t, func(*testing.T) harness { return s.fault(newHarness(2)) }, 200)
			if failure == "" {
				t.Error("no history found it")
			}
		})
	}
}

func everyShare() (all []int) {
	for n := range journal.GroupShares {
		all = append(all, n)
	}
	return all
}
