package cli

import (
	"context"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
)

// failingStream says that it is subscribed, and ends with an error.
type failingStream struct {
	grpc.ClientStream
	subscribed bool
	err        error
}

func (s *failingStream) Recv() (*streamv1.TailResponse, error) {
	if s.subscribed {
		return nil, s.err
	}
	s.subscribed = true
	return &streamv1.TailResponse{Message: &streamv1.TailResponse_Subscribed{Subscribed: &streamv1.Subscribed{Token: "token"}}}, nil
}

// failingServer answers every call with such a stream.
type failingServer struct {
	streamv1.EventStreamServiceClient

	err   error
	calls int
}

func (s *failingServer) Tail(
	context.Context, *streamv1.TailRequest, ...grpc.CallOption,
) (grpc.ServerStreamingClient[streamv1.TailResponse], error) {
	s.calls++
	return &failingStream{err: s.err}, nil
}

// A tail ends at damage, with its position. A tail that is to stop at the journal's end also ends when the server fails again and
// again.
func TestTailEnds(t *testing.T) {
	for _, c := range []struct {
		what      string
		err       error
		untilIdle bool
		calls     int
		text      string
	}{
		{"damage", status.Error(codes.DataLoss, "the event at position 17 is damaged"), true, 1, "position 17"},
		{"damage while it follows", status.Error(codes.DataLoss, "the event at position 17 is damaged"), false, 1, "position 17"},
		{"failures", status.Error(codes.Internal, "journal cannot be read"), true, idleFailures, "cannot be read"},
		{"lost connections", status.Error(codes.Unavailable, "gone"), true, idleFailures, "gone"},
		{"ends of the stream", io.EOF, true, idleFailures, "ended the stream"},
	} {
		t.Run(c.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := &failingServer{err: c.err}
				tailed := &tailer{
					follower: follower{
						untilIdle: c.untilIdle,
						explain:   func(_ context.Context, err error) error { return err },
						notice:    func(string, ...any) {},
					},
					client: server, left: -1,
					batched: func(string) error { return nil },
				}
				err := tailed.follow(t.Context(), tailed.once)
				if err == nil || !strings.Contains(err.Error(), c.text) || server.calls != c.calls {
					t.Errorf("error %v after %d calls, want …%s… after %d", err, server.calls, c.text, c.calls)
				}
			})
		})
	}
}
