package main

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
)

// reader is a subscriber that resumes at the token of the last event that it handled.
type reader struct {
	handle func(*eventv1.Event)
	// untilIdle ends a read at the journal's end.
	untilIdle bool
	start     *streamv1.Start
}

// read subscribes to the server at addr, until the server dies, ctx is done or the reader has enough.
func (r *reader) read(ctx context.Context, t *testing.T, addr string) {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := streamv1.NewEventStreamServiceClient(conn).Tail(ctx, &streamv1.TailRequest{
		Start: r.start, HeartbeatInterval: durationpb.New(100 * time.Millisecond),
	})
	for err == nil {
		var m *streamv1.TailResponse
		if m, err = stream.Recv(); err == nil && r.receive(m) {
			return
		}
	}
	switch status.Code(err) {
	case codes.Unavailable, codes.Canceled, codes.DeadlineExceeded, codes.Unknown, codes.Internal, codes.Aborted:
	default:
		t.Errorf("tail: %v", err)
	}
}

// receive handles one message and reports whether the reader has enough.
func (r *reader) receive(m *streamv1.TailResponse) (enough bool) {
	token := m.GetSubscribed().GetToken() + m.GetHeartbeat().GetToken() + m.GetGoodbye().GetToken() // one of them is set, or none
	for _, d := range m.GetEvents().GetEvents() {
		r.handle(d.GetEvent())
		token = d.GetToken()
	}
	if token != "" {
		r.start = &streamv1.Start{At: &streamv1.Start_Token{Token: token}}
	}
	return r.untilIdle && m.GetHeartbeat() != nil && m.GetHeartbeat().GetLag() == 0
}
