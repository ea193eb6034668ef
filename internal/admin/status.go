package admin

import (
	"context"

	"google.golang.org/grpc/codes"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
)

// Instance is the server that answers.
type Instance interface {
	// Status describes the server, without its sinks.
	Status(ctx context.Context) (*adminv1.GetStatusResponse, error)
	// Reload reads the configuration file again, and applies it whole or not at all. The error says that it could not be tried now.
	Reload(ctx context.Context) (*adminv1.ReloadConfigResponse, error)
}

var errNoInstance = &answerError{codes.Unimplemented, "this service belongs to no server"}

// GetStatus implements [adminv1.AdminServiceServer].
func (s *Server) GetStatus(ctx context.Context, r *adminv1.GetStatusRequest) (*adminv1.GetStatusResponse, error) {
	return call(ctx, s, r, func(ctx context.Context, _ *adminv1.GetStatusRequest) (*adminv1.GetStatusResponse, error) {
		if s.instance == nil {
			return nil, errNoInstance
		}
		a, err := s.instance.Status(ctx)
		if err != nil {
			return nil, err
		}
		readers, err := s.journal.Readers(ctx)
		if err != nil {
			return nil, err
		}
		for _, reader := range readers {
			a.Sinks = append(a.Sinks, s.sinkOf(ctx, reader))
		}
		return a, nil
	})
}

// ReloadConfig implements [adminv1.AdminServiceServer].
func (s *Server) ReloadConfig(ctx context.Context, r *adminv1.ReloadConfigRequest) (*adminv1.ReloadConfigResponse, error) {
	return call(ctx, s, r, func(ctx context.Context, _ *adminv1.ReloadConfigRequest) (*adminv1.ReloadConfigResponse, error) {
		if s.instance == nil {
			return nil, errNoInstance
		}
		s.log.Info("reload asked for", "by", caller(ctx))
		a, err := s.instance.Reload(ctx)
		if err != nil {
			return nil, &answerError{codes.Unavailable, err.Error()}
		}
		return a, nil
	})
}
