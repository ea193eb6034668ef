package postgres

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"google.golang.org/protobuf/proto"

	"github.com/google/uuid"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/commit"
)

// maxRetained bounds the buffers that the committer keeps between groups, each.
const maxRetained = 2 * commit.MaxBytes

// output is the memory for the rows that a group writes. Only the committer uses it.
type output struct {
	webhooks, quarantined, released webhookRows
	discarded                       array
	corrections                     []correctionRow
	events                          array
	keys, contents                  array
	subjects, versions              array
	drift                           driftRows

	// record and key are memory for one record of contents. ids finds a webhook that the group stores twice.
	record []journal.Seen
	value  []byte
	ids    map[uuid.UUID]*commit.Pending
}

// webhookRows are rows of the tables webhook or quarantined.
type webhookRows struct {
	ids, firsts, events, duplicates, encoded array
}

func (r *webhookRows) reset() {
	r.ids.reset(oidUUID)
	r.firsts.reset(oidInt8)
	r.events.reset(oidInt4)
	r.duplicates.reset(oidBool)
	r.encoded.reset(oidBytea)
}

func (r *webhookRows) add(p *commit.Pending) {
	r.ids.add(p.ID[:], nil)
	r.firsts.addInt64(int64(p.First))
	if p.Decision.Adds() {
		r.events.addInt32(int32(p.Events))
	} else {
		r.events.addInt32(0)
	}
	r.duplicates.addBool(!p.Decision.Adds())
	r.encoded.add(p.Record(), nil)
}

func (r *webhookRows) send(f *flight, statement string) {
	f.send(statement, r.ids.encoded(), r.firsts.encoded(), r.events.encoded(), r.duplicates.encoded(), r.encoded.encoded())
}

type correctionRow struct {
	webhook uuid.UUID
	first   int64
	indexes array
	at      int64
}

func (o *output) reset() {
	o.webhooks.reset()
	o.quarantined.reset()
	o.released.reset()
	o.discarded.reset(oidUUID)
	o.corrections = o.corrections[:0]
	o.events.reset(oidBytea)
	o.keys.reset(oidBytea)
	o.contents.reset(oidBytea)
	o.subjects.reset(oidBytea)
	o.versions.reset(oidBytea)
	if o.ids == nil {
		o.ids = make(map[uuid.UUID]*commit.Pending)
	}
	clear(o.ids)
	o.drift.reset()
}

// release drops buffers that a large group left.
func (o *output) release() {
	for _, a := range []*array{&o.webhooks.encoded, &o.quarantined.encoded, &o.released.encoded, &o.events, &o.contents} {
		a.release(maxRetained)
	}
}

// forget drops what is known of rows that a transaction wrote which did not commit.
func (o *output) forget() { o.drift.forget() }

// fill gathers the rows of a group that was decided on.
func (o *output) fill(c *committer) error {
	o.reset()
	for _, p := range c.group.Entries() {
		if p.Decision.Outcome == commit.Kept || p.Decision.Adds() || p.Operation == journal.Release {
			o.ids[p.ID] = p
		}
	}
	for _, p := range c.group.Entries() {
		if err := o.addEntry(p); err != nil {
			return err
		}
	}
	o.addContents(c.group.Plan(), &c.known)
	for _, v := range c.group.Plan().Versions() {
		o.subjects.add(v.Subject[:], nil)
		o.versions.addString(v.Text)
	}
	return nil
}

// addEntry adds the entry's webhook or correction, its events and its drift.
func (o *output) addEntry(p *commit.Pending) error {
	outcome := p.Decision.Outcome
	switch {
	case outcome == commit.NotFound || outcome == commit.Void:
		return nil
	case outcome == commit.Discarded:
		o.discarded.add(p.ID[:], nil)
		return nil
	case p.Operation == journal.Correct && p.Decision.Adds():
		if err := o.addCorrection(p); err != nil {
			return err
		}
	case p.Operation == journal.Release:
		o.released.add(p)
	case p.Operation == journal.Receive && outcome != commit.Duplicate && o.ids[p.ID] == p: // of two with one id the last stays
		if p.Quarantined {
			o.quarantined.add(p)
		} else {
			o.webhooks.add(p)
		}
	}
	if p.Decision.Adds() {
		for i := range p.Events {
			o.events.add(p.Event(i), p.EventSuffix(i))
		}
	}
	return nil
}

func (o *output) addCorrection(p *commit.Pending) error {
	var record journalv1.Correction
	if err := proto.Unmarshal(p.Record(), &record); err != nil {
		return err
	}
	row := correctionRow{webhook: p.ID, first: int64(p.First), at: record.GetAt().AsTime().UnixNano()}
	row.indexes.reset(oidInt4)
	for _, index := range record.GetIndexes() {
		row.indexes.addInt32(int32(index))
	}
	o.corrections = append(o.corrections, row)
	return nil
}

// addContents adds the records of the keys: the contents that the group adds, and all that were known, the newest first to stay. A window
// may have passed by a clock that is ahead, or for an entry with a shorter one, and not for the next entry.
func (o *output) addContents(plan *commit.Plan, k *known) {
	for i := range plan.Records() {
		var key journal.Hash
		key, o.record = plan.Record(i, o.record[:0], &k.Known)
		if before := k.Contents[key]; len(before) > 0 {
			o.record = append(o.record, before...)
			o.record = append(o.record[:0], commit.Newest(o.record)...)
		}
		o.value = o.value[:0]
		for _, s := range o.record {
			o.value = binary.BigEndian.AppendUint64(o.value, uint64(s.At.UnixNano()))
			o.value = append(append(o.value, s.Bytes[:]...), s.Meaning[:]...)
		}
		o.keys.add(key[:], nil)
		o.contents.add(o.value, nil)
	}
}

// write sends a group's rows, and COMMIT behind them, in one round trip. A group that takes webhooks out of quarantine has its rows
// counted before it is committed.
func (c *committer) write(h *head) error {
	o := &c.out
	if err := o.fill(c); err != nil {
		return err
	}
	if err := o.drift.count(c); err != nil {
		return err
	}
	defer o.release()
	counted := o.released.ids.n > 0 || o.discarded.n > 0
	if err := c.sendRows(h, !counted); err != nil || !counted {
		return err
	}
	return c.commit()
}

// checked is a statement whose rows are counted.
type checked struct {
	what string
	want int
}

func (c *committer) sendRows(h *head, last bool) (err error) {
	f := flight{c.conn.PgConn().StartPipeline(c.ctx)}
	defer func() {
		if closing := f.p.Close(); err == nil {
			err = closing
		}
	}()
	sent := c.out.send(&f, h)
	f.send("advance", encodeInt64(int64(h.next)), encodeInt64(h.lastCommit))
	sent = append(sent, checked{"the head", 1})
	if last {
		f.send("commit")
	}
	if err := f.p.Sync(); err != nil {
		return err
	}
	for _, s := range sent {
		tag, err := f.next(nil)
		if err != nil {
			return err
		}
		if n := int(tag.RowsAffected()); n != s.want {
			return fmt.Errorf("%w: %d rows of %s changed, and not %d", errPlan, n, s.what, s.want)
		}
	}
	if last {
		return readCommit(&f)
	}
	return nil
}

// send sends the statements that insert and change rows.
func (o *output) send(f *flight, h *head) (sent []checked) {
	now, number := encodeInt64(h.lastCommit), encodeInt32(int32(h.epoch))
	for _, rows := range []struct {
		rows      *webhookRows
		statement string
	}{{&o.webhooks, "webhooks"}, {&o.quarantined, "quarantine"}, {&o.released, "release"}} {
		if n := rows.rows.ids.n; n > 0 {
			rows.rows.send(f, rows.statement)
			sent = append(sent, checked{rows.statement, n})
		}
	}
	if o.discarded.n > 0 {
		f.send("discard", o.discarded.encoded())
		sent = append(sent, checked{"discard", o.discarded.n})
	}
	for i := range o.corrections {
		row := &o.corrections[i]
		f.send("correction", row.webhook[:], encodeInt64(row.first), row.indexes.encoded(), encodeInt64(row.at))
		sent = append(sent, checked{"correction", 1})
	}
	if n := o.events.n; n > 0 {
		f.send("events", encodeInt64(int64(h.next)-int64(n)-1), now, o.events.encoded())
		sent = append(sent, checked{"event", n})
	}
	if o.keys.n > 0 {
		f.send("dedupe", number, now, o.keys.encoded(), o.contents.encoded())
		sent = append(sent, checked{"dedupe", o.keys.n})
	}
	if o.subjects.n > 0 {
		f.send("subjects", number, now, o.subjects.encoded(), o.versions.encoded())
		sent = append(sent, checked{"version", o.subjects.n})
	}
	if n := o.drift.rows.n(); n > 0 {
		o.drift.rows.send(f)
		sent = append(sent, checked{"drift", n})
	}
	return sent
}

// commit ends a transaction whose rows were counted.
func (c *committer) commit() (err error) {
	f := flight{c.conn.PgConn().StartPipeline(c.ctx)}
	defer func() {
		if closing := f.p.Close(); err == nil {
			err = closing
		}
	}()
	f.send("commit")
	if err := f.p.Sync(); err != nil {
		return err
	}
	return readCommit(&f)
}

// readCommit reads the answer to COMMIT. The server answers ROLLBACK where the transaction had failed.
func readCommit(f *flight) error {
	tag, err := f.next(nil)
	if err == nil && tag.String() != "COMMIT" {
		err = fmt.Errorf("%w: COMMIT was answered with %s", errPlan, tag)
	}
	return err
}

// statements are those of the committer, by name. All parameters are arrays but for numbers.
var statements = map[string]string{
	"begin":  `begin`,
	"commit": `commit`,
	"head": `select next, kept, last_commit, epoch, server, (extract(epoch from clock_timestamp()) * 1000000)::bigint * 1000,
		move, ` + selectSafety + ` from bridge.log for no key update`,
	"contents": `select key, epoch, contents from bridge.dedupe where key = any($1::bytea[])`,
	"versions": `select subject, epoch, at, version from bridge.version where subject = any($1::bytea[])`,
	"stored":   `select w.id, l.webhooks_from from bridge.webhook w, bridge.log l where w.id = any($1::uuid[])`,
	"quarantined": `select q.id, l.quarantined_from, q.released from bridge.quarantined q, bridge.log l
		where q.id = any($1::uuid[])`,
	"webhooks": `insert into bridge.webhook as w (id, first, events, duplicate, encoded)
		select * from unnest($1::uuid[], $2::bigint[], $3::int[], $4::boolean[], $5::bytea[])
		on conflict (id) do update set first = excluded.first, events = excluded.events, duplicate = excluded.duplicate,
			encoded = excluded.encoded`,
	"quarantine": `insert into bridge.quarantined (id, first, events, duplicate, encoded, released)
		select t.*, false from unnest($1::uuid[], $2::bigint[], $3::int[], $4::boolean[], $5::bytea[]) t
		on conflict (id) do update set first = excluded.first, events = excluded.events, duplicate = excluded.duplicate,
			encoded = excluded.encoded, released = excluded.released`,
	"release": `update bridge.quarantined q set first = t.first, events = t.events, duplicate = t.duplicate,
			encoded = t.encoded, released = true
		from unnest($1::uuid[], $2::bigint[], $3::int[], $4::boolean[], $5::bytea[]) t(id, first, events, duplicate, encoded)
		where q.id = t.id and not q.released`,
	"discard": `delete from bridge.quarantined where id = any($1::uuid[]) and not released`,
	"correction": `insert into bridge.correction (webhook, first, indexes, at)
		select $1::uuid, $2::bigint, $3::int[], $4::bigint`,
	"events": `insert into bridge.event (position, at, encoded)
		select $1::bigint + t.n, $2::bigint, t.encoded from unnest($3::bytea[]) with ordinality t(encoded, n)`,
	"dedupe": `insert into bridge.dedupe (key, epoch, at, contents)
		select t.key, $1::int, $2::bigint, t.contents from unnest($3::bytea[], $4::bytea[]) t(key, contents)
		on conflict (key) do update set epoch = excluded.epoch, at = excluded.at, contents = excluded.contents`,
	"subjects": `insert into bridge.version (subject, epoch, at, version)
		select t.subject, $1::int, $2::bigint, t.version from unnest($3::bytea[], $4::bytea[]) t(subject, version)
		on conflict (subject) do update set epoch = excluded.epoch, at = excluded.at, version = excluded.version`,
	"drift": `insert into bridge.drift as d (connector, event, path, kind, count, first_at, last_at, first_webhook, last_webhook, sample)
		select * from unnest($1::text[], $2::text[], $3::text[], $4::int[], $5::bigint[], $6::bigint[], $7::bigint[], $8::uuid[],
			$9::uuid[], $10::bytea[])
		on conflict (connector, event, path, kind) do update set count = d.count + excluded.count,
			last_at = greatest(d.last_at, excluded.last_at),
			last_webhook = case when excluded.last_at >= d.last_at then excluded.last_webhook else d.last_webhook end`,
	"kinds":   `select event, path, kind from bridge.drift where connector = $1::text`,
	"advance": `update bridge.log set next = $1::bigint, last_commit = $2::bigint`,
}

// prepare prepares the statements of the committer.
func (j *Journal) prepare(ctx context.Context, conn *pgx.Conn) error {
	p := conn.PgConn().StartPipeline(ctx)
	for name, text := range statements {
		p.SendPrepare(name, j.sql(text), nil)
	}
	if err := p.Sync(); err != nil {
		return err
	}
	for {
		result, err := p.GetResults()
		if err != nil {
			_ = p.Close() // the statement's error says more
			return err
		}
		if _, ok := result.(*pgconn.PipelineSync); ok || result == nil {
			return p.Close()
		}
	}
}
