package pebble

import (
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/google/uuid"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/commit"
	"github.com/webhook-bridge/bridge/internal/journal/epoch"
)

// known holds what the store knew before a group. Only the committer uses it.
type known struct {
	commit.Known
	st *store
	// windows are the windows with which keys were looked up, for keys that the filter did not exclude.
	windows map[journal.Hash]time.Duration
	// current are the contents that were recorded within the hour. A new record may take the place of theirs.
	current map[journal.Hash][]journal.Seen
	// found and key are memory for one look-up.
	found []bucket
	key   []byte
	// reads counts the records that were read.
	reads int
}

func newKnown(st *store) known {
	return known{
		Known: commit.Known{
			Contents: make(map[journal.Hash][]journal.Seen),
			Versions: make(map[journal.Hash][]journal.SeenVersion),
			Webhooks: make(map[uuid.UUID]commit.State),
		},
		st:      st,
		windows: make(map[journal.Hash]time.Duration),
		current: make(map[journal.Hash][]journal.Seen),
	}
}

// loadGroup looks up the keys and the webhooks of a group. A call for which that fails is left out of the group's decision.
func (k *known) loadGroup(g *commit.Group, now int64) {
	clear(k.Contents)
	clear(k.Versions)
	clear(k.Webhooks)
	clear(k.windows)
	clear(k.current)
	k.Now = time.Unix(0, now)
	for call := range g.Calls {
		for p := range call.All {
			if err := k.loadEntry(p); err != nil {
				call.Fail(fmt.Errorf("%w: %w", journal.ErrUnavailable, err))
				break
			}
		}
	}
}

func (k *known) loadEntry(p *commit.Pending) error {
	for i := range p.Keys {
		if err := k.loadContents(&p.Keys[i]); err != nil {
			return fmt.Errorf("dedupe key: %w", err)
		}
	}
	for i := range p.Versions {
		if err := k.loadVersions(&p.Versions[i]); err != nil {
			return fmt.Errorf("subject's version: %w", err)
		}
	}
	if p.Operation == journal.Receive {
		return nil
	}
	s, err := k.st.webhookState(p.ID)
	if err != nil {
		return fmt.Errorf("webhook: %w", err)
	}
	k.Webhooks[p.ID] = s
	return nil
}

// loadContents reads the contents under a key, from the buckets that the filter names. There is no newest bucket to
// look at: if the clock was put back, contents lie in buckets ahead of it.
func (k *known) loadContents(key *journal.Key) error {
	k.found = k.st.filter.findBuckets(k.found[:0], bucketAt(hourOf(k.Now.Add(-key.Window))), &key.Hash)
	if len(k.found) == 0 || k.windows[key.Hash] >= key.Window {
		return nil
	}
	var all, current []journal.Seen
	e := k.st.epochs.Load()
	for _, at := range k.found {
		before := len(all)
		var complete bool
		var err error
		if all, complete, err = k.readContents(all, at, &key.Hash, e); err != nil {
			return err
		}
		if at.hour() == hourOf(k.Now) {
			current = append(current, all[before:]...)
		}
		if complete {
			break
		}
		if len(all) > 2*commit.MaxContents {
			all = commit.Newest(all)
		}
	}
	if len(current) > 0 {
		k.current[key.Hash] = current
	}
	if len(all) > 0 {
		k.Contents[key.Hash] = all
	}
	k.windows[key.Hash] = key.Window // only now: after an error the next call with the key looks again
	return nil
}

// readContents appends the contents under a key in one bucket, if it has some. They are complete when the record is full, so
// that it has the newest contents, and no later record can lie in an older bucket: the clock was not put back before it.
func (k *known) readContents(all []journal.Seen, at bucket, key *journal.Hash, e *epoch.List) (_ []journal.Seen, complete bool, err error) {
	k.key = appendDedupeKey(k.key[:0], at, *key)
	v, closer, err := k.st.db.Get(k.key)
	if errors.Is(err, pebble.ErrNotFound) {
		return all, false, nil
	}
	if err != nil {
		return all, false, err
	}
	k.reads++
	before := len(all)
	all, err = appendContents(all, v, e)
	if err == nil && len(all)-before >= commit.MaxContents {
		number, _ := contentsEpoch(v) // appendContents has read it
		complete = hourOf(time.Unix(0, e.Limit(number))) >= at.hour()
	}
	return all, complete, errors.Join(err, closer.Close())
}

// loadVersions reads the versions of a subject, from the buckets that the filter names. Each record has the greatest version until
// then. So the record of the newest bucket is enough, unless the clock was put back below that bucket: then later records lie
// in older ones.
func (k *known) loadVersions(v *journal.Version) error {
	if _, loaded := k.Versions[v.Subject]; loaded || v.Subject == (journal.Hash{}) {
		return nil
	}
	k.found = k.st.filter.findBuckets(k.found[:0], bucketAt(hourOf(k.Now.Add(-v.Window))), &v.Subject)
	if len(k.found) == 0 {
		return nil
	}
	var all []journal.SeenVersion
	e := k.st.epochs.Load()
	for _, at := range k.found {
		epoch, s, err := k.readVersion(at, &v.Subject, e)
		if errors.Is(err, pebble.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		all = append(all, s)
		if hourOf(time.Unix(0, e.Limit(epoch))) >= at.hour() {
			break
		}
	}
	k.Versions[v.Subject] = all // only now: after an error the next call with the subject looks again
	return nil
}

func (k *known) readVersion(at bucket, subject *journal.Hash, e *epoch.List) (epoch uint32, s journal.SeenVersion, err error) {
	k.key = appendVersionKey(k.key[:0], at, *subject)
	v, closer, err := k.st.db.Get(k.key)
	if err != nil {
		return 0, s, err
	}
	k.reads++
	epoch, s, err = parseVersion(v, e)
	return epoch, s, errors.Join(err, closer.Close())
}

// webhookState finds out where a webhook is, by asking Pebble: operations that need it are rare.
func (s *store) webhookState(id uuid.UUID) (_ commit.State, err error) {
	defer recoverDamage(&err)
	v, closer, err := s.db.Get(webhookKey(prefixQuarantine, id))
	if errors.Is(err, pebble.ErrNotFound) {
		return s.plainState(id)
	}
	if err != nil {
		return commit.Absent, err
	}
	released, err := wasReleased(v)
	if err := errors.Join(err, closer.Close()); err != nil {
		return commit.Absent, err
	}
	if released {
		return commit.Released, nil
	}
	return commit.Quarantined, nil
}

func (s *store) plainState(id uuid.UUID) (commit.State, error) {
	_, closer, err := s.db.Get(webhookKey(prefixWebhook, id))
	if errors.Is(err, pebble.ErrNotFound) {
		return commit.Absent, nil
	}
	if err != nil {
		return commit.Absent, err
	}
	return commit.Stored, closer.Close()
}

// releasedAt is the field that marks a released webhook.
var releasedAt = fieldNumber("released_at")

// wasReleased looks for that field in a stored webhook. It reads nothing else: the committer has no time to decode it.
func wasReleased(v []byte) (bool, error) {
	if len(v) < webhookHeaderLen {
		return false, errCorrupt
	}
	for v = v[webhookHeaderLen:]; len(v) > 0; {
		number, _, n := protowire.ConsumeField(v)
		if n < 0 {
			return false, errCorrupt
		}
		if number == releasedAt {
			return true, nil
		}
		v = v[n:]
	}
	return false, nil
}
