package groups

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/webhook-bridge/bridge/internal/journal"
)

// lateStore does not answer its first write, and carries it out just before the second one.
type lateStore struct {
	journal.Groups
	late   []journal.ShareChange
	writes int
}

func (s *lateStore) SaveShares(ctx context.Context, group string, changes []journal.ShareChange) ([]bool, error) {
	s.writes++
	switch s.writes {
	case 1:
		s.late = changes
		return nil, journal.ErrUnavailable
	case 2:
		if _, err := s.Groups.SaveShares(ctx, group, s.late); err != nil {
			return nil, err
		}
	}
	return s.Groups.SaveShares(ctx, group, changes)
}

func TestAWriteThatIsCarriedOutLateIsAnsweredOnce(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		store := &lateStore{}
		n := r.startOver("a", func(g journal.Groups) journal.Groups { store.Groups = g; return store })
		m := n.join(t, Request{})
		r.add("x")
		d := next(t, m, time.Second)
		want(t, "first", positions(d), "1/1")
		receipt, err := m.Answer(Answer{IDs: ids(d...)})
		if err != nil {
			t.Fatal(err)
		}
		want(t, "after it", positions(next(t, m, time.Minute)), "")
		res, err := receipt.Wait(t.Context())
		if err != nil || res.Accepted != 1 || len(res.Stale) != 0 || receipt.left != 0 {
			t.Fatalf("%+v, %v, %d left", res, err, receipt.left)
		}
		if store.writes < 2 {
			t.Fatalf("%d writes", store.writes)
		}
		if s := n.Stats()[0]; s.Acknowledged != 1 || s.Stale != 0 {
			t.Fatalf("%+v", s)
		}
	})
}

// slowStore answers late.
type slowStore struct{ journal.Groups }

func (s slowStore) Enlist(ctx context.Context) (journal.Session, error) {
	enlisted, err := s.Groups.Enlist(ctx)
	return slowSession{enlisted}, err
}

type slowSession struct{ journal.Session }

func (s slowSession) Join(ctx context.Context, group, member string, note []byte) error {
	err := s.Session.Join(ctx, group, member, note)
	<-time.After(2 * time.Second)
	return err
}

func (s slowSession) Take(ctx context.Context, group string, indexes []int) ([]journal.Share, error) {
	<-time.After(3 * time.Second)
	return s.Session.Take(ctx, group, indexes)
}

// "A pull may not wait itself": its first call has shares, also when the group was looked at while it joined.
func TestAFirstPullWithoutAWaitGetsEvents(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		n := r.startOver("a", func(g journal.Groups) journal.Groups { return slowStore{g} })
		r.add("x", "y")
		d, _, err := n.Pull(t.Context(), Request{Group: "g"}, Budget{Events: 10}, 0)
		if err != nil {
			t.Fatal(err)
		}
		want(t, "pulled", positions(d), "1/1 2/1")
	})
}

func TestNobodyJoinsWhileTheServerDrains(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		n := r.start("a")
		late := n.join(t, Request{})
		n.Drain()
		if _, err := late.Next(t.Context(), Budget{}); !errors.Is(err, ErrDrained) {
			t.Fatal(err)
		}
		// It passed the first check before.
		if _, err := n.local().join(t.Context(), Request{Group: "g"}, false); !errors.Is(err, ErrDrained) {
			t.Fatal(err)
		}
	})
}

func TestTheEndOfAReplacedGroupLeavesItsSuccessor(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		n := r.start("a")
		m := n.join(t, Request{})
		run := n.local()
		old := newGroup(run, "g", m.group.def, 1)
		old.stop = func() {}
		if !run.closeIfIdle(old) {
			t.Fatal("the old group is idle")
		}
		if run.group("g") != m.group {
			t.Fatal("the group is forgotten")
		}
	})
}

func TestAPullThatNeverJoinedGivesItsTurnBack(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		n := r.start("a")
		if _, err := n.running(t.Context()); err != nil {
			t.Fatal(err)
		}
		p := n.local().puller("g")
		<-time.After(2 * pullIdle)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.take(ctx, true); err != nil {
			t.Fatal(err)
		}
	})
}
