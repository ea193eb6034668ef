package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// column is a column of a table, with its type in SQL.
type column struct{ name, kind string }

// table is how rows are written to a table.
type table struct {
	schema, name string
	columns      []column
	// conflict is what happens to a row whose key is there: the clause of an insert. The row that is there is old.
	conflict string
	// order is the order in which rows that were copied are inserted.
	order string
	// staging is the session's temporary table for rows that are copied.
	staging string
	insert  string
}

// copyFrom is the number of rows from which they are copied. Fewer are sent as statements, which need no answer in between.
const copyFrom = 64

func newTable(schema, name, staging, order, conflict string, columns []column) *table {
	t := &table{schema: schema, name: name, columns: columns, conflict: conflict, order: order, staging: staging}
	places := make([]string, len(columns))
	for i := range columns {
		places[i] = fmt.Sprintf("$%d", i+1)
	}
	t.insert = fmt.Sprintf("insert into %s as old (%s) values (%s) %s", t.path(), t.list(), strings.Join(places, ", "), conflict)
	return t
}

func (t *table) path() string { return t.schema + "." + quote(t.name) }

// list is the list of the columns.
func (t *table) list() string { return strings.Join(t.names(quote), ", ") }

func (t *table) names(as func(string) string) []string {
	names := make([]string, len(t.columns))
	for i, c := range t.columns {
		names[i] = as(c.name)
	}
	return names
}

func plain(name string) string { return name }

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

// queue adds an insert for each row to a batch.
func (t *table) queue(b *pgx.Batch, rows source) error {
	for rows.Next() {
		values, err := rows.Values()
		if err != nil {
			return err
		}
		b.Queue(t.insert, append([]any(nil), values...)...)
	}
	return rows.Err()
}

// source yields rows. The values of a row are overwritten by the next one.
type source = pgx.CopyFromSource

// copyDirect copies rows to the table. None may be there yet.
func (t *table) copyDirect(ctx context.Context, conn *pgx.Conn, rows source) error {
	return t.copyTo(ctx, conn, pgx.Identifier{t.schema, t.name}, rows)
}

// stage makes the session's temporary table. Its rows last as long as a transaction.
func (t *table) stage(ctx context.Context, conn *pgx.Conn) error {
	const empty = "create temp table if not exists %s on commit delete rows as select %s from %s with no data"
	_, err := conn.Exec(ctx, fmt.Sprintf(empty, t.staging, t.list(), t.path()))
	return err
}

// copyStaged copies rows to the temporary table, and adds their insert to a batch.
func (t *table) copyStaged(ctx context.Context, conn *pgx.Conn, b *pgx.Batch, rows source) error {
	if err := t.copyTo(ctx, conn, pgx.Identifier{"pg_temp", t.staging}, rows); err != nil {
		return err
	}
	b.Queue(fmt.Sprintf("insert into %s as old (%s) select %s from pg_temp.%s order by %s %s", t.path(), t.list(), t.list(), t.staging, t.order, t.conflict))
	return nil
}

func (t *table) copyTo(ctx context.Context, conn *pgx.Conn, to pgx.Identifier, rows source) error {
	watched := &watchedRows{source: rows}
	_, err := conn.CopyFrom(ctx, to, t.names(plain), watched)
	if watched.failed != nil {
		return watched.failed // err is what the server says about the end of the copy
	}
	return err
}

// watchedRows remember why they have ended.
type watchedRows struct {
	source
	failed error
}

func (r *watchedRows) Values() ([]any, error) {
	values, err := r.source.Values()
	if err != nil {
		r.failed = err
	}
	return values, err
}
