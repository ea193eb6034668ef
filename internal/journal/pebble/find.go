package pebble

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/google/uuid"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
)

const (
	// findLimit and findScan are what a query's zeros stand for.
	findLimit = 100
	findScan  = 10_000
	// pageBytes bounds a page, and readPerPage what is read to make one.
	pageBytes   = 16 << 20
	readPerPage = 64 << 20
)

// Find returns the next page of the stored webhooks that q selects. A page that ends before the selection does says where
// to go on, and may be empty when much was looked at and nothing matched; going on there leaves out nothing and gives
// nothing twice, but for what is committed meanwhile: a webhook lies where it was received, which may be behind those who
// page already. Webhooks are the caller's own. Errors: ErrUnavailable, ErrClosed, ctx's, and that of an id that is none.
func (j *Journal) Find(ctx context.Context, q journal.Query) (journal.Page, error) {
	var page journal.Page
	err := j.view(ctx, func(st *store) (err error) {
		if page, err = st.find(ctx, q); err != nil {
			return fmt.Errorf("journal: find: %w", err)
		}
		return nil
	})
	if err != nil {
		return journal.Page{}, err
	}
	return page, nil
}

func (s *store) find(ctx context.Context, q journal.Query) (page journal.Page, err error) {
	m, err := s.merge(q)
	if err != nil {
		return page, err
	}
	defer func() { err = errors.Join(err, m.close()) }()
	limit, scan := orElse(q.Limit, findLimit), orElse(q.Scan, findScan)
	kept, read := 0, 0
	for looked := 0; m.next(); looked++ {
		if len(page.Webhooks) == limit || looked == scan || read >= readPerPage {
			page.Next = m.last.String()
			return page, nil
		}
		if err := ctx.Err(); err != nil {
			return page, err
		}
		w, size, err := m.webhook()
		if err != nil {
			return page, err
		}
		if selects(&q, w) {
			if kept += size; kept > pageBytes && len(page.Webhooks) > 0 {
				page.Next = m.last.String()
				return page, nil
			}
			page.Webhooks = append(page.Webhooks, w)
		}
		read += size
		m.pass()
	}
	return page, m.err()
}

func orElse(n, otherwise int) int {
	if n > 0 {
		return n
	}
	return otherwise
}

func selects(q *journal.Query, w *journalv1.Webhook) bool {
	if q.Quarantined && (w.GetQuarantine() == nil || w.GetReleasedAt() != nil) {
		return false
	}
	return q.Match == nil || q.Match(w)
}

// span returns the bounds of the keys with this prefix.
func querySpan(q *journal.Query, prefix byte) (lower, upper []byte, err error) {
	lower, upper = span(prefix)
	if q.After != "" {
		u, err := journal.ParseID(q.After)
		if err != nil {
			return nil, nil, err
		}
		lower = append(webhookKey(prefix, u), 0)
	}
	if q.Before != "" {
		u, err := journal.ParseID(q.Before)
		if err != nil {
			return nil, nil, err
		}
		upper = webhookKey(prefix, u)
	}
	if bytes.Compare(lower, upper) > 0 {
		upper = lower
	}
	return lower, upper, nil
}

// merged are the webhooks of a query's prefixes in order of their ids.
type merged struct {
	backwards bool
	its       []*pebble.Iterator
	// at is the iterator that is next, and last the id that was passed last.
	at   *pebble.Iterator
	last uuid.UUID
}

func (s *store) merge(q journal.Query) (*merged, error) {
	prefixes := []byte{prefixWebhook, prefixQuarantine}
	if q.Quarantined {
		prefixes = prefixes[1:]
	}
	m := &merged{backwards: q.Backwards}
	for _, prefix := range prefixes {
		lower, upper, err := querySpan(&q, prefix)
		if err != nil {
			return nil, errors.Join(err, m.close())
		}
		it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
		if err != nil {
			return nil, errors.Join(err, m.close())
		}
		m.its = append(m.its, it)
		if q.Backwards {
			it.Last()
		} else {
			it.First()
		}
	}
	return m, nil
}

// next moves to the next webhook, and stays there until that is passed.
func (m *merged) next() bool {
	m.at = nil
	for _, it := range m.its {
		if it.Valid() && (m.at == nil || (bytes.Compare(it.Key()[1:], m.at.Key()[1:]) < 0) != m.backwards) {
			m.at = it
		}
	}
	return m.at != nil && m.err() == nil
}

// webhook returns the webhook, and its size on disk.
func (m *merged) webhook() (*journalv1.Webhook, int, error) {
	if len(m.at.Key()) != webhookKeyLen {
		return nil, 0, errCorrupt
	}
	v, err := m.at.ValueAndErr()
	if err != nil {
		return nil, 0, err
	}
	w, err := decodeWebhook(v)
	return w, len(v), err
}

func (m *merged) pass() {
	m.last = uuid.UUID(m.at.Key()[1:])
	if m.backwards {
		m.at.Prev()
	} else {
		m.at.Next()
	}
}

func (m *merged) err() error {
	var err error
	for _, it := range m.its {
		err = errors.Join(err, it.Error())
	}
	return err
}

func (m *merged) close() error {
	var err error
	for _, it := range m.its {
		err = errors.Join(err, it.Close())
	}
	return err
}
