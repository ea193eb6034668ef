package postgres

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/letters"
)

// saveShares writes the shares whose epoch and version are the expected ones, and returns their indexes. It locks all shares in the order of the
// indexes first, so that several writers do not wait for each other in a circle.
const saveShares = `with wanted as (
		select * from unnest($2::int[], $3::bigint[], $4::bigint[], $5::bytea[], $6::boolean[]) w(index, epoch, version, state, release)
	), locked as (
		select index from bridge.share where group_name = $1 and index = any($2) order by index for no key update
	) update bridge.share s set state = w.state, version = s.version + 1, owner = case when w.release then null else s.owner end
	from wanted w join locked l on l.index = w.index
	where s.group_name = $1 and s.index = w.index and s.epoch = w.epoch and s.version = w.version
	returning s.index`

// saveShare does it for one share, for which it needs less planning.
const saveShare = `update bridge.share set state = $5, version = version + 1, owner = case when $6::boolean then null else owner end
	where group_name = $1 and index = $2 and epoch = $3 and version = $4 returning index`

// saving is a call of SaveShares. It uses nothing of the caller, since its transaction may outlast the call.
type saving struct {
	j     *Journal
	group string
	// changes are the caller's, without their states.
	changes []journal.ShareChange
	// parks says that a change parks something or unparks it.
	parks bool

	indexes          []int32
	epochs, versions []int64
	states           [][]byte
	releases         []bool
	// saved are the indexes of the shares that were written.
	saved map[int]bool
}

func (j *Journal) newSaving(group string, changes []journal.ShareChange) *saving {
	s := &saving{j: j, group: group, saved: map[int]bool{}}
	for _, c := range changes {
		s.indexes = append(s.indexes, int32(c.Index))
		s.epochs, s.versions = append(s.epochs, int64(c.Epoch)), append(s.versions, int64(c.Version))
		s.states, s.releases = append(s.states, append([]byte{}, c.State...)), append(s.releases, c.Release)
		c.State = nil
		c.Park, c.Attempted, c.Unpark = cloneParked(c.Park), cloneParked(c.Attempted), slices.Clone(c.Unpark)
		s.parks = s.parks || len(c.Park)+len(c.Attempted)+len(c.Unpark) > 0
		s.changes = append(s.changes, c)
	}
	return s
}

func cloneParked(all []*journalv1.Parked) (clones []*journalv1.Parked) {
	for _, p := range all {
		clones = append(clones, proto.CloneOf(p))
	}
	return clones
}

// SaveShares implements [journal.Groups].
func (j *Journal) SaveShares(ctx context.Context, group string, changes []journal.ShareChange) (saved []bool, err error) {
	if err := journal.CheckChanges(changes); err != nil {
		return nil, err
	}
	if !hasName(group) {
		return nil, errNoGroup(group)
	}
	s := j.newSaving(group, changes)
	done := make(chan map[int]bool, 1)
	err = j.runThen(ctx, "save shares", s.run, func(err error) {
		if err == nil && s.changed() {
			j.announceGroups()
		}
		done <- s.saved
	})
	if err != nil {
		return nil, err
	}
	written := <-done
	saved = make([]bool, len(changes))
	for i, c := range changes {
		saved[i] = written[c.Index]
	}
	return saved, nil
}

// changed reports whether something was written that other instances wait for.
func (s *saving) changed() bool {
	return slices.ContainsFunc(s.changes, func(c journal.ShareChange) bool { return c.Release && s.saved[c.Index] })
}

// run runs the transaction.
func (s *saving) run(ctx context.Context) error {
	var err error
	if s.parks {
		err = s.j.transact(ctx, s.saveAndPark)
	} else {
		err = s.j.withSession(ctx, s.saveAlone)
	}
	if code(err) == lockTimeout {
		s.j.endStoppedGroups(ctx)
	}
	return err
}

// statement returns the statement that writes the shares, and its arguments.
func (s *saving) statement() (sql string, args []any) {
	if len(s.indexes) == 1 {
		return s.j.sql(saveShare), []any{s.group, s.indexes[0], s.epochs[0], s.versions[0], s.states[0], s.releases[0]}
	}
	return s.j.sql(saveShares), []any{s.group, s.indexes, s.epochs, s.versions, s.states, s.releases}
}

// collect notes what the statement has written.
func (s *saving) collect(rows pgx.Rows) error {
	indexes, err := pgx.CollectRows(rows, pgx.RowTo[int])
	for _, i := range indexes {
		s.saved[i] = true
	}
	return err
}

// checkGroup looks for the group if nothing was written. It is a statement of its own: the one before may have waited for the end of the group's
// deletion, and sees the group as of its beginning.
func (s *saving) checkGroup(ctx context.Context, q querier) error {
	if len(s.saved) > 0 {
		return nil
	}
	return s.j.checkGroup(ctx, q, s.group)
}

// saveAlone sends the whole transaction at once, so that it takes one round trip.
func (s *saving) saveAlone(ctx context.Context, conn *pgx.Conn) error {
	err := s.sendAlone(ctx, conn)
	switch {
	case err == nil:
		return s.checkGroup(ctx, conn)
	case !conn.IsClosed():
		_, _ = conn.Exec(ctx, "rollback") // a session in a transaction that failed is closed anyway
	}
	return err
}

func (s *saving) sendAlone(ctx context.Context, conn *pgx.Conn) (err error) {
	sql, args := s.statement()
	b := new(pgx.Batch)
	b.Queue("begin")
	b.Queue(sql, args...)
	b.Queue("commit")
	results := conn.SendBatch(ctx, b)
	defer func() { err = errors.Join(err, results.Close()) }()
	if _, err := results.Exec(); err != nil {
		return err
	}
	rows, err := results.Query()
	if err != nil {
		return err
	}
	if err := s.collect(rows); err != nil {
		return err
	}
	tag, err := results.Exec()
	if err == nil && tag.String() != "COMMIT" {
		err = errPlan
	}
	return err
}

// saveAndPark writes the shares, and parks and unparks what belongs to the changes that were written.
func (s *saving) saveAndPark(ctx context.Context, tx pgx.Tx) error {
	sql, args := s.statement()
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	if err := s.collect(rows); err != nil {
		return err
	}
	if err := s.checkGroup(ctx, tx); err != nil {
		return err
	}
	l := groupLetters{j: s.j, reader: journal.GroupReader(s.group), known: map[int64]*journalv1.Parked{}, changed: map[int64]bool{}}
	if err := l.load(ctx, tx, s.positions()); err != nil {
		return err
	}
	for _, c := range s.changes {
		if s.saved[c.Index] {
			l.apply(c)
		}
	}
	return l.store(ctx, tx)
}

// positions are those of the parked events that the written changes are about.
func (s *saving) positions() (all []int64) {
	for _, c := range s.changes {
		if !s.saved[c.Index] {
			continue
		}
		for _, p := range slices.Concat(c.Park, c.Attempted) {
			all = append(all, positionOf(p))
		}
		for _, p := range c.Unpark {
			all = append(all, number(p))
		}
	}
	return all
}

func positionOf(p *journalv1.Parked) int64 { return int64(min(p.GetPosition(), 1<<63-1)) }

// groupLetters are the dead letters of a group that a transaction changes.
type groupLetters struct {
	j      *Journal
	reader string
	now    time.Time
	// known are those that are parked, and changed the positions to write.
	known   map[int64]*journalv1.Parked
	changed map[int64]bool
}

// load locks and reads the parked events at some positions, and drops the requests about them.
func (l *groupLetters) load(ctx context.Context, tx pgx.Tx, positions []int64) error {
	if len(positions) == 0 {
		return nil
	}
	var reading int64
	if err := tx.QueryRow(ctx, `select `+readingSQL, l.j.reading()).Scan(&reading); err != nil {
		return err
	}
	l.now = time.Unix(0, reading)
	rows, err := tx.Query(ctx, l.j.sql(`select encoded from bridge.parked where reader = $1 and position = any($2) order by position for update`),
		l.reader, positions)
	if err != nil {
		return err
	}
	parked, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	if err != nil {
		return err
	}
	for _, encoded := range parked {
		p, err := parseParked(encoded)
		if err != nil {
			return err
		}
		l.known[positionOf(p)] = p
	}
	_, err = tx.Exec(ctx, l.j.sql(`delete from bridge.request where reader = $1 and position = any($2)`), l.reader, positions)
	return err
}

// apply carries out a change, by the rules of [Journal.park].
func (l *groupLetters) apply(c journal.ShareChange) {
	for _, p := range c.Park {
		l.park(p)
	}
	for _, p := range c.Attempted {
		if l.known[positionOf(p)] != nil {
			l.park(p)
		}
	}
	for _, p := range c.Unpark {
		delete(l.known, number(p))
		l.changed[number(p)] = true
	}
}

func (l *groupLetters) park(p *journalv1.Parked) {
	at := positionOf(p)
	l.known[at], l.changed[at] = letters.Park(l.reader, p, l.known[at], l.now), true
}

// store writes what has changed.
func (l *groupLetters) store(ctx context.Context, tx pgx.Tx) error {
	var gone, parked []int64
	var encoded [][]byte
	for _, at := range slices.Sorted(maps.Keys(l.changed)) {
		if l.known[at] == nil {
			gone = append(gone, at)
			continue
		}
		b, err := proto.Marshal(l.known[at])
		if err != nil {
			return err
		}
		parked, encoded = append(parked, at), append(encoded, b)
	}
	if len(gone) > 0 {
		_, err := tx.Exec(ctx, l.j.sql(`delete from bridge.parked where reader = $1 and position = any($2)`), l.reader, gone)
		if err != nil {
			return err
		}
	}
	if len(parked) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, l.j.sql(`insert into bridge.parked (reader, position, at, encoded)
		select $1, p, $2, e from unnest($3::bigint[], $4::bytea[]) t(p, e)
		on conflict (reader, position) do update set at = excluded.at, encoded = excluded.encoded`), l.reader, l.now.UnixNano(), parked, encoded)
	return err
}
