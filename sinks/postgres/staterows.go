package postgres

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
)

// write writes the rows that change.
func (c *change) write(writeRows func(t *table, rows source, n int) error) error {
	for k, rows := range c.rows {
		replacing, merging := sorted(rows)
		if err := writeRows(k.replace, &stateRows{kind: k.kind, rows: replacing}, len(replacing)); err != nil {
			return err
		}
		if err := writeRows(k.combine, &stateRows{kind: k.kind, rows: merging}, len(merging)); err != nil {
			return err
		}
	}
	return nil
}

// keyedRow is a row with its key.
type keyedRow struct {
	key
	*row
}

// sorted returns the rows that change: those with the whole state, and those that are set over what the table has. Their order keeps two sinks
// of one schema from waiting for each other.
func sorted(rows map[key]*row) (replacing, merging []keyedRow) {
	for at, r := range rows {
		switch {
		case r.event == nil:
		case r.replaces:
			replacing = append(replacing, keyedRow{at, r})
		default:
			merging = append(merging, keyedRow{at, r})
		}
	}
	order := func(a, b keyedRow) int {
		if c := strings.Compare(a.source, b.source); c != 0 {
			return c
		}
		return strings.Compare(a.subject, b.subject)
	}
	slices.SortFunc(replacing, order)
	slices.SortFunc(merging, order)
	return replacing, merging
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
	parts := fieldTexts{text: text}
	r.values = append(r.values[:0], at.source, at.subject)
	for i := range r.kind.fields {
		if r.values, err = r.kind.fields[i].appendValues(r.values, at.data, parts.of); err != nil {
			return nil, err
		}
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

// fieldTexts divides a JSON object when a field is asked for.
type fieldTexts struct {
	text   []byte
	fields map[string]json.RawMessage
}

func (f *fieldTexts) of(name string) ([]byte, error) {
	if f.fields == nil {
		if err := json.Unmarshal(f.text, &f.fields); err != nil {
			return nil, err
		}
	}
	return f.fields[name], nil
}
