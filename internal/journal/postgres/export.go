package postgres

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/move"
)

// A page of a move has at most movedRecords records, and ends behind the record with which it has movedBytes.
const (
	movedRecords = 10_000
	movedBytes   = 16 << 20
	// movedBlocks is how many blocks of a table without an order of use a page covers, and sparseBlocks where only few rows count.
	movedBlocks  = 128
	sparseBlocks = 16 << 10
)

// movedRow is a record, the place behind which the next page begins, and about its size.
type movedRow struct {
	record move.Record
	place  string
	size   int
}

// movedQuery is how the records of a kind are read: by a query with a limit as its last argument, in the order of its key.
type movedQuery struct {
	sql  string
	args []any
	scan func(pgx.CollectableRow) (movedRow, error)
}

// Read implements [move.Source]. Tables with an order of use are read by their keys, the others by their blocks: a row that moves to a block
// that was read has changed since the pass began, so the next pass has it.
func (t *Transfer) Read(ctx context.Context, k move.Kind, since move.Stamp, from string) (page move.Page, err error) {
	switch k {
	case move.Keys, move.Versions:
		page, err = t.readBlocks(ctx, k, since, from)
	case move.Drift:
		page.Records, err = t.readDrift(ctx)
	default:
		page, err = t.readOrdered(ctx, k, since, from)
	}
	if err != nil {
		return page, describe(err)
	}
	return page, nil
}

func (t *Transfer) readOrdered(ctx context.Context, k move.Kind, since move.Stamp, from string) (page move.Page, err error) {
	q, err := t.queryOf(k, since, from)
	if err != nil {
		return page, err
	}
	limit := t.limit[k]
	if limit == 0 {
		limit = movedRecords / 10
	}
	rows, err := t.j.pool.Query(ctx, t.j.sql(q.sql), append(q.args, limit)...)
	if err != nil {
		return page, err
	}
	defer rows.Close()
	size, last := 0, ""
	for size < movedBytes && rows.Next() {
		r, err := q.scan(rows)
		if err != nil {
			return page, err
		}
		page.Records = append(page.Records, r.record)
		size, last = size+r.size, r.place
	}
	rows.Close()
	if err := rows.Err(); err != nil {
		return page, err
	}
	if n := len(page.Records); n == limit || size >= movedBytes {
		page.Next = last
		t.limit[k] = min(max(movedBytes/(size/n+1), 1), movedRecords)
	}
	return page, nil
}

func (t *Transfer) queryOf(k move.Kind, since move.Stamp, from string) (q movedQuery, err error) {
	switch k {
	case move.Events:
		return t.eventsQuery(since, from)
	case move.Webhooks, move.Quarantined:
		return t.webhooksQuery(k, since, from)
	}
	name, p, err := parsePlace(from)
	q.args = []any{name, p}
	switch k {
	case move.Corrections:
		q.sql, q.scan = `select webhook, first, indexes, at from bridge.correction
			where (webhook, first) > ($1::text::uuid, $2) order by webhook, first limit $3`, scanMovedCorrection
		if from == "" {
			q.args[0] = uuid.Nil.String()
		}
	case move.Readers:
		q.sql, q.scan = `select name, position, touched, paused, moved > 0 and moved = position from bridge.reader where position > 0 and name collate "C" > $1
			order by name collate "C" limit $2`, scanMovedReader
		q.args = []any{name}
	case move.Parked:
		q.sql, q.scan = `select reader, position, encoded from bridge.parked where (reader collate "C", position) > ($1, $2)
			order by reader collate "C", position limit $3`, scanMovedParked
	case move.Gaps:
		q.sql, q.scan = `select reader, first, behind, first_at, last_at from bridge.gap where (reader collate "C", first) > ($1, $2)
			order by reader collate "C", first limit $3`, scanMovedGap
	case move.Requests:
		q.sql, q.scan = `select reader, position, kind, at from bridge.request where (reader collate "C", position * 2 + (kind = 'r')::int) > ($1, $2)
			order by reader collate "C", position * 2 + (kind = 'r')::int limit $3`, scanMovedRequest
	case move.Replays:
		q.sql, q.scan = `select id, encoded from bridge.replay where id > $1 order by id limit $2`, scanMovedReplay
		q.args = []any{name}
	case move.Groups, move.Shares:
		return groupsQuery(k, from)
	default:
		err = fmt.Errorf("journal: unknown kind %q", k)
	}
	return q, err
}

// placeOf names a place in an order by a text and a number.
func placeOf(name string, p int64) string { return strconv.FormatInt(p, 10) + " " + name }

// parsePlace is the inverse of placeOf. The empty text is the place before all.
func parsePlace(from string) (name string, p int64, err error) {
	if from == "" {
		return "", 0, nil
	}
	number, name, _ := strings.Cut(from, " ")
	p, err = strconv.ParseInt(number, 10, 64)
	return name, p, err
}

// end is the position after the last event to read. A source is read no further than it was when it was described: what is behind
// may not be confirmed.
func (t *Transfer) end() int64 {
	if t.target {
		return math.MaxInt64
	}
	return int64(t.log.Stamp.Next)
}

func (t *Transfer) eventsQuery(since move.Stamp, from string) (movedQuery, error) {
	_, p, err := parsePlace(from)
	q := movedQuery{
		sql:  `select position, at, encoded from bridge.event where position > $1 and position < $2 order by position limit $3`,
		args: []any{max(p, int64(since.Next)-1), t.end()},
	}
	q.scan = func(row pgx.CollectableRow) (r movedRow, err error) {
		e := new(move.Event)
		err = row.Scan(&e.Position, &e.At, &e.Encoded)
		return movedRow{e, placeOf("", int64(e.Position)), len(e.Encoded)}, err
	}
	return q, err
}

func (t *Transfer) webhooksQuery(k move.Kind, since move.Stamp, from string) (movedQuery, error) {
	last := uuid.Nil.String()
	if since != (move.Stamp{}) {
		last = journal.IDAt(t.log.ReceivedFrom(since))
	}
	if from != "" {
		last = from
	}
	table, released := "webhook", "false"
	if k == move.Quarantined {
		table, released = "quarantined", "released"
	}
	q := movedQuery{
		sql: `select id, first, events, duplicate, ` + released + `, encoded from bridge.` + table + `
			where id > $1::text::uuid and first >= $2 and first <= $3 order by id limit $4`,
		args: []any{last, int64(since.Next), t.end()},
	}
	q.scan = func(row pgx.CollectableRow) (r movedRow, err error) {
		w := &move.Webhook{Quarantined: k == move.Quarantined}
		err = row.Scan(&w.ID, &w.First, &w.Events, &w.Duplicate, &w.Released, &w.Encoded)
		return movedRow{w, w.ID.String(), len(w.Encoded)}, err
	}
	return q, nil
}

func scanMovedCorrection(row pgx.CollectableRow) (movedRow, error) {
	c := new(move.Correction)
	var indexes []int32
	err := row.Scan(&c.Webhook, &c.First, &indexes, &c.At)
	for _, i := range indexes {
		c.Indexes = append(c.Indexes, uint32(i))
	}
	return movedRow{c, placeOf(c.Webhook.String(), int64(c.First)), 64}, err
}

// readDrift reads all counts of drift, of which there are few.
func (t *Transfer) readDrift(ctx context.Context) ([]move.Record, error) {
	rows, err := t.j.pool.Query(ctx, t.j.sql(`select connector, event, path, kind, count, first_at, last_at, first_webhook, last_webhook, sample
		from bridge.drift`))
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanMovedDrift)
}

func scanMovedDrift(row pgx.CollectableRow) (move.Record, error) {
	c := new(journalv1.DriftCount)
	var kind int32
	var count, firstAt, lastAt int64
	var first, last uuid.UUID
	err := row.Scan(&c.Connector, &c.VendorEvent, &c.Path, &kind, &count, &firstAt, &lastAt, &first, &last, &c.Sample)
	c.Kind, c.Count = journalv1.DriftKind(kind), uint64(count)
	c.FirstAt, c.LastAt = timestamppb.New(time.Unix(0, firstAt)), timestamppb.New(time.Unix(0, lastAt))
	c.FirstWebhookId, c.LastWebhookId = idText(first), idText(last)
	return move.DriftCount{DriftCount: c}, err
}

// idText is a webhook's id, or nothing for none.
func idText(id uuid.UUID) string {
	if id == uuid.Nil {
		return ""
	}
	return id.String()
}

func scanMovedReader(row pgx.CollectableRow) (movedRow, error) {
	r := new(move.Reader)
	err := row.Scan(&r.Name, &r.Position, &r.Touched, &r.Paused, &r.Moved)
	return movedRow{r, placeOf(r.Name, 0), 64}, err
}

func scanMovedParked(row pgx.CollectableRow) (movedRow, error) {
	p := new(journalv1.Parked)
	var name string
	var position int64
	var encoded []byte
	err := row.Scan(&name, &position, &encoded)
	if err == nil {
		err = proto.Unmarshal(encoded, p)
	}
	return movedRow{move.ParkedEvent{Parked: p}, placeOf(name, position), len(encoded)}, err
}

func scanMovedGap(row pgx.CollectableRow) (movedRow, error) {
	g := new(journalv1.Gap)
	var first, last int64
	err := row.Scan(&g.Sink, &g.From, &g.To, &first, &last)
	g.FirstAt, g.LastAt = timestamppb.New(time.Unix(0, first)), timestamppb.New(time.Unix(0, last))
	return movedRow{move.Gap{Gap: g}, placeOf(g.GetSink(), int64(g.GetFrom())), 64}, err
}

func scanMovedRequest(row pgx.CollectableRow) (movedRow, error) {
	r := new(move.Request)
	var kind rune
	err := row.Scan(&r.Reader, &r.Position, &kind, &r.At)
	r.Kind = byte(kind)
	place := int64(r.Position) * 2
	if kind == 'r' {
		place++
	}
	return movedRow{r, placeOf(r.Reader, place), 64}, err
}

// readBlocks reads the rows of a range of blocks.
func (t *Transfer) readBlocks(ctx context.Context, k move.Kind, since move.Stamp, from string) (page move.Page, err error) {
	_, first, err := parsePlace(from)
	if err != nil {
		return page, err
	}
	blocks, table, columns := int64(movedBlocks), "dedupe", "key, epoch, at, contents"
	if since != (move.Stamp{}) {
		blocks = sparseBlocks
	}
	if k == move.Versions {
		table, columns = "version", "subject, epoch, at, version"
	}
	var size int64
	err = t.j.pool.QueryRow(ctx, `select pg_relation_size($1::regclass) / current_setting('block_size')::int`, t.j.cfg.Schema+"."+table).Scan(&size)
	if err != nil {
		return page, err
	}
	end := min(first+blocks, math.MaxUint32)
	rows, err := t.j.pool.Query(ctx, t.j.sql(fmt.Sprintf(`select %s from bridge.%s where ctid >= '(%d,0)'::tid and ctid < '(%d,0)'::tid
		and (epoch, at) >= ($1, $2)`, columns, table, first, end)), int64(since.Epoch), since.At)
	if err != nil {
		return page, err
	}
	page.Records, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (move.Record, error) { return scanKeyed(row, k) })
	if end < size {
		page.Next = placeOf("", end)
	}
	return page, err
}

func scanKeyed(row pgx.CollectableRow, k move.Kind) (move.Record, error) {
	var key, value []byte
	var number uint32
	var at int64
	if err := row.Scan(&key, &number, &at, &value); err != nil {
		return nil, err
	}
	if len(key) != len(journal.Hash{}) {
		return nil, fmt.Errorf("journal: key of %d bytes", len(key))
	}
	if k == move.Versions {
		return &move.Version{Subject: journal.Hash(key), Epoch: number, At: at, Text: string(value)}, nil
	}
	contents, err := movedContents(value)
	return &move.Key{Hash: journal.Hash(key), Epoch: number, Contents: contents}, err
}

// movedContentLen is the length of a content: its time, its bytes, and its meaning.
const movedContentLen = 8 + 16 + 16

// movedContents reads contents, at the times as they were stored.
func movedContents(v []byte) (all []journal.Seen, err error) {
	if len(v)%movedContentLen != 0 {
		return nil, fmt.Errorf("journal: contents of %d bytes", len(v))
	}
	for ; len(v) > 0; v = v[movedContentLen:] {
		all = append(all, journal.Seen{
			At: time.Unix(0, int64(binary.BigEndian.Uint64(v))), Bytes: journal.Hash(v[8:24]), Meaning: journal.Hash(v[24:40]),
		})
	}
	return all, nil
}

func scanMovedReplay(row pgx.CollectableRow) (movedRow, error) {
	var id string
	var encoded []byte
	if err := row.Scan(&id, &encoded); err != nil {
		return movedRow{}, err
	}
	r, err := parseReplay(encoded)
	return movedRow{move.Replay{Replay: r}, placeOf(id, 0), len(encoded)}, err
}
