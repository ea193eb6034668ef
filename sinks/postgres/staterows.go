package postgres

import (
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// write writes the rows that change. The rows of new subjects go to added.
func (c *change) write(added, changed func(t *table, rows source, n int) error) error {
	for k, rows := range c.rows {
		parts := sorted(rows)
		for _, part := range []struct {
			write func(t *table, rows source, n int) error
			table *table
			rows  []keyedRow
		}{{added, k.replace, parts.added}, {changed, k.replace, parts.replacing}, {changed, k.combine, parts.merging}} {
			if err := part.write(part.table, &stateRows{kind: k.kind, rows: part.rows}, len(part.rows)); err != nil {
				return err
			}
		}
	}
	return nil
}

// keyedRow is a row with its key.
type keyedRow struct {
	key
	*row
}

// changedRows are the rows that change: of subjects that the table has not, with the whole state, and those that are set over what the table
// has.
type changedRows struct{ added, replacing, merging []keyedRow }

// sorted returns the rows that change. Their order is that of the table's key.
func sorted(rows map[key]*row) (parts changedRows) {
	for at, r := range rows {
		switch {
		case r.event == nil:
		case !r.found:
			parts.added = append(parts.added, keyedRow{at, r})
		case r.replaces:
			parts.replacing = append(parts.replacing, keyedRow{at, r})
		default:
			parts.merging = append(parts.merging, keyedRow{at, r})
		}
	}
	order := func(a, b keyedRow) int {
		if c := strings.Compare(a.source, b.source); c != 0 {
			return c
		}
		return strings.Compare(a.subject, b.subject)
	}
	for _, part := range [][]keyedRow{parts.added, parts.replacing, parts.merging} {
		slices.SortFunc(part, order)
	}
	return parts
}

// stateRows yields the rows of a kind's table.
type stateRows struct {
	kind   *kind
	rows   []keyedRow
	next   int
	values []any
}

func (r *stateRows) Next() bool {
	r.next++
	return r.next <= len(r.rows)
}

func (r *stateRows) Err() error { return nil }

func (r *stateRows) Values() ([]any, error) {
	at := r.rows[r.next-1]
	text := at.text
	var err error
	if text == nil {
		if text, _, err = jsonOf(at.data); err != nil {
			return nil, err
		}
	}
	r.values = append(r.values[:0], at.source, at.subject)
	if at.columns != nil {
		r.values = append(r.values, at.columns...)
	} else if r.values, err = r.kind.appendColumns(r.values, at.data, text); err != nil {
		return nil, err
	}
	h := &at.event.Header
	var deleted any
	if at.deleted != (time.Time{}) {
		deleted = at.deleted
	}
	r.values = append(r.values, deleted, optional([]byte(at.number)), pgtype.UUID{Bytes: at.id, Valid: true}, clean(h.Type),
		optionalTime(happened(h)), optionalTime(h.ReceivedAt), int64(at.position), int64(at.epoch), text)
	return r.values, nil
}

// appendColumns appends the values of the kind's own columns. text is the JSON of the data.
func (k *kind) appendColumns(to []any, data protoreflect.Message, text []byte) (_ []any, err error) {
	if to == nil {
		to = make([]any, 0, k.width)
	}
	parts := fieldTexts{text: text}
	for i := range k.fields {
		if to, err = k.fields[i].appendValues(to, data, &parts); err != nil {
			return nil, err
		}
	}
	return to, nil
}
