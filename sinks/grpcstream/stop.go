package grpcstream

import (
	"context"
	"errors"
	"time"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/sinks"
)

// stopGrace is how long after its time a stream waits for events that were received before it: a webhook is received when its headers
// have arrived, and committed when its body has.
const stopGrace = 10 * time.Second

// stop is the place where a stream ends. The zero value is none.
type stop struct {
	position sinks.Position // 0: not known, or none.
	time     time.Time      // The first event that is received then or later is not sent. Zero once the position is known.
}

// findStop finds the place of a request's stop.
func (s *stream) findStop(ctx context.Context, at *streamv1.Stop) error {
	log := s.server.log
	switch at := at.GetAt().(type) {
	case *streamv1.Stop_Latest:
		end, err := durableEnd(ctx, log)
		if err != nil {
			return err
		}
		s.stop.position = end
	case *streamv1.Stop_Token:
		k, err := s.readToken(at.Token)
		if err != nil {
			return err
		}
		// A stop behind the start is reached at once, so it may be expired.
		if err := log.Resolve(ctx, k.mark); err != nil && !errors.Is(err, sinks.ErrExpired) {
			return err
		}
		s.stop.position = max(k.mark.Position, 1)
	case *streamv1.Stop_Time:
		// Without an event at the time or later, the stream finds it when it comes, unless none is waited for any more.
		s.stop.time = at.Time.AsTime()
		end := log.Bounds().Next
		found, err := log.Seek(ctx, s.stop.time)
		if err != nil {
			return err
		}
		if found < end || !time.Now().Before(s.stop.time.Add(stopGrace)) {
			s.stop = stop{position: found}
		}
	}
	return nil
}

// reached reports whether a stream that has dealt with all events before p ends here.
func (s *stop) reached(log sinks.Log, p sinks.Position) bool {
	if !s.time.IsZero() && !time.Now().Before(s.time.Add(stopGrace)) {
		*s = stop{position: log.Bounds().Next}
	}
	return s.position != 0 && p >= s.position
}

// wake returns when a stream must look at its stop again, at the due time at the latest.
func (s *stop) wake(due time.Time) time.Time {
	if at := s.time.Add(stopGrace); !s.time.IsZero() && at.Before(due) {
		return at
	}
	return due
}

// before returns the records before the stop.
func (s *stop) before(records []sinks.Record) []sinks.Record {
	for i := range records {
		r := &records[i]
		if s.position != 0 && r.Position >= s.position {
			return records[:i]
		}
		if !s.time.IsZero() && !r.Header.ReceivedAt.Before(s.time) {
			*s = stop{position: r.Position}
			return records[:i]
		}
	}
	return records
}
