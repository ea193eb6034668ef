package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/timestamppb"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal/letters"
	"github.com/webhook-bridge/bridge/sinks"
)

// recordGap records a gap by the rules of [letters.AddGap].
func (j *Journal) recordGap(ctx context.Context, tx pgx.Tx, name string, from, to sinks.Position, now time.Time) (added uint64, err error) {
	known, err := j.gaps(ctx, tx, name)
	if err != nil {
		return 0, err
	}
	at := timestamppb.New(now)
	gap := &journalv1.Gap{Sink: name, From: uint64(from), To: uint64(to), FirstAt: at, LastAt: at}
	replaced, added := letters.AddGap(gap, known)
	var firsts []int64
	for _, g := range replaced {
		firsts = append(firsts, int64(g.GetFrom()))
	}
	if _, err := tx.Exec(ctx, j.sql(`delete from bridge.gap where reader = $1 and first = any($2)`), name, firsts); err != nil {
		return 0, err
	}
	_, err = tx.Exec(ctx, j.sql(`insert into bridge.gap (reader, first, behind, first_at, last_at) values ($1, $2, $3, $4, $5)`),
		name, int64(gap.GetFrom()), int64(gap.GetTo()), gap.GetFirstAt().AsTime().UnixNano(), gap.GetLastAt().AsTime().UnixNano())
	return added, err
}

// gaps returns the gaps of a reader, or of all when the name is empty, in order.
func (j *Journal) gaps(ctx context.Context, q querier, name string) ([]*journalv1.Gap, error) {
	rows, err := q.Query(ctx, j.sql(`select reader, first, behind, first_at, last_at from bridge.gap
		where reader = $1 or $1 = '' order by reader collate "C", first`), name)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (*journalv1.Gap, error) {
		g := new(journalv1.Gap)
		var from, to, first, last int64
		err := row.Scan(&g.Sink, &from, &to, &first, &last)
		g.From, g.To = uint64(from), uint64(to)
		g.FirstAt, g.LastAt = timestamppb.New(time.Unix(0, first)), timestamppb.New(time.Unix(0, last))
		return g, err
	})
}

// Gaps implements [journal.DeadLetters].
func (j *Journal) Gaps(ctx context.Context, name string) (all []*journalv1.Gap, err error) {
	err = j.view(ctx, func(ctx context.Context, tx pgx.Tx) error {
		all, err = j.gaps(ctx, tx, name)
		return err
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}
