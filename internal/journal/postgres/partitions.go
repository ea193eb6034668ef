package postgres

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// A partition is made beside its table and attached: that waits for nobody, and nobody waits for it. It is detached concurrently and
// dropped then, for the same reason. Dropping it at once would have all readers wait, for as long as the commit waits for a standby.

// Tables that have partitions.
const (
	eventTable       = "event"
	webhookTable     = "webhook"
	quarantinedTable = "quarantined"
)

const (
	// partitionsAhead is how many partitions are made ahead: of events, and of days.
	partitionsAhead = 2
	// creations is how often an instance tries again when others make the same partitions. Each failure means that another one has made one.
	creations = 20
	day       = 24 * time.Hour
)

// partition is a part of a table: of events those from position first up to behind, of webhooks those with ids of a day.
type partition struct {
	table, name string
	// first and behind are the bounds of events.
	first, behind sinks.Position
	// end is the end of the day of webhooks.
	end time.Time
	// pending: it was being detached when its instance stopped.
	pending bool
	bytes   int64
}

var boundsText = regexp.MustCompile(`^FOR VALUES FROM \('([^']+)'\) TO \('([^']+)'\)$`)

// partitions returns all partitions, in the order of their bounds, with their sizes if these are asked for.
func (j *Journal) partitions(ctx context.Context, q querier, sizes bool) ([]partition, error) {
	rows, err := q.Query(ctx, `select p.relname, c.relname, coalesce(pg_get_expr(c.relpartbound, c.oid), ''), i.inhdetachpending,
			case when $2 then pg_total_relation_size(c.oid) else 0 end
		from pg_inherits i join pg_class c on c.oid = i.inhrelid join pg_class p on p.oid = i.inhparent
			join pg_namespace n on n.oid = p.relnamespace
		where n.nspname = $1 and p.relkind = 'p' and c.relkind = 'r' order by c.oid`, j.cfg.Schema, sizes)
	if err != nil {
		return nil, err
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (p partition, err error) {
		var bounds string
		if err := row.Scan(&p.table, &p.name, &bounds, &p.pending, &p.bytes); err != nil {
			return p, err
		}
		return p, p.parse(bounds)
	})
	return all, err
}

// parse reads the bounds. One that is being detached has none any more.
func (p *partition) parse(bounds string) error {
	m := boundsText.FindStringSubmatch(bounds)
	switch {
	case m == nil && p.pending:
		return nil
	case m == nil:
		return fmt.Errorf("%w: partition %s has the bounds %q", errPlan, p.name, bounds)
	case p.table == eventTable:
		first, err := strconv.ParseInt(m[1], 10, 64)
		behind, other := strconv.ParseInt(m[2], 10, 64)
		p.first, p.behind = sinks.Position(first), sinks.Position(behind)
		return errors.Join(err, other)
	}
	id, err := journal.ParseID(m[2])
	if err != nil {
		return err
	}
	sec, nsec := id.Time().UnixTime()
	p.end = time.Unix(sec, nsec).UTC()
	return nil
}

// ensurePartitions makes the partitions for positions up to a given one, with some more ahead, and for webhooks that were received on
// certain days, where they are missing.
func (j *Journal) ensurePartitions(ctx context.Context, upTo sinks.Position, days []time.Time) (err error) {
	for range creations {
		var missing []partition
		if missing, err = j.missingPartitions(ctx, upTo, days); err != nil {
			return err
		}
		if len(missing) == 0 {
			return nil
		}
		for _, p := range missing {
			if err = j.createPartition(ctx, p); err != nil {
				break
			}
		}
		switch code(err) {
		case "": // made, or the session failed
			return err
		case "42P07": // another instance was faster, or was about to drop it
			if err := j.dropDetached(ctx); err != nil {
				return err
			}
		case "23505", "42710", "42P17", "40P01": // another instance was faster
		default:
			return err
		}
	}
	return err
}

func (j *Journal) missingPartitions(ctx context.Context, upTo sinks.Position, days []time.Time) (missing []partition, err error) {
	all, err := j.partitions(ctx, j.pool, false)
	if err != nil {
		return nil, err
	}
	size := sinks.Position(j.cfg.eventsPerPartition)
	// The first partition begins at a multiple of the size below everything that there is.
	behind := (min(upTo, j.Bounds().Earliest) - 1) / size * size
	known := make(map[string]bool)
	for _, p := range all {
		known[p.name] = true
		behind = max(behind, p.behind)
	}
	for ; behind <= upTo+(partitionsAhead-1)*size; behind += size {
		missing = append(missing, partition{table: eventTable, name: fmt.Sprint("event_", behind), first: behind, behind: behind + size})
	}
	for _, d := range days {
		for _, table := range []string{webhookTable, quarantinedTable} {
			p := partition{table: table, name: table + "_" + d.UTC().Format("20060102"), end: d.UTC().Truncate(day).Add(day)}
			if !known[p.name] {
				known[p.name] = true
				missing = append(missing, p)
			}
		}
	}
	return missing, nil
}

// createPartition makes a partition.
func (j *Journal) createPartition(ctx context.Context, p partition) error {
	from, to := strconv.FormatUint(uint64(p.first), 10), strconv.FormatUint(uint64(p.behind), 10)
	if p.table != eventTable {
		from, to = "'"+journal.IDAt(p.end.Add(-day))+"'", "'"+journal.IDAt(p.end)+"'"
	}
	return j.transact(context.WithoutCancel(ctx), func(ctx context.Context, tx pgx.Tx) error {
		for _, text := range []string{
			fmt.Sprintf("create table bridge.%s (like bridge.%s including all)", p.name, p.table),
			fmt.Sprintf("alter table bridge.%s attach partition bridge.%s for values from (%s) to (%s)", p.table, p.name, from, to),
		} {
			if _, err := tx.Exec(ctx, j.sql(text)); err != nil {
				return err
			}
		}
		return nil
	})
}

// dropPartitions detaches and drops partitions, and what is left of those that were detached before.
func (j *Journal) dropPartitions(ctx context.Context, all []partition, gone func(partition) bool) error {
	conn, err := j.connect(ctx)
	if err != nil {
		return err
	}
	defer disconnect(conn)
	ctx = context.WithoutCancel(ctx) // a detachment that is cancelled stays half done
	for _, p := range all {
		if p.pending {
			if _, err := conn.Exec(ctx, j.sql(fmt.Sprintf("alter table bridge.%s detach partition bridge.%s finalize", p.table, p.name))); err != nil {
				return err
			}
		}
	}
	for _, p := range all {
		if p.pending || !gone(p) {
			continue
		}
		if _, err := conn.Exec(ctx, j.sql(fmt.Sprintf("alter table bridge.%s detach partition bridge.%s concurrently", p.table, p.name))); err != nil {
			return err
		}
		j.cfg.Logger.Info("journal: a partition is removed", "partition", p.name)
	}
	return j.dropDetached(ctx)
}

// dropDetached drops the tables that were partitions. One that is being made is seen only once it is attached.
func (j *Journal) dropDetached(ctx context.Context) error {
	rows, err := j.pool.Query(ctx, `select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where n.nspname = $1 and c.relkind = 'r' and not c.relispartition and c.relname ~ '^(event|webhook|quarantined)_[0-9]+$'
			and not exists (select from pg_inherits where inhrelid = c.oid)`, j.cfg.Schema)
	if err != nil {
		return err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, name := range names {
		if _, err := j.pool.Exec(ctx, j.sql("drop table if exists bridge."+name)); err != nil {
			return err
		}
	}
	return nil
}
