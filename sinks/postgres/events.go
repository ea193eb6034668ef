package postgres

import (
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"
	"google.golang.org/protobuf/reflect/protoreflect"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
)

// eventColumns are the columns of the table of events, in the order of eventRow's values.
var eventColumns = []column{
	{"position", "bigint"},
	{"id", "uuid"},
	{"type", "text"},
	{"kind", "text"},
	{"source", "text"},
	{"subject", "text"},
	{"subject_version", "text"},
	{"occurred_at", "timestamptz"},
	{"received_at", "timestamptz"},
	{"stale", "boolean"},
	{"supersedes", "uuid"},
	{"connector", "text"},
	{"vendor_event", "text"},
	{"webhook_id", "uuid"},
	{"data", "jsonb"},
	{"encoded", "bytea"},
}

// newEventTable is the table of events. An event is stored once, whatever its position: a user may have another unique index.
func newEventTable(schema string) *table {
	return newTable(schema, "events", "bridge_events", "position", "on conflict do nothing", eventColumns)
}

// eventRows yields the rows of events.
type eventRows struct {
	batch  *batch
	next   int
	values [16]any
}

func (r *eventRows) Next() bool {
	r.next++
	return r.next <= len(r.batch.records)
}

func (r *eventRows) Err() error { return nil }

func (r *eventRows) Values() ([]any, error) {
	i := r.next - 1
	record := &r.batch.records[i]
	h := &record.Header
	id, err := parseID("id", h.ID)
	if err != nil {
		return nil, err
	}
	webhook, err := optionalID("webhook_id", h.WebhookID)
	if err != nil {
		return nil, err
	}
	supersedes, err := optionalID("supersedes", h.Supersedes)
	if err != nil {
		return nil, err
	}
	if h.ReceivedAt.IsZero() {
		return nil, refusef("the event has no time of receipt")
	}
	field, _, err := r.batch.data(i)
	if err != nil {
		return nil, err
	}
	text, exact, err := r.batch.text(i)
	if err != nil {
		return nil, err
	}
	var encoded any
	if field == nil || !exact {
		encoded = record.Encoded
	}
	r.values = [16]any{
		int64(record.Position), id, clean(h.Type), kindName(field), clean(h.Source), clean(h.Subject), optional(h.SubjectVersion),
		optionalTime(h.OccurredAt), optionalTime(h.ReceivedAt), h.Stale, supersedes, clean(h.Connector), clean(h.VendorEvent), webhook, text, encoded,
	}
	return r.values[:], nil
}

var dataFields = (&eventv1.Event{}).ProtoReflect().Descriptor().Oneofs().ByName("data")

// dataOf returns the data of an event and its field. The field is nil if the event has none, or one that this program does not know.
func dataOf(e *eventv1.Event) (protoreflect.FieldDescriptor, protoreflect.Message) {
	m := e.ProtoReflect()
	field := m.WhichOneof(dataFields)
	if field == nil {
		return nil, nil
	}
	return field, m.Get(field).Message()
}

func kindName(field protoreflect.FieldDescriptor) any {
	if field == nil {
		return nil
	}
	return string(field.Name())
}

func parseID(name string, text []byte) (pgtype.UUID, error) {
	id, err := uuid.ParseBytes(text)
	if err != nil {
		return pgtype.UUID{}, refusef("the event's %s is not a UUID", name)
	}
	return pgtype.UUID{Bytes: id, Valid: true}, nil
}

func optionalID(name string, text []byte) (pgtype.UUID, error) {
	if len(text) == 0 {
		return pgtype.UUID{}, nil
	}
	return parseID(name, text)
}

func optionalTime(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t
}
