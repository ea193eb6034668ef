package subscribe

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/proto"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/internal/groups"
	"github.com/webhook-bridge/bridge/sinks/grpcstream"
	"github.com/webhook-bridge/bridge/sinks/payload"
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
	p := &pull{server: s, view: s.tail.NewView(ctx), payload: r.GetPayload(), left: groups.Budget{Events: defaultPullEvents, Bytes: defaultPullBytes}}
	var err error
	if p.request, err = s.joining(ctx, p.view, joinRequest{
		group: r.GetGroup(), filter: r.GetFilter(), from: r.GetFrom(), policy: r.GetPolicy(), payload: r.GetPayload(),
	}); err != nil {
		return nil, err
	}
	if r.GetMaxEvents() > 0 {
		p.left.Events = int(r.GetMaxEvents())
	}
	if r.GetMaxBytes() > 0 {
		p.left.Bytes = int64(r.GetMaxBytes())
	}
	if err := p.pull(ctx, r.GetWait().AsDuration()); err != nil {
		return nil, s.pullStatus(ctx, r.GetGroup(), err)
	}
	response := &streamv1.PullResponse{Lag: p.lag}
	response.ProtoReflect().SetUnknown(p.wire)
	return response, nil
}

// pull is one call of Pull.
type pull struct {
	server  *Server
	view    *grpcstream.View
	request groups.Request
	payload streamv1.Payload
	left    groups.Budget
	// wire has the deliveries in wire format, as a stream has.
	wire []byte
	lag  uint64
}

// pull gets deliveries until the budget is used or there are no more. It waits for the first.
func (p *pull) pull(ctx context.Context, wait time.Duration) error {
	if !payload.Stored(p.payload) {
		_, err := p.once(ctx, p.left, wait)
		return err
	}
	// It is not known how large a payload is, so each is weighed.
	for p.left.Events > 0 && p.left.Bytes > 0 {
		n, err := p.once(ctx, groups.Budget{Events: 1}, wait)
		if err != nil && len(p.wire) > 0 {
			return nil
		}
		if err != nil || n == 0 {
			return err
		}
		wait = 0
	}
	return nil
}

func (p *pull) once(ctx context.Context, budget groups.Budget, wait time.Duration) (n int, err error) {
	deliveries, lag, err := p.server.groups.Pull(ctx, p.request, budget, wait)
	if err != nil {
		return 0, err
	}
	p.lag = lag
	made := make([]delivery, len(deliveries))
	for i := range deliveries {
		if made[i], err = p.server.seenBy(ctx, p.view, p.payload, &deliveries[i]); err != nil {
			p.server.giveBack(ctx, p.request.Group, deliveries)
			return 0, err
		}
	}
	for _, d := range made {
		p.wire = d.appendField(p.wire, pullDeliveries)
		p.left.Events--
		p.left.Bytes -= int64(d.bytes())
	}
	return len(made), nil
}

// pullStatus maps an error of a pull to its status. A token of what is still kept is bound to the group's own filter.
func (s *Server) pullStatus(ctx context.Context, group string, err error) error {
	var expired *groups.ExpiredError
	if !errors.As(err, &expired) {
		return s.statusOf(ctx, group, err)
	}
	i, failed := s.groups.Get(ctx, group)
	if failed != nil {
		return s.statusOf(ctx, group, failed)
	}
	f, failed := decodeFilter(i.Filter)
	if failed != nil {
		return s.statusOf(ctx, group, failed)
	}
	return s.groupStatus(ctx, group, f, err)
}

// giveBack ends deliveries that the caller does not get.
func (s *Server) giveBack(ctx context.Context, group string, deliveries []groups.Delivery) {
	a := groups.Answer{Action: groups.Retry, Reason: "the caller could not get it"}
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
		return nil, s.statusOf(ctx, r.GetGroup(), err)
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
