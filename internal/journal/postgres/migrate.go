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

// format is the newest format of a log that this program knows. The column log.format says which programs may use the log. It is
// firstFormat until something is stored that older programs would lose: groups need groupsFormat.
const (
	firstFormat  = 1
	groupsFormat = 2
	format       = groupsFormat
)

// Format is the newest format of a log that this program reads and writes.
const Format = format

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
	if err != nil {
		return err
	}
	if version > format {
		return newerFormat(version)
	}
	files, err := fs.Glob(migrations, "schema/*.sql")
	if err != nil {
		return err
	}
	done, err := j.upgradeIn(ctx, tx, version)
	if err != nil || done >= len(files) {
		return err
	}
	if version == 0 {
		if _, err := tx.Exec(ctx, "create schema if not exists "+j.cfg.Schema); err != nil {
			return err
		}
	}
	for _, name := range files[done:] {
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
		_, err = tx.Exec(ctx, j.sql("insert into bridge.log (id, format) values ($1, $2)"), id, firstFormat)
	}
	return err
}

func newerFormat(version int) error {
	return fmt.Errorf("%w: %d, this program knows up to %d", ErrNewerFormat, version, format)
}

// upgradeIn returns how many of the files were run on a log with a format.
func (j *Journal) upgradeIn(ctx context.Context, tx pgx.Tx, version int) (done int, err error) {
	if version == 0 {
		return 0, nil
	}
	var there bool
	err = tx.QueryRow(ctx, "select to_regclass($1) is not null", j.cfg.Schema+".upgrade").Scan(&there)
	if err != nil || !there {
		return 1, err // by a version without that table
	}
	err = tx.QueryRow(ctx, j.sql("select max(number) from bridge.upgrade")).Scan(&done)
	return done, err
}

// formatIn returns the format of the log, 0 if there is none. Of several instances that migrate, one goes on at a time.
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
