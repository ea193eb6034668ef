package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/commit"
	"github.com/webhook-bridge/bridge/internal/journal/letters"
	"github.com/webhook-bridge/bridge/internal/journal/move"
)

// movedTable is where the records of a kind go. They are copied to a temporary table, and from there to their own, so that a record may
// come twice.
type movedTable struct {
	name, columns, types string
	// key are the columns of the primary key, and condition says which of two records stays. Empty is the one that comes.
	key, condition string
	row            func(move.Record) ([]any, error)
}

var movedTables = map[move.Kind]movedTable{
	move.Events: {
		name: "event", columns: "position, at, encoded", types: "bigint, bigint, bytea", key: "position", row: eventMovedRow,
	},
	move.Webhooks: {
		name: "webhook", columns: "id, first, events, duplicate, encoded", types: "uuid, bigint, int, boolean, bytea", key: "id", row: webhookMovedRow,
	},
	move.Keys: {
		name: "dedupe", columns: "key, epoch, at, contents", types: "bytea, int, bigint, bytea", key: "key", row: keyMovedRow,
	},
	move.Versions: {
		name: "version", columns: "subject, epoch, at, version", types: "bytea, int, bigint, bytea", key: "subject",
		condition: "(excluded.epoch, excluded.at) >= (t.epoch, t.at)", row: versionMovedRow,
	},
	move.Quarantined: {
		name: "quarantined", columns: "id, first, events, duplicate, encoded, released", types: "uuid, bigint, int, boolean, bytea, boolean", key: "id",
		row: func(r move.Record) ([]any, error) {
			row, err := webhookMovedRow(r)
			return append(row, r.(*move.Webhook).Released), err //nolint:forcetypeassert // webhookMovedRow has looked
		},
	},
	move.Corrections: {
		name: "correction", columns: "webhook, first, indexes, at", types: "uuid, bigint, int[], bigint", key: "webhook, first", row: movedCorrectionRow,
	},
	move.Drift: {
		name: "drift", columns: "connector, event, path, kind, count, first_at, last_at, first_webhook, last_webhook, sample",
		types: "text, text, text, int, bigint, bigint, bigint, uuid, uuid, bytea", key: "connector, event, path, kind", row: driftMovedRow,
	},
	move.Readers: {
		name: "reader", columns: "name, position, touched, paused, moved", types: "text, bigint, bigint, boolean, bigint", key: "name",
		row: readerMovedRow,
	},
	move.Parked: {
		name: "parked", columns: "reader, position, at, encoded", types: "text, bigint, bigint, bytea", key: "reader, position", row: parkedMovedRow,
	},
	move.Gaps: {
		name: "gap", columns: "reader, first, behind, first_at, last_at", types: "text, bigint, bigint, bigint, bigint", key: "reader, first", row: gapMovedRow,
	},
	move.Requests: {
		name: "request", columns: "reader, position, kind, at", types: `text, bigint, "char", bigint`, key: "reader, position, kind", row: requestMovedRow,
	},
	move.Replays: {
		name: "replay", columns: "id, reader, ended, encoded", types: "text, text, boolean, bytea", key: "id", row: replayMovedRow,
	},
	move.Groups: {
		name: "groups", columns: "name, version, definition", types: "text, bigint, bytea", key: "name", row: groupMovedRow,
	},
	move.Shares: {
		name: "share", columns: "group_name, index, epoch, version, state", types: "text, int, bigint, bigint, bytea", key: "group_name, index",
		row: shareMovedRow,
	},
}

var errMovedType = errors.New("journal: a record of another type than its kind's")

func eventMovedRow(r move.Record) ([]any, error) {
	e, ok := r.(*move.Event)
	if !ok {
		return nil, errMovedType
	}
	return []any{int64(e.Position), e.At, e.Encoded}, nil
}

func webhookMovedRow(r move.Record) ([]any, error) {
	w, ok := r.(*move.Webhook)
	if !ok {
		return nil, errMovedType
	}
	return []any{[16]byte(w.ID), int64(w.First), int32(w.Events), w.Duplicate, w.Encoded}, nil
}

func keyMovedRow(r move.Record) ([]any, error) {
	k, ok := r.(*move.Key)
	if !ok {
		return nil, errMovedType
	}
	v := make([]byte, 0, movedContentLen*len(k.Contents))
	for _, s := range k.Contents {
		v = binary.BigEndian.AppendUint64(v, uint64(s.At.UnixNano()))
		v = append(append(v, s.Bytes[:]...), s.Meaning[:]...)
	}
	return []any{k.Hash[:], int32(k.Epoch), k.At(), v}, nil
}

func versionMovedRow(r move.Record) ([]any, error) {
	v, ok := r.(*move.Version)
	if !ok {
		return nil, errMovedType
	}
	return []any{v.Subject[:], int32(v.Epoch), v.At, []byte(v.Text)}, nil
}

func movedCorrectionRow(r move.Record) ([]any, error) {
	c, ok := r.(*move.Correction)
	if !ok {
		return nil, errMovedType
	}
	indexes := make([]int32, len(c.Indexes))
	for i, n := range c.Indexes {
		indexes[i] = int32(n)
	}
	return []any{[16]byte(c.Webhook), int64(c.First), indexes, c.At}, nil
}

func driftMovedRow(r move.Record) ([]any, error) {
	d, ok := r.(move.DriftCount)
	if !ok {
		return nil, errMovedType
	}
	first, err := idOf(d.GetFirstWebhookId())
	last, err2 := idOf(d.GetLastWebhookId())
	sample := d.GetSample()
	if sample == nil {
		sample = []byte{}
	}
	return []any{
		d.GetConnector(), d.GetVendorEvent(), d.GetPath(), int32(d.GetKind()), int64(d.GetCount()),
		d.GetFirstAt().AsTime().UnixNano(), d.GetLastAt().AsTime().UnixNano(), first, last, sample,
	}, errors.Join(err, err2)
}

// idOf is the inverse of idText.
func idOf(text string) ([16]byte, error) {
	if text == "" {
		return uuid.Nil, nil
	}
	return uuid.Parse(text)
}

func readerMovedRow(r move.Record) ([]any, error) {
	one, ok := r.(*move.Reader)
	if !ok {
		return nil, errMovedType
	}
	moved := int64(0)
	if one.Moved {
		moved = int64(one.Position)
	}
	return []any{one.Name, int64(one.Position), one.Touched, one.Paused, moved}, nil
}

func parkedMovedRow(r move.Record) ([]any, error) {
	p, ok := r.(move.ParkedEvent)
	if !ok {
		return nil, errMovedType
	}
	at := p.GetParkedAt()
	if at == nil { // of an older version
		at = p.GetLastAttemptAt()
	}
	encoded, err := proto.Marshal(p.Parked)
	return []any{p.GetSink(), int64(p.GetPosition()), at.AsTime().UnixNano(), encoded}, err
}

func gapMovedRow(r move.Record) ([]any, error) {
	g, ok := r.(move.Gap)
	if !ok {
		return nil, errMovedType
	}
	return []any{g.GetSink(), int64(g.GetFrom()), int64(g.GetTo()), g.GetFirstAt().AsTime().UnixNano(), g.GetLastAt().AsTime().UnixNano()}, nil
}

func requestMovedRow(r move.Record) ([]any, error) {
	q, ok := r.(*move.Request)
	if !ok {
		return nil, errMovedType
	}
	return []any{q.Reader, int64(q.Position), q.Kind, q.At}, nil
}

func replayMovedRow(r move.Record) ([]any, error) {
	one, ok := r.(move.Replay)
	if !ok {
		return nil, errMovedType
	}
	encoded, err := proto.Marshal(one.Replay)
	return []any{one.GetId(), one.GetSink(), letters.HasEnded(one.Replay), encoded}, err
}

// Prepare implements [move.Target].
func (t *Transfer) Prepare(ctx context.Context, l move.Log, n move.Note) error {
	err := t.j.transact(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, t.j.sql(`select 1 from bridge.log for no key update`)); err != nil {
			return err
		}
		var err error
		if t.note, err = t.readNote(ctx, tx); err != nil {
			return err
		}
		if err := t.refuseOccupied(ctx, tx); err != nil { // an instance may have begun to use it
			return err
		}
		last := l.Epochs[len(l.Epochs)-1]
		_, err = tx.Exec(ctx, t.j.sql(`update bridge.log set id = $1, next = $2, kept = $3, last_commit = $4, epoch = $5,
			webhooks_from = $6, quarantined_from = $7, move = $8`), l.ID, int64(l.Bounds.Next), int64(l.Bounds.Earliest), l.Stamp.At,
			int64(last.Number), l.WebhooksFrom, l.QuarantinedFrom, n.Encode())
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, t.j.sql(`delete from bridge.epoch`)); err != nil {
			return err
		}
		for _, e := range l.Epochs {
			_, err := tx.Exec(ctx, t.j.sql(`insert into bridge.epoch (number, id, first, floor) values ($1, $2, $3, $4)`),
				int64(e.Number), int64(e.ID), int64(e.First), e.Floor)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return describe(err)
	}
	t.note = &n
	_, err = t.Log(ctx)
	return err
}

// Write implements [move.Target]. It does not wait until the records are durable: what is written later, and waited for, is behind them.
func (t *Transfer) Write(ctx context.Context, k move.Kind, records []move.Record, n move.Note) error {
	table := movedTables[k]
	if err := t.makePartitions(ctx, records); err != nil {
		return describe(err)
	}
	err := pgx.BeginFunc(ctx, t.j.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "set local synchronous_commit = off"); err != nil {
			return err
		}
		unique, err := t.unite(ctx, tx, records)
		if err != nil {
			return err
		}
		if err := t.copyRows(ctx, tx, table, unique); err != nil {
			return err
		}
		least := firstFormat
		if k == move.Groups && len(records) > 0 {
			least = groupsFormat
		}
		_, err = tx.Exec(ctx, t.j.sql(`update bridge.log set move = $1, format = greatest(format, $2)`), n.Encode(), least)
		return err
	})
	return describe(err)
}

// copyRows copies the records to a temporary table, and from there to their own.
func (t *Transfer) copyRows(ctx context.Context, tx pgx.Tx, table movedTable, records []move.Record) error {
	columns, types := strings.Split(table.columns, ", "), strings.Split(table.types, ", ")
	var definition, set []string
	for i, c := range columns {
		definition = append(definition, c+" "+types[i])
		if !strings.Contains(", "+table.key+",", ", "+c+",") {
			set = append(set, c+" = excluded."+c)
		}
	}
	temporary := "moved_" + table.name
	_, err := tx.Exec(ctx, fmt.Sprintf("create temporary table %s (%s) on commit drop", temporary, strings.Join(definition, ", ")))
	if err != nil {
		return err
	}
	rows := pgx.CopyFromSlice(len(records), func(i int) ([]any, error) { return table.row(records[i]) })
	if _, err := tx.CopyFrom(ctx, pgx.Identifier{temporary}, columns, rows); err != nil {
		return err
	}
	action := "do nothing"
	if len(set) > 0 {
		action = "do update set " + strings.Join(set, ", ")
	}
	if table.condition != "" {
		action += " where " + table.condition
	}
	_, err = tx.Exec(ctx, t.j.sql(fmt.Sprintf("insert into bridge.%s as t (%s) select %s from %s on conflict (%s) %s",
		table.name, table.columns, table.columns, temporary, table.key, action)))
	return err
}

// unite makes one record of several for one key, and of a key that the target has already.
func (t *Transfer) unite(ctx context.Context, tx pgx.Tx, records []move.Record) ([]move.Record, error) {
	versions := map[journal.Hash]*move.Version{}
	keys := map[journal.Hash]*move.Key{}
	var unique []move.Record
	for _, r := range records {
		switch r := r.(type) {
		case *move.Key:
			if keys[r.Hash] == nil {
				keys[r.Hash] = &move.Key{Hash: r.Hash, Epoch: r.Epoch, Contents: r.Contents}
				unique = append(unique, keys[r.Hash])
				continue
			}
			t.addContents(keys[r.Hash], r)
		case *move.Version:
			if versions[r.Subject] == nil {
				versions[r.Subject] = new(move.Version)
				unique = append(unique, versions[r.Subject])
			}
			if v := versions[r.Subject]; v.Text == "" || (move.Stamp{Epoch: r.Epoch, At: r.At + 1}).Before(v.Epoch, v.At) {
				*v = *r
			}
		default:
			return records, nil
		}
	}
	if len(keys) == 0 {
		return unique, nil
	}
	err := t.eachKey(ctx, tx, keys, func(stored *move.Key) { t.addContents(keys[stored.Hash], stored) })
	return unique, err
}

// addContents adds another record of a key. Contents of the earlier epoch get the times that they count as.
func (t *Transfer) addContents(k, another *move.Key) {
	number := max(k.Epoch, another.Epoch)
	all := append(t.timesIn(number, k), t.timesIn(number, another)...)
	k.Epoch, k.Contents = number, commit.Newest(all)
}

// timesIn returns the contents of a record with times for a record of a later epoch, or of the same.
func (t *Transfer) timesIn(number uint32, k *move.Key) []journal.Seen {
	all := make([]journal.Seen, 0, len(k.Contents))
	for _, s := range k.Contents {
		if k.Epoch < number {
			s.At = time.Unix(0, min(s.At.UnixNano(), t.epochs.Limit(k.Epoch)))
		}
		all = append(all, s)
	}
	return all
}

// eachKey calls f with what the table has under keys.
func (t *Transfer) eachKey(ctx context.Context, q querier, keys map[journal.Hash]*move.Key, f func(*move.Key)) error {
	hashes := make([][]byte, 0, len(keys))
	for h := range keys {
		hashes = append(hashes, append([]byte(nil), h[:]...))
	}
	rows, err := q.Query(ctx, t.j.sql(`select key, epoch, at, contents from bridge.dedupe where key = any($1)`), hashes)
	if err != nil {
		return err
	}
	stored, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (move.Record, error) { return scanKeyed(row, move.Keys) })
	for _, r := range stored {
		if k, ok := r.(*move.Key); ok {
			f(k)
		}
	}
	return err
}

// Clear implements [move.Target].
func (t *Transfer) Clear(ctx context.Context, k move.Kind) error {
	_, err := t.j.pool.Exec(ctx, t.j.sql(`delete from bridge.`+movedTables[k].name))
	return describe(err)
}

// Missing implements [move.Target]. A record is there if all of its contents are, at their times or later, or if its version is, or a newer one.
func (t *Transfer) Missing(ctx context.Context, k move.Kind, records []move.Record) (missing int, err error) {
	if k == move.Versions {
		missing, err = t.missingVersions(ctx, records)
	} else {
		missing, err = t.missingKeys(ctx, records)
	}
	return missing, describe(err)
}

func (t *Transfer) missingKeys(ctx context.Context, records []move.Record) (missing int, err error) {
	keys := map[journal.Hash]*move.Key{}
	for _, r := range records {
		if k, ok := r.(*move.Key); ok {
			keys[k.Hash] = nil
		}
	}
	if err := t.eachKey(ctx, t.j.pool, keys, func(stored *move.Key) { keys[stored.Hash] = stored }); err != nil {
		return 0, err
	}
	for _, r := range records {
		if k, ok := r.(*move.Key); ok && (keys[k.Hash] == nil || !t.covers(keys[k.Hash], k)) {
			missing++
		}
	}
	return missing, nil
}

// covers reports whether a record has all contents of another. The oldest ones may be gone from a full record.
func (t *Transfer) covers(k, another *move.Key) bool {
	const last = 1<<32 - 1
	have := map[[32]byte]time.Time{}
	for _, s := range t.timesIn(last, k) {
		have[[32]byte(append(append([]byte(nil), s.Bytes[:]...), s.Meaning[:]...))] = s.At
	}
	full := len(have) >= commit.MaxContents
	for _, s := range t.timesIn(last, another) {
		at, ok := have[[32]byte(append(append([]byte(nil), s.Bytes[:]...), s.Meaning[:]...))]
		if !ok && !full || ok && at.Before(s.At) {
			return false
		}
	}
	return true
}

func (t *Transfer) missingVersions(ctx context.Context, records []move.Record) (missing int, err error) {
	subjects := make([][]byte, 0, len(records))
	for _, r := range records {
		if v, ok := r.(*move.Version); ok {
			subjects = append(subjects, v.Subject[:])
		}
	}
	rows, err := t.j.pool.Query(ctx, t.j.sql(`select subject, epoch, at, version from bridge.version where subject = any($1)`), subjects)
	if err != nil {
		return 0, err
	}
	stored, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (move.Record, error) { return scanKeyed(row, move.Versions) })
	if err != nil {
		return 0, err
	}
	have := map[journal.Hash]*move.Version{}
	for _, r := range stored {
		if v, ok := r.(*move.Version); ok {
			have[v.Subject] = v
		}
	}
	for _, r := range records {
		v, ok := r.(*move.Version)
		if !ok {
			continue
		}
		h := have[v.Subject]
		newer := h != nil && (move.Stamp{Epoch: h.Epoch, At: h.At}).Before(v.Epoch, v.At)
		if h == nil || !newer && *h != *v {
			missing++
		}
	}
	return missing, nil
}

// Finish implements [move.Target].
func (t *Transfer) Finish(ctx context.Context, _ move.Log) error {
	if err := t.setNote(ctx, ""); err != nil {
		return err
	}
	t.note = nil
	return nil
}
