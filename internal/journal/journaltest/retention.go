package journaltest

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

const heldBack = "Nothing is removed that a registered reader has not passed, except for readers that said Skip, and for these only while the storage is nearly full."

var retentionCases = []testCase{
	{"age", "Events older than the age that retention has are removed, the oldest first. Their webhooks and their corrections go with them, or a little later.", age, []need{hasClock, canRetain}},
	{"readers hold retention", heldBack, holdRetention, []need{hasClock, canRetain}},
	{"readers that skip", heldBack, skipRetention, []need{hasClock, canRetain, canBeLow}},
	{"expired", "A reader at a position that was removed gets ErrExpired, never a gap.", expired, []need{hasClock, canRetain}},
	{"age of the quarantine", "Quarantined webhooks, released ones among them, are removed by an age of their own.", quarantineAge, []need{hasClock, canRetain}},
}

// slack is how much longer webhooks may stay than their events.
const slack = time.Hour

func age(t *test) {
	var entries []journal.Entry
	for n := range 5 {
		entries = append(entries, t.entry(plain(fmt.Sprint("a", n)).adding(2)))
		t.append(entries[n])
		t.append(correctionOf(entries[n], strconv.Itoa(n), 0))
		t.advance(2 * time.Hour)
	}
	for n := range entries { // the first is as old as the age
		t.advance(time.Minute)
		t.retain()
		want := sinks.Bounds{Earliest: sinks.Position(3*(n+1) + 1), Next: 16}
		t.equal("bounds", t.journal().Bounds(), want)
		t.advance(slack)
		t.retain()
		for i, e := range entries {
			_, err := t.journal().Webhook(t.ctx, e.Webhook.GetId())
			if gone := errors.Is(err, journal.ErrNotFound); gone != (i <= n) {
				t.fatalf("after %d were removed webhook %d is gone: %v (%v)", n+1, i+1, gone, err)
			}
			if i > n {
				t.corrected(e, journal.Correction{Index: 0, Position: sinks.Position(3*i + 3)})
				continue
			}
			got, err := t.journal().Corrections(t.ctx, e.Webhook.GetId())
			if err != nil || len(got) > 0 {
				t.fatalf("corrections of a webhook that is gone: %v, %v", got, err)
			}
		}
		t.advance(2*time.Hour - 3*time.Minute - slack)
	}
}

func (t *test) old(n int) {
	for i := range n {
		t.add(plain(fmt.Sprint("old", t.made, "/", i)))
	}
}

func holdRetention(t *test) {
	t.old(6)
	t.register("a", 3, journal.Hold)
	t.register("b", 5, journal.Hold)
	t.advance(EventAge + time.Hour)
	retained := func(want sinks.Position) {
		t.retain()
		t.equal("earliest", t.journal().Bounds().Earliest, want)
	}
	retained(3)
	c := t.claim("a")
	t.fail("save", c.Save(t.ctx, 7))
	retained(5)
	t.fail("forget", t.journal().Forget(t.ctx, "b"))
	retained(7)
}

func skipRetention(t *test) {
	t.old(6)
	t.register("holds", 5, journal.Hold)
	t.register("skips", 2, journal.Skip)
	t.advance(EventAge + time.Hour)
	t.retain()
	t.equal("earliest", t.journal().Bounds().Earliest, sinks.Position(2))
	mend := t.h.Low()
	t.retain()
	t.equal("earliest, while the storage is nearly full", t.journal().Bounds().Earliest, sinks.Position(5))
	mend()
	t.add(plain("a"))
}

func expired(t *test) {
	t.old(4)
	t.advance(time.Hour)
	t.old(4)
	t.advance(EventAge - time.Minute)
	var wg sync.WaitGroup
	read := make([]error, 4)
	for i := range read {
		j := t.journal()
		wg.Go(func() { read[i] = follow(t, j, 9) })
	}
	t.retain()
	wg.Wait()
	t.fail("read", errors.Join(read...))
	t.equal("bounds", t.journal().Bounds(), sinks.Bounds{Earliest: 5, Next: 9})
	for p := range sinks.Position(5) {
		_, err := t.journal().Read(t.ctx, p, make([]sinks.Record, 0, 10))
		t.is(fmt.Sprint("read at ", p), err, sinks.ErrExpired)
		_, err = t.journal().EventAt(t.ctx, p)
		t.is(fmt.Sprint("event at ", p), err, sinks.ErrExpired)
		_, err = t.journal().CommittedAt(t.ctx, p)
		t.is(fmt.Sprint("commit at ", p), err, sinks.ErrExpired)
	}
}

// follow reads from the start to the end, again and again while retention runs, and goes on at the earliest event when its
// position expired.
func follow(t *test, j journal.Journal, end sinks.Position) error {
	for range 50 {
		for p := sinks.Position(1); p < end; {
			got, err := j.Read(t.ctx, p, make([]sinks.Record, 0, 3))
			if errors.Is(err, sinks.ErrExpired) {
				p = j.Bounds().Earliest
				continue
			}
			if err != nil {
				return err
			}
			for _, r := range got {
				if r.Position != p {
					return fmt.Errorf("%d follows %d", r.Position, p-1)
				}
				p++
			}
		}
	}
	return nil
}

func quarantineAge(t *test) {
	q := t.entries(quarantined("a"), quarantined("b"))
	t.appendAll(q...)
	t.advance(time.Hour)
	t.append(releaseOf(q[1], 1, t.now, "released"))
	t.advance(QuarantineAge - time.Hour - 2*time.Minute)
	t.retain()
	t.equal("quarantined and released", len(t.webhooks(false)), 2)
	t.advance(2 * time.Minute)
	t.retain()
	t.equal("old ones", len(t.webhooks(false)), 0)
	_, err := t.journal().Append(t.ctx, releaseOf(q[0], 1, t.now, "late"))
	t.is("release of one that was removed", err, journal.ErrNotFound)
	t.discards(0, q[0])
}
