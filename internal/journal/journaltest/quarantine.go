package journaltest

import (
	"errors"
	"fmt"
	"sync"

	"github.com/webhook-bridge/bridge/internal/journal"
)

const oneWayOut = "A quarantined webhook leaves the quarantine once: it is released, or it is discarded. No reader sees it in both states or in neither. "

var quarantineCases = []testCase{
	{"released once", oneWayOut + "Of several attempts at the same instant one succeeds. Every other release is ErrNotFound, and every other Discard does not count it.", releasedOnce, nil},
	{"released or discarded", oneWayOut + "Of several attempts at the same instant one succeeds. Every other release is ErrNotFound, and every other Discard does not count it.", oneOfMany, nil},
	{"released across crashes", oneWayOut, releasedAcrossCrashes, []need{canCrash}},
	{"released duplicate", "A release that is a duplicate takes the webhook out of quarantine without events, and marks it as a duplicate.", releasedDuplicate, nil},
	{"corrections", "A correction of a webhook that is not stored, or is in quarantine, is ErrNotFound.", corrections, nil},
	{"array with a webhook that is not found", "If one entry of an AppendAll is ErrNotFound, nothing of that AppendAll happened, and its contents are not known.", arrayNotFound, nil},
}

func releasedOnce(t *test) {
	q := t.entries(quarantined("a"), quarantined("b"))
	t.appendAll(q...)
	t.equal("in quarantine", len(t.webhooks(true)), 2)
	release := releaseOf(q[0], 2, t.now, "a")
	r := t.append(release)
	t.equal("receipt", r, journal.Receipt{First: 1})
	t.equal("released", t.webhook(q[0].Webhook.GetId()), stored(release, r))
	t.hasEvents(release, 1)
	again := releaseOf(q[0], 2, t.now, "other contents")
	_, err := t.journal().Append(t.ctx, again)
	t.is("released again", err, journal.ErrNotFound)
	t.equal("events", len(t.events()), 2)
	t.discards(0, q[0])
	t.discards(1, q[1], q[1])
	t.discards(0, q[1])
	_, err = t.journal().Append(t.ctx, releaseOf(q[1], 1, t.now, "b"))
	t.is("released after it was discarded", err, journal.ErrNotFound)
	_, err = t.journal().Webhook(t.ctx, q[1].Webhook.GetId())
	t.is("discarded", err, journal.ErrNotFound)
	t.equal("in quarantine", len(t.webhooks(true)), 0)
	plainEntry := t.entry(plain("c"))
	t.append(plainEntry)
	t.discards(0, plainEntry)
	_, err = t.journal().Append(t.ctx, releaseOf(plainEntry, 1, t.now, "c"))
	t.is("release of a webhook that was never in quarantine", err, journal.ErrNotFound)
}

// discards ends the case unless a Discard of these webhooks removes so many.
func (t *test) discards(want int, entries ...journal.Entry) {
	var ids []string
	for _, e := range entries {
		ids = append(ids, e.Webhook.GetId())
	}
	n, err := t.journal().Discard(t.ctx, ids)
	t.fail("discard", err)
	t.equal("discarded", n, want)
}

func oneOfMany(t *test) {
	for n := range 30 {
		e := t.entry(quarantined(fmt.Sprint("a", n)))
		t.append(e)
		before := t.journal().Bounds().Next
		var mu sync.Mutex
		released, discarded := 0, 0
		var failed error
		var wg sync.WaitGroup
		for i := range 6 {
			j := t.journal()
			release := releaseOf(e, 1, t.now, fmt.Sprint(n, "/", i))
			wg.Go(func() {
				var err error
				removed := 0
				if i%2 == 0 {
					removed, err = j.Discard(t.ctx, []string{e.Webhook.GetId()})
				} else {
					_, err = j.Append(t.ctx, release)
				}
				mu.Lock()
				defer mu.Unlock()
				discarded += removed
				switch {
				case err == nil && i%2 == 1:
					released++
				case err != nil && !errors.Is(err, journal.ErrNotFound):
					failed = err
				}
			})
		}
		wg.Wait()
		t.fail("call", failed)
		next := t.journal().Bounds().Next
		if released+discarded != 1 || int(next-before) != released {
			t.fatalf("released %d times, discarded %d times, with %d events", released, discarded, next-before)
		}
		_, err := t.journal().Webhook(t.ctx, e.Webhook.GetId())
		if (err == nil) != (released == 1) {
			t.fatalf("released %d times, and its webhook: %v", released, err)
		}
	}
}

func releasedAcrossCrashes(t *test) {
	for n := range maxCrashes {
		e := t.entry(quarantined(fmt.Sprint("a", n)))
		t.append(e)
		id := e.Webhook.GetId()
		release := releaseOf(e, 2, t.now, id)
		var err error
		j := t.journal()
		t.crash(n, func() {
			if n%3 == 2 {
				_, err = j.Discard(t.ctx, []string{id})
			} else {
				_, err = j.Append(t.ctx, release)
			}
		})
		events := 0
		for _, event := range t.events() {
			if event.GetWebhookId() == id {
				events++
			}
		}
		w, missing := t.journal().Webhook(t.ctx, id)
		gone := errors.Is(missing, journal.ErrNotFound)
		out := gone || w.GetReleasedAt() != nil
		switch {
		case err == nil && !out:
			t.fatalf("acknowledged, and still in quarantine after a crash")
		case gone && (n%3 != 2 || events != 0), !gone && out && events != 2, !out && events != 0:
			t.fatalf("gone: %v, out of quarantine: %v, with %d events", gone, out, events)
		}
		if gone {
			continue
		}
		_, err = t.journal().Append(t.ctx, release)
		if want := map[bool]error{true: journal.ErrNotFound}[out]; !errors.Is(err, want) {
			t.fatalf("out of quarantine: %v; released again: %v", out, err)
		}
	}
}

func releasedDuplicate(t *test) {
	known := t.entry(plain("known"))
	t.append(known)
	e := t.entry(quarantined("q"))
	t.append(e)
	release := releaseOf(e, 2, t.now, "known")
	release.Keys = append(release.Keys, known.Keys...)
	r := t.append(release)
	t.equal("receipt", r, duplicate)
	t.equal("webhook", t.webhook(e.Webhook.GetId()), stored(release, r))
	t.equal("in quarantine", len(t.webhooks(true)), 0)
	t.equal("events", len(t.events()), 1)
	_, err := t.journal().Append(t.ctx, release)
	t.is("released again", err, journal.ErrNotFound)
}

func corrections(t *test) {
	e, q := t.entry(plain("a").adding(3)), t.entry(quarantined("q"))
	_, err := t.journal().Append(t.ctx, correctionOf(e, "before", 0))
	t.is("correction of a webhook that is not stored", err, journal.ErrNotFound)
	t.append(e)
	t.append(q)
	_, err = t.journal().Append(t.ctx, correctionOf(q, "x", 0))
	t.is("correction of a webhook in quarantine", err, journal.ErrNotFound)
	c := correctionOf(e, "first", 2, 0)
	t.equal("receipt", t.append(c), journal.Receipt{First: 4})
	t.hasEvents(c, 4)
	t.equal("the same correction", t.append(correctionOf(e, "first", 2, 0)), duplicate)
	t.equal("another correction", t.append(correctionOf(e, "second", 1)), journal.Receipt{First: 6, Revised: true})
	t.append(releaseOf(q, 1, t.now, "q"))
	t.append(correctionOf(q, "of a released one", 0))
	t.corrected(e, journal.Correction{Index: 2, Position: 4}, journal.Correction{Index: 0, Position: 5}, journal.Correction{Index: 1, Position: 6})
	t.corrected(q, journal.Correction{Index: 0, Position: 8})
	t.equal("the webhook stays as it is", t.webhook(e.Webhook.GetId()), stored(e, journal.Receipt{First: 1}))
}

func (t *test) corrected(e journal.Entry, want ...journal.Correction) {
	got, err := t.journal().Corrections(t.ctx, e.Webhook.GetId())
	t.fail("corrections", err)
	t.equal("corrections", got, want)
}

func arrayNotFound(t *test) {
	q, absent := t.entry(quarantined("q")), t.entry(quarantined("absent"))
	t.append(q)
	a := plain("a")
	array := append(t.entries(a), releaseOf(q, 1, t.now, "q"), releaseOf(absent, 1, t.now, "x"))
	_, err := t.journal().AppendAll(t.ctx, array)
	t.is("array with a webhook that is not found", err, journal.ErrNotFound)
	t.equal("events", len(t.events()), 0)
	t.equal("in quarantine", len(t.webhooks(true)), 1)
	t.expect("contents of the array", []spec{a}, journal.Receipt{First: 1})
	t.equal("release", t.append(releaseOf(q, 1, t.now, "q")), journal.Receipt{First: 2})
}
