package pebble

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/journaltest"
	"github.com/webhook-bridge/bridge/sinks"
)

// makeGroup makes a group that a session owns in part, with states and an event that was asked to be retried. It returns the session.
func makeGroup(t *testing.T, j *Journal, name string) journal.Session {
	t.Helper()
	_, err := j.SetGroup(t.Context(), name, 0, []byte("definition"), &journal.GroupReset{State: []byte("start")})
	wantErr(t, "set group", err, nil)
	s, err := j.Enlist(t.Context())
	wantErr(t, "enlist", err, nil)
	taken, err := s.Take(t.Context(), name, []int{1, 2})
	wantErr(t, "take", err, nil)
	c := []journal.ShareChange{nextOf(taken[0], "one"), nextOf(taken[1], "two")}
	c[0].Park = []*journalv1.Parked{{Position: 1, Event: []byte("event"), Reason: "refused"}}
	saved, err := j.SaveShares(t.Context(), name, c)
	wantErr(t, "save shares", err, nil)
	diff(t, "saved", saved, []bool{true, true})
	wantErr(t, "retry", j.RequestRetry(t.Context(), journal.GroupReader(name), 1), nil)
	return s
}

func nextOf(s journal.Share, state string) journal.ShareChange {
	return journal.ShareChange{Index: s.Index, Epoch: s.Epoch, Version: s.Version, State: []byte(state)}
}

// A copy has the groups, and none of the sessions.
func TestBackupHasGroups(t *testing.T) {
	disk := vfs.NewMem()
	j := open(t, testConfig(disk))
	s := makeGroup(t, j, "a")
	wantErr(t, "join", s.Join(t.Context(), "a", "member", nil), nil)
	_, err := j.Backup(t.Context(), "copy")
	wantErr(t, "backup", err, nil)
	before, err := j.Shares(t.Context(), "a", []int{0, 1, 2})
	wantErr(t, "shares", err, nil)
	cfg := testConfig(disk)
	cfg.Dir = "copy"
	restored := open(t, cfg)
	after, err := restored.Shares(t.Context(), "a", []int{0, 1, 2})
	wantErr(t, "shares of the copy", err, nil)
	diff(t, "shares", after, before)
	g, err := restored.Group(t.Context(), "a")
	wantErr(t, "group of the copy", err, nil)
	if string(g.Definition) != "definition" || g.Parked != 1 || len(g.Members) != 0 || g.Owners[1] != "" {
		t.Errorf("group of the copy: %+v", g)
	}
	replays, err := restored.Replays(t.Context(), "a", 0, 10)
	wantErr(t, "replays", err, nil)
	diff(t, "replays", len(replays), 1)
}

// Damage of a group is an error for that group alone. The group can be deleted; one that is made again has greater versions and epochs.
func TestDamagedGroup(t *testing.T) {
	for what, change := range map[string]func(*pebble.Batch) error{
		"share gone":          func(b *pebble.Batch) error { return b.Delete(shareKey("a", 9), nil) },
		"share of nonsense":   func(b *pebble.Batch) error { return b.Set(shareKey("a", 9), []byte("?"), nil) },
		"group of nonsense":   func(b *pebble.Batch) error { return b.Set(groupKey("a"), []byte("?"), nil) },
		"version of nonsense": func(b *pebble.Batch) error { return b.Set(shareKey("a", 9), shareValue(1, 1<<63, nil), nil) },
	} {
		t.Run(what, func(t *testing.T) {
			disk := vfs.NewMem()
			j := open(t, testConfig(disk))
			makeGroup(t, j, "a")
			makeGroup(t, j, "b")
			b := j.store.db.NewBatch()
			wantErr(t, "change", change(b), nil)
			wantErr(t, "commit", b.Commit(pebble.Sync), nil)
			shut(t, j)
			j = open(t, testConfig(disk))
			s, err := j.Enlist(t.Context())
			wantErr(t, "enlist", err, nil)
			for range 2 {
				_, err = j.Group(t.Context(), "a")
				wantErr(t, "group", err, sinks.ErrDamaged)
				_, err = j.SaveShares(t.Context(), "a", []journal.ShareChange{{Index: 1, Epoch: 2, Version: 3}})
				wantErr(t, "save shares", err, sinks.ErrDamaged)
				_, err = s.Take(t.Context(), "a", []int{9})
				wantErr(t, "take", err, sinks.ErrDamaged)
				wantErr(t, "join", s.Join(t.Context(), "a", "member", nil), sinks.ErrDamaged)
			}
			_, err = j.Group(t.Context(), "b")
			wantErr(t, "another group", err, nil)
			wantErr(t, "delete", j.DeleteGroup(t.Context(), "a"), nil)
			version, err := j.SetGroup(t.Context(), "a", 0, nil, nil)
			wantErr(t, "make again", err, nil)
			if version <= unreadableSpends {
				t.Errorf("version %d of a group that was made again", version)
			}
			_, err = s.Take(t.Context(), "a", []int{9})
			wantErr(t, "take", err, nil)
		})
	}
}

// A damaged parked event is an error of the change that parks it again, and of no other; nothing of that change happens.
func TestDamagedLetter(t *testing.T) {
	j := open(t, testConfig(vfs.NewMem()))
	makeGroup(t, j, "a")
	wantErr(t, "damage", j.store.db.Set(readerKey(prefixParked, journal.GroupReader("a"), 1), []byte("\xff"), pebble.Sync), nil)
	all, err := j.Shares(t.Context(), "a", []int{1, 2})
	wantErr(t, "shares", err, nil)
	c := []journal.ShareChange{nextOf(all[0], "written before"), nextOf(all[1], "parks")}
	c[1].Park = []*journalv1.Parked{{Position: 1, Reason: "again"}}
	_, err = j.SaveShares(t.Context(), "a", c)
	wantErr(t, "save shares", err, sinks.ErrDamaged)
	after, err := j.Shares(t.Context(), "a", []int{1, 2})
	wantErr(t, "shares", err, nil)
	diff(t, "shares", after, all)
	saved, err := j.SaveShares(t.Context(), "a", c[:1])
	wantErr(t, "save shares", err, nil)
	diff(t, "saved", saved, []bool{true})
}

func TestLimitOfGroups(t *testing.T) {
	j := open(t, testConfig(vfs.NewMem()))
	makeGroup(t, j, "the last of all")
	b := j.store.db.NewBatch()
	for n := range journal.MaxGroups - 2 {
		wantErr(t, "group", b.Set(groupKey(fmt.Sprintf("group %05d", n)), groupValue(1, nil), nil), nil)
	}
	wantErr(t, "groups", b.Commit(pebble.Sync), nil)
	j.groups.st = nil // counted again
	_, err := j.SetGroup(t.Context(), "one", 0, nil, nil)
	wantErr(t, "one more", err, nil)
	_, err = j.SetGroup(t.Context(), "two", 0, nil, nil)
	wantErr(t, "one too many", err, journal.ErrLimit)
	wantErr(t, "delete", j.DeleteGroup(t.Context(), "one"), nil)
	_, err = j.SetGroup(t.Context(), "two", 0, nil, nil)
	wantErr(t, "another one", err, nil)
	var names []string
	for after := ""; ; after = names[len(names)-1] {
		some, err := j.GroupNames(t.Context(), after, 777)
		wantErr(t, "names", err, nil)
		if len(some) == 0 {
			break
		}
		names = append(names, some...)
	}
	if len(names) != journal.MaxGroups || !slices.IsSorted(names) {
		t.Errorf("%d names, in order: %v", len(names), slices.IsSorted(names))
	}
}

// What a caller changes after its call, or while its call waits, changes nothing in the store.
func TestGroupsOwnTheirBytes(t *testing.T) {
	j := open(t, testConfig(vfs.NewMem()))
	makeGroup(t, j, "a")
	all, err := j.Shares(t.Context(), "a", []int{1})
	wantErr(t, "shares", err, nil)
	c := nextOf(all[0], "state")
	_, err = j.SaveShares(t.Context(), "a", []journal.ShareChange{c})
	wantErr(t, "save shares", err, nil)
	clear(c.State)
	got, err := j.Shares(t.Context(), "a", []int{1})
	wantErr(t, "shares", err, nil)
	diff(t, "state", string(got[0].State), "state")
	clear(got[0].State)
	got, err = j.Shares(t.Context(), "a", []int{1})
	wantErr(t, "shares", err, nil)
	diff(t, "state", string(got[0].State), "state")
}

// groupsHoldBack keeps all events while there is a group.
func groupsHoldBack(h journaltest.Harness) journaltest.Harness {
	retain := h.Retain
	h = wrap(h, func(*broken) {})
	h.Retain = func() {
		j := h.Instances[0]
		if names, err := j.GroupNames(context.Background(), "", 1); err == nil && len(names) == 1 && j.Bounds().Next > 1 {
			return
		}
		retain()
	}
	return h
}

// groupsKeepLetters parks what retention removed from a group.
func groupsKeepLetters(h journaltest.Harness) journaltest.Harness {
	retain, ctx := h.Retain, context.Background()
	h = wrap(h, func(*broken) {})
	h.Retain = func() {
		j := h.Instances[0]
		before, _ := j.Parked(ctx, journal.GroupReader("a"), 0, 10)
		retain()
		if s, err := j.Shares(ctx, "a", []int{5}); err == nil && len(before) > 0 {
			c := nextOf(s[0], "")
			c.Park = before
			_, _ = j.SaveShares(ctx, "a", []journal.ShareChange{c})
		}
	}
	return h
}

// BenchmarkSaveShares compares acknowledged writes of shares with bare batches of Pebble that are synced, in one run. Each write is of some
// shares, of 300 bytes each.
func BenchmarkSaveShares(b *testing.B) {
	state := make([]byte, 300)
	for i := range state {
		state[i] = byte(rand.Uint32())
	}
	for _, shares := range []int{1, 16, 256} {
		for _, writers := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("shares=%d/writers=%d/journal", shares, writers), func(b *testing.B) {
				benchmarkWriters(b, writers, func(j *Journal, writer int) func() error {
					group := fmt.Sprint("group ", writer)
					if _, err := j.SetGroup(b.Context(), group, 0, nil, &journal.GroupReset{State: state}); err != nil {
						b.Fatal(err)
					}
					changes := make([]journal.ShareChange, shares)
					for n := range changes {
						changes[n] = journal.ShareChange{Index: n, Epoch: 1, Version: 1, State: state}
					}
					return func() error {
						saved, err := j.SaveShares(b.Context(), group, changes)
						for n := range saved {
							if !saved[n] {
								return fmt.Errorf("share %d was not written", n)
							}
							changes[n].Version++
						}
						return err
					}
				})
			})
			b.Run(fmt.Sprintf("shares=%d/writers=%d/bare", shares, writers), func(b *testing.B) {
				benchmarkWriters(b, writers, func(j *Journal, writer int) func() error {
					group := fmt.Sprint("group ", writer)
					return func() error {
						batch := j.store.db.NewBatch()
						for n := range shares {
							if err := batch.Set(shareKey(group, n), shareValue(1, 1, state), nil); err != nil {
								return err
							}
						}
						return batch.Commit(pebble.Sync)
					}
				})
			})
		}
	}
}

// benchmarkWriters has writers write at the same time, in a folder on the disk.
func benchmarkWriters(b *testing.B, writers int, begin func(j *Journal, writer int) func() error) {
	j, err := Open(b.Context(), Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = j.Close() }()
	var writes []func() error
	for n := range writers {
		writes = append(writes, begin(j, n))
	}
	failed := make(chan error, writers)
	b.ResetTimer()
	for n, write := range writes {
		go func() {
			for k := n; k < b.N; k += writers {
				if err := write(); err != nil {
					failed <- err
					return
				}
			}
			failed <- nil
		}()
	}
	for range writers {
		if err := <-failed; err != nil {
			b.Error(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
}

// Names of groups that do not exist leave nothing in memory.
func TestUnknownGroupsAreNotKept(t *testing.T) {
	j := open(t, testConfig(vfs.NewMem()))
	before := len(j.readers.named)
	for i := range 10 {
		wantErr(t, "delete group", j.DeleteGroup(t.Context(), fmt.Sprint("unknown-", i)), journal.ErrNotFound)
		_, err := j.Group(t.Context(), fmt.Sprint("unknown-", i))
		wantErr(t, "group", err, journal.ErrNotFound)
		_, err = j.Replays(t.Context(), fmt.Sprint("unknown-", i), 0, 1)
		wantErr(t, "replays", err, nil)
	}
	if after := len(j.readers.named); after != before {
		t.Errorf("%d readers are known, there were %d", after, before)
	}
}
