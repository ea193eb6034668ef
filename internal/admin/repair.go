package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/intake"
	"github.com/webhook-bridge/bridge/internal/journal"
)

const (
	// defaultRetry is how many webhooks a call takes out of quarantine unless asked otherwise.
	defaultRetry = 100
	// discardPage is how many webhooks are discarded at once.
	discardPage = 1000
)

// RetryWebhooks implements [adminv1.AdminServiceServer].
func (s *Server) RetryWebhooks(ctx context.Context, r *adminv1.RetryWebhooksRequest) (*adminv1.RetryWebhooksResponse, error) {
	return call(ctx, s, r, s.retry)
}

func (s *Server) retry(ctx context.Context, r *adminv1.RetryWebhooksRequest) (*adminv1.RetryWebhooksResponse, error) {
	if err := ofQuarantine(r.GetFilter()); err != nil {
		return nil, err
	}
	list := s.quarantined
	if len(r.GetIds()) > 0 {
		list = s.listed
	}
	found, next, err := list(ctx, r)
	if err != nil {
		return nil, err
	}
	a := &adminv1.RetryWebhooksResponse{NextPageToken: next}
	t, pace := tally{}, s.pace()
	for i, w := range found {
		result, err := s.retryOne(ctx, w, r)
		if err != nil && i > 0 {
			// What is done is told; the next call tells the error.
			a.NextPageToken = newToken(found[i-1].GetId())
			break
		}
		if err != nil {
			return nil, err
		}
		if s.outcome(w) != result.GetOutcome() {
			t.released++
			t.events += int(result.GetEventCount())
		}
		t.source(w)
		a.Results = append(a.Results, result)
		if !pace.more(result) && i+1 < len(found) {
			a.NextPageToken = newToken(w.GetId())
			break
		}
	}
	if !r.GetDryRun() {
		s.log.Info("quarantined webhooks retried", "by", caller(ctx), "webhooks", len(a.GetResults()), "released", t.released,
			"events", t.events, "sources", t.names())
	}
	return a, nil
}

// tally is what a call did, for the log.
type tally struct {
	released, events int
	sources          []string
}

func (t *tally) source(w *journalv1.Webhook) {
	if !slices.Contains(t.sources, w.GetSource()) {
		t.sources = append(t.sources, w.GetSource())
	}
}

func (t *tally) names() string { return strings.Join(t.sources, " ") }

// quarantined finds a page of what the filter selects, the oldest first: in the order in which it was received.
func (s *Server) quarantined(ctx context.Context, r *adminv1.RetryWebhooksRequest) ([]*journalv1.Webhook, string, error) {
	q, err := s.query(r.GetFilter())
	if err != nil {
		return nil, "", err
	}
	q.Quarantined, q.Limit = true, sizeOf(r.GetPageSize(), defaultRetry)
	if err := resume(&q, r.GetPageToken()); err != nil {
		return nil, "", err
	}
	page, err := s.journal.Find(ctx, q)
	return page.Webhooks, newToken(page.Next), err
}

// listed finds the webhooks that the request names, from where a page ended.
func (s *Server) listed(ctx context.Context, r *adminv1.RetryWebhooksRequest) ([]*journalv1.Webhook, string, error) {
	ids, next := slices.Clone(r.GetIds()), ""
	slices.Sort(ids)
	ids = slices.Compact(ids)
	if r.GetPageToken() != "" {
		after, err := parseToken(r.GetPageToken())
		if err != nil {
			return nil, "", err
		}
		ids = slices.DeleteFunc(ids, func(id string) bool { return id <= after })
	}
	if limit := sizeOf(r.GetPageSize(), defaultRetry); len(ids) > limit {
		ids, next = ids[:limit], newToken(ids[limit-1])
	}
	var found []*journalv1.Webhook
	size := 0
	for i, id := range ids {
		w, err := s.journal.Webhook(ctx, id)
		if errors.Is(err, journal.ErrNotFound) {
			return nil, "", fmt.Errorf("admin: webhook %s: %w", id, err)
		}
		if err != nil {
			return nil, "", err
		}
		found = append(found, w)
		if size += len(w.GetBody()); size > maxShown && i+1 < len(ids) {
			return found, newToken(id), nil
		}
	}
	return found, next, nil
}

// retryOne translates one webhook. One that is not in quarantine is left as it is, and said to be what it is.
func (s *Server) retryOne(ctx context.Context, w *journalv1.Webhook, r *adminv1.RetryWebhooksRequest) (*adminv1.RetryResult, error) {
	result := &adminv1.RetryResult{WebhookId: w.GetId(), Outcome: s.outcome(w)}
	if result.GetOutcome() != adminv1.Outcome_OUTCOME_QUARANTINED {
		return result, nil
	}
	src, fault := s.source(w)
	if fault != nil {
		result.Fault = faultOf(fault)
		return result, nil
	}
	released, err := s.intake.Release(ctx, src, w, intake.ReleaseOptions{Event: r.GetVendorEvent(), DryRun: r.GetDryRun()})
	if errors.Is(err, journal.ErrNotFound) {
		return s.overtaken(ctx, w, result)
	}
	if err != nil {
		return nil, err
	}
	result.EventCount, result.Fault = uint32(released.Events), faultOf(released.Fault)
	// An array has no name of its own.
	switch _, modelled := src.Event(released.Event); {
	case released.Outcome == intake.Duplicate:
		result.Outcome = adminv1.Outcome_OUTCOME_DUPLICATE
	case released.Outcome != intake.Accepted:
	case modelled, released.Event == "":
		result.Outcome = adminv1.Outcome_OUTCOME_ACCEPTED
	default:
		result.Outcome = adminv1.Outcome_OUTCOME_UNMAPPED
	}
	return result, nil
}

// overtaken is the result of a webhook that left the quarantine while we translated it.
func (s *Server) overtaken(ctx context.Context, w *journalv1.Webhook, r *adminv1.RetryResult) (*adminv1.RetryResult, error) {
	now, err := s.journal.Webhook(ctx, w.GetId())
	switch {
	case errors.Is(err, journal.ErrNotFound):
		r.Fault = &adminv1.Fault{Reason: "discarded", Problem: "the webhook is no longer kept", Offset: -1}
	case err != nil:
		return nil, err
	default:
		r.Outcome = s.outcome(now)
	}
	return r, nil
}

// DiscardWebhooks implements [adminv1.AdminServiceServer].
func (s *Server) DiscardWebhooks(ctx context.Context, r *adminv1.DiscardWebhooksRequest) (*adminv1.DiscardWebhooksResponse, error) {
	return call(ctx, s, r, s.discard)
}

func (s *Server) discard(ctx context.Context, r *adminv1.DiscardWebhooksRequest) (*adminv1.DiscardWebhooksResponse, error) {
	if err := ofQuarantine(r.GetFilter()); err != nil {
		return nil, err
	}
	var n int
	var err error
	switch {
	case len(r.GetIds()) > 0:
		n, err = s.journal.Discard(ctx, r.GetIds())
	case selectsNothing(r.GetFilter()):
		return nil, invalid(errors.New("neither ids nor a filter say which webhooks to discard; for all, set filter.outcome to OUTCOME_QUARANTINED"))
	default:
		n, err = s.discardSelected(ctx, r.GetFilter())
	}
	if n > 0 {
		s.log.Info("quarantined webhooks discarded", "by", caller(ctx), "webhooks", n, "ids", len(r.GetIds()), "source", r.GetFilter().GetSource())
	}
	if err != nil {
		return nil, err
	}
	return &adminv1.DiscardWebhooksResponse{Discarded: uint64(n)}, nil
}

// discardSelected goes through the quarantine until it has come to the end, or the call's time is over: what it did by then
// is done, and the same call again does the rest.
func (s *Server) discardSelected(ctx context.Context, f *adminv1.Filter) (n int, err error) {
	q, err := s.query(f)
	if err != nil {
		return 0, err
	}
	q.Quarantined, q.Limit = true, discardPage
	for {
		page, err := s.journal.Find(ctx, q)
		if err != nil {
			return n, err
		}
		ids := make([]string, 0, len(page.Webhooks))
		for _, w := range page.Webhooks {
			ids = append(ids, w.GetId())
		}
		some, err := s.journal.Discard(ctx, ids)
		if n += some; err != nil || page.Next == "" {
			return n, err
		}
		q.After = page.Next
	}
}

// ofQuarantine refuses a filter that selects other webhooks than quarantined ones.
func ofQuarantine(f *adminv1.Filter) error {
	switch f.GetOutcome() {
	case adminv1.Outcome_OUTCOME_UNSPECIFIED, adminv1.Outcome_OUTCOME_QUARANTINED:
		return nil
	default:
		return invalid(errors.New("filter.outcome: only quarantined webhooks can be retried or discarded"))
	}
}

func selectsNothing(f *adminv1.Filter) bool {
	return f.GetSource() == "" && f.GetVendorEvent() == "" && f.GetReason() == "" && f.GetSince() == nil && f.GetUntil() == nil &&
		f.GetOutcome() == adminv1.Outcome_OUTCOME_UNSPECIFIED
}
