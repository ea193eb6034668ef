package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// format is the version of the tables that this program writes. It is the number of the last file in schema.
const format = 1

// migrations are the files of the folder schema, by number. Each is run once, in order, in a transaction of its own.
//
//go:embed schema/*.sql
var migrations embed.FS

// migrateTries is how often an instance tries again when another one makes the tables at the same time.
const migrateTries = 5

// migrate makes the tables, or brings them up to date. Errors: ErrNewerFormat, the database's.
func (j *Journal) migrate(ctx context.Context) (err error) {
	for range migrateTries {
		err = pgx.BeginFunc(ctx, j.pool, func(tx pgx.Tx) error { return j.migrateIn(ctx, tx) })
		switch code(err) {
		case "23505", "42P06", "42P07", "40001": // another instance was faster
			continue
		}
		return err
	}
	return err
}

func (j *Journal) migrateIn(ctx context.Context, tx pgx.Tx) error {
	version, err := j.formatIn(ctx, tx)
	switch {
	case err != nil:
		return err
	case version > format:
		return fmt.Errorf("%w: %d, this program knows up to %d", ErrNewerFormat, version, format)
	case version == format:
		return nil
	}
	files, err := fs.Glob(migrations, "schema/*.sql")
	if err != nil {
		return err
	}
	if version == 0 {
		if _, err := tx.Exec(ctx, "create schema if not exists "+j.cfg.Schema); err != nil {
			return err
		}
	}
	for _, name := range files[version:] {
		text, err := migrations.ReadFile(name)
		if err != nil {
			return err
		}
		// Without arguments pgx sends the file as one simple query, which may have several statements.
		if _, err := tx.Exec(ctx, j.sql(string(text))); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if version == 0 {
		id := strings.ReplaceAll(uuid.NewString(), "-", "")
		_, err = tx.Exec(ctx, j.sql("insert into bridge.log (id, format) values ($1, $2)"), id, format)
		return err
	}
	_, err = tx.Exec(ctx, j.sql("update bridge.log set format = $1"), format)
	return err
}

// formatIn returns the version of the tables, 0 if there are none. Of several instances that migrate, one goes on at a time.
func (j *Journal) formatIn(ctx context.Context, tx pgx.Tx) (version int, err error) {
	var there bool
	if err := tx.QueryRow(ctx, "select to_regclass($1) is not null", j.cfg.Schema+".log").Scan(&there); err != nil || !there {
		return 0, err
	}
	err = tx.QueryRow(ctx, j.sql("select format from bridge.log for no key update")).Scan(&version)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, fmt.Errorf("journal: the table %s.log has no row", j.cfg.Schema)
	}
	return version, err
}
