package admin

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/near"
)

// readingTime is how much later than its receipt a webhook may get its id, which has the time in it: after its body.
const readingTime = time.Hour

// query makes a journal's query of a filter. Without a limit and a token it begins at the selection's end that comes first.
func (s *Server) query(f *adminv1.Filter) (journal.Query, error) {
	var q journal.Query
	if f.GetSubject() != "" {
		return q, invalid(errors.New("filter.subject: only lists of webhooks can select by subject"))
	}
	since, until := f.GetSince(), f.GetUntil()
	if since != nil {
		if err := since.CheckValid(); err != nil {
			return q, invalid(fmt.Errorf("filter.since: %w", err))
		}
		if t := since.AsTime(); t.Unix() > 0 {
			q.After = journal.IDAt(t)
		}
	}
	if until != nil {
		if err := until.CheckValid(); err != nil {
			return q, invalid(fmt.Errorf("filter.until: %w", err))
		}
		if t := until.AsTime().Add(readingTime); t.Unix() > 0 && t.Year() < maxYear {
			q.Before = journal.IDAt(t)
		}
	}
	q.Quarantined = f.GetOutcome() == adminv1.Outcome_OUTCOME_QUARANTINED
	q.Match = func(w *journalv1.Webhook) bool {
		at := w.GetReceivedAt().AsTime()
		return (since == nil || !at.Before(since.AsTime())) &&
			(until == nil || at.Before(until.AsTime())) &&
			(f.GetSource() == "" || f.GetSource() == w.GetSource()) &&
			(f.GetVendorEvent() == "" || f.GetVendorEvent() == w.GetVendorEvent()) &&
			(f.GetText() == "" || bytes.Contains(w.GetBody(), []byte(f.GetText()))) &&
			(f.GetReason() == "" || f.GetReason() == w.GetQuarantine().GetReason()) &&
			(f.GetOutcome() == adminv1.Outcome_OUTCOME_UNSPECIFIED || f.GetOutcome() == s.outcome(w))
	}
	return q, nil
}

// checkSource returns an error if nothing was found for a source that is not configured: its name is misspelt. A source that was
// removed from the configuration is found as long as its webhooks are. token is the request's, and next the answer's.
func (s *Server) checkSource(f *adminv1.Filter, token string, found int, next string) error {
	name := f.GetSource()
	if _, configured := s.sources()[name]; name == "" || configured || token != "" || found > 0 || next != "" {
		return nil
	}
	return &answerError{codes.NotFound, fmt.Sprintf("there is no source %.64q%s", name, near.List(name, slices.Collect(maps.Keys(s.sources()))))}
}

// maxYear is beyond what a webhook's id can say.
const maxYear = 9000

// outcome returns the result of a stored webhook.
func (s *Server) outcome(w *journalv1.Webhook) adminv1.Outcome {
	switch {
	case w.GetPing() != "":
		return adminv1.Outcome_OUTCOME_PING
	case w.GetDuplicate():
		return adminv1.Outcome_OUTCOME_DUPLICATE
	case w.GetQuarantine() == nil:
		return s.outcomeOf(w)
	case w.GetReleasedAt() == nil:
		return adminv1.Outcome_OUTCOME_QUARANTINED
	case w.GetEventCount() == 0:
		return adminv1.Outcome_OUTCOME_DUPLICATE
	default:
		return adminv1.Outcome_OUTCOME_RELEASED
	}
}

// outcomeOf distinguishes events that the connector models from events that it does not.
func (s *Server) outcomeOf(w *journalv1.Webhook) adminv1.Outcome {
	if src, fault := s.source(w); fault == nil {
		if _, modelled := src.Event(w.GetVendorEvent()); !modelled {
			return adminv1.Outcome_OUTCOME_UNMAPPED
		}
	}
	return adminv1.Outcome_OUTCOME_ACCEPTED
}

// resume makes a query go on where a page ended.
func resume(q *journal.Query, token string) error {
	if token == "" {
		return nil
	}
	id, err := parseToken(token)
	if err != nil {
		return err
	}
	if q.Backwards {
		if q.Before == "" || id < q.Before {
			q.Before = id
		}
		return nil
	}
	q.After = max(q.After, id)
	return nil
}

// tokenVersion is the first byte of a page token. The rest is the id of the webhook that the page ended at.
const tokenVersion = 1

func newToken(id string) string {
	u, err := uuid.Parse(id)
	if err != nil {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(append([]byte{tokenVersion}, u[:]...))
}

func parseToken(token string) (string, error) {
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) != 1+len(uuid.UUID{}) || b[0] != tokenVersion || uuid.UUID(b[1:]).Version() != 7 {
		return "", invalid(errors.New("page_token is none that this server gave out"))
	}
	return uuid.UUID(b[1:]).String(), nil
}

// sizeOf is a page's size: the one asked for, or the default.
func sizeOf(asked uint32, fallback int) int {
	if asked == 0 {
		return fallback
	}
	return int(asked)
}
