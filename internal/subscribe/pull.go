package subscribe

import (
	"context"
	"errors"

	"google.golang.org/protobuf/proto"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/internal/groups"
	"github.com/webhook-bridge/bridge/sinks/grpcstream"
)

// The defaults of a pull.
const (
	defaultPullEvents = 100
	defaultPullBytes  = 1 << 20
)

// Pull implements [streamv1.EventStreamServiceServer].
func (s *Server) Pull(ctx context.Context, r *streamv1.PullRequest) (*streamv1.PullResponse, error) {
	if err := grpcstream.Validate(r); err != nil {
		return nil, err
	}
	view := s.tail.NewView(ctx)
	request, err := s.joining(ctx, view, joinRequest{group: r.GetGroup(), filter: r.GetFilter(), from: r.GetFrom(), policy: r.GetPolicy()})
	if err != nil {
		return nil, err
	}
	budget := groups.Budget{Events: defaultPullEvents, Bytes: defaultPullBytes}
	if r.GetMaxEvents() > 0 {
		budget.Events = int(r.GetMaxEvents())
	}
	if r.GetMaxBytes() > 0 {
		budget.Bytes = int64(r.GetMaxBytes())
	}
	deliveries, lag, err := s.groups.Pull(ctx, request, budget, r.GetWait().AsDuration())
	if err != nil {
		return nil, s.pullStatus(ctx, r.GetGroup(), err)
	}
	response, err := pullResponse(view, deliveries)
	if err != nil {
		s.giveBack(ctx, r.GetGroup(), deliveries)
		return nil, s.status(ctx, err)
	}
	response.Lag = lag
	return response, nil
}

// pullStatus maps an error of a pull to its status. A token of what is still kept is bound to the group's own filter.
func (s *Server) pullStatus(ctx context.Context, group string, err error) error {
	var expired *groups.ExpiredError
	if !errors.As(err, &expired) {
		return s.status(ctx, err)
	}
	i, failed := s.groups.Get(ctx, group)
	if failed != nil {
		return s.status(ctx, failed)
	}
	f, failed := decodeFilter(i.Filter)
	if failed != nil {
		return s.status(ctx, failed)
	}
	return s.groupStatus(ctx, f, err)
}

// pullResponse writes the deliveries in wire format, as a stream does.
func pullResponse(view *grpcstream.View, deliveries []groups.Delivery) (*streamv1.PullResponse, error) {
	var wire []byte
	for i := range deliveries {
		d, err := seenBy(view, &deliveries[i])
		if err != nil {
			return nil, err
		}
		wire = d.appendField(wire, pullDeliveries)
	}
	response := &streamv1.PullResponse{}
	response.ProtoReflect().SetUnknown(wire)
	return response, nil
}

// giveBack ends deliveries that the caller does not get.
func (s *Server) giveBack(ctx context.Context, group string, deliveries []groups.Delivery) {
	a := groups.Answer{Action: groups.Retry, Reason: "the caller may not see it"}
	for i := range deliveries {
		a.IDs = append(a.IDs, deliveries[i].ID)
	}
	if _, err := s.groups.Acknowledge(context.WithoutCancel(ctx), group, []groups.Answer{a}); err != nil {
		s.logger.DebugContext(ctx, "deliveries run into their deadline: they could not be given back", "error", err)
	}
}

// Acknowledge implements [streamv1.EventStreamServiceServer].
func (s *Server) Acknowledge(ctx context.Context, r *streamv1.AcknowledgeRequest) (*streamv1.AcknowledgeResponse, error) {
	if err := s.checkGroup(ctx, r, r.GetGroup()); err != nil {
		return nil, err
	}
	var answers []groups.Answer
	if len(r.GetIds()) > 0 {
		answers = append(answers, groups.Answer{IDs: r.GetIds(), Action: groups.Ack})
	}
	for _, n := range r.GetNacks() {
		answers = append(answers, nackAnswer(n))
	}
	result, err := s.groups.Acknowledge(ctx, r.GetGroup(), answers)
	if err != nil {
		return nil, s.status(ctx, err)
	}
	return &streamv1.AcknowledgeResponse{Result: ackResult(result)}, nil
}

// checkGroup checks a request about a group, and whether the caller may make it.
func (s *Server) checkGroup(ctx context.Context, r proto.Message, group string) error {
	if err := grpcstream.Validate(r); err != nil {
		return err
	}
	return s.tail.NewView(ctx).Viewer().Group(group)
}
