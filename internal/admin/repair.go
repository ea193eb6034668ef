package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/intake"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/repair"
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
	if err == nil {
		err = s.checkSource(r.GetFilter(), r.GetPageToken(), len(found), next)
	}
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
		if is := result.GetOutcome(); is != adminv1.Outcome_OUTCOME_UNSPECIFIED {
			t.source(w)
			if is != s.outcome(w) {
				t.released++
				t.events += int(result.GetEventCount())
			}
		}
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

// tally counts the results of a call, for the log.
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

// listed finds the webhooks that the request names, from where a page ended. One that is not kept has its id alone.
func (s *Server) listed(ctx context.Context, r *adminv1.RetryWebhooksRequest) ([]*journalv1.Webhook, string, error) {
	ids, next := make([]string, 0, len(r.GetIds())), ""
	for _, id := range r.GetIds() {
		u, err := uuid.Parse(id) // it may be in upper case
		if err != nil {
			return nil, "", invalid(fmt.Errorf("ids: %w", err))
		}
		ids = append(ids, u.String())
	}
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
		switch {
		case errors.Is(err, journal.ErrNotFound):
			w = &journalv1.Webhook{Id: id}
		case err != nil:
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
	if w.GetSource() == "" {
		return gone(w), nil
	}
	result := &adminv1.RetryResult{WebhookId: w.GetId(), Outcome: s.outcome(w)}
	if result.GetOutcome() != adminv1.Outcome_OUTCOME_QUARANTINED {
		return result, nil
	}
	src, fault := s.source(w)
	if fault != nil {
		result.Fault = faultOf(fault)
		return result, nil
	}
	return s.release(ctx, src, w, result, repair.Options{Event: r.GetVendorEvent(), DryRun: r.GetDryRun()})
}

// release tries to release a webhook, and completes its result.
func (s *Server) release(
	ctx context.Context, src *intake.Source, w *journalv1.Webhook, result *adminv1.RetryResult, o repair.Options,
) (*adminv1.RetryResult, error) {
	released, err := s.repair.Retry(ctx, src, w, o)
	if errors.Is(err, journal.ErrNotFound) {
		return s.overtaken(ctx, w, result)
	}
	if err != nil {
		return nil, err
	}
	result.EventCount, result.Fault = uint32(released.Events), faultOf(released.Fault)
	// An array has no name of its own.
	switch _, modelled := src.Event(released.Event); {
	case released.Outcome == intake.Ping:
		result.Outcome = adminv1.Outcome_OUTCOME_PING
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

// gone is the result of a webhook that is not kept.
func gone(w *journalv1.Webhook) *adminv1.RetryResult {
	return &adminv1.RetryResult{
		WebhookId: w.GetId(), Fault: &adminv1.Fault{Reason: "not_found", Problem: "no such webhook is kept", Offset: -1},
	}
}

// overtaken is the result of a webhook that left the quarantine while we translated it.
func (s *Server) overtaken(ctx context.Context, w *journalv1.Webhook, r *adminv1.RetryResult) (*adminv1.RetryResult, error) {
	now, err := s.journal.Webhook(ctx, w.GetId())
	switch {
	case errors.Is(err, journal.ErrNotFound):
		return gone(w), nil
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
	a := &adminv1.DiscardWebhooksResponse{}
	var err error
	switch {
	case len(r.GetIds()) > 0:
		err = s.discardSome(ctx, a, r.GetIds(), beforeAll)
	case selectsNothing(r.GetFilter()):
		return nil, invalid(errors.New("neither ids nor a filter say which webhooks to discard; for all, set filter.outcome to OUTCOME_QUARANTINED"))
	default:
		err = s.discardSelected(ctx, a, r)
	}
	if err == nil {
		err = s.checkSource(r.GetFilter(), r.GetPageToken(), int(min(a.GetDiscarded(), 1)), a.GetNextPageToken())
	}
	if a.GetDiscarded() == 0 && err != nil {
		return nil, err
	}
	// What is done is told; the next call tells the error.
	if a.GetDiscarded() > 0 {
		s.log.Info("quarantined webhooks discarded", "by", caller(ctx), "webhooks", a.GetDiscarded(), "ids", len(r.GetIds()),
			"source", r.GetFilter().GetSource())
	}
	return a, nil
}

// beforeAll is less than the id of any webhook.
var beforeAll = journal.IDAt(time.UnixMilli(0))

// discardSelected goes through the quarantine until it has come to the end, or has taken long.
func (s *Server) discardSelected(ctx context.Context, a *adminv1.DiscardWebhooksResponse, r *adminv1.DiscardWebhooksRequest) error {
	q, err := s.query(r.GetFilter())
	if err != nil {
		return err
	}
	q.Quarantined, q.Limit = true, discardPage
	if err := resume(&q, r.GetPageToken()); err != nil {
		return err
	}
	pace := s.pace()
	n, next, err := s.repair.Discard(ctx, q, func(n int) bool {
		a.Discarded = uint64(n)
		return pace.more(a)
	})
	if err != nil {
		next = cmp.Or(next, beforeAll)
	}
	a.Discarded, a.NextPageToken = uint64(n), newToken(next)
	return err
}

// discardSome adds to the answer what it discards. Where that fails in the middle, the next call goes on after an id.
func (s *Server) discardSome(ctx context.Context, a *adminv1.DiscardWebhooksResponse, ids []string, after string) error {
	n, err := s.journal.Discard(ctx, ids)
	a.Discarded += uint64(n)
	if err != nil {
		a.NextPageToken = newToken(after)
	}
	return err
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
	return f.GetSource() == "" && f.GetVendorEvent() == "" && f.GetReason() == "" && f.GetText() == "" && f.GetSince() == nil && f.GetUntil() == nil &&
		f.GetOutcome() == adminv1.Outcome_OUTCOME_UNSPECIFIED
}
