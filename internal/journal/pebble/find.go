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
	// findLimit and findScan are the defaults of a query.
	findLimit = 100
	findScan  = 10_000
	// pageBytes bounds the size of a page, and readPerPage the bytes that are read to make one.
	pageBytes   = 16 << 20
	readPerPage = 64 << 20
)

// Find implements [journal.Archive].
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
	m, err := s.mergeWebhooks(q)
	if err != nil {
		return page, err
	}
	defer func() { err = errors.Join(err, m.close()) }()
	limit, scan := orElse(q.Limit, findLimit), orElse(q.Scan, findScan)
	size, read := 0, 0
	for looked := 0; m.next(); looked++ {
		if len(page.Webhooks) == limit || looked == scan || read >= readPerPage {
			page.Next = m.last.String()
			return page, nil
		}
		if err := ctx.Err(); err != nil {
			return page, err
		}
		w, n, err := m.webhook()
		if err != nil {
			return page, err
		}
		if selects(&q, w) {
			if size += n; size > pageBytes && len(page.Webhooks) > 0 {
				page.Next = m.last.String()
				return page, nil
			}
			page.Webhooks = append(page.Webhooks, w)
		}
		read += n
		m.advance()
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

// querySpan returns the bounds of the keys with this prefix that the query selects.
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
	// at is the iterator of the next webhook, and last the id of the one before.
	at   *pebble.Iterator
	last uuid.UUID
}

func (s *store) mergeWebhooks(q journal.Query) (*merged, error) {
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

// next finds the next webhook. It stays there until advance is called.
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

func (m *merged) advance() {
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
