package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/jackc/pgx/v5"
)

// migrations are the files of the folder schema, by number. Each is run once, in order. A later one only adds to the tables, so an older
// program works with a newer schema.
//
//go:embed schema/*.sql
var migrations embed.FS

// errJournal means that the schema is the one of a journal.
var errJournal = errors.New("the schema holds a journal of Bridge: give the sink a schema of its own")

// migrate makes the tables that are missing, and the missing columns of the tables of kinds. If nothing is missing, it changes nothing and
// needs no right to.
func migrate(ctx context.Context, conn *pgx.Conn, schema string, state []*kind) error {
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		// Of several programs that start at once, one goes on at a time.
		if _, err := tx.Exec(ctx, "select pg_advisory_xact_lock(hashtextextended($1, 0))", "bridge postgres sink "+schema); err != nil {
			return err
		}
		if err := migrateBase(ctx, tx, schema); err != nil {
			return err
		}
		for _, k := range state {
			if err := k.migrate(ctx, tx, schema); err != nil {
				return err
			}
		}
		return nil
	})
}

func migrateBase(ctx context.Context, tx pgx.Tx, schema string) error {
	var there, tables, journal bool
	const look = "select to_regnamespace($1) is not null, to_regclass($1 || '.migration') is not null, to_regclass($1 || '.log') is not null"
	if err := tx.QueryRow(ctx, look, schema).Scan(&there, &tables, &journal); err != nil {
		return err
	}
	if journal {
		return errJournal
	}
	if !there {
		if _, err := tx.Exec(ctx, "create schema "+schema); err != nil {
			return err
		}
	}
	done := 0
	if tables {
		if err := tx.QueryRow(ctx, "select max(number) from "+schema+".migration").Scan(&done); err != nil {
			return err
		}
	}
	files, err := fs.Glob(migrations, "schema/*.sql")
	if err != nil {
		return err
	}
	for _, name := range files[min(done, len(files)):] {
		text, err := migrations.ReadFile(name)
		if err != nil {
			return err
		}
		// Without arguments pgx sends the file as one simple query, which may have several statements.
		if _, err := tx.Exec(ctx, strings.ReplaceAll(string(text), "bridge.", schema+".")); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}
