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
		a := &adminv1.ListReplicasResponse{}
		now := time.Now()
		for _, replica := range all {
			a.Replicas = append(a.Replicas, replicaOf(replica, now))
		}
		return a, nil
	})
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
	}
}
