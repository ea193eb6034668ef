package grpcstream

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/sinks"
)

const positionExpired = "POSITION_EXPIRED"

var (
	errNoPayloads    = status.Error(codes.Unimplemented, "this server has canonical events only")
	errForeignLog    = status.Error(codes.FailedPrecondition, "token was given out by another journal")
	errForeignFilter = status.Error(codes.FailedPrecondition, "token was given out to a stream with another filter")
	errFuture        = status.Error(codes.FailedPrecondition,
		"token is past the journal's end: it was given out by a later state of the journal")
	errForked = status.Error(codes.FailedPrecondition,
		"token is of a lost state: the journal was restored from a backup older than the token; choose a start by time")
)

// gapError means that the log breaks its contract. The stream ends: otherwise it would skip events, and the client would never
// know.
type gapError struct{ want, got sinks.Position }

func (e *gapError) Error() string {
	return fmt.Sprintf("grpcstream: read: log returned position %d instead of %d", e.got, e.want)
}

// dataLoss tells the client that the event at a position is damaged. The cause is logged: it may speak of folders.
func dataLoss(p sinks.Position) error {
	return status.Errorf(codes.DataLoss, "the event at position %d is damaged on the server's disk", p)
}

// Invalid is the status of a request that is malformed.
func Invalid(err error) error { return status.Error(codes.InvalidArgument, err.Error()) }

func unavailable(reason string) error { return status.Error(codes.Unavailable, reason) }

func tooManyStreams(limit int) error {
	return status.Errorf(codes.ResourceExhausted, "%d streams are open, which is the limit", limit)
}

// Status maps an error of the log to the client's status, and logs what is no fault of the client's. A status stays. A position that
// is no longer kept is for [Reader.Status].
func (s *Server) Status(ctx context.Context, err error) error {
	if _, ok := status.FromError(err); ok {
		return err
	}
	var damaged *sinks.DamagedError
	switch {
	case errors.As(err, &damaged):
		s.logger.ErrorContext(ctx, "stream ended by damage", "position", uint64(damaged.Position), "error", err)
		return dataLoss(damaged.Position)
	case errors.Is(err, sinks.ErrUnavailable):
		s.logger.WarnContext(ctx, "stream ended: the journal cannot be read now", "error", err)
		return unavailable("the journal cannot be read now: try again later")
	case errors.Is(err, sinks.ErrFuture):
		return errFuture
	case errors.Is(err, sinks.ErrForked):
		return errForked
	default:
		s.logger.ErrorContext(ctx, "stream ended by a failure", "error", err)
		return status.Error(codes.Internal, "journal cannot be read")
	}
}

// Expired tells the client where it could continue, so that it knows which events it would miss.
func (r *Reader) Expired(ctx context.Context, earliest sinks.Position) error {
	detail := &streamv1.PositionExpired{Reason: positionExpired, EarliestToken: r.Token(earliest)}
	if earliest < r.server.log.Bounds().Next {
		// Retention may have removed this event too by now. Then the client asks again.
		read, err := r.server.log.Read(ctx, earliest, make([]sinks.Record, 0, 1))
		if err == nil && len(read) > 0 && !read[0].Header.ReceivedAt.IsZero() {
			detail.EarliestReceivedAt = timestamppb.New(read[0].Header.ReceivedAt)
		}
	}
	st, err := status.New(codes.OutOfRange, positionExpired+": events from here on are no longer kept").WithDetails(detail)
	if err != nil {
		return status.Error(codes.OutOfRange, positionExpired)
	}
	return st.Err()
}
