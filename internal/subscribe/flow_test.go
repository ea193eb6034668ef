package subscribe

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/internal/groups"
	"github.com/webhook-bridge/bridge/sinks/grpcstream"
)

// "Credit in events and bytes; nothing is buffered beyond them": what a group's member has no credit for is not outstanding.
func TestGroupCredit(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		appendEvents(t, r.log, 0, subjects)
		x := r.start("one")
		c := x.member(t, noCredit)
		c.subscribed()
		synctest.Wait()
		c.nothing()
		outstanding := func(want int) {
			t.Helper()
			synctest.Wait()
			c.nothing()
			if got := x.manager.Stats()[0].Outstanding; got != want {
				t.Errorf("%d are outstanding, want %d", got, want)
			}
		}
		outstanding(0)
		c.credit(1, 0)
		c.deliveries(1)
		outstanding(1)
		c.credit(0, 1)
		outstanding(1)
		c.credit(10, 0)
		c.deliveries(1) // It is larger than a byte.
		outstanding(2)
		c.credit(0, 1)
		outstanding(2) // The sum is negative still.
		c.credit(0, 1<<20)
		c.deliveries(2)
	})
}

// A client that floods acknowledgements is read no further while they cannot be written, and the results come in order.
func TestFloodOfAnswers(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		appendEvents(t, r.log, 0, 1)
		x := r.start("one")
		c := x.member(t)
		c.subscribed()
		id := c.deliveries(1)[0].GetId()
		held, resume := r.store.Stall()
		c.ack(id)
		<-held
		sent := make(chan int)
		go func() {
			n := 0
			defer func() { sent <- n }()
			for ; n < 10*maxPendingAnswers; n++ {
				select {
				case c.asked <- ackOf(id):
				case <-time.After(time.Second):
					return
				}
			}
		}()
		n := <-sent
		if n > maxPendingAnswers+3 {
			t.Errorf("the server read %d acknowledgements that it could not write", n)
		}
		resume(false)
		if got := c.result(); got.GetAccepted() != 1 {
			t.Errorf("the first result is %v", got)
		}
		for range n {
			if got := c.result(); got.GetAccepted() != 0 || len(got.GetStale()) != 1 {
				t.Fatalf("result is %v", got)
			}
		}
		// There is room again.
		c.ack(id)
		c.result()
	})
}

// The ids of the acknowledgements that wait are bounded, too.
func TestFloodOfIDs(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		appendEvents(t, r.log, 0, 1)
		x := r.start("one")
		c := x.member(t)
		c.subscribed()
		id := c.deliveries(1)[0].GetId()
		held, resume := r.store.Stall()
		c.ack(id)
		<-held
		many := strings.Split(strings.Repeat(id+" ", maxPendingIDs/2-1)+id, " ")
		for n := range 4 {
			select {
			case c.asked <- ackOf(many...):
				continue
			case <-time.After(time.Second):
			}
			if n < 1 || n > 2 {
				t.Errorf("the server read %d acknowledgements of %d ids", n, len(many))
			}
			resume(false)
			return
		}
		t.Error("the server reads all")
	})
}

func ackOf(ids ...string) *streamv1.SubscribeRequest {
	return &streamv1.SubscribeRequest{Message: &streamv1.SubscribeRequest_Ack{Ack: &streamv1.Ack{
		Which: &streamv1.Ack_Ids{Ids: &streamv1.DeliveryIds{Ids: ids}},
	}}}
}

// Ids that no server gave out end the stream.
func TestUnknownID(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		x := r.start("one")
		for _, bad := range []func(*call){
			func(c *call) { c.ack("none") },
			func(c *call) { c.ackUpTo("none") },
			func(c *call) { c.nack(&streamv1.Nack{Ids: []string{"none"}}) },
			func(c *call) { c.ack() },
			func(c *call) { c.ack(strings.Repeat("x", 65)) },
			func(c *call) { c.nack(&streamv1.Nack{Ids: []string{"x"}, Delay: every(13 * time.Hour)}) },
			func(c *call) { c.nack(&streamv1.Nack{Ids: []string{"x"}, Action: 9}) },
		} {
			c := x.member(t, noCredit)
			c.subscribed()
			go bad(c)
			c.wantEnd(codes.InvalidArgument)
		}
	})
}

// A client that does not read: its deliveries run into their deadline, and after twice the deadline its events go to another member.
func TestMemberDoesNotRead(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		x := r.start("one")
		appendEvents(t, r.log, 0, subjects)
		stuck := x.member(t, policy(&streamv1.GroupPolicy{MaxAttempts: 1000, MinBackoff: every(0), AckDeadline: every(50 * time.Second)}))
		stuck.subscribed()
		synctest.Wait() // It is in Send now.
		begin := time.Now()
		other := r.start("two").member(t)
		other.subscribed()
		if got := byNumber(allDeliveries(other, subjects)); len(got) != subjects {
			t.Errorf("%d events came", len(got))
		}
		if got := time.Since(begin); got > 150*time.Second {
			t.Errorf("they came after %v", got)
		}
		<-stuck.ended
		wantCode(t, stuck.err, codes.Unavailable)
	})
}

// allDeliveries receives until so many events have come, and acknowledges them.
func allDeliveries(c *call, n int) (all []*streamv1.Delivery) {
	for len(byNumber(all)) < n {
		some := c.someDeliveries()
		all = append(all, some...)
		c.ack(ids(some...)...)
	}
	return all
}

// A member that gives no credit says goodbye after twice the deadline, and not while nothing waits for it.
func TestMemberGivesNoCredit(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		x := r.start("one")
		c := x.member(t, noCredit, func(s *streamv1.SubscribeStart) { s.HeartbeatInterval = every(5 * time.Minute) })
		c.subscribed()
		for range 3 {
			c.heartbeat()
		}
		<-time.After(20 * time.Minute) // It does not even read, and nothing waits for it.
		c.heartbeat()
		appendEvents(t, r.log, 0, 1)
		begin := time.Now()
		if g := c.goodbye(); g.GetCause() != streamv1.GoodbyeCause_GOODBYE_CAUSE_IDLE {
			t.Errorf("goodbye is %v", g)
		}
		if got := time.Since(begin); got < time.Minute || got > 2*time.Minute {
			t.Errorf("goodbye after %v", got)
		}
		c.wantEnd(codes.Unavailable)
	})
}

// "RESOURCE_EXHAUSTED when a group has 1,000 members", and "FAILED_PRECONDITION … when there are as many groups as there may be": that does not pass.
func TestGroupLimits(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		x := r.start("one", func(_ *grpcstream.Config, c *groups.Config) { c.MaxGroups, c.MaxMembers = 2, 2 })
		for range 2 {
			x.member(t).subscribed()
		}
		x.member(t).wantEnd(codes.ResourceExhausted)
		named := func(name string) func(*streamv1.SubscribeStart) {
			return func(s *streamv1.SubscribeStart) { s.Group = name }
		}
		x.member(t, named("two")).subscribed()
		x.member(t, named("three")).wantEnd(codes.FailedPrecondition)
		_, err := x.Pull(t.Context(), &streamv1.PullRequest{Group: "three"})
		wantCode(t, err, codes.FailedPrecondition)
		wantText(t, err, "streams.max_groups")
		wantText(t, err, "bridge groups delete")
		_, err = x.Pull(t.Context(), &streamv1.PullRequest{Group: "no group"})
		wantText(t, err, "letters, digits, dots, dashes and underscores")
	})
}

// Requests are checked by the schema's rules.
func TestRequestsAreChecked(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		x := r.start("one")
		for _, start := range []*streamv1.SubscribeStart{
			{Group: "no group"},
			{Group: "-"},
			{Group: strings.Repeat("x", 101)},
			{Filter: &streamv1.Filter{Types: []string{"order*"}}},
			{Group: "g", Filter: &streamv1.Filter{Cel: "event."}},
			{HeartbeatInterval: every(99 * time.Millisecond)},
			{HeartbeatInterval: every(301 * time.Second)},
			{Payload: 9},
			{OnExpired: 9},
			{Label: strings.Repeat("x", 101)},
			{From: fromToken("none")},
			{From: &streamv1.Start{}},
			{Group: "g", From: fromToken("none")},
			{Group: "g", Policy: &streamv1.GroupPolicy{AckDeadline: every(time.Millisecond)}},
			{Group: "g", Policy: &streamv1.GroupPolicy{MaxAttempts: 1001}},
		} {
			subscribe(t, x.Server, start).wantEnd(codes.InvalidArgument)
		}
		for _, pull := range []*streamv1.PullRequest{
			{},
			{Group: "no group"},
			{Group: "g", MaxEvents: 1001},
			{Group: "g", MaxBytes: 1<<24 + 1},
			{Group: "g", Wait: every(6 * time.Minute)},
			{Group: "g", Wait: every(-time.Second)},
		} {
			_, err := x.Pull(t.Context(), pull)
			wantCode(t, err, codes.InvalidArgument)
		}
		_, err := x.Acknowledge(t.Context(), &streamv1.AcknowledgeRequest{})
		wantCode(t, err, codes.InvalidArgument)
		_, err = x.SeekGroup(t.Context(), &streamv1.SeekGroupRequest{Group: "g"})
		wantCode(t, err, codes.InvalidArgument)
		_, err = x.DiscardParked(t.Context(), &streamv1.DiscardParkedRequest{Group: "g"})
		wantCode(t, err, codes.InvalidArgument)
		_, err = x.ListGroups(t.Context(), &streamv1.ListGroupsRequest{PageSize: 1001})
		wantCode(t, err, codes.InvalidArgument)
		if _, err = x.ListGroups(t.Context(), &streamv1.ListGroupsRequest{}); err != nil {
			t.Error(err)
		}
	})
}

// viewer may see some events and groups.
type viewer struct {
	grpcstream.Viewer
	source   string
	personal bool
}

func (v viewer) Filter([]string, []string) error { return nil }
func (v viewer) MaySeeSource(source string) bool { return source == v.source }
func (v viewer) MaySeeType(string) bool          { return true }
func (v viewer) Personal() bool                  { return v.personal }
func (v viewer) MayJoin(group string) bool       { return group == "g" }
func (v viewer) RawPayload() error               { return status.Error(codes.PermissionDenied, "no raw") }

func (v viewer) Group(name string) error {
	if !v.MayJoin(name) {
		return status.Error(codes.PermissionDenied, "not "+name)
	}
	return nil
}

func viewing(v viewer) func(*grpcstream.Config, *groups.Config) {
	return func(c *grpcstream.Config, _ *groups.Config) {
		c.Viewer = func(context.Context) grpcstream.Viewer { return v }
	}
}

// "PERMISSION_DENIED for a group, or a payload, that the caller may not have." A member that may see only a part of what the group's filter
// chooses gets PERMISSION_DENIED when such an event comes; the event stays for the others.
func TestRights(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		appendEvents(t, r.log, 0, 1)
		all := r.start("one")
		other := r.start("two", viewing(viewer{source: "other", personal: true}))
		other.member(t, func(s *streamv1.SubscribeStart) { s.Group = "h" }).wantEnd(codes.PermissionDenied)
		other.member(t, func(s *streamv1.SubscribeStart) { s.Payload = streamv1.Payload_PAYLOAD_RAW }).wantEnd(codes.PermissionDenied)
		_, err := other.Pull(t.Context(), &streamv1.PullRequest{Group: "h"})
		wantCode(t, err, codes.PermissionDenied)
		for _, call := range []func() error{
			func() error { _, err := other.GetGroup(t.Context(), &streamv1.GetGroupRequest{Group: "h"}); return err },
			func() error {
				_, err := other.DeleteGroup(t.Context(), &streamv1.DeleteGroupRequest{Group: "h"})
				return err
			},
			func() error {
				_, err := other.ListParked(t.Context(), &streamv1.ListParkedRequest{Group: "h"})
				return err
			},
			func() error {
				_, err := other.ReplayParked(t.Context(), &streamv1.ReplayParkedRequest{Group: "h"})
				return err
			},
			func() error {
				_, err := other.Acknowledge(t.Context(), &streamv1.AcknowledgeRequest{Group: "h"})
				return err
			},
		} {
			wantCode(t, call(), codes.PermissionDenied)
		}
		other.member(t).wantEnd(codes.PermissionDenied)
		_, err = other.Pull(t.Context(), &streamv1.PullRequest{Group: "g", Wait: every(10 * time.Second)})
		wantCode(t, err, codes.PermissionDenied)
		<-time.After(2 * time.Minute) // The member of pulls has left.
		c := all.member(t)
		c.subscribed()
		d := c.deliveries(1)
		wantEvents(t, d, 0)
		c.nack(&streamv1.Nack{Ids: ids(d...), Action: streamv1.NackAction_NACK_ACTION_PARK})
		c.result()
		if got := other.parked(t); len(got) != 0 {
			t.Errorf("a caller sees dead letters of a source that it may not see: %v", got)
		}
		all.member(t, func(s *streamv1.SubscribeStart) { s.Group = "h" }).subscribed()
		list, err := other.ListGroups(t.Context(), &streamv1.ListGroupsRequest{})
		if err != nil || len(list.GetGroups()) != 1 {
			t.Errorf("list is %v, %v", list, err)
		}
		// An expression could tell what is masked.
		masked := r.start("three", viewing(viewer{source: "returns"}))
		masked.member(t, func(s *streamv1.SubscribeStart) {
			s.Filter = &streamv1.Filter{Cel: "event.stale"}
		}).wantEnd(codes.PermissionDenied)
	})
}
