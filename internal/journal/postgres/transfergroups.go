package postgres

import (
	"github.com/jackc/pgx/v5"

	"github.com/webhook-bridge/bridge/internal/journal/move"
)

// groupsQuery is how groups or their shares are read. The record with an empty name is the first one, so that the place before all is one
// of its own.
func groupsQuery(k move.Kind, from string) (q movedQuery, err error) {
	name, n, err := parsePlace(from)
	if k == move.Shares {
		q.sql, q.scan = `select group_name, index, epoch, version, state from bridge.share where (group_name, index) > ($1, $2)
			order by group_name, index limit $3`, scanMovedShare
		q.args = []any{name, n}
		return q, err
	}
	q.sql, q.scan = `select name, version, definition from bridge.groups where name > $1 or $2 order by name limit $3`, scanMovedGroup
	q.args = []any{name, from == ""}
	return q, err
}

func scanMovedGroup(row pgx.CollectableRow) (movedRow, error) {
	g := new(move.Group)
	err := row.Scan(&g.Name, &g.Version, &g.Definition)
	return movedRow{g, placeOf(g.Name, 0), len(g.Definition) + 64}, err
}

func scanMovedShare(row pgx.CollectableRow) (movedRow, error) {
	s := new(move.Share)
	err := row.Scan(&s.Group, &s.Index, &s.Epoch, &s.Version, &s.State)
	return movedRow{s, placeOf(s.Group, int64(s.Index)), len(s.State) + 64}, err
}

func groupMovedRow(r move.Record) ([]any, error) {
	g, ok := r.(*move.Group)
	if !ok {
		return nil, errMovedType
	}
	return []any{g.Name, int64(g.Version), append([]byte{}, g.Definition...)}, nil
}

func shareMovedRow(r move.Record) ([]any, error) {
	s, ok := r.(*move.Share)
	if !ok {
		return nil, errMovedType
	}
	return []any{s.Group, int32(s.Index), int64(s.Epoch), int64(s.Version), append([]byte{}, s.State...)}, nil
}
