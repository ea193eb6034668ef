package admin

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/mask"
	"github.com/webhook-bridge/bridge/sinks"
)

// parkedPage is how many parked events are read at once.
const parkedPage = 100

// ListParked implements [adminv1.AdminServiceServer].
func (s *Server) ListParked(ctx context.Context, r *adminv1.ListParkedRequest) (*adminv1.ListParkedResponse, error) {
	return call(ctx, s, r, func(ctx context.Context, r *adminv1.ListParkedRequest) (*adminv1.ListParkedResponse, error) {
		a := &adminv1.ListParkedResponse{}
		size := sizeOf(r.GetPageSize(), defaultList)
		next, err := s.eachParked(ctx, r.GetFilter(), r.GetPageToken(), func(p *journalv1.Parked) (bool, error) {
			a.Events = append(a.Events, shortParked(p))
			return len(a.GetEvents()) < size, nil
		})
		a.NextPageToken = next
		return a, err
	})
}

// GetParked implements [adminv1.AdminServiceServer].
func (s *Server) GetParked(ctx context.Context, r *adminv1.GetParkedRequest) (*adminv1.GetParkedResponse, error) {
	return call(ctx, s, r, s.getParked)
}

func (s *Server) getParked(ctx context.Context, r *adminv1.GetParkedRequest) (*adminv1.GetParkedResponse, error) {
	p, err := s.parkedAt(ctx, r.GetSink(), sinks.Position(r.GetPosition()))
	if err != nil {
		return nil, err
	}
	a := &adminv1.GetParkedResponse{Parked: shortParked(p)}
	for _, t := range p.GetAttempts() {
		a.Attempts = append(a.Attempts, &adminv1.DeliveryAttempt{At: t.GetAt(), Error: t.GetError()})
	}
	event := new(eventv1.Event)
	if err := proto.Unmarshal(p.GetEvent(), event); err != nil {
		return nil, fmt.Errorf("admin: parked event of %s at %d: %w", p.GetSink(), p.GetPosition(), err)
	}
	if r.GetReveal() {
		a.Event = event
		s.log.Info("parked event revealed", "by", caller(ctx), "sink", p.GetSink(), "position", p.GetPosition())
		return a, nil
	}
	a.Event = mask.Message(event).(*eventv1.Event)
	return a, nil
}

// RetryParked implements [adminv1.AdminServiceServer].
func (s *Server) RetryParked(ctx context.Context, r *adminv1.RetryParkedRequest) (*adminv1.RetryParkedResponse, error) {
	return call(ctx, s, r, func(ctx context.Context, r *adminv1.RetryParkedRequest) (*adminv1.RetryParkedResponse, error) {
		n, next, err := s.changeParked(ctx, "retry requested", r.GetFilter(), r.GetPageToken(), s.journal.RequestRetry)
		return &adminv1.RetryParkedResponse{Requested: n, NextPageToken: next}, err
	})
}

// DiscardParked implements [adminv1.AdminServiceServer].
func (s *Server) DiscardParked(ctx context.Context, r *adminv1.DiscardParkedRequest) (*adminv1.DiscardParkedResponse, error) {
	return call(ctx, s, r, func(ctx context.Context, r *adminv1.DiscardParkedRequest) (*adminv1.DiscardParkedResponse, error) {
		if proto.Size(r.GetFilter()) == 0 {
			return nil, invalid(errors.New("filter: must select something: what is discarded is gone for good"))
		}
		n, next, err := s.changeParked(ctx, "discarded", r.GetFilter(), r.GetPageToken(), s.journal.DiscardParked)
		return &adminv1.DiscardParkedResponse{Discarded: n, NextPageToken: next}, err
	})
}

// changeParked changes the events that the filter selects, until the page has taken long. An event that is no longer parked
// is left out, unless the filter names it.
func (s *Server) changeParked(
	ctx context.Context, done string, f *adminv1.ParkedFilter, token string, change func(context.Context, string, sinks.Position) error,
) (n uint64, next string, err error) {
	pace := s.pace()
	next, err = s.eachParked(ctx, f, token, func(p *journalv1.Parked) (bool, error) {
		err := change(ctx, p.GetSink(), sinks.Position(p.GetPosition()))
		if errors.Is(err, journal.ErrNotFound) {
			return true, nil
		}
		if err == nil {
			n++
		}
		return pace.more(nil), err
	})
	if n > 0 {
		s.log.Info("parked events changed", "change", done, "by", caller(ctx), "sink", f.GetSink(), "events", n)
		if err != nil && next != "" {
			err = nil // What is done is told; the next call tells the error.
		}
	}
	return n, next, err
}

// eachParked calls each for the parked events that the filter selects, in order, until it returns false. next continues
// behind the last event for which each returned no error.
func (s *Server) eachParked(
	ctx context.Context, f *adminv1.ParkedFilter, token string, each func(*journalv1.Parked) (more bool, err error),
) (next string, err error) {
	at, err := s.parkedStart(f, token)
	if err != nil {
		return "", err
	}
	if f.GetPosition() > 0 {
		p, err := s.parkedAt(ctx, f.GetSink(), sinks.Position(f.GetPosition()))
		if err == nil && inParkedTime(f, p) {
			_, err = each(p)
		}
		return "", err
	}
	names, err := s.parkedReaders(ctx, f, at.sink)
	if err != nil {
		return "", err
	}
	for _, name := range names {
		if name != at.sink {
			at = parkedPlace{name, 0}
		}
		for {
			all, err := s.journal.Parked(ctx, name, at.position, parkedPage)
			if err != nil {
				return at.token(), err
			}
			for _, p := range all {
				more := true
				if inParkedTime(f, p) {
					if more, err = each(p); err != nil {
						return at.token(), err
					}
				}
				at.position = sinks.Position(p.GetPosition()) + 1
				if !more {
					return at.token(), nil
				}
			}
			if len(all) < parkedPage {
				break
			}
		}
	}
	return "", nil
}

// parkedStart checks a filter, and returns where the page starts.
func (s *Server) parkedStart(f *adminv1.ParkedFilter, token string) (parkedPlace, error) {
	if f.GetPosition() > 0 && f.GetSink() == "" {
		return parkedPlace{}, invalid(errors.New("filter.position: needs filter.sink"))
	}
	if f.GetSince() != nil {
		if err := f.GetSince().CheckValid(); err != nil {
			return parkedPlace{}, invalid(fmt.Errorf("filter.since: %w", err))
		}
	}
	if f.GetUntil() != nil {
		if err := f.GetUntil().CheckValid(); err != nil {
			return parkedPlace{}, invalid(fmt.Errorf("filter.until: %w", err))
		}
	}
	return parseParkedToken(token)
}

// parkedReaders are the names of the readers whose events a filter selects, from one on.
func (s *Server) parkedReaders(ctx context.Context, f *adminv1.ParkedFilter, from string) (names []string, err error) {
	readers, err := s.journal.Readers(ctx)
	if err != nil {
		return nil, err
	}
	for _, r := range readers {
		if r.Name >= from && (f.GetSink() == "" || f.GetSink() == r.Name) {
			names = append(names, r.Name)
		}
	}
	if f.GetSink() != "" && !slices.ContainsFunc(readers, func(r journal.ReaderState) bool { return r.Name == f.GetSink() }) {
		return nil, s.noSink(f.GetSink())
	}
	return names, nil
}

// parkedAt returns one parked event.
func (s *Server) parkedAt(ctx context.Context, sink string, p sinks.Position) (*journalv1.Parked, error) {
	all, err := s.journal.Parked(ctx, sink, p, 1)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 || all[0].GetPosition() != uint64(p) {
		return nil, &answerError{codes.NotFound, fmt.Sprintf("no event of the sink %.64q is parked at %d", sink, p)}
	}
	return all[0], nil
}

// inParkedTime reports whether an event was parked in the time that a filter selects.
func inParkedTime(f *adminv1.ParkedFilter, p *journalv1.Parked) bool {
	at := shortParked(p).GetParkedAt().AsTime()
	return (f.GetSince() == nil || !at.Before(f.GetSince().AsTime())) && (f.GetUntil() == nil || at.Before(f.GetUntil().AsTime()))
}

func shortParked(p *journalv1.Parked) *adminv1.ParkedEvent {
	v := &adminv1.ParkedEvent{
		Sink:           p.GetSink(),
		Position:       p.GetPosition(),
		Reason:         p.GetReason(),
		FirstAttemptAt: p.GetFirstAttemptAt(),
		LastAttemptAt:  p.GetLastAttemptAt(),
		AttemptCount:   p.GetAttemptCount(),
		ParkedAt:       p.GetParkedAt(),
	}
	if v.GetParkedAt() == nil {
		v.ParkedAt = p.GetLastAttemptAt() // an older version's
	}
	if r, err := sinks.NewRecord(sinks.Position(p.GetPosition()), p.GetEvent()); err == nil {
		v.EventId, v.Type, v.Source = string(r.Header.ID), string(r.Header.Type), string(r.Header.Source)
	}
	return v
}

// parkedPlace is where a page of parked events starts.
type parkedPlace struct {
	sink     string
	position sinks.Position
}

// parkedTokenVersion is the first byte of a page token. Position and sink follow.
const parkedTokenVersion = 2

func (p parkedPlace) token() string {
	b := binary.BigEndian.AppendUint64([]byte{parkedTokenVersion}, uint64(p.position))
	return base64.RawURLEncoding.EncodeToString(append(b, p.sink...))
}

func parseParkedToken(token string) (parkedPlace, error) {
	if token == "" {
		return parkedPlace{}, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) < 10 || b[0] != parkedTokenVersion {
		return parkedPlace{}, invalid(errors.New("page_token is none that this server gave out"))
	}
	return parkedPlace{string(b[9:]), sinks.Position(binary.BigEndian.Uint64(b[1:]))}, nil
}
