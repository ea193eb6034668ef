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
	"github.com/webhook-bridge/bridge/internal/journal/page"
)

// Find implements [journal.Archive].
func (j *Journal) Find(ctx context.Context, q journal.Query) (journal.Page, error) {
	search := page.NewSearch(&q)
	err := j.view(ctx, func(st *store) error {
		if err := st.find(ctx, q, search); err != nil {
			return fmt.Errorf("journal: find: %w", err)
		}
		return nil
	})
	if err != nil {
		return journal.Page{}, err
	}
	return search.Page(), nil
}

func (s *store) find(ctx context.Context, q journal.Query, search *page.Search) (err error) {
	m, err := s.mergeWebhooks(q)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.close()) }()
	for m.next() {
		if err := ctx.Err(); err != nil {
			return err
		}
		id, v, err := m.webhook()
		if err != nil {
			return err
		}
		more, err := search.Offer(id, len(v), func() (*journalv1.Webhook, error) { return decodeWebhook(v) })
		if err != nil || !more {
			return err
		}
		m.advance()
	}
	return m.err()
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
	// at is the iterator of the next webhook.
	at *pebble.Iterator
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

// webhook returns the next webhook's id and its record.
func (m *merged) webhook() (id uuid.UUID, record []byte, err error) {
	if len(m.at.Key()) != webhookKeyLen {
		return id, nil, errCorrupt
	}
	record, err = m.at.ValueAndErr()
	return uuid.UUID(m.at.Key()[1:]), record, err
}

func (m *merged) advance() {
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
