package daemon

import (
	"errors"
	"io"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
)

// subscribe opens a stream of a group, with credit for many events.
func (c caller) subscribe(t *testing.T, group string, types ...string) grpc.BidiStreamingClient[streamv1.SubscribeRequest, streamv1.SubscribeResponse] {
	t.Helper()
	stream, err := streamv1.NewEventStreamServiceClient(c).Subscribe(c.ctx)
	if err != nil {
		t.Fatal(err)
	}
	err = stream.Send(&streamv1.SubscribeRequest{Message: &streamv1.SubscribeRequest_Start{Start: &streamv1.SubscribeStart{
		Group: group, Filter: &streamv1.Filter{Types: types}, Credit: &streamv1.Credit{Events: 1000},
	}}})
	if err != nil && !errors.Is(err, io.EOF) { // EOF: the server has refused already, and Recv says why.
		t.Fatal(err)
	}
	return stream
}

func (c caller) groups(t *testing.T) string {
	t.Helper()
	r, err := streamv1.NewEventStreamServiceClient(c).ListGroups(c.ctx, &streamv1.ListGroupsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, g := range r.GetGroups() {
		names = append(names, g.GetName())
	}
	return strings.Join(names, " ")
}

// TestPrincipalsOfGroups: a group is for the principals with its name, and for operators to look after. A member that loses its credential
// leaves.
func TestPrincipalsOfGroups(t *testing.T) {
	t.Parallel()
	l := startListened(t)
	l.send(t, "returns", "retino_credit_note_created")
	all, masked := l.as(t, "token-of-all-0123456"), l.as(t, "token-of-masked-0123")
	stream := all.subscribe(t, "billing")
	var delivered []*streamv1.Delivery
	for len(delivered) == 0 {
		m, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		delivered = m.GetBatch().GetDeliveries()
	}
	if got := delivered[0].GetEvent().GetCreditNote().GetCustomer().GetName(); got != "Jan Novák" {
		t.Errorf("the member gets a customer %q", got)
	}
	for who, want := range map[string]string{"token-of-all-0123456": "billing", "token-of-masked-0123": "", "operators-token-0123": "billing"} {
		if got := l.as(t, who).groups(t); got != want {
			t.Errorf("%s sees the groups %q, want %q", who, got, want)
		}
	}
	if _, err := masked.subscribe(t, "billing").Recv(); status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), `principal masked may not use the group "billing"`) {
		t.Errorf("a stranger to the group: %v", err)
	}
	if _, err := streamv1.NewEventStreamServiceClient(masked).GetGroup(masked.ctx, &streamv1.GetGroupRequest{Group: "billing"}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("a stranger looks at the group: %v", err)
	}
	if _, err := l.as(t, "operators-token-0123").subscribe(t, "billing").Recv(); status.Code(err) != codes.PermissionDenied {
		t.Errorf("an operator as a member: %v", err)
	}
	if n := l.metric(t, "bridge_grpc_denied_total", "masked", "group"); n != 2 {
		t.Errorf("%v denials of groups are counted", n)
	}

	// A group is not narrowed: its members share the same events.
	if _, err := l.as(t, "token-of-team-0123456").subscribe(t, "team-b", "credit_note.*").Recv(); status.Code(err) != codes.PermissionDenied {
		t.Errorf("a group of events that the member may not see: %v", err)
	}
	own := l.as(t, "token-of-team-0123456").subscribe(t, "team-a", "shipment.*")
	if m, err := own.Recv(); err != nil || m.GetSubscribed() == nil {
		t.Fatalf("%v, %v", m, err)
	}
	l.write(t, "team", "token-of-team-9999999")
	l.Reload()
	var err error
	for err == nil {
		_, err = own.Recv()
	}
	if status.Code(err) != codes.Unauthenticated {
		t.Errorf("the member ends with %v", err)
	}
}
