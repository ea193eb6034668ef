package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/webhook-bridge/bridge/internal/journal"
)

const (
	// sliceBlocks is how many blocks of a table one transaction looks at, and minSlices how many of these a pass has at least. A larger
	// table is swept in sweepPasses.
	sliceBlocks = 256
	minSlices   = 64
	sweepPasses = 360
	// correctionsAtOnce bounds the corrections that one transaction removes.
	correctionsAtOnce = 5000
)

// sweep removes old rows from a table, slice by slice, pass by pass, and begins again at the end. It needs no index on the time, which
// each commit would have to pay for.
type sweep struct{ block int64 }

// removeCorrections removes the corrections of webhooks that are no longer kept.
func (p *pass) removeCorrections(ctx context.Context) error {
	_, webhooks, quarantined, err := p.limitsNow(ctx)
	if err != nil {
		return err
	}
	for removed := int64(correctionsAtOnce); removed == correctionsAtOnce; {
		err := p.c.write(ctx, "remove corrections", func(ctx context.Context, tx pgx.Tx) error {
			if _, err := p.c.fence(ctx, tx); err != nil {
				return err
			}
			tag, err := tx.Exec(ctx, p.j.sql(`delete from bridge.correction where (webhook, first) in (
				select c.webhook, c.first from bridge.correction c where c.webhook < $1::uuid
					and (c.webhook < $2::uuid or not exists (select from bridge.quarantined q where q.id = c.webhook)) limit $3)`),
				journal.IDAt(webhooks), journal.IDAt(quarantined), correctionsAtOnce)
			removed = tag.RowsAffected()
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// sweep removes contents and versions that no window reaches.
func (p *pass) sweep(ctx context.Context) error {
	if p.believed.IsZero() {
		return nil
	}
	oldest := p.believed.Add(-p.j.cfg.DedupeAge)
	for i, table := range []string{"dedupe", "version"} {
		if err := p.sweepTable(ctx, table, &p.r.sweeps[i], oldest); err != nil {
			return fmt.Errorf("table %s: %w", table, err)
		}
	}
	return nil
}

// sweepTable looks at the next slices of a table.
func (p *pass) sweepTable(ctx context.Context, table string, s *sweep, oldest time.Time) error {
	var blocks int64
	err := p.j.pool.QueryRow(ctx, `select pg_relation_size(to_regclass($1)) / current_setting('block_size')::bigint`,
		p.j.cfg.Schema+"."+table).Scan(&blocks)
	if err != nil {
		return err
	}
	looked := int64(0)
	for quota := max(minSlices*sliceBlocks, blocks/sweepPasses); looked < min(quota, blocks); looked += sliceBlocks {
		if s.block >= blocks {
			s.block = 0
		}
		if err := p.c.check(); err != nil {
			return err
		}
		if err := p.sweepSlice(ctx, table, s.block, oldest); err != nil {
			return err
		}
		s.block += sliceBlocks
	}
	return nil
}

// sweepSlice removes the old rows of a slice. It leaves out rows that the committer writes to, so that neither waits for the other.
func (p *pass) sweepSlice(ctx context.Context, table string, block int64, oldest time.Time) error {
	return p.c.write(ctx, "remove old contents", func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, p.j.sql(fmt.Sprintf(`delete from bridge.%[1]s where ctid = any(array(select ctid from bridge.%[1]s
			where ctid >= $1::text::tid and ctid < $2::text::tid and (at < $3 or epoch < $4) for update skip locked))`, table)),
			fmt.Sprintf("(%d,0)", block), fmt.Sprintf("(%d,0)", block+sliceBlocks), nanoseconds(oldest), p.firstLiving(oldest))
		return err
	})
}

// firstLiving is the number of the first epoch in which something may count as committed at a time or later. The contents of a clock that was
// ahead go by their epoch.
func (p *pass) firstLiving(oldest time.Time) int64 {
	i := 0
	for i+1 < p.epochs.Len() && p.epochs.LimitAt(i) < nanoseconds(oldest) {
		i++
	}
	return int64(p.epochs.At(i).Number)
}
