package admin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/near"
	"github.com/webhook-bridge/bridge/sinks"
)

// Sink is a configured sink.
type Sink struct {
	Name string
	// Kind is such as "kafka".
	Kind        string
	StrictOrder bool
	// State returns what this instance knows of its deliveries, or nil while it makes none.
	State func() *journalv1.SinkNote
	// Choose is the sink's route, or nil.
	Choose func(*sinks.Record) (bool, error)
}

// Backup writes a copy of the journal to a new folder, and returns the position of the first event that may be missing and
// the size in bytes. Errors: [fs.ErrExist], the journal's.
type Backup func(ctx context.Context, dir string) (next sinks.Position, bytes uint64, err error)

// ListSinks implements [adminv1.AdminServiceServer].
func (s *Server) ListSinks(ctx context.Context, r *adminv1.ListSinksRequest) (*adminv1.ListSinksResponse, error) {
	return call(ctx, s, r, func(ctx context.Context, _ *adminv1.ListSinksRequest) (*adminv1.ListSinksResponse, error) {
		readers, err := s.journal.Readers(ctx)
		if err != nil {
			return nil, err
		}
		a := &adminv1.ListSinksResponse{}
		for _, reader := range readers {
			a.Sinks = append(a.Sinks, s.sinkOf(ctx, reader))
		}
		return a, nil
	})
}

// GetSink implements [adminv1.AdminServiceServer].
func (s *Server) GetSink(ctx context.Context, r *adminv1.GetSinkRequest) (*adminv1.GetSinkResponse, error) {
	return call(ctx, s, r, func(ctx context.Context, r *adminv1.GetSinkRequest) (*adminv1.GetSinkResponse, error) {
		sink, err := s.sinkNamed(ctx, r.GetName())
		if err != nil {
			return nil, err
		}
		gaps, err := s.journal.Gaps(ctx, r.GetName())
		if err != nil {
			return nil, err
		}
		a := &adminv1.GetSinkResponse{Sink: sink}
		for _, g := range gaps {
			a.Gaps = append(a.Gaps, &adminv1.Gap{From: g.GetFrom(), To: g.GetTo(), FirstAt: g.GetFirstAt(), LastAt: g.GetLastAt()})
		}
		return a, nil
	})
}

// PauseSink implements [adminv1.AdminServiceServer].
func (s *Server) PauseSink(ctx context.Context, r *adminv1.PauseSinkRequest) (*adminv1.PauseSinkResponse, error) {
	return call(ctx, s, r, func(ctx context.Context, r *adminv1.PauseSinkRequest) (*adminv1.PauseSinkResponse, error) {
		sink, err := s.operate(ctx, "paused", r.GetName(), func() error { return s.journal.Pause(ctx, r.GetName()) })
		return &adminv1.PauseSinkResponse{Sink: sink}, err
	})
}

// ResumeSink implements [adminv1.AdminServiceServer].
func (s *Server) ResumeSink(ctx context.Context, r *adminv1.ResumeSinkRequest) (*adminv1.ResumeSinkResponse, error) {
	return call(ctx, s, r, func(ctx context.Context, r *adminv1.ResumeSinkRequest) (*adminv1.ResumeSinkResponse, error) {
		sink, err := s.operate(ctx, "resumed", r.GetName(), func() error { return s.journal.Resume(ctx, r.GetName()) })
		return &adminv1.ResumeSinkResponse{Sink: sink}, err
	})
}

// SeekSink implements [adminv1.AdminServiceServer].
func (s *Server) SeekSink(ctx context.Context, r *adminv1.SeekSinkRequest) (*adminv1.SeekSinkResponse, error) {
	return call(ctx, s, r, func(ctx context.Context, r *adminv1.SeekSinkRequest) (*adminv1.SeekSinkResponse, error) {
		sink, err := s.operate(ctx, "moved", r.GetName(), func() error {
			p, err := s.target(ctx, r)
			if err != nil {
				return err
			}
			return s.journal.MoveTo(ctx, r.GetName(), p)
		})
		return &adminv1.SeekSinkResponse{Sink: sink}, err
	})
}

// ForgetSink implements [adminv1.AdminServiceServer].
func (s *Server) ForgetSink(ctx context.Context, r *adminv1.ForgetSinkRequest) (*adminv1.ForgetSinkResponse, error) {
	return call(ctx, s, r, func(ctx context.Context, r *adminv1.ForgetSinkRequest) (*adminv1.ForgetSinkResponse, error) {
		sink, err := s.sinkNamed(ctx, r.GetName())
		switch {
		case err != nil:
			return nil, err
		case sink.GetKind() != "":
			return nil, &answerError{codes.FailedPrecondition, "the sink is configured: remove it from the configuration and restart first"}
		case sink.GetClaimed():
			return nil, &answerError{codes.FailedPrecondition, "the sink is in use by a running server"}
		}
		err = s.journal.Forget(ctx, r.GetName())
		switch {
		case errors.Is(err, journal.ErrNotFound):
			return nil, s.noSink(r.GetName())
		case err != nil:
			return nil, err
		}
		s.log.Info("sink changed", "change", "forgotten", "by", caller(ctx), "sink", r.GetName(), "position", sink.GetPosition())
		return &adminv1.ForgetSinkResponse{}, nil
	})
}

// target is the position that a sink is to be moved to.
func (s *Server) target(ctx context.Context, r *adminv1.SeekSinkRequest) (sinks.Position, error) {
	switch to := r.GetTo().(type) {
	case *adminv1.SeekSinkRequest_Position:
		return sinks.Position(to.Position), nil
	case *adminv1.SeekSinkRequest_Time:
		if err := to.Time.CheckValid(); err != nil {
			return 0, invalid(fmt.Errorf("time: %w", err))
		}
		return s.journal.Seek(ctx, to.Time.AsTime())
	case *adminv1.SeekSinkRequest_Token:
		return s.placeOf(ctx, "token", to.Token)
	case *adminv1.SeekSinkRequest_Earliest:
		return s.journal.Bounds().Earliest, nil
	default:
		return s.journal.Bounds().Next, nil
	}
}

// operate carries out an operation on a sink, logs it, and returns the sink's state after it.
func (s *Server) operate(ctx context.Context, done, name string, operation func() error) (*adminv1.Sink, error) {
	err := operation()
	switch {
	case errors.Is(err, journal.ErrNotFound):
		return nil, s.noSink(name)
	case err != nil:
		return nil, err
	}
	sink, err := s.sinkNamed(ctx, name)
	if err == nil {
		s.log.Info("sink changed", "change", done, "by", caller(ctx), "sink", name, "position", sink.GetPosition())
	}
	return sink, err
}

func (s *Server) noSink(name string) error {
	var names []string
	for _, sink := range s.sinks() {
		names = append(names, sink.Name)
	}
	return &answerError{codes.NotFound, fmt.Sprintf("there is no sink %.64q%s", name, near.List(name, names))}
}

// PassEvent implements [adminv1.AdminServiceServer].
func (s *Server) PassEvent(ctx context.Context, r *adminv1.PassEventRequest) (*adminv1.PassEventResponse, error) {
	return call(ctx, s, r, s.passEvent)
}

func (s *Server) passEvent(ctx context.Context, r *adminv1.PassEventRequest) (*adminv1.PassEventResponse, error) {
	sink, err := s.sinkNamed(ctx, r.GetName())
	if err != nil {
		return nil, err
	}
	waits := slices.ContainsFunc(sink.GetBlocked(), func(b *adminv1.BlockedEvent) bool {
		return b.GetPosition() == r.GetPosition() && !b.GetPastEnd()
	})
	if !waits {
		return nil, &answerError{codes.FailedPrecondition, fmt.Sprintf("the sink does not wait at an event at %d", r.GetPosition())}
	}
	if err := s.journal.RequestPass(ctx, r.GetName(), sinks.Position(r.GetPosition())); err != nil {
		return nil, err
	}
	s.log.Info("event passed", "by", caller(ctx), "sink", r.GetName(), "position", r.GetPosition())
	return &adminv1.PassEventResponse{}, nil
}

// sinkNamed returns the state of one sink.
func (s *Server) sinkNamed(ctx context.Context, name string) (*adminv1.Sink, error) {
	readers, err := s.journal.Readers(ctx)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(readers, func(r journal.ReaderState) bool { return r.Name == name })
	if i < 0 {
		return nil, s.noSink(name)
	}
	return s.sinkOf(ctx, readers[i]), nil
}

// sinkOf puts together what the journal, the configuration and this instance know of a sink.
func (s *Server) sinkOf(ctx context.Context, r journal.ReaderState) *adminv1.Sink {
	v := &adminv1.Sink{
		Name: r.Name, Position: uint64(r.Position), Paused: r.Paused, Claimed: r.Claimed, Parked: r.Parked, Missed: r.Missed,
		Replica: r.Owner,
	}
	bounds := s.journal.Bounds()
	if first := max(r.Position, bounds.Earliest); first < bounds.Next {
		v.LagEvents = uint64(bounds.Next - r.Position)
		// Without a time the event was removed just now, or the journal recovers.
		if at, err := s.journal.CommittedAt(ctx, first); err == nil {
			v.LagSeconds = max(time.Since(at), 0).Seconds()
		}
	}
	configured := s.sinks()
	i := slices.IndexFunc(configured, func(c Sink) bool { return c.Name == r.Name })
	var note *journalv1.SinkNote
	if i >= 0 {
		v.Kind, v.StrictOrder = configured[i].Kind, configured[i].StrictOrder
		note = configured[i].State()
	}
	if note == nil && r.Claimed {
		note = s.noteOf(r)
	}
	v.Breaker, v.Problem = note.GetBreaker(), note.GetProblem()
	for _, b := range note.GetBlocked() {
		v.Blocked = append(v.Blocked, &adminv1.BlockedEvent{
			Position: b.GetPosition(), Reason: b.GetReason(), Since: b.GetSince(), PastEnd: b.GetPastEnd(),
		})
	}
	return v
}

// noteOf returns what the instance that delivers to a sink tells of its deliveries.
func (s *Server) noteOf(r journal.ReaderState) *journalv1.SinkNote {
	note := new(journalv1.SinkNote)
	if err := proto.Unmarshal(r.Note, note); err != nil {
		s.log.Warn("the note of a sink cannot be read", "sink", r.Name, "error", err)
		return nil
	}
	return note
}

// BackupJournal implements [adminv1.AdminServiceServer].
func (s *Server) BackupJournal(ctx context.Context, r *adminv1.BackupJournalRequest) (*adminv1.BackupJournalResponse, error) {
	return call(ctx, s, r, s.backupJournal)
}

func (s *Server) backupJournal(ctx context.Context, r *adminv1.BackupJournalRequest) (*adminv1.BackupJournalResponse, error) {
	path := filepath.Clean(r.GetPath())
	switch {
	case s.backup == nil:
		return nil, &answerError{codes.FailedPrecondition, "the journal is in PostgreSQL: back up the database, with pg_basebackup and an archive of its WAL; see docs/scaling.md#backup"}
	case !filepath.IsAbs(path) || strings.ContainsRune(path, 0):
		return nil, invalid(errors.New("path: must be absolute; it is a path on the server"))
	}
	next, size, err := s.backup(ctx, path)
	var disk *fs.PathError
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil, &answerError{codes.AlreadyExists, "path: exists; a backup is never written over anything"}
	case errors.As(err, &disk):
		s.log.Error("backup failed", "error", err)
		return nil, &answerError{codes.FailedPrecondition, "path: cannot be written: " + disk.Err.Error()}
	case err != nil:
		return nil, err
	}
	s.log.Info("journal backed up", "by", caller(ctx), "path", path, "next_position", uint64(next), "bytes", size)
	return &adminv1.BackupJournalResponse{Path: path, Position: uint64(next), Bytes: size}, nil
}
