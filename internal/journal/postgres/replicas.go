package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
)

// selectReplicas selects the instances that were seen lately, with the names whose leases they hold. The lag of an instance is
// counted to the log's end of now, for this instance too.
const selectReplicas = `select r.id, r.name, r.version, r.started, r.seen, r.ended, greatest(l.next - r.shown, 0), r.counts,
	array(select c.name from bridge.reader c where c.owner = r.id and c.until > clock_timestamp() order by c.name)
	from bridge.replica r, bridge.log l
	where r.seen > clock_timestamp() - interval '1 hour' or r.id = $1`

// Replicas implements [journal.Replicas]. It says nothing of the log's content, so it needs no confirmation.
func (j *Journal) Replicas(ctx context.Context) ([]journal.Replica, error) {
	if err := j.ready(ctx); err != nil {
		return nil, err
	}
	rows, err := j.pool.Query(ctx, j.sql(selectReplicas+` order by r.name, r.id`), j.replica)
	if err != nil {
		return nil, j.answer(ctx, err)
	}
	all, err := pgx.CollectRows(rows, j.scanReplica)
	return all, j.answer(ctx, err)
}

func (j *Journal) scanReplica(row pgx.CollectableRow) (r journal.Replica, err error) {
	var id uuid.UUID
	var lag int64
	var counts []byte
	if err := row.Scan(&id, &r.Name, &r.Version, &r.Started, &r.Seen, &r.Ended, &lag, &counts, &r.Claims); err != nil {
		return r, err
	}
	r.ID, r.Self, r.Lag = id.String(), id == j.replica, uint64(lag)
	if len(r.Claims) == 0 {
		r.Claims = nil
	}
	all := new(journalv1.ReplicaCounts)
	if err := proto.Unmarshal(counts, all); err != nil {
		return r, fmt.Errorf("counts of replica %s: %w", strings.TrimSpace(r.Name), err)
	}
	r.Report = journal.Report{Counts: all.GetCounts(), Config: all.GetConfig()}
	return r, nil
}

// reportTime bounds a report. It is sent every few seconds.
const reportTime = 5 * time.Second

// errReporting is returned while the last report is still under way: the database does not confirm it.
var errReporting = fmt.Errorf("%w: the last report is not confirmed yet", journal.ErrUnavailable)

// Report implements [journal.Replicas]. At most one report is under way, so that a database that hangs does not cost a session for each.
func (j *Journal) Report(ctx context.Context, r journal.Report) error {
	encoded, err := proto.Marshal(&journalv1.ReplicaCounts{Counts: r.Counts, Config: r.Config})
	if err != nil {
		return fmt.Errorf("journal: report: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, reportTime)
	defer cancel()
	if !j.reporting.CompareAndSwap(false, true) {
		return errReporting
	}
	return j.updateThen(ctx, "report", func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, j.sql(`update bridge.replica set counts = $2, seen = clock_timestamp() where id = $1`), j.replica, encoded)
		return err
	}, func(error) { j.reporting.Store(false) })
}
