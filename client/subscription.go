package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
)

// subscription is a call of Subscribe. It has one connection at a time.
type subscription struct {
	cfg    Config
	api    streamv1.EventStreamServiceClient
	handle Handler
	board  board
	// token resumes without a group. Empty: at Config.From.
	token string
}

// goodbyeError ends a stream that the server ended in order.
type goodbyeError struct {
	cause  streamv1.GoodbyeCause
	reason string
}

func (e *goodbyeError) Error() string { return "client: the server said goodbye: " + e.reason }

// finalError ends Subscribe.
type finalError struct{ err error }

func (e *finalError) Error() string { return e.err.Error() }
func (e *finalError) Unwrap() error { return e.err }

func (s *subscription) run(ctx context.Context) (err error) {
	s.board.tell = s.cfg.OnStatus
	if s.cfg.Tokens != nil {
		if s.token, err = s.cfg.Tokens.Load(ctx); err != nil {
			return err
		}
	}
	pause := backoff{least: s.cfg.MinBackoff, most: s.cfg.MaxBackoff}
	for {
		c, began := newConnection(s), time.Now()
		err := c.run(ctx)
		s.board.change(func(st *Status) { st.Connected, st.CaughtUp, st.Err, st.Outstanding = false, false, err, 0 })
		if final := final(err, c.subscribed.Load()); final != nil {
			return final
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Since(began) > s.cfg.MaxBackoff {
			pause.reset()
		}
		s.cfg.Logger.InfoContext(ctx, "stream ended", "group", s.cfg.Group, "error", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause.next()):
		}
	}
}

// final returns the error with which Subscribe ends after a stream, or nil if it connects again. subscribed says that the stream was open: if its token
// was refused later, a new one may be accepted.
func final(err error, subscribed bool) error {
	var final *finalError
	var goodbye *goodbyeError
	switch {
	case errors.As(err, &final):
		return final.err
	case errors.As(err, &goodbye), errors.Is(err, errSilent), errors.Is(err, errUnconfirmed):
		return nil
	}
	switch st := status.Convert(err); st.Code() {
	case codes.OutOfRange:
		return expired(st, err)
	case codes.InvalidArgument, codes.FailedPrecondition, codes.NotFound, codes.PermissionDenied, codes.Unimplemented, codes.DataLoss:
		return fmt.Errorf("client: subscribe: %w", err)
	case codes.Unauthenticated:
		if !subscribed {
			return fmt.Errorf("client: subscribe: %w", err)
		}
	case codes.ResourceExhausted:
		// gRPC's own words: the next connection would meet the same message.
		if strings.Contains(st.Message(), "larger than max") {
			return fmt.Errorf("client: subscribe: an event is larger than Config.MaxMessage: %w", err)
		}
	}
	return nil
}

func expired(st *status.Status, err error) error {
	e := &ExpiredError{Err: err}
	for _, detail := range st.Details() {
		if d, ok := detail.(*streamv1.PositionExpired); ok {
			e.Earliest = d.GetEarliestToken()
			if d.GetEarliestReceivedAt() != nil {
				e.Received = d.GetEarliestReceivedAt().AsTime()
			}
		}
	}
	return e
}

// backoff gives growing pauses.
type backoff struct{ least, most, current time.Duration }

func (b *backoff) reset() { b.current = 0 }

// next returns a pause between a half of the current one and all of it.
func (b *backoff) next() time.Duration {
	b.current = min(max(2*b.current, b.least), b.most)
	return b.current/2 + rand.N(b.current/2+1) //nolint:gosec // jitter is no secret
}
