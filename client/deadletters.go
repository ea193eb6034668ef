package client

import (
	"context"
	"fmt"
	"iter"

	"google.golang.org/grpc"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
)

// Parked returns a group's dead letters, in the log's order. The error, if there is one, comes last.
func Parked(ctx context.Context, conn grpc.ClientConnInterface, group string) iter.Seq2[*streamv1.ParkedEvent, error] {
	api := streamv1.NewEventStreamServiceClient(conn)
	return func(yield func(*streamv1.ParkedEvent, error) bool) {
		for page := ""; ; {
			r, err := api.ListParked(ctx, &streamv1.ListParkedRequest{Group: group, PageToken: page}, grpc.MaxCallRecvMsgSize(DefaultMaxMessage))
			if err != nil {
				yield(nil, fmt.Errorf("client: list parked events of %s: %w", group, err))
				return
			}
			for _, p := range r.GetEvents() {
				if !yield(p, nil) {
					return
				}
			}
			if page = r.GetNextPageToken(); page == "" {
				return
			}
		}
	}
}

// Replay has dead letters delivered to the group again: those at the given positions, or all if none is given. It returns how many.
func Replay(ctx context.Context, conn grpc.ClientConnInterface, group string, positions ...uint64) (uint64, error) {
	r, err := streamv1.NewEventStreamServiceClient(conn).ReplayParked(ctx, &streamv1.ReplayParkedRequest{Group: group, Positions: positions})
	if err != nil {
		return 0, fmt.Errorf("client: replay parked events of %s: %w", group, err)
	}
	return r.GetEvents(), nil
}

// Discard removes dead letters for good, and returns how many.
func Discard(ctx context.Context, conn grpc.ClientConnInterface, group string, positions ...uint64) (uint64, error) {
	r, err := streamv1.NewEventStreamServiceClient(conn).DiscardParked(ctx, &streamv1.DiscardParkedRequest{Group: group, Positions: positions})
	if err != nil {
		return 0, fmt.Errorf("client: discard parked events of %s: %w", group, err)
	}
	return r.GetEvents(), nil
}
