package admin

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
)

// goneAfter is how long nothing may be heard of a running replica. It writes to the journal every few seconds.
const goneAfter = 20 * time.Second

// ListReplicas implements [adminv1.AdminServiceServer].
func (s *Server) ListReplicas(ctx context.Context, r *adminv1.ListReplicasRequest) (*adminv1.ListReplicasResponse, error) {
	return call(ctx, s, r, func(ctx context.Context, _ *adminv1.ListReplicasRequest) (*adminv1.ListReplicasResponse, error) {
		all, err := s.journal.Replicas(ctx)
		if err != nil {
			return nil, err
		}
		return &adminv1.ListReplicasResponse{Replicas: replicasOf(all)}, nil
	})
}

// replicasOf compares times with the newest one, which is of the same clock: this machine's may differ.
func replicasOf(all []journal.Replica) (described []*adminv1.Replica) {
	var now time.Time
	for _, r := range all {
		if r.Seen.After(now) {
			now = r.Seen
		}
	}
	for _, r := range all {
		described = append(described, replicaOf(r, now))
	}
	return described
}

func replicaOf(r journal.Replica, now time.Time) *adminv1.Replica {
	state := "running"
	switch {
	case r.Ended:
		state = "ended"
	case !r.Self && now.Sub(r.Seen) > goneAfter:
		state = "gone"
	}
	return &adminv1.Replica{
		Id: r.ID, Name: r.Name, Version: r.Version, State: state, Self: r.Self, LagEvents: r.Lag, Claims: r.Claims,
		StartedAt: timestamppb.New(r.Started), LastSeenAt: timestamppb.New(r.Seen),
		Config: r.Config,
	}
}
