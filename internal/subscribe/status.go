package subscribe

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/internal/groups"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/grpcstream"
)

var (
	errLost = &grpcstream.EndError{
		Cause: streamv1.GoodbyeCause_GOODBYE_CAUSE_LOST, Reason: "the server lost its right to the group's shares",
	}
	errDrained = &grpcstream.EndError{Cause: streamv1.GoodbyeCause_GOODBYE_CAUSE_DRAIN, Reason: "server is shutting down"}
	errAway    = &grpcstream.EndError{
		Cause: streamv1.GoodbyeCause_GOODBYE_CAUSE_JOURNAL, Reason: "the journal does not answer now",
	}
	errIdle = &grpcstream.EndError{
		Cause:  streamv1.GoodbyeCause_GOODBYE_CAUSE_IDLE,
		Reason: "the member took no events for twice the deadline of its group, while events waited for it",
	}
)

// endingOf returns the goodbye for what ended a stream, or nil if it gets none.
func endingOf(err error) *grpcstream.EndError {
	var ending *grpcstream.EndError
	switch {
	case errors.As(err, &ending):
		return ending
	case errors.Is(err, groups.ErrLost):
		return errLost
	case errors.Is(err, groups.ErrDrained):
		return errDrained
	case errors.Is(err, sinks.ErrClosed):
		return grpcstream.ErrJournalCloses
	case errors.Is(err, sinks.ErrUnavailable):
		return errAway
	default:
		return nil
	}
}

// statusOf is status for calls that name a group.
func (s *Server) statusOf(ctx context.Context, group string, err error) error {
	if errors.Is(err, groups.ErrNotFound) {
		return status.Errorf(codes.NotFound, "there is no group %q, or it was deleted", group)
	}
	return s.status(ctx, err)
}

// status maps an error to the client's status. A status stays, without the words of those that passed it on.
func (s *Server) status(ctx context.Context, err error) error {
	var known interface{ GRPCStatus() *status.Status }
	var notParked *groups.NotParkedError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return known.GRPCStatus().Err()
	case errors.Is(err, groups.ErrNotFound):
		return status.Error(codes.NotFound, "there is no such group, or it was deleted")
	case errors.As(err, &notParked):
		return status.Errorf(codes.NotFound, "the event at position %d is not parked", notParked.Position)
	case errors.Is(err, groups.ErrOtherFilter):
		return status.Error(codes.FailedPrecondition, "the group has another filter: leave it out, or use another group")
	case errors.Is(err, groups.ErrTooManyMembers):
		return status.Error(codes.ResourceExhausted, "the group has as many members as a group may have")
	case errors.Is(err, groups.ErrTooManyGroups):
		// Unlike the other limits, this one does not pass by itself: a client must not try again and again.
		return status.Error(codes.FailedPrecondition,
			"there are as many groups as streams.max_groups permits: delete one, as with bridge groups delete, or raise the limit")
	case errors.Is(err, groups.ErrID):
		return status.Error(codes.InvalidArgument, "an id names no delivery of this group")
	case errors.Is(err, context.DeadlineExceeded):
		return status.Error(codes.Unavailable, "the journal does not answer now")
	case errors.Is(err, context.Canceled):
		return status.FromContextError(context.Canceled).Err()
	}
	if e := endingOf(err); e != nil {
		return e.Status()
	}
	return s.tail.Status(ctx, err)
}
