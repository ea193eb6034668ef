package grpcstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/sinks/payload"
)

// start checks the request and finds the place where the stream starts. Errors are for end.
func (s *stream) start(ctx context.Context, req *streamv1.TailRequest) error {
	if err := Validate(req); err != nil {
		return err
	}
	s.interval = Interval(req.GetHeartbeatInterval())
	var err error
	if s.Reader, err = s.server.NewReader(ctx, req.GetFilter()); err != nil {
		return err
	}
	if err := s.Start(ctx, req.GetStart()); err != nil {
		return err
	}
	if err := s.findStop(ctx, req.GetStop()); err != nil {
		return err
	}
	if err := s.server.MayHave(s.view, req.GetPayload()); err != nil {
		return err
	}
	s.chooser = chooser{s.Reader, req.GetPayload()}
	s.format, s.prepares = formatOf(s.out.Context())
	if req.GetStop() == nil {
		s.fan = s.server.fans.join(kind{
			filter: string(s.filter.Canonical()), rules: s.view.viewer.Rules(), payload: req.GetPayload(),
		})
	}
	return s.server.NameUnknown(s.out, req.GetFilter())
}

// MayHave returns a status if the caller may not have a payload, or the server has none.
func (s *Server) MayHave(v *View, p streamv1.Payload) error {
	if p == streamv1.Payload_PAYLOAD_RAW {
		if err := v.viewer.RawPayload(); err != nil {
			return err
		}
	}
	if payload.Stored(p) && s.payloads == nil {
		return errNoPayloads
	}
	return nil
}

// Interval returns how often to send a heartbeat, for the client's wish.
func Interval(asked *durationpb.Duration) time.Duration {
	if asked == nil {
		return defaultHeartbeat
	}
	return asked.AsDuration()
}

// SetSources replaces [Config.Sources]. Streams that are open are not told.
func (s *Server) SetSources(names []string) { s.sources.Store(&names) }

// NameUnknown tells the client, in the header, which sources of its filter are not known.
func (s *Server) NameUnknown(out grpc.ServerStream, f *streamv1.Filter) error {
	known := *s.sources.Load()
	if known == nil {
		return nil
	}
	md := metadata.MD{}
	for _, name := range f.GetSources() {
		if !slices.Contains(known, name) {
			md.Append(UnknownSource, name)
		}
	}
	if len(md) == 0 {
		return nil
	}
	return out.SetHeader(md)
}

// Validate applies the schema's rules, and the rules of the well-known types, which the schema cannot state. Errors are statuses.
func Validate(req proto.Message) error {
	if err := validTimes("", req.ProtoReflect()); err != nil {
		return Invalid(err)
	}
	err := protovalidate.Validate(req)
	var violations *protovalidate.ValidationError
	if errors.As(err, &violations) {
		lines := make([]string, len(violations.Violations))
		for i, v := range violations.Violations {
			lines[i] = violation(v)
		}
		return Invalid(errors.New(strings.Join(lines, "; ")))
	}
	return err
}

// violation says what is wrong with a field. A regular expression is no answer for people, and only names of groups have one.
func violation(v *protovalidate.Violation) string {
	if v.Proto.GetRuleId() == "string.pattern" && v.FieldDescriptor != nil && v.FieldDescriptor.Name() == "group" {
		return "group must be a name of a group: 1 to 100 letters, digits, dots, dashes and underscores, with a letter or a digit at both ends"
	}
	return v.String()
}

// validTimes checks the durations and times below m. path is the path of m in the request, with a dot at its end.
func validTimes(path string, m protoreflect.Message) (err error) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if f.Message() == nil || f.IsMap() {
			return true
		}
		name := path + string(f.Name())
		if !f.IsList() {
			err = validTime(name, v.Message())
			return err == nil
		}
		for i := range v.List().Len() {
			if err = validTime(fmt.Sprintf("%s[%d]", name, i), v.List().Get(i).Message()); err != nil {
				return false
			}
		}
		return true
	})
	return err
}

func validTime(path string, m protoreflect.Message) error {
	switch m := m.Interface().(type) {
	case *durationpb.Duration:
		if m.CheckValid() != nil {
			return errors.New(path + ": is not a duration")
		}
	case *timestamppb.Timestamp:
		if m.CheckValid() != nil {
			return errors.New(path + ": is not a time between the years 1 and 9999")
		}
	default:
		return validTimes(path+".", m.ProtoReflect())
	}
	return nil
}
