package postgres

import (
	"strings"

	"github.com/google/uuid"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal/commit"
)

const (
	// maxDrifts is how many kinds of drift of a connector have a count each. Further kinds, and kinds with names longer than
	// maxDriftName bytes, are counted without event and path.
	maxDrifts    = 500
	maxDriftName = 256
)

// driftRows are the counts of drift that a group adds.
type driftRows struct {
	// kinds are the kinds that have a row, by connector, as far as the committer knows. Rows are never removed.
	kinds map[string]map[commit.DriftKey]bool
	// loaded are the connectors whose kinds were read for this group.
	loaded map[string]bool
	deltas map[commit.DriftKey]*driftDelta
	rows   driftArrays
}

// driftDelta is what a group adds to one kind of drift.
type driftDelta struct {
	count           int64
	firstAt, lastAt int64
	first, last     uuid.UUID
	// counted is the webhook that was counted last.
	counted uuid.UUID
	sample  []byte
}

// driftArrays are the parameters of the statement.
type driftArrays struct {
	connectors, events, paths, kinds, counts, firstAts, lastAts, firsts, lasts, samples array
}

func (r *driftArrays) n() int { return r.connectors.n }

func (r *driftArrays) send(f *flight) {
	f.send("drift", r.connectors.encoded(), r.events.encoded(), r.paths.encoded(), r.kinds.encoded(), r.counts.encoded(),
		r.firstAts.encoded(), r.lastAts.encoded(), r.firsts.encoded(), r.lasts.encoded(), r.samples.encoded())
}

func (r *driftArrays) reset() {
	for _, a := range []*array{&r.connectors, &r.events, &r.paths} {
		a.reset(oidText)
	}
	r.kinds.reset(oidInt4)
	for _, a := range []*array{&r.counts, &r.firstAts, &r.lastAts} {
		a.reset(oidInt8)
	}
	r.firsts.reset(oidUUID)
	r.lasts.reset(oidUUID)
	r.samples.reset(oidBytea)
}

func (r *driftArrays) add(key commit.DriftKey, d *driftDelta) {
	r.connectors.addString(key.Connector)
	r.events.addString(key.Event)
	r.paths.addString(key.Path)
	r.kinds.addInt32(int32(key.Kind))
	r.counts.addInt64(d.count)
	r.firstAts.addInt64(d.firstAt)
	r.lastAts.addInt64(d.lastAt)
	r.firsts.add(d.first[:], nil)
	r.lasts.add(d.last[:], nil)
	r.samples.add(d.sample, nil)
}

func (d *driftRows) reset() {
	if d.deltas == nil {
		d.deltas = make(map[commit.DriftKey]*driftDelta)
		d.kinds = make(map[string]map[commit.DriftKey]bool)
		d.loaded = make(map[string]bool)
	}
	clear(d.deltas)
	clear(d.loaded)
	d.rows.reset()
}

// forget drops what is known of the rows.
func (d *driftRows) forget() { clear(d.kinds) }

// count adds the drift of a group's webhooks. It asks for the kinds of a connector when it does not know one of them.
func (d *driftRows) count(c *committer) error {
	for _, p := range c.group.Entries() {
		if p.Drift == nil || !p.Decision.Adds() && p.Decision.Outcome != commit.Kept {
			continue
		}
		for i, key := range p.Drift.Keys {
			key, known, err := d.rowOf(c, key)
			if err != nil {
				return err
			}
			var sample []byte
			if !known && key.Path != "" {
				sample = p.Drift.Samples[i]
			}
			d.add(p, key, sample)
		}
	}
	for key, delta := range d.deltas {
		d.rows.add(key, delta)
	}
	return nil
}

// rowOf returns the row that counts a kind of drift, and whether it was there.
func (d *driftRows) rowOf(c *committer, key commit.DriftKey) (_ commit.DriftKey, known bool, err error) {
	key.Event, key.Path = driftText(key.Event), driftText(key.Path)
	others := commit.DriftKey{Connector: key.Connector, Kind: key.Kind}
	if key.Path == "" || max(len(key.Event), len(key.Path)) > maxDriftName {
		return others, true, nil
	}
	kinds := d.kinds[key.Connector]
	if !kinds[key] && len(kinds) < maxDrifts && !d.loaded[key.Connector] {
		if kinds, err = c.loadKinds(key.Connector); err != nil {
			return key, false, err
		}
		d.kinds[key.Connector], d.loaded[key.Connector] = kinds, true
	}
	switch {
	case kinds[key]:
		return key, true, nil
	case len(kinds) >= maxDrifts:
		return others, true, nil
	}
	kinds[key] = true
	return key, false, nil
}

// driftText makes a vendor's name a text that the database can hold.
func driftText(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// add counts a webhook once for each kind.
func (d *driftRows) add(p *commit.Pending, key commit.DriftKey, sample []byte) {
	at := p.Drift.At.AsTime().UnixNano()
	delta := d.deltas[key]
	if delta == nil {
		delta = &driftDelta{firstAt: at, first: p.ID, lastAt: at, last: p.ID, sample: sample}
		d.deltas[key] = delta
	}
	if delta.counted == p.ID {
		return // more than one that is counted by its kind alone
	}
	delta.counted = p.ID
	delta.count++
	if at >= delta.lastAt { // a released webhook was received long ago
		delta.lastAt, delta.last = at, p.ID
	}
}

// loadKinds reads the kinds of drift of a connector, in the transaction of the group.
func (c *committer) loadKinds(connector string) (map[commit.DriftKey]bool, error) {
	kinds := make(map[commit.DriftKey]bool)
	f := flight{c.conn.PgConn().StartPipeline(c.ctx)}
	f.send("kinds", []byte(connector))
	err := f.p.Sync()
	if err == nil {
		_, err = f.next(func(v [][]byte) error {
			kind, err := decodeInt32(v[2])
			if len(v[1]) > 0 {
				kinds[commit.DriftKey{
					Connector: connector, Event: string(v[0]), Path: string(v[1]), Kind: journalv1.DriftKind(kind),
				}] = true
			}
			return err
		})
	}
	if closing := f.p.Close(); err == nil {
		err = closing
	}
	return kinds, err
}
