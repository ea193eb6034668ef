package subscribe

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/anypb"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/internal/groups"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/grpcstream"
	"github.com/webhook-bridge/bridge/sinks/payload"
)

// "Pull hands out events of a group. A pull makes the group if there is none." "An event of a subject is handed out when the one before
// was acknowledged, whichever worker had it."
func TestPull(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		appendEvents(t, r.log, 0, subjects+1)
		x := r.start("one")
		first := x.pull(t, &streamv1.PullRequest{MaxEvents: 1, Policy: &streamv1.GroupPolicy{AckDeadline: every(time.Hour)}})
		wantEvents(t, first, 0)
		rest := x.pull(t, &streamv1.PullRequest{})
		wantEvents(t, rest, 1, 2, 3)
		if got := x.pull(t, &streamv1.PullRequest{}); len(got) != 0 {
			t.Errorf("handed out %v twice", got)
		}
		result := x.acknowledge(t, &streamv1.AcknowledgeRequest{
			Ids: ids(first...), Nacks: []*streamv1.Nack{{Ids: ids(rest[2]), Action: streamv1.NackAction_NACK_ACTION_PARK, Reason: "why"}},
		})
		if result.GetAccepted() != 2 || len(result.GetStale()) != 0 {
			t.Errorf("result is %v", result)
		}
		wantEvents(t, x.pull(t, &streamv1.PullRequest{}), subjects)
		result = x.acknowledge(t, &streamv1.AcknowledgeRequest{Ids: ids(first[0], rest[0])})
		if result.GetAccepted() != 1 || len(result.GetStale()) != 1 || result.GetStale()[0] != first[0].GetId() {
			t.Errorf("result is %v", result)
		}
		if p := x.parked(t); len(p) != 1 || p[0].GetReason() != "why" {
			t.Errorf("parked %v", p)
		}
		_, err := x.Acknowledge(t.Context(), &streamv1.AcknowledgeRequest{Group: "g", Ids: []string{rest[1].GetId(), "none"}})
		wantCode(t, err, codes.InvalidArgument)
		if result := x.acknowledge(t, &streamv1.AcknowledgeRequest{Ids: ids(rest[1])}); result.GetAccepted() != 1 {
			t.Errorf("an acknowledgement with an unknown id was accepted in part: %v", result)
		}
	})
}

func (x *replica) acknowledge(tb testing.TB, r *streamv1.AcknowledgeRequest) *streamv1.AckResult {
	tb.Helper()
	r.Group = "g"
	got, err := x.Acknowledge(tb.Context(), r)
	if err != nil {
		tb.Fatal(err)
	}
	return got.GetResult()
}

// "It waits for events as long as the request says", and a bound of bytes lets one event pass always.
func TestPullWaits(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		x := r.start("one")
		begin := time.Now()
		if got := x.pull(t, &streamv1.PullRequest{Wait: every(7 * time.Second)}); len(got) != 0 || time.Since(begin) != 7*time.Second {
			t.Errorf("%d after %v", len(got), time.Since(begin))
		}
		go func() {
			<-time.After(3 * time.Second)
			appendEvents(t, r.log, 0, 2)
		}()
		begin = time.Now()
		got := x.pull(t, &streamv1.PullRequest{Wait: every(time.Minute), MaxBytes: 1})
		wantEvents(t, got, 0)
		if took := time.Since(begin); took < 3*time.Second || took > 4*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// "It may reach any replica": an acknowledgement of a pull, and of a stream that has ended.
func TestAcknowledgeElsewhere(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		one, two := r.start("one"), r.start("two")
		appendEvents(t, r.log, 0, subjects+1)
		pulled := one.pull(t, &streamv1.PullRequest{Policy: &streamv1.GroupPolicy{AckDeadline: every(10 * time.Second)}})
		wantEvents(t, pulled, numbers(0, subjects)...)
		if got := two.acknowledge(t, &streamv1.AcknowledgeRequest{Ids: ids(pulled...)}); got.GetAccepted() != subjects {
			t.Errorf("result is %v", got)
		}
		if got := one.acknowledge(t, &streamv1.AcknowledgeRequest{Ids: ids(pulled...)}); got.GetAccepted() != 0 {
			t.Errorf("result is %v", got)
		}
		// The next one comes when the owner finds out, at the deadline at the latest; none that was acknowledged comes again.
		wantEvents(t, one.pull(t, &streamv1.PullRequest{Wait: every(time.Minute)}), subjects)
		if got := one.pull(t, &streamv1.PullRequest{Wait: every(time.Minute)}); len(got) != 1 || got[0].GetAttempt() != 2 {
			t.Errorf("pulled %v", got)
		}
	})
}

// "A delivery that does not reach the client, because the call was cancelled, counts as an attempt and is handed out again."
func TestPullCancelled(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		x := r.start("one")
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			_, err := x.Pull(ctx, &streamv1.PullRequest{Group: "g", Wait: every(time.Minute)})
			ended <- err
		}()
		synctest.Wait()
		cancel()
		wantCode(t, <-ended, codes.Canceled)
		appendEvents(t, r.log, 0, 1)
		lost := x.pull(t, &streamv1.PullRequest{Wait: every(time.Minute)}) // Its answer is lost, say.
		wantEvents(t, lost, 0)
		again := x.pull(t, &streamv1.PullRequest{Wait: every(time.Minute)})
		wantEvents(t, again, 0)
		if again[0].GetAttempt() != 2 {
			t.Errorf("attempt %d", again[0].GetAttempt())
		}
	})
}

// A drain ends the pulls that wait.
func TestPullDrain(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		x := r.start("one")
		x.pull(t, &streamv1.PullRequest{})
		ended := make(chan error, 1)
		go func() {
			_, err := x.Pull(t.Context(), &streamv1.PullRequest{Group: "g", Wait: every(5 * time.Minute)})
			ended <- err
		}()
		synctest.Wait()
		x.manager.Drain()
		wantCode(t, <-ended, codes.Unavailable)
	})
}

// payloads has a payload for each event but the second.
type payloads struct{}

func (payloads) Lookup(_ context.Context, want streamv1.Payload, _ bool, records []sinks.Record, _ int) ([]payload.Payload, error) {
	switch {
	case records[0].Position == 2:
		return []payload.Payload{{Missing: "it is no longer kept"}}, nil
	case want == streamv1.Payload_PAYLOAD_RAW:
		return []payload.Payload{{Raw: &streamv1.RawWebhook{Body: make([]byte, 1000), ContentType: "application/json"}}}, nil
	}
	vendor, err := anypb.New(&eventv1.Shipment{Id: string(records[0].Header.ID)})
	return []payload.Payload{{Vendor: vendor}}, err
}

func withPayloads(c *grpcstream.Config, _ *groups.Config) { c.Payloads = payloads{} }

// "Payload: canonical, the typed vendor message, or raw, as asked."
func TestPayloads(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		appendEvents(t, r.log, 0, 3)
		x := r.start("one", withPayloads)
		check := func(how string, want streamv1.Payload, all []*streamv1.Delivery) {
			t.Helper()
			for i, d := range all {
				missing := i == 1 && payload.Stored(want)
				whole := want == streamv1.Payload_PAYLOAD_CANONICAL
				if d.GetEvent().GetId() != event(i).GetId() || (d.GetEvent().GetShipment() != nil) != whole || missing != (d.GetPayloadMissing() != "") ||
					!missing && (want == streamv1.Payload_PAYLOAD_VENDOR) != (d.GetVendor() != nil) ||
					!missing && (want == streamv1.Payload_PAYLOAD_RAW) != (len(d.GetRaw().GetBody()) == 1000) {
					t.Errorf("%s, %v: delivery %d is %v", how, want, i, d)
				}
			}
		}
		for want := streamv1.Payload_PAYLOAD_CANONICAL; want <= streamv1.Payload_PAYLOAD_RAW; want++ {
			group := want.String()
			asked := func(s *streamv1.SubscribeStart) { s.Group, s.Payload = group, want }
			c := x.member(t, asked)
			c.subscribed()
			check("group", want, c.deliveries(3))
			c = x.member(t, asked, func(s *streamv1.SubscribeStart) { s.Group = "" })
			c.subscribed()
			check("alone", want, c.deliveries(3))
			pulled, err := x.Pull(t.Context(), &streamv1.PullRequest{Group: group + "-pull", Payload: want})
			if err != nil {
				t.Fatal(err)
			}
			check("pull", want, reencoded(t, pulled, &streamv1.PullResponse{}).GetDeliveries())
		}
		// Bodies count against the credit and against max_bytes.
		c := x.member(t, func(s *streamv1.SubscribeStart) {
			s.Group, s.Payload, s.Credit = "few", streamv1.Payload_PAYLOAD_RAW, &streamv1.Credit{Events: 3, Bytes: 900}
		})
		c.subscribed()
		c.deliveries(1)
		synctest.Wait()
		c.nothing()
		pulled, err := x.Pull(t.Context(), &streamv1.PullRequest{Group: "pulled", Payload: streamv1.Payload_PAYLOAD_RAW, MaxBytes: 900})
		if err != nil || len(reencoded(t, pulled, &streamv1.PullResponse{}).GetDeliveries()) != 1 {
			t.Errorf("pulled %v, %v", pulled, err)
		}
	})
}

// Pages of groups and of dead letters.
func TestPages(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		appendEvents(t, r.log, 0, 40*subjects)
		x := r.start("one")
		for _, name := range []string{"c", "a", "b"} {
			if _, err := x.Pull(t.Context(), &streamv1.PullRequest{Group: name}); err != nil {
				t.Fatal(err)
			}
		}
		var names []string
		for r := (&streamv1.ListGroupsRequest{PageSize: 2}); ; {
			page, err := x.ListGroups(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			for _, g := range page.GetGroups() {
				names = append(names, g.GetName())
			}
			if r.PageToken = page.GetNextPageToken(); r.PageToken == "" {
				break
			}
		}
		if !slices.Equal(names, []string{"a", "b", "c"}) {
			t.Errorf("groups %v", names)
		}
		c := x.member(t)
		c.subscribed()
		for n := 0; n < 40*subjects; {
			all := c.someDeliveries()
			n += len(all)
			c.nack(&streamv1.Nack{Ids: ids(all...), Action: streamv1.NackAction_NACK_ACTION_PARK})
		}
		c.result()
		<-time.After(time.Second)
		var positions []uint64
		for r := (&streamv1.ListParkedRequest{Group: "g", PageSize: 30}); ; {
			page, err := x.ListParked(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			if len(page.GetEvents()) > 30 {
				t.Fatalf("a page of %d", len(page.GetEvents()))
			}
			for _, p := range page.GetEvents() {
				positions = append(positions, p.GetPosition())
			}
			if r.PageToken = page.GetNextPageToken(); r.PageToken == "" {
				break
			}
		}
		if len(positions) != 40*subjects || positions[0] != 1 || positions[len(positions)-1] != 40*subjects {
			t.Errorf("%d dead letters", len(positions))
		}
		_, err := x.ListParked(t.Context(), &streamv1.ListParkedRequest{Group: "g", PageToken: "none"})
		wantCode(t, err, codes.InvalidArgument)
	})
}
