package admin

import (
	"context"
	"errors"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/intake"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/repair"
)

// defaultRetranslate is how many webhooks a call compares unless asked otherwise.
const defaultRetranslate = 500

// RetranslateWebhooks implements [adminv1.AdminServiceServer].
func (s *Server) RetranslateWebhooks(
	ctx context.Context, r *adminv1.RetranslateWebhooksRequest,
) (*adminv1.RetranslateWebhooksResponse, error) {
	return call(ctx, s, r, s.retranslate)
}

func (s *Server) retranslate(ctx context.Context, r *adminv1.RetranslateWebhooksRequest) (*adminv1.RetranslateWebhooksResponse, error) {
	page, err := s.published(ctx, r)
	if err != nil {
		return nil, err
	}
	a := &adminv1.RetranslateWebhooksResponse{NextPageToken: newToken(page.Next)}
	if err := s.checkSource(r.GetFilter(), r.GetPageToken(), len(page.Webhooks), a.GetNextPageToken()); err != nil {
		return nil, err
	}
	t, pace := tally{}, s.pace()
	for i, w := range page.Webhooks {
		change, err := s.retranslateOne(ctx, w, r)
		if err != nil && i > 0 {
			// What is done is told; the next call tells the error.
			a.NextPageToken = newToken(page.Webhooks[i-1].GetId())
			break
		}
		if err != nil {
			return nil, err
		}
		a.Examined++
		switch {
		case change == nil:
			a.Expired++
		case change.GetFault() == nil && len(change.GetEvents()) == 0:
			a.Unchanged++
		default:
			t.source(w)
			t.events += corrections(change)
			a.Changes = append(a.Changes, change)
		}
		if !pace.more(change) && i+1 < len(page.Webhooks) {
			a.NextPageToken = newToken(w.GetId())
			break
		}
	}
	s.logRetranslated(ctx, r, a, t)
	return a, nil
}

func (s *Server) logRetranslated(
	ctx context.Context, r *adminv1.RetranslateWebhooksRequest, a *adminv1.RetranslateWebhooksResponse, t tally,
) {
	if !r.GetDryRun() && t.events > 0 {
		s.log.Info("webhooks corrected", "by", caller(ctx), "webhooks", len(a.GetChanges()), "events", t.events, "sources", t.names())
	}
	if r.GetReveal() && len(a.GetChanges()) > 0 {
		s.log.Info("differences revealed", "by", caller(ctx), "webhooks", len(a.GetChanges()), "sources", t.names())
	}
}

// corrections is how many events a change publishes.
func corrections(c *adminv1.Change) (n int) {
	for _, e := range c.GetEvents() {
		if e.GetId() != "" {
			n++
		}
	}
	return n
}

// published finds a page of webhooks that became events, the oldest first.
func (s *Server) published(ctx context.Context, r *adminv1.RetranslateWebhooksRequest) (journal.Page, error) {
	switch r.GetFilter().GetOutcome() {
	case adminv1.Outcome_OUTCOME_QUARANTINED, adminv1.Outcome_OUTCOME_DUPLICATE:
		return journal.Page{}, invalid(errors.New("filter.outcome: such webhooks became no events"))
	default:
	}
	q, err := s.query(r.GetFilter())
	if err != nil {
		return journal.Page{}, err
	}
	q.Limit = sizeOf(r.GetPageSize(), defaultRetranslate)
	if err := resume(&q, r.GetPageToken()); err != nil {
		return journal.Page{}, err
	}
	selects := q.Match
	q.Match = func(w *journalv1.Webhook) bool { return repair.Retranslates(w) && selects(w) }
	return s.journal.Find(ctx, q)
}

// retranslateOne compares one webhook's events, and corrects them. The change is nil where there is nothing to compare with.
func (s *Server) retranslateOne(
	ctx context.Context, w *journalv1.Webhook, r *adminv1.RetranslateWebhooksRequest,
) (*adminv1.Change, error) {
	change := &adminv1.Change{WebhookId: w.GetId(), Source: w.GetSource(), VendorEvent: w.GetVendorEvent()}
	src, fault := s.source(w)
	if fault != nil {
		change.Fault = faultOf(fault)
		return change, nil
	}
	again, err := s.repair.Retranslate(ctx, src, w, r.GetDryRun())
	if errors.Is(err, journal.ErrNotFound) {
		return nil, nil // given up meanwhile
	}
	if err != nil {
		return nil, err
	}
	if again.Expired {
		return nil, nil
	}
	change.Fault = faultOf(again.Fault)
	for _, c := range again.Changes {
		change.Events = append(change.Events, eventChange(c, r.GetReveal()))
	}
	return change, nil
}

func eventChange(c repair.Change, reveal bool) *adminv1.EventChange {
	return &adminv1.EventChange{
		Index:      c.Index,
		Supersedes: c.Published.GetId(),
		Id:         c.Made.GetId(),
		Fields:     diff(intake.Canonical(c.Published), intake.Canonical(c.Made), reveal),
	}
}
