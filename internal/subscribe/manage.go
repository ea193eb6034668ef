package subscribe

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/internal/groups"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/grpcstream"
)

const (
	// defaultPage is the size of a page that names none.
	defaultPage = 100
	// parkedPageBytes bounds the events of a page of dead letters, beyond the first.
	parkedPageBytes = 4 << 20
	// parkedAtOnce is how many dead letters are read together.
	parkedAtOnce = 16
)

func pageSize(asked uint32) int {
	if asked == 0 {
		return defaultPage
	}
	return int(asked)
}

// ListGroups implements [streamv1.EventStreamServiceServer].
func (s *Server) ListGroups(ctx context.Context, r *streamv1.ListGroupsRequest) (*streamv1.ListGroupsResponse, error) {
	if err := grpcstream.Validate(r); err != nil {
		return nil, err
	}
	viewer, size, after := s.tail.NewView(ctx).Viewer(), pageSize(r.GetPageSize()), r.GetPageToken()
	response := &streamv1.ListGroupsResponse{}
	for len(response.Groups) < size {
		all, err := s.groups.List(ctx, after, size-len(response.Groups))
		if err != nil {
			return nil, s.status(ctx, err)
		}
		if len(all) == 0 {
			return response, nil
		}
		for i := range all {
			after = all[i].Name
			if !viewer.MayJoin(after) {
				continue
			}
			g, err := groupMessage(&all[i])
			if err != nil {
				return nil, s.status(ctx, err)
			}
			g.Members = nil
			response.Groups = append(response.Groups, g)
		}
	}
	response.NextPageToken = after
	return response, nil
}

// GetGroup implements [streamv1.EventStreamServiceServer].
func (s *Server) GetGroup(ctx context.Context, r *streamv1.GetGroupRequest) (*streamv1.GetGroupResponse, error) {
	if err := s.checkGroup(ctx, r, r.GetGroup()); err != nil {
		return nil, err
	}
	i, err := s.groups.Get(ctx, r.GetGroup())
	if err != nil {
		return nil, s.statusOf(ctx, r.GetGroup(), err)
	}
	g, err := groupMessage(i)
	if err != nil {
		return nil, s.statusOf(ctx, r.GetGroup(), err)
	}
	return &streamv1.GetGroupResponse{Group: g}, nil
}

func groupMessage(i *groups.Info) (*streamv1.Group, error) {
	f, err := decodeFilter(i.Filter)
	if err != nil {
		return nil, err
	}
	g := &streamv1.Group{
		Name: i.Name, Filter: f, Policy: policyMessage(i.Policy), CreatedAt: timestamppb.New(i.CreatedAt),
		Position: uint64(i.Position), Lag: i.Lag, Outstanding: i.Outstanding, Parked: i.Parked, Skipped: i.Skipped, Missed: i.Missed,
		FreeShares: uint32(i.FreeShares), MemberCount: uint32(len(i.Members)),
	}
	if !i.OldestAt.IsZero() {
		g.OldestUnackedAge = durationpb.New(max(time.Since(i.OldestAt), 0))
	}
	for _, m := range i.Members {
		g.Members = append(g.Members, &streamv1.GroupMember{
			Id: m.ID, Label: m.Label, Replica: m.Replica, JoinedAt: timestamppb.New(m.JoinedAt),
			Shares: uint32(m.Shares), Outstanding: m.Outstanding,
		})
	}
	return g, nil
}

// SeekGroup implements [streamv1.EventStreamServiceServer].
func (s *Server) SeekGroup(ctx context.Context, r *streamv1.SeekGroupRequest) (*streamv1.SeekGroupResponse, error) {
	if err := s.checkGroup(ctx, r, r.GetGroup()); err != nil {
		return nil, err
	}
	i, err := s.groups.Get(ctx, r.GetGroup())
	if err != nil {
		return nil, s.statusOf(ctx, r.GetGroup(), err)
	}
	f, err := decodeFilter(i.Filter)
	if err != nil {
		return nil, s.statusOf(ctx, r.GetGroup(), err)
	}
	reader, err := s.tail.NewReader(ctx, f)
	if err != nil {
		return nil, err
	}
	to, err := reader.Locate(ctx, r.GetTo())
	if err != nil {
		return nil, reader.Status(ctx, err)
	}
	if err := s.groups.Seek(ctx, r.GetGroup(), to); err != nil {
		return nil, s.groupStatus(ctx, r.GetGroup(), f, err)
	}
	return &streamv1.SeekGroupResponse{Position: uint64(to)}, nil
}

// DeleteGroup implements [streamv1.EventStreamServiceServer].
func (s *Server) DeleteGroup(ctx context.Context, r *streamv1.DeleteGroupRequest) (*streamv1.DeleteGroupResponse, error) {
	if err := s.checkGroup(ctx, r, r.GetGroup()); err != nil {
		return nil, err
	}
	if err := s.groups.Delete(ctx, r.GetGroup()); err != nil {
		return nil, s.statusOf(ctx, r.GetGroup(), err)
	}
	return &streamv1.DeleteGroupResponse{}, nil
}

// ListParked implements [streamv1.EventStreamServiceServer].
func (s *Server) ListParked(ctx context.Context, r *streamv1.ListParkedRequest) (*streamv1.ListParkedResponse, error) {
	if err := s.checkGroup(ctx, r, r.GetGroup()); err != nil {
		return nil, err
	}
	from, err := parsePlace(r.GetPageToken())
	if err != nil {
		return nil, grpcstream.Invalid(err)
	}
	view, size, bytes := s.tail.NewView(ctx), pageSize(r.GetPageSize()), 0
	response := &streamv1.ListParkedResponse{}
	for {
		all, err := s.groups.ListParked(ctx, r.GetGroup(), from, parkedAtOnce)
		if err != nil {
			return nil, s.statusOf(ctx, r.GetGroup(), err)
		}
		for _, p := range all {
			bytes += len(p.GetEvent())
			if len(response.Events) == size || len(response.Events) > 0 && bytes > parkedPageBytes {
				response.NextPageToken = placeText(sinks.Position(p.GetPosition()))
				return response, nil
			}
			from = sinks.Position(p.GetPosition()) + 1
			shown, err := parkedMessage(view, p)
			if err != nil {
				return nil, s.statusOf(ctx, r.GetGroup(), err)
			}
			if shown != nil {
				response.Events = append(response.Events, shown)
			}
		}
		if len(all) < parkedAtOnce {
			return response, nil
		}
	}
}

// parkedMessage returns a dead letter as the caller may see it, or nil.
func parkedMessage(view *grpcstream.View, p groups.ParkedEvent) (*streamv1.ParkedEvent, error) {
	record, err := sinks.NewRecord(sinks.Position(p.GetPosition()), p.GetEvent())
	if err != nil {
		return nil, err
	}
	if !view.Shows(&record.Header) {
		return nil, nil
	}
	seen, err := view.Seen(&record)
	if err != nil {
		return nil, err
	}
	var event *eventv1.Event
	if event, err = seen.Event(); err != nil {
		return nil, err
	}
	return &streamv1.ParkedEvent{
		Position: p.GetPosition(), Event: event, Reason: p.GetReason(), Attempts: p.GetAttemptCount(),
		FirstAttemptAt: p.GetFirstAttemptAt(), ParkedAt: p.GetParkedAt(), Replaying: p.Replaying,
	}, nil
}

// ReplayParked implements [streamv1.EventStreamServiceServer].
func (s *Server) ReplayParked(ctx context.Context, r *streamv1.ReplayParkedRequest) (*streamv1.ReplayParkedResponse, error) {
	if err := s.checkGroup(ctx, r, r.GetGroup()); err != nil {
		return nil, err
	}
	n, err := s.groups.Replay(ctx, r.GetGroup(), positionsOf(r.GetPositions()))
	if err != nil {
		return nil, s.statusOf(ctx, r.GetGroup(), err)
	}
	return &streamv1.ReplayParkedResponse{Events: uint64(n)}, nil
}

// DiscardParked implements [streamv1.EventStreamServiceServer].
func (s *Server) DiscardParked(ctx context.Context, r *streamv1.DiscardParkedRequest) (*streamv1.DiscardParkedResponse, error) {
	if err := s.checkGroup(ctx, r, r.GetGroup()); err != nil {
		return nil, err
	}
	n, err := s.groups.Discard(ctx, r.GetGroup(), positionsOf(r.GetPositions()))
	if err != nil {
		return nil, s.statusOf(ctx, r.GetGroup(), err)
	}
	return &streamv1.DiscardParkedResponse{Events: uint64(n)}, nil
}

func positionsOf(numbers []uint64) []sinks.Position {
	all := make([]sinks.Position, len(numbers))
	for i, n := range numbers {
		all[i] = sinks.Position(n)
	}
	return all
}

// placeVersion is the first byte of a page token of dead letters. The position follows.
const placeVersion = 1

func placeText(p sinks.Position) string {
	return base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint64([]byte{placeVersion}, uint64(p)))
}

func parsePlace(text string) (sinks.Position, error) {
	if text == "" {
		return 0, nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != 9 || b[0] != placeVersion {
		return 0, errors.New("page_token is none that this server gave out")
	}
	return sinks.Position(binary.BigEndian.Uint64(b[1:])), nil
}
