package admin

import (
	"context"
	"unicode/utf8"

	"google.golang.org/grpc/codes"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/mask"
	"github.com/webhook-bridge/bridge/internal/repair"
)

// RepairWebhook implements [adminv1.AdminServiceServer].
func (s *Server) RepairWebhook(ctx context.Context, r *adminv1.RepairWebhookRequest) (*adminv1.RepairWebhookResponse, error) {
	return call(ctx, s, r, s.repairByHand)
}

func (s *Server) repairByHand(ctx context.Context, r *adminv1.RepairWebhookRequest) (*adminv1.RepairWebhookResponse, error) {
	w, err := s.journal.Webhook(ctx, r.GetId())
	if err != nil {
		return nil, err
	}
	result := &adminv1.RetryResult{WebhookId: w.GetId(), Outcome: s.outcome(w)}
	if result.GetOutcome() != adminv1.Outcome_OUTCOME_QUARANTINED {
		return nil, &answerError{codes.FailedPrecondition, "the webhook is not in quarantine"}
	}
	src, fault := s.source(w)
	if fault != nil {
		result.Fault = faultOf(fault)
		return &adminv1.RepairWebhookResponse{Result: result}, nil
	}
	result, err = s.release(ctx, src, w, result, repair.Options{
		Event: r.GetVendorEvent(), DryRun: r.GetDryRun(), Body: r.GetBody(), By: caller(ctx),
	})
	if err != nil {
		return nil, err
	}
	if !r.GetDryRun() {
		s.log.Info("webhook repaired by hand", "by", caller(ctx), "webhook", w.GetId(), "source", w.GetSource(),
			"outcome", result.GetOutcome().String(), "events", result.GetEventCount())
	}
	return &adminv1.RepairWebhookResponse{Result: result}, nil
}

// repairOf shows what an operator's change of a body replaced, or nil.
func repairOf(w *journalv1.Webhook, reveal bool) *adminv1.HandRepair {
	r := w.GetRepair()
	if r == nil {
		return nil
	}
	v := &adminv1.HandRepair{At: r.GetAt(), By: r.GetBy()}
	switch {
	case len(r.GetBody()) > maxShown:
	case !reveal:
		v.Body = string(mask.JSON(r.GetBody(), nil))
	case utf8.Valid(r.GetBody()):
		v.Body = string(r.GetBody())
	}
	return v
}
