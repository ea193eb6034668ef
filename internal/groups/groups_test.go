package groups

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/webhook-bridge/bridge/sinks"
)

func TestAMemberGetsAndAcknowledges(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		n := r.start("a")
		r.add("x", "y", "x", "z")
		m := n.join(t, Request{})
		if m.Start().Position != 1 {
			t.Fatalf("start: %+v", m.Start())
		}
		d := next(t, m, time.Second)
		want(t, "first", positions(d), "1/1 2/1 4/1") // 3 is behind 1.
		res := answer(t, m, Answer{UpTo: d[2].ID})
		if res.Accepted != 3 || len(res.Stale) != 0 {
			t.Fatalf("result: %+v", res)
		}
		d = next(t, m, time.Second)
		want(t, "behind it", positions(d), "3/1")
		if res := answer(t, m, Answer{IDs: ids(d...)}); res.Accepted != 1 {
			t.Fatalf("result: %+v", res)
		}
		if res := answer(t, m, Answer{IDs: ids(d...)}); res.Accepted != 0 || len(res.Stale) != 1 {
			t.Fatalf("second result: %+v", res)
		}
		want(t, "then", positions(next(t, m, time.Minute)), "")
		info, err := n.Get(t.Context(), "g")
		if err != nil || info.Position != 5 {
			t.Fatalf("info: %+v, %v", info, err)
		}
		if s := m.Status(); s.Position != 5 || s.Lag != 0 || s.Outstanding != 0 {
			t.Fatalf("status: %+v", s)
		}
	})
}

func TestADeliveryThatIsNotAcknowledgedComesAgain(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		n := r.start("a")
		m := n.join(t, Request{Policy: &Policy{AckDeadline: 10 * time.Second, MaxAttempts: 2}})
		r.add("x", "x")
		d := next(t, m, time.Second)
		want(t, "first", positions(d), "1/1")
		began := time.Now()
		d = next(t, m, time.Minute)
		want(t, "second", positions(d), "1/2")
		if since := time.Since(began); since != 11*time.Second || d[0].FirstAt.IsZero() {
			t.Fatalf("it came after %s, first at %s", since, d[0].FirstAt)
		}
		// The second attempt is the last.
		want(t, "after parking", positions(next(t, m, time.Minute)), "2/1")
		parked, err := n.ListParked(t.Context(), "g", 0, 10)
		if err != nil || len(parked) != 1 || parked[0].GetAttemptCount() != 2 {
			t.Fatalf("parked: %v, %v", parked, err)
		}
	})
}

func TestAMemberThatLeavesGivesBack(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a, b := r.start("a"), r.start("b")
		one := a.join(t, Request{})
		r.add("x", "y", "z", "u", "v", "w")
		d := next(t, one, time.Second)
		want(t, "one", positions(d), "1/1 2/1 3/1 4/1 5/1 6/1")
		two := b.join(t, Request{})
		if err := one.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := one.Next(t.Context(), Budget{Events: 1}); !errors.Is(err, ErrLeft) {
			t.Fatal(err)
		}
		got := 0
		for got < 6 {
			d = next(t, two, time.Minute)
			if len(d) == 0 {
				t.Fatal("nothing came")
			}
			for _, each := range d {
				if each.Attempt != 2 {
					t.Fatalf("attempt %d", each.Attempt)
				}
			}
			got += len(d)
			if res := answer(t, two, Answer{IDs: ids(d...)}); res.Accepted != len(d) {
				t.Fatalf("%+v", res)
			}
		}
	})
}

func TestAKilledInstancesSharesGoElsewhere(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a, b := r.start("a"), r.start("b")
		one := a.join(t, Request{})
		r.add("x", "y", "z")
		d := next(t, one, time.Second)
		want(t, "one", positions(d), "1/1 2/1 3/1")
		two := b.join(t, Request{})
		_ = a.instance.Close()
		want(t, "two", positions(next(t, two, time.Minute)), "1/1 2/1 3/1")
		if _, err := one.Next(t.Context(), Budget{Events: 1}); !errors.Is(err, ErrLost) {
			t.Fatal(err)
		}
		// The killed one's acknowledgement is stale at the other.
		res, err := b.Acknowledge(t.Context(), "g", []Answer{{IDs: ids(d...)}})
		if err != nil || res.Accepted != 0 || len(res.Stale) != 3 {
			t.Fatalf("%+v, %v", res, err)
		}
	})
}

func TestAcknowledgeAtAnotherInstance(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a, b := r.start("a"), r.start("b")
		r.add("x", "x", "y")
		d, _, err := a.Pull(t.Context(), Request{Group: "g"}, Budget{Events: 10}, 0)
		if err != nil {
			t.Fatal(err)
		}
		want(t, "pulled", positions(d), "1/1 3/1")
		res, err := b.Acknowledge(t.Context(), "g", []Answer{{IDs: ids(d...)}})
		if err != nil || res.Accepted != 2 {
			t.Fatalf("%+v, %v", res, err)
		}
		d, _, err = a.Pull(t.Context(), Request{Group: "g"}, Budget{Events: 10}, 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		want(t, "pulled then", positions(d), "2/1")
		if _, err := b.Acknowledge(t.Context(), "g", []Answer{{IDs: []string{"x"}}}); !errors.Is(err, ErrID) {
			t.Fatal(err)
		}
		if _, err := b.Acknowledge(t.Context(), "other", nil); !errors.Is(err, ErrNotFound) {
			t.Fatal(err)
		}
	})
}

func TestStrictOrder(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		n := r.start("a")
		m := n.join(t, Request{Policy: &Policy{StrictOrder: true}})
		r.add("x", "x", "y", "x")
		d := next(t, m, time.Second)
		want(t, "first", positions(d), "1/1 3/1")
		answer(t, m, Answer{IDs: ids(d[0]), Action: Park, Reason: "bad"})
		answer(t, m, Answer{IDs: ids(d[1])})
		want(t, "held back", positions(next(t, m, time.Minute)), "")
		parked, err := n.ListParked(t.Context(), "g", 0, 10)
		if err != nil || len(parked) != 3 || parked[0].GetReason() != "bad" || parked[1].GetAttemptCount() != 0 {
			t.Fatalf("%v, %v", parked, err)
		}
		if _, err := n.Replay(t.Context(), "g", []sinks.Position{1}); err != nil {
			t.Fatal(err)
		}
		for _, p := range []string{"1/1", "2/1", "4/1"} {
			d = next(t, m, time.Minute)
			want(t, "replayed", positions(d), p)
			if !d[0].Replayed {
				t.Fatal("it is not marked")
			}
			answer(t, m, Answer{IDs: ids(d...)})
		}
		r.add("x")
		want(t, "then", positions(next(t, m, time.Minute)), "5/1")
		if parked, _ := n.ListParked(t.Context(), "g", 0, 10); len(parked) != 0 {
			t.Fatal(parked)
		}
	})
}

func TestSeekAndDelete(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		n := r.start("a")
		m := n.join(t, Request{})
		r.add("x", "y", "z")
		d := next(t, m, time.Second)
		answer(t, m, Answer{IDs: ids(d[:2]...)})
		if err := n.Seek(t.Context(), "g", 2); err != nil {
			t.Fatal(err)
		}
		if res := answer(t, m, Answer{IDs: ids(d[2])}); res.Accepted != 0 {
			t.Fatalf("%+v", res)
		}
		d = next(t, m, time.Minute)
		want(t, "again", positions(d), "2/1 3/1")
		if err := n.Delete(t.Context(), "g"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if _, err := m.Next(t.Context(), Budget{Events: 1}); !errors.Is(err, ErrNotFound) {
			t.Fatal(err)
		}
		m = n.join(t, Request{})
		want(t, "a new group", positions(next(t, m, time.Second)), "1/1 2/1 3/1")
	})
}

func TestWhatIsNoLongerKept(t *testing.T) {
	for _, c := range []struct {
		policy OnExpired
		want   string
		missed uint64
	}{{Earliest, "3/1 4/1", 2}, {Latest, "5/1", 4}, {Fail, "", 0}} {
		bubble(t, func(t *testing.T, r *rig) {
			n := r.start("a")
			r.add("x", "y", "z", "u")
			m := n.join(t, Request{Policy: &Policy{OnExpired: c.policy}})
			r.log.Expire(3)
			if c.policy == Fail {
				var expired *ExpiredError
				if _, err := m.Next(t.Context(), Budget{Events: 1}); !errors.As(err, &expired) || expired.Position != 1 || expired.Earliest != 3 {
					t.Fatal(err)
				}
				return
			}
			time.AfterFunc(time.Second, func() {
				if c.policy == Latest {
					r.add("v")
				}
			})
			want(t, "after the gap", positions(next(t, m, time.Minute)), c.want)
			<-time.After(10 * time.Second) // Positions are written.
			info, err := n.Get(t.Context(), "g")
			if err != nil || info.Missed != c.missed {
				t.Fatalf("%+v, %v", info, err)
			}
			if s := n.Stats()[0]; s.Missed != c.missed {
				t.Fatalf("%d are counted", s.Missed)
			}
		})
	}
}

func TestTheEndIsToldWithoutCredit(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		n := r.start("a")
		m := n.join(t, Request{})
		r.add("x", "y")
		b, err := m.Next(t.Context(), Budget{Events: 1})
		if err != nil || len(b.Deliveries) != 1 || b.CaughtUp || !m.Status().Waiting {
			t.Fatalf("%+v, %v", b, err)
		}
		if b, err = m.Next(t.Context(), Budget{Events: 1}); err != nil || len(b.Deliveries) != 1 {
			t.Fatalf("%+v, %v", b, err)
		}
		if b, err = m.Next(t.Context(), Budget{}); err != nil || !b.CaughtUp || b.Position != 3 || m.Status().Waiting {
			t.Fatalf("%+v, %v", b, err)
		}
		r.add("z")
		if !m.Status().Waiting {
			t.Fatal("an event waits")
		}
	})
}

func TestAWrongClockDelaysARetryByHours(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		n := r.start("a")
		m := n.join(t, Request{})
		r.add("x")
		delay := 10 * 365 * 24 * time.Hour
		answer(t, m, Answer{IDs: ids(next(t, m, time.Second)...), Action: Retry, Delay: &delay})
		want(t, "then", positions(next(t, m, maxPause+time.Minute)), "1/2")
	})
}

func TestNoticesAndBudgets(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		n := r.start("a")
		m := n.join(t, Request{Filter: []byte("order")})
		r.add("x", "y")
		b, err := m.Next(t.Context(), Budget{Events: 1})
		if err != nil || len(b.Deliveries) != 1 {
			t.Fatalf("%+v, %v", b, err)
		}
		b, err = m.Next(t.Context(), Budget{Events: 2, Bytes: 1})
		if err != nil || len(b.Deliveries) != 1 {
			t.Fatalf("%+v, %v", b, err)
		}
		b, err = m.Next(t.Context(), Budget{Events: 1})
		if err != nil || !b.CaughtUp || b.Position != 3 || b.Lag != 0 {
			t.Fatalf("%+v, %v", b, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if b, err := m.Next(ctx, Budget{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("%+v, %v", b, err)
		}
		if _, err := n.Join(t.Context(), Request{Group: "g", Filter: []byte("customer")}); !errors.Is(err, ErrOtherFilter) {
			t.Fatal(err)
		}
		n.Drain()
		if _, err := m.Next(t.Context(), Budget{Events: 1}); !errors.Is(err, ErrDrained) {
			t.Fatal(err)
		}
		if _, err := n.Join(t.Context(), Request{Group: "g"}); !errors.Is(err, ErrDrained) {
			t.Fatal(err)
		}
	})
}

func TestAStoppedInstanceGivesBackAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a, b := r.start("a"), r.start("b")
		one := a.join(t, Request{Policy: &Policy{AckDeadline: time.Hour}})
		r.add("x", "y", "z")
		want(t, "one", positions(next(t, one, time.Second)), "1/1 2/1 3/1")
		two := b.join(t, Request{})
		a.stop()
		if _, err := one.Next(t.Context(), Budget{Events: 1}); !errors.Is(err, sinks.ErrClosed) {
			t.Fatal(err)
		}
		began := time.Now()
		for got := 0; got < 3; {
			d := next(t, two, time.Minute)
			if len(d) == 0 || d[0].Attempt != 2 {
				t.Fatalf("%s", positions(d))
			}
			got += len(d)
		}
		if since := time.Since(began); since > 3*time.Second {
			t.Fatalf("it took %s", since)
		}
	})
}

func TestManyJoinAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		nodes := []*node{r.start("a"), r.start("b"), r.start("c")}
		const many = 64
		joined := make(chan *Member, many)
		for i := range many {
			go func() {
				m, err := nodes[i%3].Join(t.Context(), Request{Group: "g"})
				if err != nil {
					t.Error(err)
				}
				joined <- m
			}()
		}
		for range many {
			<-joined
		}
		<-time.After(2 * time.Second)
		info, err := nodes[0].Get(t.Context(), "g")
		if err != nil || len(info.Members) != many || info.FreeShares != 0 {
			t.Fatalf("%d members, %d free shares, %v", len(info.Members), info.FreeShares, err)
		}
		least, most := 256, 0
		for _, n := range nodes {
			g := n.local().group("g")
			g.mu.Lock()
			for _, m := range g.members {
				has := 0
				for _, s := range g.shares {
					if s != nil && s.member == m {
						has++
					}
				}
				least, most = min(least, has), max(most, has)
			}
			g.mu.Unlock()
		}
		if most > 5 {
			t.Fatalf("between %d and %d shares", least, most)
		}
	})
}

func TestStats(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		n := r.start("a")
		m := n.join(t, Request{})
		r.add("x", "y", "z", "u")
		d := next(t, m, time.Second)
		answer(t, m, Answer{IDs: ids(d[0])})
		answer(t, m, Answer{IDs: ids(d[0])})
		answer(t, m, Answer{IDs: ids(d[1]), Action: Skip})
		answer(t, m, Answer{IDs: ids(d[2]), Action: Park})
		s := n.Stats()
		if len(s) != 1 || s[0].Delivered != 4 || s[0].Acknowledged != 1 || s[0].Stale != 1 || s[0].Skipped != 1 || s[0].Parked != 1 ||
			s[0].Outstanding != 1 || s[0].Members != 1 || s[0].Shares != 256 || s[0].Lag != 1 {
			t.Fatalf("%+v", s)
		}
		info, err := n.Get(t.Context(), "g")
		if err != nil || info.Skipped != 1 || info.Parked != 1 {
			t.Fatalf("%+v, %v", info, err)
		}
		all, err := n.List(t.Context(), "", 10)
		if err != nil || len(all) != 1 {
			t.Fatalf("%v, %v", all, err)
		}
		if n, err := n.Discard(t.Context(), "g", []sinks.Position{3}); err != nil || n != 1 {
			t.Fatal(n, err)
		}
		var notParked *NotParkedError
		if _, err := n.Replay(t.Context(), "g", []sinks.Position{3}); !errors.As(err, &notParked) || notParked.Position != 3 {
			t.Fatal(err)
		}
	})
}

func TestAnIdOfALostStateIsStale(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a := r.start("a")
		r.add("x", "y")
		d, _, err := a.Pull(t.Context(), Request{Group: "g"}, Budget{Events: 10}, 0)
		if err != nil {
			t.Fatal(err)
		}
		want(t, "pulled", positions(d), "1/1 2/1")
		_ = a.instance.Close()
		a.stop()
		// The backup has the first event and the group. Then another second event came.
		r.log = r.log.Restore(2)
		r.add("y")
		b := r.start("b")
		res, err := b.Acknowledge(t.Context(), "g", []Answer{{IDs: ids(d...)}})
		if err != nil || res.Accepted != 1 || len(res.Stale) != 1 || res.Stale[0] != d[1].ID {
			t.Fatalf("%+v, %v", res, err)
		}
	})
}
