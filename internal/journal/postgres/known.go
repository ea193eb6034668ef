package postgres

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/commit"
	"github.com/webhook-bridge/bridge/internal/journal/epoch"
	"github.com/webhook-bridge/bridge/sinks"
)

// contentLen is the length of a content in the table dedupe.
const contentLen = 8 + 16 + 16

// known holds what the log knew before a group. Only the committer uses it.
type known struct {
	commit.Known
	head head
	// keys, subjects and ids are what is looked up.
	keys, subjects, ids array
	// found are the records of keys and subjects. Their values lie in values.
	foundKeys, foundSubjects []found
	values                   []byte
	// contents is the memory of Known.Contents.
	contents []journal.Seen
	// damaged are the keys whose record cannot be read.
	damaged map[journal.Hash]bool
}

// found is a record that was found under a hash.
type found struct {
	hash     journal.Hash
	epoch    uint32
	at       int64
	from, to int
}

// collect gathers what a group needs to know.
func (k *known) collect(g *commit.Group) {
	k.keys.reset(oidBytea)
	k.subjects.reset(oidBytea)
	k.ids.reset(oidUUID)
	for call := range g.Calls {
		for p := range call.All {
			for i := range p.Keys {
				k.keys.add(p.Keys[i].Hash[:], nil)
			}
			for i := range p.Versions {
				if p.Versions[i].Subject != (journal.Hash{}) {
					k.subjects.add(p.Versions[i].Subject[:], nil)
				}
			}
			if p.Operation != journal.Receive {
				k.ids.add(p.ID[:], nil)
			}
		}
	}
	k.foundKeys, k.foundSubjects, k.values = k.foundKeys[:0], k.foundSubjects[:0], k.values[:0]
	if k.Webhooks == nil {
		k.Contents = make(map[journal.Hash][]journal.Seen)
		k.Versions = make(map[journal.Hash][]journal.SeenVersion)
		k.Webhooks = make(map[uuid.UUID]commit.State)
		k.damaged = make(map[journal.Hash]bool)
	}
	clear(k.Webhooks)
}

// lookUp locks the head and looks up what the group needs to know, in one round trip. Each statement sees what was committed before
// the lock was granted.
func (c *committer) lookUp() (err error) {
	k := &c.known
	k.collect(&c.group)
	f := flight{c.conn.PgConn().StartPipeline(c.ctx)}
	defer func() {
		if closing := f.p.Close(); err == nil {
			err = closing
		}
	}()
	f.send("begin")
	f.send("head")
	if k.keys.n > 0 {
		f.send("contents", k.keys.encoded())
	}
	if k.subjects.n > 0 {
		f.send("versions", k.subjects.encoded())
	}
	if k.ids.n > 0 {
		f.send("stored", k.ids.encoded())
		f.send("quarantined", k.ids.encoded())
	}
	if err := f.p.Sync(); err != nil {
		return err
	}
	return c.readKnown(&f)
}

func (c *committer) readKnown(f *flight) error {
	k := &c.known
	if _, err := f.next(nil); err != nil {
		return err
	}
	k.head = head{}
	if _, err := f.next(c.readHead); err != nil {
		return err
	}
	if k.head.next == 0 {
		return errNoHead
	}
	if k.keys.n > 0 {
		if _, err := f.next(k.readContents); err != nil {
			return err
		}
	}
	if k.subjects.n > 0 {
		if _, err := f.next(k.readVersion); err != nil {
			return err
		}
	}
	if k.ids.n > 0 {
		if _, err := f.next(k.readStored); err != nil {
			return err
		}
		if _, err := f.next(k.readQuarantined); err != nil {
			return err
		}
	}
	return nil
}

func (c *committer) readHead(v [][]byte) error {
	if len(v) != 10 {
		return errResult
	}
	if note := string(v[6]); note != "" {
		return refuseMoving(note)
	}
	s := safety{fsync: string(v[7]), fullPages: string(v[8]), standbys: string(v[9])}
	if err := s.check(&c.j.cfg); err != nil {
		return err
	}
	h := &c.known.head
	var all [5]int64
	for i, at := range []int{0, 1, 2, 5} {
		n, err := decodeInt64(v[at])
		if err != nil {
			return err
		}
		all[i] = n
	}
	number, err := decodeInt32(v[3])
	if err != nil {
		return err
	}
	h.next, h.kept, h.lastCommit, h.reading = sinks.Position(all[0]), sinks.Position(all[1]), all[2], all[3]
	h.epoch, h.server, h.now = uint32(number), string(v[4]), c.server
	if c.j.cfg.now != nil {
		h.reading = c.j.cfg.now().UnixNano()
	}
	return nil
}

// readContents reads a row: key, epoch, contents.
func (k *known) readContents(v [][]byte) error {
	if len(v) != 3 || len(v[0]) != len(journal.Hash{}) {
		return errResult
	}
	number, err := decodeInt32(v[1])
	if err != nil {
		return err
	}
	from := len(k.values)
	k.values = append(k.values, v[2]...)
	k.foundKeys = append(k.foundKeys, found{hash: journal.Hash(v[0]), epoch: uint32(number), from: from, to: len(k.values)})
	return nil
}

// readVersion reads a row: subject, epoch, time, version.
func (k *known) readVersion(v [][]byte) error {
	if len(v) != 4 || len(v[0]) != len(journal.Hash{}) {
		return errResult
	}
	number, err := decodeInt32(v[1])
	if err != nil {
		return err
	}
	at, err := decodeInt64(v[2])
	if err != nil {
		return err
	}
	from := len(k.values)
	k.values = append(k.values, v[3]...)
	k.foundSubjects = append(k.foundSubjects, found{hash: journal.Hash(v[0]), epoch: uint32(number), at: at, from: from, to: len(k.values)})
	return nil
}

// readStored reads a row: id, and the time from which on webhooks are kept.
func (k *known) readStored(v [][]byte) error {
	if len(v) != 2 || len(v[0]) != len(uuid.UUID{}) {
		return errResult
	}
	return k.addState(uuid.UUID(v[0]), v[1], commit.Stored)
}

// readQuarantined reads a row: id, the time from which on webhooks are kept, and whether the webhook was released.
func (k *known) readQuarantined(v [][]byte) error {
	if len(v) != 3 || len(v[0]) != len(uuid.UUID{}) || len(v[2]) != 1 {
		return errResult
	}
	state := commit.Quarantined
	if v[2][0] != 0 {
		state = commit.Released
	}
	return k.addState(uuid.UUID(v[0]), v[1], state)
}

// addState notes where a webhook is, unless retention has removed it.
func (k *known) addState(id uuid.UUID, keptFrom []byte, state commit.State) error {
	from, err := decodeInt64(keptFrom)
	if err == nil && receivedAt(id) >= from {
		k.Webhooks[id] = state
	}
	return err
}

// receivedAt is the time in a webhook's id, in Unix milliseconds.
func receivedAt(id uuid.UUID) int64 { return int64(binary.BigEndian.Uint64(id[:8]) >> 16) }

// load corrects the times of what was found, once the epochs are known.
func (k *known) load(epochs *epoch.List, now int64) {
	k.Now = time.Unix(0, now)
	clear(k.Contents)
	clear(k.Versions)
	clear(k.damaged)
	k.contents = k.contents[:0]
	for _, f := range k.foundKeys {
		limit, from := epochs.Limit(f.epoch), len(k.contents)
		value := k.values[f.from:f.to]
		if len(value)%contentLen != 0 {
			k.damaged[f.hash] = true
			continue
		}
		for ; len(value) > 0; value = value[contentLen:] {
			at := int64(binary.BigEndian.Uint64(value))
			k.contents = append(k.contents, journal.Seen{
				At: time.Unix(0, min(at, limit)), Bytes: journal.Hash(value[8:]), Meaning: journal.Hash(value[24:]),
			})
		}
		k.Contents[f.hash] = k.contents[from:len(k.contents):len(k.contents)]
	}
	for _, f := range k.foundSubjects {
		at := min(f.at, epochs.Limit(f.epoch))
		k.Versions[f.hash] = []journal.SeenVersion{{At: time.Unix(0, at), Text: string(k.values[f.from:f.to])}}
	}
}

// failDamaged fails the calls that have a key whose record cannot be read.
func (k *known) failDamaged(g *commit.Group) {
	if len(k.damaged) == 0 {
		return
	}
	for call := range g.Calls {
		for p := range call.All {
			for i := range p.Keys {
				if k.damaged[p.Keys[i].Hash] {
					call.Fail(fmt.Errorf("%w: dedupe key: %w", journal.ErrUnavailable, sinks.ErrDamaged))
				}
			}
		}
	}
}
