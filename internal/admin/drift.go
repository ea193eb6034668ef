package admin

import (
	"context"
	"fmt"
	"slices"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/mask"
	"github.com/webhook-bridge/bridge/internal/near"
)

// ListDrift implements [adminv1.AdminServiceServer].
func (s *Server) ListDrift(ctx context.Context, r *adminv1.ListDriftRequest) (*adminv1.ListDriftResponse, error) {
	return call(ctx, s, r, s.listDrift)
}

func (s *Server) listDrift(ctx context.Context, r *adminv1.ListDriftRequest) (*adminv1.ListDriftResponse, error) {
	if r.GetSince() != nil {
		if err := r.GetSince().CheckValid(); err != nil {
			return nil, invalid(err)
		}
	}
	all, err := s.journal.Drift(ctx)
	if err != nil {
		return nil, err
	}
	// A name misspelt in a scheduled job must not look like a vendor that keeps its word.
	if name := r.GetConnector(); name != "" && !s.knows(name) && !slices.ContainsFunc(all, func(d *journalv1.DriftCount) bool { return d.GetConnector() == name }) {
		return nil, invalid(fmt.Errorf("no source has the connector %.64q%s", name, near.List(name, s.connectors())))
	}
	a := &adminv1.ListDriftResponse{}
	for _, d := range all {
		if selected(r, d) {
			a.Fields = append(a.Fields, driftField(d))
		}
	}
	return a, nil
}

// knows reports whether a source has the connector.
func (s *Server) knows(connector string) bool { return slices.Contains(s.connectors(), connector) }

// connectors are the names of the sources' connectors.
func (s *Server) connectors() (names []string) {
	for _, src := range s.sources() {
		if !slices.Contains(names, src.Connector.Name) {
			names = append(names, src.Connector.Name)
		}
	}
	return names
}

func selected(r *adminv1.ListDriftRequest, d *journalv1.DriftCount) bool {
	return (r.GetConnector() == "" || r.GetConnector() == d.GetConnector()) &&
		(r.GetVendorEvent() == "" || r.GetVendorEvent() == d.GetVendorEvent()) &&
		(r.GetKind() == "" || r.GetKind() == kindName(d.GetKind())) &&
		(r.GetSince() == nil || !d.GetLastAt().AsTime().Before(r.GetSince().AsTime()))
}

func driftField(d *journalv1.DriftCount) *adminv1.DriftField {
	return &adminv1.DriftField{
		Connector:   d.GetConnector(),
		VendorEvent: d.GetVendorEvent(),
		Kind:        kindName(d.GetKind()),
		Field:       mask.Path(d.GetPath()),
		Count:       d.GetCount(),
		FirstAt:     d.GetFirstAt(),
		LastAt:      d.GetLastAt(),
		Sample:      mask.Shape(d.GetSample()),
		WebhookId:   d.GetLastWebhookId(),
	}
}

func kindName(k journalv1.DriftKind) string {
	switch k {
	case journalv1.DriftKind_DRIFT_KIND_UNKNOWN:
		return "unknown"
	case journalv1.DriftKind_DRIFT_KIND_TYPE:
		return "type"
	case journalv1.DriftKind_DRIFT_KIND_MISSING:
		return "missing"
	case journalv1.DriftKind_DRIFT_KIND_VALUE:
		return "value"
	default:
		return ""
	}
}
