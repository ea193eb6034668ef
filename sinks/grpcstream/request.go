package grpcstream

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"

	"buf.build/go/protovalidate"
	"google.golang.org/grpc/metadata"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/filter"
)

// start checks the request and finds the place where the stream starts.
func (s *stream) start(ctx context.Context, req *streamv1.TailRequest) error {
	if err := validate(req); err != nil {
		return err
	}
	var err error
	if s.filter, err = filter.New(req.GetFilter(), &s.server.celFailures); err != nil {
		return invalid(err)
	}
	s.view = newView(s.server.viewer(ctx))
	if err := s.view.viewer.Filter(req.GetFilter().GetSources(), req.GetFilter().GetTypes()); err != nil {
		return err
	}
	s.interval = defaultHeartbeat
	if req.GetHeartbeatInterval() != nil {
		s.interval = req.GetHeartbeatInterval().AsDuration()
	}
	s.tokens = newTokens(hashLog(s.server.log.ID()), s.filter.Hash())
	next, err := s.locate(ctx, req.GetStart())
	if err != nil {
		return err
	}
	s.next.Store(uint64(next))
	return s.nameUnknown(req.GetFilter().GetSources())
}

// nameUnknown tells the client which sources of its filter are not known.
func (s *stream) nameUnknown(asked []string) error {
	if s.server.sources == nil {
		return nil
	}
	md := metadata.MD{}
	for _, name := range asked {
		if !slices.Contains(s.server.sources, name) {
			md.Append(UnknownSource, name)
		}
	}
	if len(md) == 0 {
		return nil
	}
	return s.out.SetHeader(md)
}

func (s *stream) locate(ctx context.Context, start *streamv1.Start) (sinks.Position, error) {
	log := s.server.log
	switch at := start.GetAt().(type) {
	case *streamv1.Start_Latest:
		return log.Bounds().Next, nil
	case *streamv1.Start_Time:
		return log.Seek(ctx, at.Time.AsTime())
	case *streamv1.Start_Token:
		return s.resume(ctx, at.Token)
	default:
		return log.Bounds().Earliest, nil
	}
}

// resume returns the position that a token names. It fails when the token belongs to another log or filter, or when the log
// cannot be read from that position.
func (s *stream) resume(ctx context.Context, text string) (sinks.Position, error) {
	k, err := parseToken(text)
	if err != nil {
		return 0, invalid(err)
	}
	switch {
	case k.log != s.tokens.log:
		return 0, errForeignLog
	case !bytes.HasPrefix(s.tokens.filter[:], k.filter):
		return 0, errForeignFilter
	}
	if err := s.server.log.Resolve(ctx, k.mark); err != nil {
		return 0, err
	}
	return max(k.mark.Position, 1), nil
}

// validate applies the schema's rules, and the rules of the well-known types, which the schema cannot state.
func validate(req *streamv1.TailRequest) error {
	if d := req.GetHeartbeatInterval(); d != nil {
		if err := d.CheckValid(); err != nil {
			return invalid(errors.New("heartbeat_interval: is not a duration"))
		}
	}
	if t := req.GetStart().GetTime(); t != nil {
		if err := t.CheckValid(); err != nil {
			return invalid(errors.New("start.time: is not a time between the years 1 and 9999"))
		}
	}
	err := protovalidate.Validate(req)
	var violations *protovalidate.ValidationError
	if errors.As(err, &violations) {
		lines := make([]string, len(violations.Violations))
		for i, v := range violations.Violations {
			lines[i] = v.String()
		}
		return invalid(errors.New(strings.Join(lines, "; ")))
	}
	return err
}
