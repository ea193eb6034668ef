package postgres

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/postgres/pgtest"
	"github.com/webhook-bridge/bridge/sinks"
)

// Writers of the same shares in any order do not wait for each other in a circle. Each version is written once.
func TestConcurrentSaves(t *testing.T) {
	s := newSite(t, pgtest.Shared(t))
	all := []*Journal{s.open(func(cfg *Config) { cfg.noRetention = true }), s.open(func(cfg *Config) { cfg.noRetention = true })}
	newGroup(t, all[0], "group")
	const shares = 16
	start := shareOf(t, all[0], 0).Version
	var saved atomic.Int64
	var written sync.Map // by index and version
	var writers sync.WaitGroup
	for n := range 8 {
		writers.Go(func() {
			j := all[n%len(all)]
			for range 25 {
				known, err := j.Shares(context.Background(), "group", rand.Perm(shares))
				var changes []journal.ShareChange
				for _, i := range rand.Perm(len(known)) {
					c := change(known[i], "state")
					if n == 0 {
						c.Park = []*journalv1.Parked{{Position: uint64(i + 1)}}
					}
					changes = append(changes, c)
				}
				if err == nil {
					var done []bool
					done, err = j.SaveShares(context.Background(), "group", changes)
					for i, ok := range done {
						if !ok {
							continue
						}
						saved.Add(1)
						if _, twice := written.LoadOrStore([2]uint64{uint64(changes[i].Index), changes[i].Version}, true); twice {
							t.Errorf("share %d was written twice with version %d", changes[i].Index, changes[i].Version)
						}
					}
				}
				if err != nil {
					t.Errorf("save: %v", err)
				}
			}
		})
	}
	writers.Wait()
	var raised uint64
	for i := range shares {
		raised += shareOf(t, all[0], i).Version - start
	}
	if int64(raised) != saved.Load() || raised == 0 {
		t.Errorf("%d writes succeeded, and the versions were raised by %d", saved.Load(), raised)
	}
}

// unanswered runs a save whose answer the caller does not get, and returns whether the version says that it was written.
func unanswered(t *testing.T, p *pgtest.Proxy, j *Journal, park bool, lose func(text string) (met <-chan struct{}, end func())) bool {
	t.Helper()
	before := shareOf(t, j, 7)
	c := change(before, "unanswered")
	if park {
		c.Park = []*journalv1.Parked{{Position: before.Version}}
	}
	met, end := lose(j.sql(saveShare))
	done := make(chan error, 1)
	go func() {
		_, err := j.SaveShares(context.Background(), "group", []journal.ShareChange{c})
		done <- err
	}()
	<-met
	end()
	if err := <-done; !errors.Is(err, journal.ErrUnavailable) {
		t.Errorf("a save without an answer got %v; want ErrUnavailable", err)
	}
	p.Accept()
	var after journal.Share
	await(t, "the share is read", func() bool {
		all, err := j.Shares(t.Context(), "group", []int{7})
		if err == nil {
			after = all[0]
		}
		return err == nil
	})
	written := string(after.State) == "unanswered" && after.Version == before.Version+1
	if !written && (string(after.State) != string(before.State) || after.Version != before.Version) {
		t.Errorf("the share was %+v, and is %+v", before, after)
	}
	letters, err := j.Parked(t.Context(), journal.GroupReader("group"), sinks.Position(before.Version), 1)
	if err != nil || len(letters) > 0 != (park && written) {
		t.Errorf("written: %v, and parked: %v, %v", written, letters, err)
	}
	if saved := save(t, j, change(before, "again")); saved == written {
		t.Errorf("written: %v, and another write with the same version: %v", written, saved)
	}
	return written
}

// The answer to a COMMIT is lost, or the COMMIT itself. The version tells the caller which it was.
func TestUnansweredSave(t *testing.T) {
	c := pgtest.Shared(t)
	s, p := newSite(t, c), c.NewProxy(t)
	j := s.open(func(cfg *Config) { cfg.URL, cfg.noRetention = c.URLBy(p), true })
	newGroup(t, j, "group")
	for _, park := range []bool{false, true} {
		if !unanswered(t, p, j, park, func(text string) (<-chan struct{}, func()) { return p.SwallowCommit(text).Met, func() {} }) {
			t.Error("the COMMIT was delivered, and the share is as before")
		}
		if unanswered(t, p, j, park, func(string) (<-chan struct{}, func()) { h := p.HoldCommits(); return h.Met, h.Cut }) {
			t.Error("the COMMIT was not delivered, and the share is written")
		}
	}
}

// An instance that stopped in the middle of a save holds others up for some seconds.
func TestStoppedSave(t *testing.T) {
	c := pgtest.Shared(t)
	s, p := newSite(t, c), c.NewProxy(t)
	a := s.open(func(cfg *Config) { cfg.URL, cfg.noRetention = c.URLBy(p), true })
	b := s.open(func(cfg *Config) { cfg.noRetention = true })
	newGroup(t, a, "group")
	share := shareOf(t, b, 7)
	held := p.HoldCommits()
	done := make(chan error, 1)
	go func() {
		_, err := a.SaveShares(context.Background(), "group", []journal.ShareChange{change(share, "of the one that stopped")})
		done <- err
	}()
	<-held.Met
	await(t, "another instance writes the share", func() bool {
		saved, err := b.SaveShares(t.Context(), "group", []journal.ShareChange{change(share, "of another one")})
		return err == nil && saved[0]
	})
	held.Resume()
	if err := <-done; !errors.Is(err, journal.ErrUnavailable) {
		t.Errorf("the save of the instance that stopped got %v", err)
	}
	if got := shareOf(t, b, 7); string(got.State) != "of another one" {
		t.Errorf("the share has the state %q", got.State)
	}
}
