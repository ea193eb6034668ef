// Package admin is the operator's service, bridge.admin.v1: it shows stored webhooks, releases them from quarantine, translates
// them again, and shows how vendors change.
//
// # What is shown
//
// Personal data is masked unless a call asks to reveal it. Such a call is logged with its address. Undeclared fields of a body
// are masked too, and so are headers that the connector does not read. Problems and samples that quote a webhook are shown by
// their shape.
//
// # What a call costs
//
// A call reads one page. A page ends early, with a token to continue, when it has needed long or has become large. So several
// calls get through any number of webhooks, and no call needs much longer than [Config.Patience].
//
// # What a call changes
//
// Each webhook is repaired by itself, whole or not at all, and once however often it is asked for. A call that fails in the
// middle answers with what was done, if anything was; the next one then tells the failure. Repairs are logged with the address
// that the call came from and how many, never with content.
package admin

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/intake"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/repair"
	"github.com/webhook-bridge/bridge/sinks"
)

// OpenAPI is the service's OpenAPI document, JSON.
//
//go:embed admin.swagger.json
var OpenAPI []byte

// Journal is where webhooks and events are kept. Errors are the journal's.
type Journal interface {
	webhooks
	events
	// Drift in order of connector, event, path and kind.
	Drift(ctx context.Context) ([]*journalv1.DriftCount, error)
	log
	journal.Operations
	journal.DeadLetters
	journal.ReaderReplays
	Replicas(ctx context.Context) ([]journal.Replica, error)
}

type log interface {
	Bounds() sinks.Bounds
	Seek(ctx context.Context, t time.Time) (sinks.Position, error)
	CommittedAt(ctx context.Context, p sinks.Position) (time.Time, error)
	Read(ctx context.Context, from sinks.Position, records []sinks.Record) ([]sinks.Record, error)
}

type webhooks interface {
	Find(ctx context.Context, q journal.Query) (journal.Page, error)
	Webhook(ctx context.Context, id string) (*journalv1.Webhook, error)
	Discard(ctx context.Context, ids []string) (int, error)
}

type events interface {
	Corrections(ctx context.Context, webhookID string) ([]journal.Correction, error)
	EventAt(ctx context.Context, p sinks.Position) (*eventv1.Event, error)
}

// Config has the parts and settings of a [Server].
type Config struct {
	Journal Journal
	Intake  *intake.Intake
	// Sources by name, from [intake.Intake.Source], and Sinks are those that are configured at first. See [Server.Configure].
	Sources map[string]*intake.Source
	Sinks   []Sink
	// Instance is the server itself. nil answers UNIMPLEMENTED where it is asked.
	Instance Instance
	// Token returns the position at which a subscription's token resumes. Its errors are for the caller, except for those of
	// [sinks.Log.Resolve]. nil: no token is accepted.
	Token func(ctx context.Context, token string) (sinks.Position, error)
	// Backup copies the journal. nil is a journal that cannot be copied so.
	Backup Backup
	// Logger for what is revealed and what is repaired. nil discards.
	Logger *slog.Logger
	// Patience is how long a page may take before it ends early. 0 is ten seconds.
	Patience time.Duration
}

// configured are the parts of the configuration that the service knows.
type configured struct {
	sources map[string]*intake.Source
	sinks   []Sink
}

// Server implements [adminv1.AdminServiceServer]. It is safe for concurrent use.
type Server struct {
	adminv1.UnimplementedAdminServiceServer

	journal    Journal
	repair     *repair.Repairer
	configured atomic.Pointer[configured]
	instance   Instance
	backup     Backup
	token      func(ctx context.Context, token string) (sinks.Position, error)
	log        *slog.Logger
	patience   time.Duration
}

// maxAnswer is how large a page may become, in bytes, before it ends early. One webhook can make it larger.
const maxAnswer = 4 << 20

// New returns a Server. What it is given stays open for as long as it is used.
func New(c Config) *Server {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Patience == 0 {
		c.Patience = 10 * time.Second
	}
	s := &Server{
		journal: c.Journal, repair: repair.New(c.Journal, c.Intake), instance: c.Instance, backup: c.Backup, token: c.Token,
		log: c.Logger, patience: c.Patience,
	}
	s.Configure(c.Sources, c.Sinks)
	return s
}

// Configure replaces the sources and the sinks that are configured.
func (s *Server) Configure(sources map[string]*intake.Source, sinks []Sink) {
	s.configured.Store(&configured{sources, sinks})
}

func (s *Server) sources() map[string]*intake.Source { return s.configured.Load().sources }

func (s *Server) sinks() []Sink { return s.configured.Load().sinks }

// call checks a request and answers it, within a deadline. What goes wrong becomes a status, a panic included: it must not
// end the process.
func call[Q, A proto.Message](ctx context.Context, s *Server, request Q, answer func(context.Context, Q) (A, error)) (a A, err error) {
	defer func() {
		if p := recover(); p != nil {
			// The value may hold anything.
			s.log.Error("operator's call panicked", "request", string(request.ProtoReflect().Descriptor().Name()), "stack", string(debug.Stack()))
			err = status.Error(codes.Internal, "the program has a fault; its log says where")
		}
	}()
	if err := protovalidate.Validate(request); err != nil {
		return a, s.statusOf(invalid(err))
	}
	// Beyond a page's own patience: one webhook may wait for the disk.
	ctx, cancel := context.WithTimeout(ctx, s.patience+20*time.Second)
	defer cancel()
	a, err = answer(ctx, request)
	return a, s.statusOf(err)
}

// invalidError is a request that makes no sense.
type invalidError struct{ problem string }

func (e *invalidError) Error() string { return e.problem }

// answerError is an error with the answer that the caller gets.
type answerError struct {
	code    codes.Code
	problem string
}

func (e *answerError) Error() string { return e.problem }

func invalid(err error) error { return &invalidError{err.Error()} }

// codeOf is the one place where errors become codes. The first match counts; what matches none is ours.
var codeOf = []struct {
	err  error
	code codes.Code
}{
	{sinks.ErrDamaged, codes.DataLoss},
	{journal.ErrNotFound, codes.NotFound},
	{sinks.ErrExpired, codes.OutOfRange},
	{sinks.ErrFuture, codes.OutOfRange},
	{context.Canceled, codes.Canceled},
	{context.DeadlineExceeded, codes.DeadlineExceeded},
	{sinks.ErrClosed, codes.Unavailable},
	{journal.ErrUnavailable, codes.Unavailable},
	{intake.ErrUnavailable, codes.Unavailable},
}

// statusOf is the answer for an error. The sentences are ours: causes are logged, and may speak of a folder or a body.
func (s *Server) statusOf(err error) error {
	var bad *invalidError
	var answer *answerError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &answer):
		return status.Error(answer.code, answer.problem)
	case errors.As(err, &bad):
		return status.Error(codes.InvalidArgument, bad.problem)
	}
	for _, x := range codeOf {
		if !errors.Is(err, x.err) {
			continue
		}
		switch x.code {
		case codes.DataLoss:
			s.log.Error("operator's call met damage", "error", err)
			return status.Error(x.code, "a stored record is damaged"+placeOf(err)+"; bridge verify lists all damage")
		case codes.NotFound:
			return status.Error(x.code, "no such webhook is kept")
		case codes.OutOfRange:
			return status.Error(x.code, "the position is no longer kept, or lies past the log's end")
		case codes.Unavailable:
			s.log.Warn("operator's call failed", "error", err)
			return status.Error(x.code, "the journal cannot commit or read now")
		default:
			return status.FromContextError(x.err).Err()
		}
	}
	s.log.Error("operator's call failed", "error", err)
	return status.Error(codes.Internal, "the program has a fault; its log says more")
}

// placeOf says at which position damage is, if it is known.
func placeOf(err error) string {
	var damaged *sinks.DamagedError
	if errors.As(err, &damaged) {
		return fmt.Sprintf(" at position %d", damaged.Position)
	}
	return ""
}

// caller is the address that a call came from, for the log. Tokens are shared: there is no name to log.
func caller(ctx context.Context) string {
	if p, ok := peer.FromContext(ctx); ok && p.Addr != nil {
		return p.Addr.String()
	}
	return "unknown"
}

// source returns the source that a stored webhook came to, or why there is none to ask today.
func (s *Server) source(w *journalv1.Webhook) (*intake.Source, *intake.Fault) {
	src := s.sources()[w.GetSource()]
	switch {
	case src == nil:
		return nil, &intake.Fault{Reason: "unknown_source", Problem: "no source of this name is configured any more", Offset: -1}
	case src.Connector.Name != w.GetConnector():
		return nil, &intake.Fault{Reason: "unknown_source", Problem: "the source has another connector now", Offset: -1}
	}
	return src, nil
}

// pace says when a page has taken long enough.
type pace struct {
	end  time.Time
	size int
}

func (s *Server) pace() *pace { return &pace{end: time.Now().Add(s.patience)} }

// more counts an answer's part, and says whether another webhook may be looked at.
func (p *pace) more(part proto.Message) bool {
	p.size += proto.Size(part)
	return p.size < maxAnswer && time.Now().Before(p.end)
}
