package subscribe

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
)

// "The first start of a group makes it, at from." "Nothing that is appended after subscribed was sent is missed, also where the start is
// the log's end."
func TestGroupFromLatest(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		appendEvents(t, r.log, 0, 5)
		c := r.start("one").member(t, func(s *streamv1.SubscribeStart) { s.From = fromLatest() })
		s := c.subscribed()
		if s.GetPosition() != 6 || s.GetEarliest() != 1 || s.GetLatest() != 6 || s.GetEpoch() == 0 || s.GetMember() == "" || s.GetToken() != "" {
			t.Errorf("subscribed is %v", s)
		}
		appendEvents(t, r.log, 5, 8)
		all := c.deliveries(3)
		wantEvents(t, all, 5, 6, 7)
		for _, d := range all {
			if d.GetId() == "" || len(d.GetId()) > 64 || d.GetAttempt() != 1 || d.GetFirstDeliveredAt() != nil || d.GetToken() != "" || d.GetReplayed() {
				t.Errorf("delivery is %v", d)
			}
		}
	})
}

// Errors are statuses for the client, without the words of what passed them on. A filter may be as large as the protocol allows.
func TestGroupErrorsAndLargeFilters(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		x := r.start("one")
		st := x.member(t, func(s *streamv1.SubscribeStart) { s.From = fromToken("no token") }).wantEnd(codes.InvalidArgument)
		if text := st.Message(); strings.Contains(text, "groups:") || strings.Contains(text, "rpc error") {
			t.Errorf("the client gets %q", text)
		}
		large := &streamv1.Filter{}
		for n := range 100 {
			large.Subjects = append(large.Subjects, fmt.Sprintf("%01024d", n))
		}
		if c := x.member(t, func(s *streamv1.SubscribeStart) { s.Filter = large }); c.subscribed().GetPosition() != 1 {
			t.Error("a large filter")
		}
	})
}

// "All events of one subject go to one member at a time, and the next event of a subject is delivered only when the one before was
// acknowledged." "AckResult answers one Ack. There is one for each, in their order."
func TestGroupOrderAndResults(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		appendEvents(t, r.log, 0, 3*subjects)
		c := r.start("one").member(t)
		c.subscribed()
		first := c.deliveries(subjects)
		wantEvents(t, first, numbers(0, subjects)...)
		synctest.Wait()
		c.ack(first[1].GetId())
		for answered := 0; answered < 2; {
			m := c.receive()
			switch {
			case m.GetAckResult() != nil:
				if got := m.GetAckResult(); got.GetAccepted() != 1 || len(got.GetStale()) != 0 {
					t.Errorf("result is %v", got)
				}
				answered++
			case m.GetBatch() != nil:
				wantEvents(t, m.GetBatch().GetDeliveries(), subjects+1)
				answered++
			}
		}
		// A delivery that was acknowledged before is stale, and an up_to takes the rest.
		c.ack(first[1].GetId())
		if got := c.result(); got.GetAccepted() != 0 || len(got.GetStale()) != 1 || got.GetStale()[0] != first[1].GetId() {
			t.Errorf("result is %v", got)
		}
	})
}

func TestGroupAckUpTo(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		appendEvents(t, r.log, 0, subjects)
		x := r.start("one")
		c := x.member(t)
		c.subscribed()
		all := c.deliveries(subjects)
		c.ackUpTo(all[2].GetId())
		if got := c.result(); got.GetAccepted() != 3 || len(got.GetStale()) != 0 {
			t.Errorf("result is %v", got)
		}
		c.ackUpTo(all[3].GetId())
		if got := c.result(); got.GetAccepted() != 1 {
			t.Errorf("result is %v", got)
		}
		<-time.After(10 * time.Second)
		if got := x.group(t); got.GetPosition() != subjects+1 || got.GetLag() != 0 {
			t.Errorf("the group is %v", got)
		}
	})
}

// "Unacknowledged events are redelivered after a deadline with their attempt count, parked after max_attempts."
func TestGroupDeadline(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		appendEvents(t, r.log, 0, 1)
		x := r.start("one")
		c := x.member(t, policy(&streamv1.GroupPolicy{
			AckDeadline: every(4 * time.Second), MaxAttempts: 3, MinBackoff: every(2 * time.Second), MaxBackoff: every(time.Minute),
		}), func(s *streamv1.SubscribeStart) { s.HeartbeatInterval = every(2500 * time.Millisecond) })
		c.subscribed()
		begin := time.Now()
		for attempt, at := range []time.Duration{0, 6 * time.Second, 14 * time.Second} {
			d := c.deliveries(1)[0]
			delivered := time.Now()
			if got := time.Since(begin); got < at || got > at+100*time.Millisecond {
				t.Errorf("attempt %d came after %v, want %v", attempt+1, got, at)
			}
			if d.GetAttempt() != uint32(attempt+1) || (attempt > 0) != (d.GetFirstDeliveredAt() != nil) {
				t.Errorf("attempt %d is %v", attempt+1, d)
			}
			if attempt > 0 && d.GetFirstDeliveredAt().AsTime().Sub(begin).Abs() > 100*time.Millisecond {
				t.Errorf("first delivered at %v", d.GetFirstDeliveredAt().AsTime())
			}
			if got := c.heartbeat().GetOldestUnackedAge().AsDuration(); (got - time.Since(delivered)).Abs() > 100*time.Millisecond {
				t.Errorf("oldest age %v after %v", got, time.Since(delivered))
			}
		}
		<-time.After(5 * time.Second)
		synctest.Wait()
		p := x.parked(t)
		if len(p) != 1 || p[0].GetPosition() != 1 || p[0].GetAttempts() != 3 || p[0].GetReason() == "" || p[0].GetReplaying() {
			t.Fatalf("parked %v", p)
		}
		if got := x.group(t); got.GetParked() != 1 || got.GetPosition() != 2 {
			t.Errorf("the group is %v", got)
		}
	})
}

// "Nack says that deliveries were not dealt with": RETRY with a delay, PARK, SKIP.
func TestGroupNack(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		appendEvents(t, r.log, 0, 3)
		x := r.start("one")
		c := x.member(t)
		c.subscribed()
		all := c.deliveries(3)
		begin := time.Now()
		c.nack(&streamv1.Nack{Ids: ids(all[0]), Delay: every(7 * time.Second)})
		c.nack(&streamv1.Nack{Ids: ids(all[1]), Action: streamv1.NackAction_NACK_ACTION_PARK, Reason: "no such customer"})
		c.nack(&streamv1.Nack{Ids: ids(all[2]), Action: streamv1.NackAction_NACK_ACTION_SKIP})
		for range 3 {
			if got := c.result(); got.GetAccepted() != 1 {
				t.Errorf("result is %v", got)
			}
		}
		again := c.deliveries(1)
		if got := time.Since(begin); got < 7*time.Second || got > 7*time.Second+100*time.Millisecond {
			t.Errorf("redelivered after %v", got)
		}
		wantEvents(t, again, 0)
		p := x.parked(t)
		if len(p) != 1 || p[0].GetPosition() != 2 || p[0].GetReason() != "no such customer" || p[0].GetEvent().GetId() != event(1).GetId() {
			t.Errorf("parked %v", p)
		}
		if got := x.group(t); got.GetSkipped() != 1 {
			t.Errorf("the group is %v", got)
		}
	})
}

// "An operator asked to deliver it again": replays, discards.
func TestGroupReplayAndDiscard(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		appendEvents(t, r.log, 0, 3)
		x := r.start("one")
		c := x.member(t)
		c.subscribed()
		all := c.deliveries(3)
		c.nack(&streamv1.Nack{Ids: ids(all...), Action: streamv1.NackAction_NACK_ACTION_PARK})
		c.result()
		replayed, err := x.ReplayParked(t.Context(), &streamv1.ReplayParkedRequest{Group: "g", Positions: []uint64{2}})
		if err != nil || replayed.GetEvents() != 1 {
			t.Fatalf("replay: %v, %v", replayed, err)
		}
		d := c.deliveries(1)[0]
		wantEvents(t, []*streamv1.Delivery{d}, 1)
		if !d.GetReplayed() || d.GetAttempt() != 1 {
			t.Errorf("delivery is %v", d)
		}
		if got := len(x.parked(t)); got != 3 {
			t.Errorf("%d are parked before the acknowledgement", got)
		}
		c.ack(d.GetId())
		c.result()
		if got := x.parked(t); len(got) != 2 {
			t.Errorf("%d are parked", len(got))
		}
		discarded, err := x.DiscardParked(t.Context(), &streamv1.DiscardParkedRequest{Group: "g", Positions: []uint64{1}})
		if err != nil || discarded.GetEvents() != 1 {
			t.Fatalf("discard: %v, %v", discarded, err)
		}
		_, err = x.DiscardParked(t.Context(), &streamv1.DiscardParkedRequest{Group: "g", Positions: []uint64{1}})
		wantCode(t, err, codes.NotFound)
		wantText(t, err, "the event at position 1 is not parked")
		_, err = x.ReplayParked(t.Context(), &streamv1.ReplayParkedRequest{Group: "none"})
		wantCode(t, err, codes.NotFound)
		wantText(t, err, `no group "none"`)
		_, err = x.ReplayParked(t.Context(), &streamv1.ReplayParkedRequest{Group: "g", Positions: []uint64{2}})
		wantCode(t, err, codes.NotFound)
		replayed, err = x.ReplayParked(t.Context(), &streamv1.ReplayParkedRequest{Group: "g"})
		if err != nil || replayed.GetEvents() != 1 {
			t.Fatalf("replay all: %v, %v", replayed, err)
		}
		wantEvents(t, c.deliveries(1), 2)
	})
}

// "A parked event holds back the later events of its source and subject: they are parked behind it, in order, until it is replayed."
func TestGroupStrictOrder(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		appendEvents(t, r.log, 0, subjects+1) // Event 0 and event 4 have one subject.
		x := r.start("one")
		c := x.member(t, policy(&streamv1.GroupPolicy{StrictOrder: true}))
		c.subscribed()
		all := c.deliveries(subjects)
		c.nack(&streamv1.Nack{Ids: ids(all[0]), Action: streamv1.NackAction_NACK_ACTION_PARK, Reason: "why"})
		c.ack(ids(all[1:]...)...)
		c.result()
		c.result()
		<-time.After(2 * time.Second)
		synctest.Wait()
		p := x.parked(t)
		if len(p) != 2 || p[1].GetPosition() != subjects+1 || p[1].GetAttempts() != 0 {
			t.Fatalf("parked %v", p)
		}
		if _, err := x.ReplayParked(t.Context(), &streamv1.ReplayParkedRequest{Group: "g", Positions: []uint64{1}}); err != nil {
			t.Fatal(err)
		}
		d := c.deliveries(1)
		wantEvents(t, d, 0)
		c.ack(d[0].GetId())
		wantEvents(t, c.deliveriesAndResults(1), subjects)
	})
}

// Members share by subject, and a member that leaves hands its share over at once.
func TestGroupMembersShare(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		one, two := r.start("one"), r.start("two")
		a := one.member(t)
		a.subscribed()
		b := two.member(t, func(s *streamv1.SubscribeStart) { s.Label = "worker b" })
		b.subscribed()
		<-time.After(3 * time.Second)
		synctest.Wait()
		g := one.group(t)
		if len(g.GetMembers()) != 2 || g.GetMemberCount() != 2 || g.GetMembers()[0].GetShares() < 120 || g.GetMembers()[1].GetShares() < 120 || g.GetFreeShares() != 0 {
			t.Fatalf("the group is %v", g)
		}
		labels, replicas := map[string]bool{}, map[string]bool{}
		for _, m := range g.GetMembers() {
			labels[m.GetLabel()], replicas[m.GetReplica()] = true, true
		}
		if !labels["worker b"] || !replicas["one"] || !replicas["two"] {
			t.Errorf("members %v", g.GetMembers())
		}
		appendEvents(t, r.log, 0, subjects)
		got := map[int]bool{}
		for len(got) < subjects {
			select {
			case m := <-a.sent:
				for n := range byNumber(m.GetBatch().GetDeliveries()) {
					got[n] = true
				}
			case m := <-b.sent:
				for n := range byNumber(m.GetBatch().GetDeliveries()) {
					got[n] = true
				}
			case <-time.After(30 * time.Second):
				t.Fatalf("only %v came", got)
			}
		}
		if list, err := one.ListGroups(t.Context(), &streamv1.ListGroupsRequest{}); err != nil || len(list.GetGroups()) != 1 ||
			len(list.GetGroups()[0].GetMembers()) != 0 || list.GetGroups()[0].GetMemberCount() != 2 {
			t.Errorf("list is %v, %v", list, err)
		}
	})
}

// "After goodbye, what is outstanding is given back at once": to a member of another replica.
func TestGroupDrain(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		one, two := r.start("one"), r.start("two")
		appendEvents(t, r.log, 0, subjects)
		a := one.member(t, policy(&streamv1.GroupPolicy{AckDeadline: every(time.Hour), MinBackoff: every(0)}))
		a.subscribed()
		all := a.deliveries(subjects)
		b := two.member(t)
		go b.subscribedAndDiscard()
		a.ack(all[0].GetId()) // Its result is sent although the stream ends.
		synctest.Wait()
		go func() { _ = one.streams.Shutdown(t.Context()) }()
		if got := a.result(); got.GetAccepted() != 1 {
			t.Errorf("result is %v", got)
		}
		if g := a.goodbye(); g.GetCause() != streamv1.GoodbyeCause_GOODBYE_CAUSE_DRAIN || g.GetToken() != "" {
			t.Errorf("goodbye is %v", g)
		}
		begin := time.Now()
		a.wantEnd(codes.Unavailable)
		again := b.deliveries(subjects - 1)
		if got := time.Since(begin); got > 10*time.Second {
			t.Errorf("came after %v", got)
		}
		for n, d := range byNumber(again) {
			if n == 0 || d.GetAttempt() != 2 {
				t.Errorf("event %d, attempt %d", n, d.GetAttempt())
			}
		}
	})
}

// "The server lost its right to the group's shares for a moment."
func TestGroupLost(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		appendEvents(t, r.log, 0, 1)
		x := r.start("one")
		c := x.member(t)
		c.subscribed()
		c.deliveries(1)
		x.instance.Lose()
		if g := c.goodbye(); g.GetCause() != streamv1.GoodbyeCause_GOODBYE_CAUSE_LOST {
			t.Errorf("goodbye is %v", g)
		}
		c.wantEnd(codes.Unavailable)
		again := x.member(t)
		again.subscribed()
		wantEvents(t, again.deliveries(1), 0)
	})
}

// "NOT_FOUND when the group is deleted meanwhile."
func TestGroupDeleted(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		x, far := r.start("one"), r.start("two")
		c := x.member(t)
		c.subscribed()
		if _, err := x.DeleteGroup(t.Context(), &streamv1.DeleteGroupRequest{Group: "g"}); err != nil {
			t.Fatal(err)
		}
		c.wantEnd(codes.NotFound)
		for _, call := range []func() error{
			func() error {
				_, err := x.DeleteGroup(t.Context(), &streamv1.DeleteGroupRequest{Group: "g"})
				return err
			},
			func() error { _, err := x.GetGroup(t.Context(), &streamv1.GetGroupRequest{Group: "g"}); return err },
			func() error {
				_, err := x.SeekGroup(t.Context(), &streamv1.SeekGroupRequest{Group: "g", To: fromLatest()})
				return err
			},
			func() error { _, err := x.ListParked(t.Context(), &streamv1.ListParkedRequest{Group: "g"}); return err },
			func() error {
				_, err := x.ReplayParked(t.Context(), &streamv1.ReplayParkedRequest{Group: "g"})
				return err
			},
			func() error {
				_, err := far.Acknowledge(t.Context(), &streamv1.AcknowledgeRequest{Group: "g"})
				return err
			},
		} {
			wantCode(t, call(), codes.NotFound)
		}
	})
}

// "SeekGroup moves a group to a place. What was acknowledged behind the place is delivered again."
func TestGroupSeek(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		appendEvents(t, r.log, 0, 3)
		x := r.start("one")
		c := x.member(t)
		c.subscribed()
		all := c.deliveries(3)
		c.ack(ids(all[:2]...)...)
		c.result()
		moved, err := x.SeekGroup(t.Context(), &streamv1.SeekGroupRequest{
			Group: "g", To: &streamv1.Start{At: &streamv1.Start_Earliest{Earliest: &streamv1.Earliest{}}},
		})
		if err != nil || moved.GetPosition() != 1 {
			t.Fatalf("seek: %v, %v", moved, err)
		}
		wantEvents(t, c.deliveries(3), 0, 1, 2)
		c.ack(all[2].GetId())
		if got := c.result(); len(got.GetStale()) != 1 {
			t.Errorf("result is %v", got)
		}
		// A token of a stream without a group, with the group's filter.
		alone := subscribe(t, x.Server, &streamv1.SubscribeStart{Credit: &streamv1.Credit{Events: 1}})
		alone.subscribed()
		token := alone.deliveries(1)[0].GetToken()
		moved, err = x.SeekGroup(t.Context(), &streamv1.SeekGroupRequest{Group: "g", To: fromToken(token)})
		if err != nil || moved.GetPosition() != 2 {
			t.Errorf("seek: %v, %v", moved, err)
		}
		alone.cancel()
	})
}

// "With a group that exists: the group's own filter, or not set." "A policy that is sent replaces the group's."
func TestGroupFilterAndPolicy(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		x := r.start("one")
		appendEvents(t, r.log, 0, 2*subjects)
		filter := func(subjects ...string) func(*streamv1.SubscribeStart) {
			return func(s *streamv1.SubscribeStart) { s.Filter = &streamv1.Filter{Subjects: subjects} }
		}
		c := x.member(t, filter("shipment/1", "shipment/3"), policy(&streamv1.GroupPolicy{MaxAttempts: 9}))
		c.subscribed()
		wantEvents(t, c.deliveries(2), 1, 3)
		c.cancel()
		<-c.ended
		c = x.member(t, filter("shipment/3", "shipment/1", "shipment/3"), noCredit)
		c.subscribed()
		c.cancel()
		<-c.ended
		c = x.member(t, noCredit)
		c.subscribed()
		x.member(t, filter("shipment/2")).wantEnd(codes.FailedPrecondition)
		x.member(t, filter()).wantEnd(codes.FailedPrecondition)
		if got := x.group(t).GetPolicy(); got.GetMaxAttempts() != 9 || got.GetAckDeadline().AsDuration() != 30*time.Second ||
			got.GetMinBackoff().AsDuration() != time.Second || got.GetMaxBackoff().AsDuration() != 5*time.Minute ||
			got.GetMaxOutstanding() != 1000 || got.GetOnExpired() != streamv1.OnExpired_ON_EXPIRED_FAIL {
			t.Errorf("policy is %v", got)
		}
		x.member(t, noCredit, policy(&streamv1.GroupPolicy{MaxAttempts: 3, MinBackoff: durationpb.New(0)})).subscribed()
		if got := x.group(t).GetPolicy(); got.GetMaxAttempts() != 3 || got.GetMinBackoff().AsDuration() != 0 {
			t.Errorf("policy is %v", got)
		}
	})
}

// "A position no longer kept is POSITION_EXPIRED with the earliest one, unless the policy says EARLIEST or LATEST."
func TestGroupExpired(t *testing.T) {
	for on, want := range map[streamv1.OnExpired]int{
		streamv1.OnExpired_ON_EXPIRED_FAIL: 0, streamv1.OnExpired_ON_EXPIRED_EARLIEST: 4, streamv1.OnExpired_ON_EXPIRED_LATEST: 12,
	} {
		bubble(t, func(t *testing.T, r *rig) {
			appendEvents(t, r.log, 0, 12)
			x := r.start("one")
			c := x.member(t, noCredit, policy(&streamv1.GroupPolicy{OnExpired: on}))
			c.subscribed()
			r.log.Expire(5)
			c.credit(1000, 0)
			if on == streamv1.OnExpired_ON_EXPIRED_FAIL {
				st := c.wantEnd(codes.OutOfRange)
				detail, ok := st.Details()[0].(*streamv1.PositionExpired)
				if !ok || detail.GetReason() != "POSITION_EXPIRED" {
					t.Fatalf("details %v", st.Details())
				}
				_, err := x.Pull(t.Context(), &streamv1.PullRequest{Group: "g"})
				wantCode(t, err, codes.OutOfRange)
				moved, err := x.SeekGroup(t.Context(), &streamv1.SeekGroupRequest{Group: "g", To: fromToken(detail.GetEarliestToken())})
				if err != nil || moved.GetPosition() != 5 {
					t.Errorf("seek: %v, %v", moved, err)
				}
				return
			}
			if on == streamv1.OnExpired_ON_EXPIRED_LATEST {
				<-time.After(5 * time.Second)
				appendEvents(t, r.log, 12, 13)
			}
			got := byNumber(c.someDeliveries())
			for n := range got {
				if n < want {
					t.Errorf("event %d came, want none before %d", n, want)
				}
			}
			if got[want] == nil {
				t.Errorf("event %d did not come", want)
			}
			<-time.After(5 * time.Second)
			if g := x.group(t); g.GetMissed() != uint64(want) {
				t.Errorf("missed %d, want %d", g.GetMissed(), want)
			}
		})
	}
}
