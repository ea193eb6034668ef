package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/webhook-bridge/bridge/internal/journal"
)

// spaceEvery is how often the size of the tables is measured, and spaceTimeout how long that may take.
const (
	spaceEvery   = 10 * time.Second
	spaceTimeout = 5 * time.Second
)

// runSpace refuses webhooks while the tables are larger than the budget, until the journal closes. The free space of the database's
// disk cannot be seen.
func (j *Journal) runSpace() {
	for !j.isClosing() {
		if bytes, err := j.measure(j.ctx); err == nil { // the committer reports a database that is away
			j.checkSpace(bytes)
		}
		j.pause(spaceEvery)
	}
}

// measure returns the size of all tables, with their indexes.
func (j *Journal) measure(ctx context.Context) (bytes int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, spaceTimeout)
	defer cancel()
	err = j.pool.QueryRow(ctx, `select coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint
		from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 and c.relkind = 'r'`, j.cfg.Schema).Scan(&bytes)
	return bytes, err
}

// checkSpace refuses everything but discards if there is no room.
func (j *Journal) checkSpace(bytes int64) {
	var low error
	if bytes > j.cfg.Budget {
		low = fmt.Errorf("%w: the tables have %d bytes, and may have %d", journal.ErrUnavailable, bytes, j.cfg.Budget)
	}
	before := j.queue.SetLow(low)
	switch {
	case before == nil && low != nil:
		j.cfg.Logger.Error("journal: the tables are too large; refusing webhooks", "bytes", bytes, "budget", j.cfg.Budget)
	case before != nil && low == nil:
		j.cfg.Logger.Info("journal: there is room again", "bytes", bytes)
	}
}
