package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/page"
	"github.com/webhook-bridge/bridge/sinks"
)

// storedWebhook is a row of the tables webhook and quarantined.
type storedWebhook struct {
	id        uuid.UUID
	first     int64
	events    int32
	duplicate bool
	encoded   []byte
}

// decode returns the webhook, with the fields that the journal sets.
func (s *storedWebhook) decode() (*journalv1.Webhook, error) {
	w := new(journalv1.Webhook)
	if err := proto.Unmarshal(s.encoded, w); err != nil {
		return nil, fmt.Errorf("webhook %s: %w: %w", s.id, errCorrupt, err)
	}
	w.FirstPosition, w.EventCount, w.Duplicate = 0, uint32(s.events), s.duplicate
	if w.EventCount > 0 {
		w.FirstPosition = uint64(s.first)
	}
	return w, nil
}

// selectWebhook reads one webhook. $2 is the time in its id. Where retention is about to remove it, it is gone.
const selectWebhook = `select id, first, events, duplicate, encoded from bridge.webhook
		where id = $1 and $2 >= (select webhooks_from from bridge.log)
	union all
	select id, first, events, duplicate, encoded from bridge.quarantined
		where id = $1 and $2 >= (select quarantined_from from bridge.log)`

// millis returns the time in an id of version 7, in Unix milliseconds.
func millis(id uuid.UUID) int64 { return int64(binary.BigEndian.Uint64(id[:]) >> 16) }

// Webhook implements [journal.Archive].
func (j *Journal) Webhook(ctx context.Context, id string) (*journalv1.Webhook, error) {
	u, err := journal.ParseID(id)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", journal.ErrNotFound, err)
	}
	var w *journalv1.Webhook
	err = j.view(ctx, func(ctx context.Context, tx pgx.Tx) error {
		var s storedWebhook
		err := tx.QueryRow(ctx, j.sql(selectWebhook), u, millis(u)).Scan(&s.id, &s.first, &s.events, &s.duplicate, &s.encoded)
		if errors.Is(err, pgx.ErrNoRows) {
			return journal.ErrNotFound
		}
		if err == nil {
			w, err = s.decode()
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return w, nil
}

// selectCorrections reads the corrections of a webhook that is stored. $2 is the time in its id.
const selectCorrections = `select first, indexes from bridge.correction where webhook = $1 and exists (
		select 1 from bridge.webhook where id = $1 and $2 >= (select webhooks_from from bridge.log)
		union all
		select 1 from bridge.quarantined where id = $1 and $2 >= (select quarantined_from from bridge.log)
	) order by first`

// Corrections implements [journal.Archive].
func (j *Journal) Corrections(ctx context.Context, webhookID string) (all []journal.Correction, err error) {
	u, err := journal.ParseID(webhookID)
	if err != nil {
		return nil, nil //nolint:nilerr // there is no such webhook
	}
	err = j.view(ctx, func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, j.sql(selectCorrections), u, millis(u))
		if err != nil {
			return err
		}
		all = nil
		var first int64
		var indexes []int32
		_, err = pgx.ForEachRow(rows, []any{&first, &indexes}, func() error {
			for i, index := range indexes {
				all = append(all, journal.Correction{Index: uint32(index), Position: sinks.Position(first) + sinks.Position(i)})
			}
			return nil
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("journal: corrections: %w", err)
	}
	return all, nil
}

// selectDrift reads all counts, in the order of the contract.
const selectDrift = `select connector, event, path, kind, count, first_at, last_at, first_webhook, last_webhook, sample from bridge.drift
	order by connector collate "C", event collate "C", path collate "C", kind`

// Drift implements [journal.Archive].
func (j *Journal) Drift(ctx context.Context) (all []*journalv1.DriftCount, err error) {
	err = j.view(ctx, func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, j.sql(selectDrift))
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, scanDrift)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("journal: drift: %w", err)
	}
	return all, nil
}

func scanDrift(row pgx.CollectableRow) (*journalv1.DriftCount, error) {
	d := new(journalv1.DriftCount)
	var kind int32
	var count, firstAt, lastAt int64
	var first, last uuid.UUID
	err := row.Scan(&d.Connector, &d.VendorEvent, &d.Path, &kind, &count, &firstAt, &lastAt, &first, &last, &d.Sample)
	d.Kind, d.Count = journalv1.DriftKind(kind), uint64(count)
	d.FirstAt, d.LastAt = timestamppb.New(time.Unix(0, firstAt)), timestamppb.New(time.Unix(0, lastAt))
	d.FirstWebhookId, d.LastWebhookId = first.String(), last.String()
	if len(d.GetSample()) == 0 {
		d.Sample = nil
	}
	return d, err
}

// Newest implements [journal.Archive].
func (j *Journal) Newest(ctx context.Context, sources []string) (map[string]time.Time, error) {
	return page.Newest(ctx, j.cfg.clock()(), sources, j.Find)
}

var _ journal.Archive = (*Journal)(nil)
