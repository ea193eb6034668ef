package subscribe

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/internal/groups"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/grpcstream"
	"github.com/webhook-bridge/bridge/sinks/payload"
)

// idleLeast is the shortest time without events taken after which a member leaves.
const idleLeast = time.Minute

// member is the feed of a member of a group.
type member struct {
	server *Server
	member *groups.Member
	group  string
	view   *grpcstream.View
	// payload is what the client gets of each event.
	payload streamv1.Payload
	// filter is the group's.
	filter *streamv1.Filter
	policy groups.Policy
}

// openMember joins a group.
func (s *Server) openMember(ctx context.Context, start *streamv1.SubscribeStart) (*member, *streamv1.Subscribed, error) {
	view := s.tail.NewView(ctx)
	request, err := s.joining(ctx, view, joinRequest{
		group: start.GetGroup(), filter: start.GetFilter(), from: start.GetFrom(), policy: start.GetPolicy(), label: start.GetLabel(),
		payload: start.GetPayload(),
	})
	if err != nil {
		return nil, nil, err
	}
	joined, err := s.groups.Join(ctx, request)
	if err != nil {
		return nil, nil, err
	}
	began := joined.Start()
	f := &member{server: s, member: joined, group: start.GetGroup(), view: view, payload: start.GetPayload(), policy: began.Policy}
	if f.filter, err = decodeFilter(began.Filter); err == nil {
		err = mayRead(view.Viewer(), f.filter)
	}
	if err != nil {
		f.leave(context.WithoutCancel(ctx))
		return nil, nil, err
	}
	subscribed := &streamv1.Subscribed{
		Position: uint64(began.Position), Epoch: uint64(s.log.Mark(began.Bounds.Next).Epoch), Earliest: uint64(began.Bounds.Earliest),
		Latest: uint64(began.Bounds.Next), Member: began.Member,
	}
	if began.Bounds.Next > began.Position {
		subscribed.Lag = uint64(began.Bounds.Next - began.Position)
	}
	return f, subscribed, nil
}

// joinRequest has the fields about a group that Subscribe and Pull share.
type joinRequest struct {
	group   string
	filter  *streamv1.Filter
	from    *streamv1.Start
	policy  *streamv1.GroupPolicy
	label   string
	payload streamv1.Payload
}

// joining checks a request to join a group, and the caller's rights. Errors are statuses.
func (s *Server) joining(ctx context.Context, view *grpcstream.View, r joinRequest) (groups.Request, error) {
	if err := view.Viewer().Group(r.group); err != nil {
		return groups.Request{}, err
	}
	if err := s.tail.MayHave(view, r.payload); err != nil {
		return groups.Request{}, err
	}
	request := groups.Request{Group: r.group, Label: r.label, Policy: policyOf(r.policy)}
	reader, err := s.tail.NewReader(ctx, r.filter)
	if err != nil {
		return groups.Request{}, err
	}
	if r.filter != nil {
		if err := mayRead(view.Viewer(), r.filter); err != nil {
			return groups.Request{}, err
		}
		request.Filter = encodeFilter(r.filter)
	}
	request.From = func(ctx context.Context) (sinks.Position, error) {
		at, err := reader.Locate(ctx, r.from)
		if err != nil {
			return 0, reader.Status(ctx, err)
		}
		return at, nil
	}
	return request, nil
}

// mayRead returns an error if the caller may not be a member of a group with this filter. The group's filter is applied to whole events,
// for all members, so an expression could tell what is masked for this one.
func mayRead(v grpcstream.Viewer, f *streamv1.Filter) error {
	if err := v.Filter(f.GetSources(), f.GetTypes()); err != nil {
		return err
	}
	if f.GetCel() != "" && !v.Personal() {
		return status.Error(codes.PermissionDenied,
			"a group whose filter has a cel expression is for callers who may see personal data: the expression could tell it")
	}
	return nil
}

// errHidden ends a member that gets an event which it may not see. It goes to another member.
var errHidden = status.Error(codes.PermissionDenied,
	"the group's filter chooses an event that the caller may not see: give the group a filter of sources and types that all its members may see")

func (m *member) next(ctx context.Context, budget groups.Budget) (chunk, error) {
	budget.Bytes = min(budget.Bytes, batchBytes)
	if payload.Stored(m.payload) {
		budget.Events = min(budget.Events, 1) // It is not known how large a payload is, so each is weighed against the credit.
	}
	b, err := m.member.Next(ctx, budget)
	if err != nil {
		return chunk{}, err
	}
	c := chunk{next: b.Position, behind: b.FellBehind, caughtUp: b.CaughtUp}
	for i := range b.Deliveries {
		d, err := m.server.seenBy(ctx, m.view, m.payload, &b.Deliveries[i])
		if err != nil {
			return chunk{}, err
		}
		c.add(d)
		m.server.trace(&c, &b.Deliveries[i].Record.Header)
	}
	return c, nil
}

// seenBy returns a delivery as the caller may see it.
func (s *Server) seenBy(
	ctx context.Context, view *grpcstream.View, want streamv1.Payload, d *groups.Delivery,
) (delivery, error) {
	if !view.Shows(&d.Record.Header) {
		return delivery{}, errHidden
	}
	seen, err := view.Seen(&d.Record)
	if err != nil {
		return delivery{}, err
	}
	made := delivery{id: d.ID, attempt: d.Attempt, firstAt: d.FirstAt, replayed: d.Replayed}
	return made, s.fill(ctx, &made, view, want, seen)
}

// fill sets what the client gets of an event.
func (s *Server) fill(
	ctx context.Context, d *delivery, view *grpcstream.View, want streamv1.Payload, seen sinks.Record,
) error {
	c, err := s.tail.Content(ctx, view, want, seen)
	if err != nil {
		return err
	}
	return d.content(c)
}

func (*member) sent(chunk) {}

func (m *member) place() place {
	s := m.member.Status()
	return place{position: uint64(s.Position), lag: s.Lag, oldest: s.Oldest}
}

func (m *member) answer(a groups.Answer) (*groups.Receipt, error) { return m.member.Answer(a) }

func (m *member) patience() time.Duration { return max(2*m.policy.AckDeadline, idleLeast) }

func (m *member) waiting() bool {
	s := m.member.Status()
	return s.Waiting && s.Outstanding == 0
}

func (m *member) status(ctx context.Context, err error) error {
	return m.server.groupStatus(ctx, m.group, m.filter, err)
}

// groupStatus maps an error of a group with this filter to the client's status.
func (s *Server) groupStatus(ctx context.Context, group string, f *streamv1.Filter, err error) error {
	var expired *groups.ExpiredError
	if !errors.As(err, &expired) {
		return s.statusOf(ctx, group, err)
	}
	reader, failed := s.tail.NewReader(ctx, f)
	if failed != nil {
		return failed
	}
	return reader.Expired(ctx, expired.Earliest)
}

func (m *member) leave(ctx context.Context) {
	if err := m.member.Leave(ctx); err != nil {
		m.server.logger.DebugContext(ctx, "a member could not leave its group in order", "error", err)
	}
}
