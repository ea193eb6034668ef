package page

import (
	"context"
	"time"

	"github.com/google/uuid"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
)

const (
	// defaultLimit and defaultScan are the defaults of a query.
	defaultLimit = 100
	defaultScan  = 10_000
	// pageBytes bounds the size of a page.
	pageBytes = 16 << 20
)

// ScanBytes bounds the bytes that are read to make a page.
const ScanBytes = 64 << 20

// Search makes one page. The engine offers it the webhooks of the query's span, in the query's order.
type Search struct {
	q           *journal.Query
	limit, scan int
	page        journal.Page
	// looked counts the webhooks that were offered, read their bytes and size the bytes of those in the page.
	looked, read, size int
	last               uuid.UUID
}

// NewSearch returns a search for a page of a query, which it keeps.
func NewSearch(q *journal.Query) *Search {
	return &Search{q: q, limit: orElse(q.Limit, defaultLimit), scan: orElse(q.Scan, defaultScan)}
}

func orElse(n, otherwise int) int {
	if n > 0 {
		return n
	}
	return otherwise
}

// Wants returns how many webhooks are enough to end the page, at most.
func (s *Search) Wants() int {
	n := s.scan - s.looked
	if s.q.Match == nil {
		n = min(n, s.limit-len(s.page.Webhooks))
	}
	return n + 1 // the one behind the page tells that it is not the last
}

// Offer adds the next webhook, of this size in bytes, if the query selects it. It returns false when the page ends before it.
func (s *Search) Offer(id uuid.UUID, size int, decode func() (*journalv1.Webhook, error)) (more bool, err error) {
	if len(s.page.Webhooks) == s.limit || s.looked == s.scan || s.read >= ScanBytes || s.late() {
		s.page.Next = s.last.String()
		return false, nil
	}
	w, err := decode()
	if err != nil {
		return false, err
	}
	if selects(s.q, w) {
		if s.size += size; s.size > pageBytes && len(s.page.Webhooks) > 0 {
			s.page.Next = s.last.String()
			return false, nil
		}
		s.page.Webhooks = append(s.page.Webhooks, w)
	}
	s.looked++
	s.read += size
	s.last = id
	return true, nil
}

// clockEvery is how many webhooks are looked at between two looks at the clock.
const clockEvery = 32

// late reports whether the query's deadline has passed.
func (s *Search) late() bool {
	return s.looked > 0 && s.looked%clockEvery == 0 && !s.q.Deadline.IsZero() && time.Now().After(s.q.Deadline)
}

// Page returns the page, once no webhook is left to offer or the page has ended.
func (s *Search) Page() journal.Page {
	s.page.Examined = s.looked
	return s.page
}

func selects(q *journal.Query, w *journalv1.Webhook) bool {
	if q.Quarantined && (w.GetQuarantine() == nil || w.GetReleasedAt() != nil) {
		return false
	}
	return q.Match == nil || q.Match(w)
}

// newestScan bounds the webhooks that Newest looks at.
const newestScan = 10_000

// clockSlack is how far ahead of the clock Newest believes a webhook's time. A later one is from a clock that was ahead.
const clockSlack = time.Minute

// Newest is [journal.Archive.Newest] by means of Find. It looks at the ten thousand newest webhooks at most.
func Newest(
	ctx context.Context, now time.Time, sources []string, find func(context.Context, journal.Query) (journal.Page, error),
) (map[string]time.Time, error) {
	missing := make(map[string]bool, len(sources))
	for _, s := range sources {
		missing[s] = true
	}
	newest := make(map[string]time.Time, len(sources))
	if len(missing) == 0 {
		return newest, nil
	}
	before := journal.IDAt(now.Add(clockSlack))
	_, err := find(ctx, journal.Query{Backwards: true, Before: before, Limit: 1, Scan: newestScan, Match: func(w *journalv1.Webhook) bool {
		if missing[w.GetSource()] && w.GetPing() == "" {
			newest[w.GetSource()] = w.GetReceivedAt().AsTime()
			delete(missing, w.GetSource())
		}
		return len(missing) == 0 // a full page ends the search
	}})
	if err != nil {
		return nil, err
	}
	return newest, nil
}
