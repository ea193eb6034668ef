package postgres

import (
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/webhook-bridge/bridge/sinks"
)

// state writes the tables of kinds.
type state struct {
	schema string
	marks  sinks.Marks
	kinds  map[protoreflect.Name]*stateKind
	all    []*kind
}

// stateKind is a kind with its statements.
type stateKind struct {
	*kind
	find             string
	replace, combine *table
}

func newState(schema string, marks sinks.Marks, c *State) *state {
	if c == nil {
		return nil
	}
	names := c.Kinds
	if len(names) == 0 {
		names = Kinds()
	}
	s := &state{schema: schema, marks: marks, kinds: map[protoreflect.Name]*stateKind{}}
	for _, name := range names {
		k := kinds[name]
		s.all = append(s.all, k)
		s.kinds[protoreflect.Name(name)] = &stateKind{
			kind: k,
			find: "select source, subject, version, event_id, event_received_at, event_position, event_epoch from " + schema + "." + quote(k.table) +
				" join unnest($1::text[], $2::text[]) as wanted (source, subject) using (source, subject)",
			replace: k.replacing(schema),
			combine: k.merging(schema),
		}
	}
	return s
}

// key names a row.
type key struct{ source, subject string }

// version is where a row comes from: what decides whether an event is newer.
type version struct {
	number   string
	id       [16]byte
	received time.Time
	position sinks.Position
	epoch    sinks.Epoch
}

// row is the state of a subject, as far as a transaction knows it.
type row struct {
	version
	// found: the table has the row. exists: it has, or it will when the events so far are applied.
	found, exists bool
	// event is the newest one of the transaction; nil if all are older than the row.
	event *sinks.Record
	data  protoreflect.Message
	// text is the JSON of data, and columns are their values, if they were made.
	text    []byte
	columns []any
	// replaces: data are the whole state. Otherwise they are set over what the table has.
	replaces bool
	// shared: data belong to an event, and must be copied before they are changed.
	shared  bool
	deleted time.Time
}

// change is what a transaction does to the tables of kinds.
type change struct {
	state *state
	rows  map[*stateKind]map[key]*row
	// events are those that have a row, in order.
	events []rowEvent
}

// rowEvent is an event by its index in the batch, and its row.
type rowEvent struct {
	index int
	row   *row
}

// kindOf returns the kind of a field of an event, or nil.
func (s *state) kindOf(f protoreflect.FieldDescriptor) *stateKind {
	if s == nil || f == nil {
		return nil
	}
	return s.kinds[f.Name()]
}

// newChange finds the subjects of a batch.
func (s *state) newChange(b *batch) (*change, error) {
	c := &change{state: s, rows: map[*stateKind]map[key]*row{}}
	for i := range b.records {
		f, _, err := b.data(i)
		if err != nil {
			return nil, err
		}
		k := s.kindOf(f)
		if k == nil {
			continue
		}
		if c.rows[k] == nil {
			c.rows[k] = map[key]*row{}
		}
		at := keyOf(&b.records[i])
		r := c.rows[k][at]
		if r == nil {
			r = &row{}
			c.rows[k][at] = r
		}
		c.events = append(c.events, rowEvent{i, r})
	}
	return c, nil
}

func keyOf(r *sinks.Record) key { return key{clean(r.Header.Source), clean(r.Header.Subject)} }

// find adds the queries of the rows that are there to a batch of statements.
func (c *change) find(b *pgx.Batch) {
	for k, rows := range c.rows {
		sources, subjects := make([]string, 0, len(rows)), make([]string, 0, len(rows))
		for at := range rows {
			sources, subjects = append(sources, at.source), append(subjects, at.subject)
		}
		b.Queue(k.find, sources, subjects).Query(func(found pgx.Rows) error {
			defer found.Close()
			for found.Next() {
				if err := scanRow(found, rows); err != nil {
					return err
				}
			}
			return found.Err()
		})
	}
}

func scanRow(found pgx.Rows, rows map[key]*row) error {
	var (
		at              key
		text            *string
		id              pgtype.UUID
		received        *time.Time
		position, epoch *int64
	)
	if err := found.Scan(&at.source, &at.subject, &text, &id, &received, &position, &epoch); err != nil {
		return err
	}
	r := rows[at]
	r.found, r.exists, r.id = true, true, id.Bytes
	if text != nil {
		r.number = *text
	}
	if received != nil {
		r.received = *received
	}
	if position != nil {
		r.position = sinks.Position(*position)
	}
	if epoch != nil {
		r.epoch = sinks.Epoch(*epoch)
	}
	return nil
}

// apply applies the events in order.
func (c *change) apply(b *batch) error {
	for _, e := range c.events {
		if err := c.state.apply(e.row, b, e.index); err != nil {
			return err
		}
	}
	return nil
}

func (s *state) apply(r *row, b *batch, i int) error {
	record := &b.records[i]
	_, data, err := b.data(i)
	if err != nil {
		return err
	}
	h := &record.Header
	id, err := parseID("id", h.ID)
	if err != nil {
		return err
	}
	if r.exists && !s.newer(h, record.Position, r.version) {
		return nil
	}
	v := version{number: r.number, id: id.Bytes, received: h.ReceivedAt, position: record.Position, epoch: s.marks.Mark(record.Position + 1).Epoch}
	if len(h.SubjectVersion) > 0 && (r.number == "" || sinks.CompareVersions(clean(h.SubjectVersion), r.number) > 0) {
		v.number = clean(h.SubjectVersion)
	}
	deleted := strings.HasSuffix(b.made[i].event.GetType(), ".deleted")
	r.deleted = time.Time{}
	if deleted {
		r.deleted = happened(h)
	}
	if deleted || isBare(data) {
		r.merge(data, &b.made[i])
	} else {
		r.share(data, &b.made[i])
		r.replaces = true
	}
	r.version, r.exists, r.event = v, true, record
	return nil
}

// newer reports whether an event is applied to a row that has another one.
//
// The vendor's version decides where both have one. Otherwise the order of the log does, and a correction counts at the place of the event
// that it corrects: it is applied where the row comes from that event. An event at a lower position than the row's is an old one that was
// delivered again. Only where the row's event is not in the log any more, because the log was lost or restored, the time of receipt decides.
func (s *state) newer(h *sinks.Header, position sinks.Position, r version) bool {
	if len(h.SubjectVersion) > 0 && r.number != "" {
		if order := sinks.CompareVersions(clean(h.SubjectVersion), r.number); order != 0 {
			return order > 0
		}
	}
	switch {
	case len(h.Supersedes) > 0 && position != r.position:
		corrects, err := parseID("supersedes", h.Supersedes)
		return err == nil && corrects.Bytes == r.id
	case position >= r.position:
		return true
	}
	return s.marks.Mark(r.position+1).Epoch != r.epoch && h.ReceivedAt.After(r.received)
}

// happened is when an event happened, as far as it is known.
func happened(h *sinks.Header) time.Time {
	if h.OccurredAt.IsZero() {
		return h.ReceivedAt
	}
	return h.OccurredAt
}

// isBare reports whether data name the subject and say nothing more. The other fields are unknown then, not erased.
func isBare(data protoreflect.Message) bool {
	bare := true
	data.Range(func(f protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		bare = f.Name() == "id"
		return bare
	})
	return bare
}

// share makes an event's data the row's.
func (r *row) share(data protoreflect.Message, m *made) {
	r.data, r.text, r.columns, r.shared = data, m.text, m.columns, true
}

// merge sets the fields that data have.
func (r *row) merge(data protoreflect.Message, m *made) {
	if r.data == nil {
		r.share(data, m)
		return
	}
	r.text, r.columns = nil, nil
	if r.shared {
		r.data, r.shared = proto.Clone(r.data.Interface()).ProtoReflect(), false
	}
	data.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		r.data.Set(f, v)
		return true
	})
}
