package postgres

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/page"
)

const (
	// sliceRows and sliceBytes bound the webhooks that Find asks the database for at once. A larger webhook is read alone.
	sliceRows  = 1000
	sliceBytes = 4 << 20
)

// span bounds the ids of a query: from is excluded, to is excluded.
type span struct{ after, before uuid.UUID }

func spanOf(q *journal.Query) (s span, err error) {
	s.before = uuid.Max
	if q.After != "" {
		if s.after, err = journal.ParseID(q.After); err != nil {
			return s, err
		}
	}
	if q.Before != "" {
		if s.before, err = journal.ParseID(q.Before); err != nil {
			return s, err
		}
	}
	return s, nil
}

// Find implements [journal.Archive].
func (j *Journal) Find(ctx context.Context, q journal.Query) (journal.Page, error) {
	s, err := spanOf(&q)
	if err != nil {
		return journal.Page{}, fmt.Errorf("journal: find: %w", err)
	}
	var search *page.Search
	err = j.view(ctx, func(ctx context.Context, tx pgx.Tx) error {
		search = page.NewSearch(&q)
		return j.find(ctx, tx, &q, s, search)
	})
	if err != nil {
		return journal.Page{}, fmt.Errorf("journal: find: %w", err)
	}
	return search.Page(), nil
}

// find reads slice after slice until the page has ended.
func (j *Journal) find(ctx context.Context, tx pgx.Tx, q *journal.Query, s span, search *page.Search) error {
	query := j.sql(selectSlice(q))
	for bytes.Compare(s.after[:], s.before[:]) < 0 {
		rows, err := tx.Query(ctx, query, s.after, s.before, min(search.Wants(), sliceRows), sliceBytes)
		if err != nil {
			return err
		}
		n, more, err := offer(rows, search, func(id uuid.UUID) {
			if q.Backwards {
				s.before = id
			} else {
				s.after = id
			}
		})
		if err != nil || !more || n == 0 {
			return err
		}
	}
	return nil
}

// offer offers a slice to the search, and tells each webhook that the page has dealt with. It returns how many there were.
func offer(rows pgx.Rows, search *page.Search, done func(uuid.UUID)) (n int, more bool, err error) {
	defer rows.Close()
	for more = true; more && rows.Next(); n++ {
		var w storedWebhook
		if err := rows.Scan(&w.id, &w.first, &w.events, &w.duplicate, &w.encoded); err != nil {
			return n, false, err
		}
		if more, err = search.Offer(w.id, len(w.encoded), w.decode); err != nil {
			return n, false, err
		}
		done(w.id)
	}
	rows.Close()
	return n, more, rows.Err()
}

// selectSlice is the query for the next webhooks of a span: at most $3 of them and $4 bytes, but at least one. Those which
// retention is about to remove are gone.
func selectSlice(q *journal.Query) string {
	order := "order by id"
	if q.Backwards {
		order += " desc"
	}
	quarantined, webhooks := sliceOf("quarantined", order), sliceOf("webhook", order)
	if q.Quarantined {
		quarantined = strings.Replace(quarantined, "where ", "where not released and ", 1)
	} else {
		quarantined = "select * from ((" + webhooks + ") union all (" + quarantined + ")) as u " + order + " limit $3"
	}
	return `select id, first, events, duplicate, encoded from (
		select *, sum(octet_length(encoded)) over (` + order + ` rows unbounded preceding) as total, row_number() over (` + order + `) as number
		from (` + quarantined + `) as both_tables) as sized where total <= $4 or number = 1 ` + order
}

// sliceOf selects from a table. The first id of a millisecond has it in front, and zeros but for the version behind.
func sliceOf(table, order string) string {
	limit := map[string]string{"webhook": "webhooks_from", "quarantined": "quarantined_from"}[table]
	return `select id, first, events, duplicate, encoded from bridge.` + table + ` where id > $1 and id < $2 and id >= (
		select (lpad(to_hex(` + limit + `), 12, '0') || '70008000000000000000')::uuid from bridge.log) ` + order + ` limit $3`
}
