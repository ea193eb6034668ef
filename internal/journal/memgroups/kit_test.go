package memgroups_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/webhook-bridge/bridge/internal/journal/journaltest"
	"github.com/webhook-bridge/bridge/internal/journal/memgroups"
)

func TestKit(t *testing.T) {
	t.Parallel()
	for _, instances := range []int{1, 3} {
		t.Run(strconv.Itoa(instances), func(t *testing.T) {
			t.Parallel()
			journaltest.RunGroups(t, func(*testing.T) journaltest.GroupHarness { return newHarness(instances) })
		})
	}
}

// newHarness is a store with instances for the kit.
func newHarness(instances int) journaltest.GroupHarness {
	s := memgroups.New(func() time.Time { return journaltest.Start })
	var all []*memgroups.Instance
	open := func(i int) *memgroups.Instance { return s.Open(fmt.Sprint("instance ", i)) }
	for i := range instances {
		all = append(all, open(i))
	}
	return journaltest.GroupHarness{
		Instances: stores(all),
		Reopen: func(i int) journaltest.GroupStore {
			_ = all[i].Close()
			all[i] = open(i)
			return all[i]
		},
		Crash: func(n int, during func()) []journaltest.GroupStore {
			if during != nil {
				s.FailAfter(n)
				during()
			}
			for i := range all {
				_ = all[i].Close()
				all[i] = open(i)
			}
			s.FailAfter(-1)
			return stores(all)
		},
		Stall: s.Stall,
		Freeze: func(i int) func() {
			thaw := all[i].Freeze()
			all[i].Lose()
			return thaw
		},
		Fail: func() func() {
			s.FailAfter(0)
			return func() { s.FailAfter(-1) }
		},
	}
}

func stores(all []*memgroups.Instance) (some []journaltest.GroupStore) {
	for _, i := range all {
		some = append(some, i)
	}
	return some
}
