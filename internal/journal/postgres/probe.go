package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// probeRights asks what [Open] needs: to make the tables where they are missing, and otherwise to own them, since retention makes and
// drops partitions.
const probeRights = `select
	to_regclass($1 || '.log') is not null,
	coalesce(has_schema_privilege(to_regnamespace($1)::oid, 'CREATE'), has_database_privilege(current_database(), 'CREATE')),
	coalesce((select pg_has_role(relowner, 'USAGE') from pg_class where oid = to_regclass($1 || '.event')), false)`

// errRights is the same cause as SQLSTATE 42501 at opening.
var errRights = errors.New("journal: the database's user has too few rights")

// Probe connects as [Open] does, and returns why Open would fail. It changes nothing.
func Probe(ctx context.Context, cfg Config) error {
	if err := probe(ctx, cfg.withDefaults()); err != nil {
		return fmt.Errorf("journal: open: %w", describe(err))
	}
	return nil
}

func probe(ctx context.Context, cfg Config) error {
	pool, err := poolConfig(&cfg)
	if err != nil {
		return err
	}
	c := pool.ConnConfig
	neverCancel(c)
	conn, err := pgx.ConnectConfig(ctx, c)
	if err != nil {
		return err
	}
	defer disconnect(conn)
	if err := checkServer(ctx, conn, &cfg); err != nil {
		return err
	}
	return probeTables(ctx, conn, cfg.Schema)
}

// probeTables looks at the rights and at the format.
func probeTables(ctx context.Context, conn *pgx.Conn, schema string) error {
	var there, creates, owns bool
	if err := conn.QueryRow(ctx, probeRights, schema).Scan(&there, &creates, &owns); err != nil {
		return err
	}
	switch {
	case !there && !creates, there && !owns:
		return fmt.Errorf("%w: %s", errRights, hints["42501"])
	case !there:
		return nil
	}
	var version int
	if err := conn.QueryRow(ctx, strings.ReplaceAll("select format from bridge.log", "bridge.", schema+".")).Scan(&version); err != nil {
		return err
	}
	if version > format {
		return newerFormat(version)
	}
	return nil
}
