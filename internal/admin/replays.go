package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/filter"
)

// StartReplay implements [adminv1.AdminServiceServer].
func (s *Server) StartReplay(ctx context.Context, r *adminv1.StartReplayRequest) (*adminv1.StartReplayResponse, error) {
	return call(ctx, s, r, s.startReplay)
}

func (s *Server) startReplay(ctx context.Context, r *adminv1.StartReplayRequest) (*adminv1.StartReplayResponse, error) {
	replay, choose, err := s.newReplay(ctx, r)
	if err != nil {
		return nil, err
	}
	if r.GetDryRun() {
		return s.countReplay(ctx, replay, choose)
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	replay.Id = id.String()
	switch err := s.journal.StartReplay(ctx, replay); {
	case errors.Is(err, journal.ErrLimit):
		return nil, &answerError{codes.ResourceExhausted, fmt.Sprintf("%d replays of the sink have not ended: wait, or cancel one", journal.MaxReplays)}
	case err != nil:
		return nil, err
	}
	s.log.Info("replay started", "by", replay.GetRequestedBy(), "sink", replay.GetSink(), "replay", replay.GetId(), "from", replay.GetFrom(), "to", replay.GetTo())
	return &adminv1.StartReplayResponse{Replay: replayOf(replay)}, nil
}

// newReplay returns the replay that a request describes, without an id, and the function that chooses its events.
func (s *Server) newReplay(ctx context.Context, r *adminv1.StartReplayRequest) (*journalv1.Replay, func(*sinks.Record) (bool, error), error) {
	reader, sink, err := s.replayable(ctx, r.GetSink())
	if err != nil {
		return nil, nil, err
	}
	f, err := filter.New(r.GetFilter(), nil)
	if err != nil {
		return nil, nil, invalid(err)
	}
	from, err := s.place(ctx, "since", r.GetSince())
	if err != nil {
		return nil, nil, err
	}
	to := reader.Position
	if r.GetUntil() != nil {
		if since, until := r.GetSince().GetTime(), r.GetUntil().GetTime(); since != nil && until != nil && until.AsTime().Before(since.AsTime()) {
			return nil, nil, invalid(errors.New("until: is before since"))
		}
		until, err := s.place(ctx, "until", r.GetUntil())
		switch {
		case err != nil:
			return nil, nil, err
		case until < from:
			return nil, nil, invalid(fmt.Errorf("until: is before since: since is position %d, until is position %d", from, until))
		}
		to = min(to, until)
	}
	if from >= to {
		return nil, nil, &answerError{codes.OutOfRange, fmt.Sprintf(
			"there is nothing to deliver once more from %d up to %d; the sink is at %d, and gets the events from there on anyway", from, to, reader.Position)}
	}
	choose := func(e *sinks.Record) (bool, error) {
		chosen, err := f.Decide(e)
		if err != nil || !chosen || sink.Choose == nil {
			return chosen, err
		}
		return sink.Choose(e)
	}
	return &journalv1.Replay{
		Sink: r.GetSink(), From: uint64(from), To: uint64(to), Next: uint64(from), Filter: r.GetFilter(),
		State: journalv1.ReplayState_REPLAY_STATE_WAITING, RequestedAt: timestamppb.Now(), RequestedBy: caller(ctx),
	}, choose, nil
}

// replayable returns the state and the configuration of a sink. Errors: NOT_FOUND, FAILED_PRECONDITION if it is not configured.
func (s *Server) replayable(ctx context.Context, name string) (reader journal.ReaderState, sink Sink, err error) {
	readers, err := s.journal.Readers(ctx)
	if err != nil {
		return reader, sink, err
	}
	i := slices.IndexFunc(readers, func(r journal.ReaderState) bool { return r.Name == name })
	if i < 0 {
		return reader, sink, s.noSink(name)
	}
	configured := slices.IndexFunc(s.sinks(), func(c Sink) bool { return c.Name == name })
	if configured < 0 {
		return reader, sink, &answerError{codes.FailedPrecondition, "the sink is not configured, so nothing delivers to it"}
	}
	return readers[i], s.sinks()[configured], nil
}

// place finds a place in the log. One from before the events that are kept is the first of these, except for a position and a token.
func (s *Server) place(ctx context.Context, field string, p *adminv1.Place) (at sinks.Position, err error) {
	bounds := s.journal.Bounds()
	switch where := p.GetAt().(type) {
	case *adminv1.Place_Position:
		at = sinks.Position(where.Position)
	case *adminv1.Place_Time:
		if err := where.Time.CheckValid(); err != nil {
			return 0, invalid(fmt.Errorf("%s: time: %w", field, err))
		}
		at, err = s.journal.Seek(ctx, where.Time.AsTime())
		return max(at, bounds.Earliest), err
	case *adminv1.Place_Token:
		return s.placeOf(ctx, field, where.Token)
	default:
		at = bounds.Earliest
	}
	if at < bounds.Earliest {
		return 0, &answerError{codes.OutOfRange, fmt.Sprintf("%s: the events from %d on are no longer kept; the earliest that is kept is at %d", field, at, bounds.Earliest)}
	}
	return at, nil
}

// placeOf returns the position at which a token resumes.
func (s *Server) placeOf(ctx context.Context, field, token string) (sinks.Position, error) {
	if s.token == nil {
		return 0, invalid(fmt.Errorf("%s: this server reads no tokens", field))
	}
	at, err := s.token(ctx, token)
	switch {
	case err == nil, errors.Is(err, sinks.ErrExpired), errors.Is(err, sinks.ErrFuture), errors.Is(err, sinks.ErrUnavailable), errors.Is(err, sinks.ErrClosed),
		ctx.Err() != nil:
		return at, err
	}
	return 0, invalid(fmt.Errorf("%s: %w", field, err))
}

// countReplay looks at the events of a replay for as long as a page may take.
func (s *Server) countReplay(ctx context.Context, r *journalv1.Replay, choose func(*sinks.Record) (bool, error)) (*adminv1.StartReplayResponse, error) {
	a := &adminv1.StartReplayResponse{}
	end, next, to := time.Now().Add(s.patience), sinks.Position(r.GetFrom()), sinks.Position(r.GetTo())
	scratch := make([]sinks.Record, 0, 1000)
	for next < to && time.Now().Before(end) {
		records, err := s.journal.Read(ctx, next, scratch[:0])
		if errors.Is(err, sinks.ErrExpired) {
			kept := s.journal.Bounds().Earliest
			var lost *sinks.LostError
			if errors.As(err, &lost) {
				kept = lost.To
			}
			r.Expired += uint64(min(kept, to) - next)
			next = kept
			continue
		}
		if err != nil {
			return nil, err
		}
		for i := range records {
			if next = records[i].Position + 1; next > to {
				break
			}
			a.LookedAt++
			switch chosen, err := choose(&records[i]); {
			case err != nil:
				r.Undecided++
			case chosen:
				a.Chosen++
			}
		}
	}
	r.Next = uint64(min(next, to))
	a.Replay = replayOf(r)
	return a, nil
}

// ListReplays implements [adminv1.AdminServiceServer].
func (s *Server) ListReplays(ctx context.Context, r *adminv1.ListReplaysRequest) (*adminv1.ListReplaysResponse, error) {
	return call(ctx, s, r, func(ctx context.Context, r *adminv1.ListReplaysRequest) (*adminv1.ListReplaysResponse, error) {
		if r.GetSink() != "" {
			if _, err := s.sinkNamed(ctx, r.GetSink()); err != nil {
				return nil, err
			}
		}
		all, err := s.journal.ListReplays(ctx, r.GetSink())
		if err != nil {
			return nil, err
		}
		a := &adminv1.ListReplaysResponse{}
		for _, one := range all {
			a.Replays = append(a.Replays, replayOf(one))
		}
		return a, nil
	})
}

// CancelReplay implements [adminv1.AdminServiceServer].
func (s *Server) CancelReplay(ctx context.Context, r *adminv1.CancelReplayRequest) (*adminv1.CancelReplayResponse, error) {
	return call(ctx, s, r, s.cancelReplay)
}

func (s *Server) cancelReplay(ctx context.Context, r *adminv1.CancelReplayRequest) (*adminv1.CancelReplayResponse, error) {
	one, err := s.replayNamed(ctx, r.GetId())
	if err != nil {
		return nil, err
	}
	switch err := s.journal.CancelReplay(ctx, one.GetSink(), one.GetId()); {
	case errors.Is(err, journal.ErrNotFound):
		return nil, &answerError{codes.FailedPrecondition, "the replay has ended"}
	case err != nil:
		return nil, err
	}
	s.log.Info("replay cancelled", "by", caller(ctx), "sink", one.GetSink(), "replay", one.GetId())
	one, err = s.replayNamed(ctx, r.GetId())
	return &adminv1.CancelReplayResponse{Replay: replayOf(one)}, err
}

// replayNamed returns a replay. Errors: NOT_FOUND.
func (s *Server) replayNamed(ctx context.Context, id string) (*journalv1.Replay, error) {
	all, err := s.journal.ListReplays(ctx, "")
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(r *journalv1.Replay) bool { return r.GetId() == id })
	if i < 0 {
		return nil, &answerError{codes.NotFound, fmt.Sprintf("there is no replay %.64q", id)}
	}
	return all[i], nil
}

// replayOf is a replay as operators see it. The states have the same numbers.
func replayOf(r *journalv1.Replay) *adminv1.Replay {
	return &adminv1.Replay{
		Id: r.GetId(), Sink: r.GetSink(), From: r.GetFrom(), To: r.GetTo(), Filter: r.GetFilter(), State: adminv1.ReplayState(r.GetState()), Next: r.GetNext(),
		Delivered: r.GetDelivered(), Parked: r.GetParked(), Expired: r.GetExpired(), Undecided: r.GetUndecided(), RequestedAt: r.GetRequestedAt(),
		RequestedBy: r.GetRequestedBy(), StartedAt: r.GetStartedAt(), EndedAt: r.GetEndedAt(), Problem: r.GetProblem(),
	}
}
