package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/letters"
	"github.com/webhook-bridge/bridge/sinks"
)

// The kinds of requests.
const (
	requestPass  = "p"
	requestRetry = "r"
	// requestReplay is no request about one event: its row has a replay.
	requestReplay = "y"
)

// addRequest adds an operator's request to a reader about one event.
func (j *Journal) addRequest(ctx context.Context, tx pgx.Tx, name string, p sinks.Position, kind string) error {
	_, err := tx.Exec(ctx, j.sql(`insert into bridge.request (reader, position, kind, at) values ($2, $3, $4::text::"char", `+readingSQL+`)
		on conflict do nothing`), j.reading(), name, number(p), kind)
	return err
}

// requestRow is a request, with the parked event that it is about, or a replay that has not ended. A row of nothing says that the claim's lease is its own.
type requestRow struct {
	position *int64
	kind     *string
	// encoded is the parked event, or the replay.
	encoded []byte
}

// Requests implements [journal.Claim]. It returns at most a hundred parked events. It waits for a confirmation only when there are
// requests.
func (c *claim) Requests(ctx context.Context) (all journal.Requests, err error) {
	if err := c.check(); err != nil {
		return all, err
	}
	rows, err := c.requestRows(ctx)
	switch {
	case c.check() != nil:
		return all, c.check()
	case err != nil:
		return all, c.j.answer(ctx, err)
	case len(rows) == 0:
		c.j.readers.lose(c)
		c.j.readers.look()
		return all, c.check()
	}
	for _, r := range rows {
		switch {
		case r.position == nil:
		case *r.kind == requestPass:
			all.Pass = append(all.Pass, sinks.Position(*r.position))
		case *r.kind == requestReplay:
			one, err := parseReplay(r.encoded)
			if err != nil {
				return journal.Requests{}, err
			}
			all.Replays = append(all.Replays, one)
		case r.encoded != nil && len(all.Retry) < letters.MaxRetries:
			p, err := parseParked(r.encoded)
			if err != nil {
				return journal.Requests{}, err
			}
			all.Retry = append(all.Retry, p)
		}
	}
	if all.Pass == nil && all.Retry == nil && all.Replays == nil {
		return all, nil
	}
	return all, c.j.answer(ctx, c.j.confirm(ctx))
}

// requestRows reads the requests of the reader, its replays first, if the lease is the claim's.
func (c *claim) requestRows(ctx context.Context) ([]requestRow, error) {
	rows, err := c.j.pool.Query(ctx, c.j.sql(`select q.position, q.kind, q.encoded from bridge.reader r
		left join lateral (
			select q.position, q.kind::text, p.encoded, '' as id from bridge.request q
				left join bridge.parked p on q.kind = 'r' and p.reader = q.reader and p.position = q.position
				where q.reader = r.name
			union all
			select 0, 'y', y.encoded, y.id from bridge.replay y where y.reader = r.name and not y.ended
		) q on true
		where r.name = $1 and r.owner = $2 and r.claim = $3
		order by q.position, q.kind, q.id limit $4`), c.name, c.j.replica, c.number, maxRequests)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (r requestRow, err error) {
		err = row.Scan(&r.position, &r.kind, &r.encoded)
		return r, err
	})
}

// maxRequests bounds the requests that are read at once.
const maxRequests = 1000
