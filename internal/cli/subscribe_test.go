package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/webhook-bridge/bridge/client/clienttest"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
)

// newSubscriber returns a member that does not follow, and notes the events that it handles.
func newSubscriber(client streamv1.EventStreamServiceClient, handled *[]*eventv1.Event) *subscriber {
	return &subscriber{
		follower: follower{
			untilIdle: true, notice: func(string, ...any) {},
			explain: func(_ context.Context, err error) error { return err },
		},
		flags: &subscribeFlags{}, client: client, left: -1, out: bufio.NewWriter(io.Discard),
		start: &streamv1.SubscribeStart{Group: "g", HeartbeatInterval: durationpb.New(idleHeartbeat)},
		handle: func(e *eventv1.Event) error {
			*handled = append(*handled, e)
			return nil
		},
	}
}

// "it stops once the group has dealt with everything that the log had at the start … also the events that wait for an earlier one of their
// subject."
func TestNoFollowGetsAll(t *testing.T) {
	const events, subjects = 42, 3
	server := clienttest.New(t)
	for i := range events {
		server.Publish(&eventv1.Event{Id: strconv.Itoa(i), Type: "order.created", Subject: fmt.Sprintf("order/%d", i%subjects)})
	}
	var handled []*eventv1.Event
	s := newSubscriber(streamv1.NewEventStreamServiceClient(server.Conn()), &handled)
	if err := s.follow(t.Context(), s.once); err != nil || len(handled) != events {
		t.Errorf("%d events of %d, %v", len(handled), events, err)
	}
}

// "Is the rest with other members, or waiting for its next attempt, it stops after ten seconds without progress, says how many events that are".
func TestNoFollowSaysWhatIsLeft(t *testing.T) {
	var handled []*eventv1.Event
	s := newSubscriber(nil, &handled)
	receive := func(m *streamv1.SubscribeResponse) error {
		return s.receive(func(*streamv1.SubscribeRequest) error { return nil }, m)
	}
	beats := func(n int, position uint64) {
		t.Helper()
		for range n {
			if err := receive(&streamv1.SubscribeResponse{Message: &streamv1.SubscribeResponse_Heartbeat{
				Heartbeat: &streamv1.Heartbeat{Position: position},
			}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(receive(&streamv1.SubscribeResponse{Message: &streamv1.SubscribeResponse_Subscribed{
		Subscribed: &streamv1.Subscribed{Position: 1, Latest: 5},
	}}))
	beats(2*quietHeartbeats, 1) // It still reads.
	must(receive(&streamv1.SubscribeResponse{Message: &streamv1.SubscribeResponse_CaughtUp{CaughtUp: &streamv1.CaughtUp{}}}))
	beats(quietHeartbeats-1, 1)
	must(receive(&streamv1.SubscribeResponse{Message: &streamv1.SubscribeResponse_Batch{Batch: &streamv1.Batch{
		Deliveries: []*streamv1.Delivery{{Event: &eventv1.Event{}}},
	}}}))
	beats(2*quietHeartbeats, 1) // The acknowledgement has no answer.
	must(receive(&streamv1.SubscribeResponse{Message: &streamv1.SubscribeResponse_AckResult{AckResult: &streamv1.AckResult{Accepted: 1}}}))
	beats(quietHeartbeats-1, 1)
	beats(quietHeartbeats, 2) // The group came further.
	err := receive(&streamv1.SubscribeResponse{Message: &streamv1.SubscribeResponse_Heartbeat{Heartbeat: &streamv1.Heartbeat{Position: 2}}})
	var local *localError
	if !errors.As(err, &local) || !strings.Contains(err.Error(), "up to 3 events") {
		t.Errorf("it ends with %v", err)
	}
}
