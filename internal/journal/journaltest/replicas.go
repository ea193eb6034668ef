package journaltest

import (
	"fmt"
	"slices"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
)

func notes(t *test) {
	t.add(plain("a").adding(2))
	t.register("reader", 1, journal.Hold)
	for _, name := range []string{"reader", "a name without a cursor"} {
		first := t.claim(name)
		t.equal("note at first", len(first.Note()), 0)
		for _, note := range []string{"one", "", "another"} {
			t.fail("save note", first.SaveNote(t.ctx, []byte(note)))
			t.equal("note of its holder", string(first.Note()), note)
		}
		t.fail("release", first.Release(t.ctx))
		t.is("note of a lost claim", first.SaveNote(t.ctx, []byte("late")), journal.ErrLost)
		next := t.claim(name)
		t.equal("note of the next holder", string(next.Note()), "another")
		t.fail("release", next.Release(t.ctx))
	}
	for range t.h.Instances {
		t.equal("note of the reader", string(t.reader("reader").Note), "another")
	}
}

func replicas(t *test) {
	counts := func(n uint64) []*journalv1.SourceCounts {
		return []*journalv1.SourceCounts{{Source: "a", Received: n, Accepted: 2}, {Source: "b", Unauthorized: n + 1, Quarantined: 4, Pings: 5}}
	}
	for i, j := range t.h.Instances {
		t.fail("report", j.Report(t.ctx, journal.Report{Counts: counts(100), Config: "first"}))
		t.fail("report", j.Report(t.ctx, journal.Report{Counts: counts(uint64(i)), Config: fmt.Sprint("config ", i)}))
		_, err := j.Claim(t.ctx, "held by "+string(rune('a'+i)))
		t.fail("claim", err)
	}
	var ids []string
	for i, j := range t.h.Instances {
		all := t.replicasOf(j)
		self := slices.IndexFunc(all, func(r journal.Replica) bool { return r.Self })
		if len(all) != len(t.h.Instances) || self < 0 {
			t.fatalf("instance %d lists %d replicas, want %d, itself among them: %+v", i, len(all), len(t.h.Instances), all)
		}
		ids = append(ids, all[self].ID)
	}
	for i, id := range ids {
		for _, j := range t.h.Instances {
			all := t.replicasOf(j)
			at := slices.IndexFunc(all, func(r journal.Replica) bool { return r.ID == id })
			if at < 0 {
				t.fatalf("instance %d is not listed: %+v", i, all)
			}
			r := all[at]
			t.equal("claims", r.Claims, []string{"held by " + string(rune('a'+i))})
			t.equal("counts", r.Counts, counts(uint64(i)))
			t.equal("configuration", r.Config, fmt.Sprint("config ", i))
			t.equal("ended", r.Ended, false)
		}
	}
}

func (t *test) replicasOf(j journal.Journal) []journal.Replica {
	all, err := j.Replicas(t.ctx)
	t.fail("replicas", err)
	return all
}
