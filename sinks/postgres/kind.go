package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// kind is a kind of data whose current state has a table: a row for each source and subject.
type kind struct {
	// name is the field's in bridge.event.v1.Event, such as "order"; table is its plural.
	name, table string
	fields      []field
	// width is the number of the fields' columns.
	width int
}

// field is a field of the data, and the columns that it has.
type field struct {
	descriptor protoreflect.FieldDescriptor
	columns    []column
	// values appends the columns' values. The field is set, or it is a number or bool without presence. Nil: the field's JSON is the value.
	values func(to []any, v protoreflect.Value) ([]any, error)
}

// Columns that every table of a kind has: the first ones come before the kind's own.
var (
	keyColumns  = []column{{"source", "text"}, {"subject", "text"}}
	metaColumns = []column{
		{"deleted_at", "timestamptz"},
		{"version", "text"},
		{"event_id", "uuid"},
		{"event_type", "text"},
		{"event_at", "timestamptz"},
		{"event_received_at", "timestamptz"},
		{"event_position", "bigint"},
		{"event_epoch", "bigint"},
	}
	dataColumn = column{"data", "jsonb"}
)

// kinds are all kinds by name. `unmapped` is none: its subject is no record.
var kinds = func() map[string]*kind {
	all := map[string]*kind{}
	for i := range dataFields.Fields().Len() {
		if f := dataFields.Fields().Get(i); f.Name() != "unmapped" {
			all[string(f.Name())] = newKind(f)
		}
	}
	return all
}()

// Kinds returns the names of all kinds, sorted.
func Kinds() []string {
	names := make([]string, 0, len(kinds))
	for name := range kinds {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func newKind(data protoreflect.FieldDescriptor) *kind {
	k := &kind{name: string(data.Name()), table: plural(string(data.Name()))}
	fields := data.Message().Fields()
	for i := range fields.Len() {
		f := newField(fields.Get(i))
		for j, c := range f.columns {
			// A name that is taken already would hide the other column.
			if slices.ContainsFunc(k.columns(), func(other column) bool { return other.name == c.name }) {
				f.columns[j].name = "data_" + c.name
			}
		}
		k.fields = append(k.fields, f)
		k.width += len(f.columns)
	}
	return k
}

func plural(name string) string {
	if stem, ok := strings.CutSuffix(name, "y"); ok {
		return stem + "ies"
	}
	return name + "s"
}

// columns are all columns of the kind's table, in their order.
func (k *kind) columns() []column {
	all := slices.Clone(keyColumns)
	for _, f := range k.fields {
		all = append(all, f.columns...)
	}
	return append(append(all, metaColumns...), dataColumn)
}

// migrate makes the kind's table, or adds the columns that it has not.
func (k *kind) migrate(ctx context.Context, tx pgx.Tx, schema string) error {
	path := schema + "." + quote(k.table)
	const look = "select attname from pg_attribute where attrelid = to_regclass($1) and attnum > 0 and not attisdropped"
	rows, err := tx.Query(ctx, look, path)
	if err != nil {
		return err
	}
	there, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	var sql string
	if len(there) == 0 {
		sql = k.create(path)
	} else {
		sql = k.add(path, there)
	}
	if sql == "" {
		return nil
	}
	if _, err := tx.Exec(ctx, sql); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// create is the statement that makes the table. A part of each page stays free, so that a change needs no new entries in indexes.
func (k *kind) create(path string) string {
	var lines []string
	for _, c := range k.columns() {
		lines = append(lines, "\t"+quote(c.name)+" "+c.kind)
	}
	lines = append(lines, "\tprimary key (source, subject)")
	return "create table " + path + " (\n" + strings.Join(lines, ",\n") + "\n) with (fillfactor = 85)"
}

func (k *kind) add(path string, there []string) string {
	var missing []string
	for _, c := range k.columns() {
		if !slices.Contains(there, c.name) {
			missing = append(missing, "add column if not exists "+quote(c.name)+" "+c.kind)
		}
	}
	if len(missing) == 0 {
		return ""
	}
	return "alter table " + path + " " + strings.Join(missing, ", ")
}

// replacing writes rows that replace older ones.
func (k *kind) replacing(schema string) *table {
	var set []string
	for _, c := range k.columns()[len(keyColumns):] {
		set = append(set, fmt.Sprintf("%[1]s = excluded.%[1]s", quote(c.name)))
	}
	return k.writing(schema, "replace", set)
}

// merging writes rows that keep what the older ones have in the fields that they leave out.
func (k *kind) merging(schema string) *table {
	var set []string
	for _, f := range k.fields {
		for _, c := range f.columns {
			set = append(set, fmt.Sprintf("%[1]s = coalesce(excluded.%[1]s, old.%[1]s)", quote(c.name)))
		}
	}
	for _, c := range metaColumns {
		set = append(set, fmt.Sprintf("%[1]s = excluded.%[1]s", c.name))
	}
	return k.writing(schema, "merge", append(set, "data = old.data || excluded.data"))
}

func (k *kind) writing(schema, how string, set []string) *table {
	conflict := "on conflict (source, subject) do update set " + strings.Join(set, ", ")
	return newTable(schema, k.table, "bridge_"+how+"_"+k.table, "source, subject", conflict, k.columns())
}
