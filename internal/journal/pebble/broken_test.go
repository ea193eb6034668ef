package pebble

import (
	"context"
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/journaltest"
	"github.com/webhook-bridge/bridge/sinks"
)

// hashes is a set that goroutines share.
type hashes struct {
	mu  sync.Mutex
	all map[journal.Hash]bool
}

// add adds a hash, and reports whether it is new.
func (s *hashes) add(h journal.Hash) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = make(map[journal.Hash]bool)
	}
	known := s.all[h]
	s.all[h] = true
	return !known
}

// clone returns the hashes that are in the set now.
func (s *hashes) clone() map[journal.Hash]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.all)
}

func (s *hashes) replace(all map[journal.Hash]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = all
}

func (s *hashes) has(h journal.Hash) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[h]
}

// brokenEngines each fail one case, and no other.
var brokenEngines = []struct {
	name, fails string
	fault       func(h journaltest.Harness) journaltest.Harness
}{
	{"forgets a webhook's second key when its process ends", "reopened", forgetsKey},
	{"acknowledges a webhook with drift before the sync", "not shown before it is durable", acknowledgesEarly},
	{"shows the end of what is not durable", "not shown before it is durable", boundsLead},
	{"acknowledges a duplicate before the original is durable", "duplicate of what is pending", earlyDuplicate},
	{"uses positions again after retention removed all events", "positions after retention", positionsAgain},
	{"counts the drift of duplicates", "drift", countsTwice},
	{"releases a webhook twice when two ask at the same instant", "released or discarded", releasesTwice},
	{"lets a claim save that an operator took away", "writes of a lost claim", savesLost},
	{"compares meanings under the first key alone", "same meaning", firstMeaning},
	{"records under keys that are for looking up", "lookup only", func(h journaltest.Harness) journaltest.Harness {
		return wrap(h, func(b *broken) {
			b.change = func(e *journal.Entry) { e.Keys = eachKey(e.Keys, func(k *journal.Key) { k.LookupOnly = false }) }
		})
	}},
	{"ends windows early once the clock was put back by two hours", "back by two hours", windowsEndEarly},
	{"removes what is old at one look at the clock", "two looks", func(h journaltest.Harness) journaltest.Harness {
		retain := h.Retain
		h.Retain = func() { retain(); retain() }
		return wrap(h, func(*broken) {})
	}},
	{"accepts a mark of a lost future", "marks of a lost future", resolves(sinks.ErrForked, func(sinks.Mark) bool { return true })},
	{"accepts a mark of what has expired", "marks", resolves(sinks.ErrExpired, func(m sinks.Mark) bool { return m.Epoch != 0 })},
	{"commits an array in part", "array whole or not at all", splitsArrays},
	{"commits the rest of an array with a webhook that is not found", "array with a webhook that is not found", keepsRest},
	{"holds events back for a group", "retention beside a group", groupsHoldBack},
	{"keeps the parked events of a group", "age of a group's parked events", groupsKeepLetters},
	{"counts a gap twice", "gaps", func(h journaltest.Harness) journaltest.Harness {
		return wrap(h, func(b *broken) { b.claim = func(c journal.Claim) journal.Claim { return &gapsTwice{c} } })
	}},
	{"forgets the note of a holder that has gone", "notes", func(h journaltest.Harness) journaltest.Harness {
		return wrap(h, func(b *broken) { b.claim = func(c journal.Claim) journal.Claim { return &forgetsNote{Claim: c} } })
	}},
	{"forgets a move when its holder has gone", "moved", func(h journaltest.Harness) journaltest.Harness {
		var shown atomic.Bool
		return wrap(h, func(b *broken) {
			b.claim = func(c journal.Claim) journal.Claim { return &forgetsMove{c, shown.Swap(c.Moved())} }
		})
	}},
	{"says that a cursor was moved after it was saved", "moved", func(h journaltest.Harness) journaltest.Harness {
		return wrap(h, func(b *broken) { b.claim = func(c journal.Claim) journal.Claim { return &movedForGood{c, c.Moved()} } })
	}},
	{"goes on with a replay that was cancelled", "replays that have ended", func(h journaltest.Harness) journaltest.Harness {
		return wrap(h, func(b *broken) {
			b.claim = func(c journal.Claim) journal.Claim { return &revivesReplays{Claim: c, j: b.Journal} }
		})
	}},
	{"forgets how far a replay is", "replays", func(h journaltest.Harness) journaltest.Harness {
		return wrap(h, func(b *broken) { b.claim = func(c journal.Claim) journal.Claim { return &savesEndsOnly{c} } })
	}},
	{"lists no claims of replicas", "replicas", func(h journaltest.Harness) journaltest.Harness {
		return wrap(h, func(b *broken) { b.replicas = func(r *journal.Replica) { r.Claims = nil } })
	}},
	{"parks a discarded event again", "attempt of a discarded event", func(h journaltest.Harness) journaltest.Harness {
		return wrap(h, func(b *broken) { b.claim = func(c journal.Claim) journal.Claim { return &parksDiscarded{c} } })
	}},
	{"forgets the history of an event that is parked again", "parked again", func(h journaltest.Harness) journaltest.Harness {
		return wrap(h, func(b *broken) { b.claim = func(c journal.Claim) journal.Claim { return &parksAnew{c} } })
	}},
	{"discards nothing while the disk is nearly full", "discard while low", func(h journaltest.Harness) journaltest.Harness {
		return wrap(h, func(b *broken) {
			b.discard = func(ctx context.Context, ids []string) (int, error) {
				if err := ctx.Err(); err == nil && !b.Health().Available && b.Journal.Resolve(ctx, sinks.Mark{Position: 1}) == nil {
					return 0, journal.ErrUnavailable
				}
				return b.Journal.Discard(ctx, ids)
			}
		})
	}},
	{"leaves out a webhook between two pages", "pages", func(h journaltest.Harness) journaltest.Harness {
		return wrap(h, func(b *broken) {
			b.find = func(ctx context.Context, q journal.Query) (journal.Page, error) {
				p, err := b.Journal.Find(ctx, q)
				if q.Backwards && p.Next != "" && len(p.Webhooks) > 1 {
					p.Webhooks = p.Webhooks[:len(p.Webhooks)-1]
				}
				return p, err
			}
		})
	}},
	{"makes the versions of duplicates known", "versions of duplicates", knowsDuplicates},
	{"lets versions lapse early", "versions lapse", func(h journaltest.Harness) journaltest.Harness {
		return wrap(h, func(b *broken) {
			b.change = func(e *journal.Entry) {
				for i := range e.Versions {
					if v := &e.Versions[i]; v.Window == 90*time.Minute {
						v.Window--
					}
				}
			}
		})
	}},
	{"does not compare the events of releases", "versions of releases and corrections", func(h journaltest.Harness) journaltest.Harness {
		return wrap(h, func(b *broken) {
			b.change = func(e *journal.Entry) {
				if e.Operation == journal.Release {
					e.Versions = nil
				}
			}
		})
	}},
	{"does not say that it is closed", "close", func(h journaltest.Harness) journaltest.Harness {
		return wrap(h, func(b *broken) {
			b.webhook = func(ctx context.Context, id string) (*journalv1.Webhook, error) {
				w, err := b.Journal.Webhook(ctx, id)
				if errors.Is(err, sinks.ErrClosed) {
					err = journal.ErrNotFound
				}
				return w, err
			}
		})
	}},
}

// TestKitFindsFaults: each broken engine fails exactly the case that is meant for it.
func TestKitFindsFaults(t *testing.T) {
	t.Parallel()
	for _, e := range brokenEngines {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			got := journaltest.Failing(t, func(t *testing.T) journaltest.Harness { return e.fault(newEmbedded(t)) })
			diff(t, "fails", got, []string{e.fails})
		})
	}
}

func eachKey(keys []journal.Key, change func(*journal.Key)) (changed []journal.Key) {
	for _, k := range keys {
		change(&k)
		changed = append(changed, k)
	}
	return changed
}

func forgetsKey(h journaltest.Harness) journaltest.Harness {
	var second, forgotten hashes
	h = wrap(h, func(b *broken) {
		b.change = func(e *journal.Entry) {
			first := true
			e.Keys = eachKey(e.Keys, func(k *journal.Key) {
				if !first {
					second.add(k.Hash)
				}
				first = false
				if forgotten.has(k.Hash) {
					k.Hash[0]++
				}
			})
		}
	})
	reopen := h.Reopen
	h.Reopen = func(i int) journal.Journal {
		forgotten.replace(second.clone())
		return reopen(i)
	}
	return h
}

// stalls tells the fault while commits are held up.
func stalls(h journaltest.Harness, stalled *atomic.Bool) journaltest.Harness {
	stall := h.Stall
	h.Stall = func() (<-chan struct{}, func(bool)) {
		held, resume := stall()
		stalled.Store(true)
		return held, func(fail bool) { stalled.Store(false); resume(fail) }
	}
	return h
}

func acknowledgesEarly(h journaltest.Harness) journaltest.Harness {
	var stalled atomic.Bool
	h = wrap(h, func(b *broken) {
		b.append = func(ctx context.Context, e journal.Entry) (journal.Receipt, error) {
			if stalled.Load() && len(e.Webhook.GetDrift()) > 0 {
				go func() { _, _ = b.Journal.Append(ctx, e) }()
				return journal.Receipt{First: b.Journal.Bounds().Next}, nil
			}
			return b.Journal.Append(ctx, e)
		}
	})
	return stalls(h, &stalled)
}

func boundsLead(h journaltest.Harness) journaltest.Harness {
	var stalled atomic.Bool
	h = wrap(h, func(b *broken) {
		b.bounds = func() sinks.Bounds {
			bounds := b.Journal.Bounds()
			if stalled.Load() {
				bounds.Next++
			}
			return bounds
		}
	})
	return stalls(h, &stalled)
}

func earlyDuplicate(h journaltest.Harness) journaltest.Harness {
	var stalled atomic.Bool
	var seen hashes
	h = wrap(h, func(b *broken) {
		b.append = func(ctx context.Context, e journal.Entry) (journal.Receipt, error) {
			if !seen.add(e.Bytes) && stalled.Load() {
				return journal.Receipt{Duplicate: true}, nil
			}
			return b.Journal.Append(ctx, e)
		}
	})
	return stalls(h, &stalled)
}

func positionsAgain(h journaltest.Harness) journaltest.Harness {
	return wrap(h, func(b *broken) {
		var offset sinks.Position
		if bounds := b.Journal.Bounds(); bounds.Earliest == bounds.Next {
			offset = bounds.Next - 1
		}
		b.bounds = func() sinks.Bounds {
			bounds := b.Journal.Bounds()
			return sinks.Bounds{Earliest: bounds.Earliest - offset, Next: bounds.Next - offset}
		}
		b.append = func(ctx context.Context, e journal.Entry) (journal.Receipt, error) {
			r, err := b.Journal.Append(ctx, e)
			r.First -= min(offset, r.First)
			return r, err
		}
	})
}

func countsTwice(h journaltest.Harness) journaltest.Harness {
	var mu sync.Mutex
	more := make(map[string]uint64)
	return wrap(h, func(b *broken) {
		b.append = func(ctx context.Context, e journal.Entry) (journal.Receipt, error) {
			r, err := b.Journal.Append(ctx, e)
			mu.Lock()
			defer mu.Unlock()
			for _, d := range e.Webhook.GetDrift() {
				if r.Duplicate {
					more[d.GetPath()]++
				}
			}
			return r, err
		}
		b.drift = func(ctx context.Context) ([]*journalv1.DriftCount, error) {
			all, err := b.Journal.Drift(ctx)
			mu.Lock()
			defer mu.Unlock()
			for _, d := range all {
				d.Count += more[d.GetPath()]
			}
			return all, err
		}
	})
}

func releasesTwice(h journaltest.Harness) journaltest.Harness {
	var mu sync.Mutex
	underWay, released := make(map[string]int), make(map[string]bool)
	return wrap(h, func(b *broken) {
		b.append = func(ctx context.Context, e journal.Entry) (journal.Receipt, error) {
			if e.Operation != journal.Release {
				return b.Journal.Append(ctx, e)
			}
			id := e.Webhook.GetId()
			mu.Lock()
			underWay[id]++
			mu.Unlock()
			r, err := b.Journal.Append(ctx, e)
			mu.Lock()
			defer mu.Unlock()
			underWay[id]--
			if err == nil {
				released[id] = underWay[id] > 0
			}
			if errors.Is(err, journal.ErrNotFound) && released[id] {
				return r, nil
			}
			return r, err
		}
	})
}

type lostSaver struct {
	journal.Claim
	released atomic.Bool
}

func (c *lostSaver) Save(ctx context.Context, p sinks.Position) error {
	err := c.Claim.Save(ctx, p)
	if errors.Is(err, journal.ErrLost) && !errors.Is(err, sinks.ErrClosed) && !c.released.Load() {
		return nil
	}
	return err
}

func (c *lostSaver) Release(ctx context.Context) error {
	c.released.Store(true)
	return c.Claim.Release(ctx)
}

func savesLost(h journaltest.Harness) journaltest.Harness {
	return wrap(h, func(b *broken) { b.claim = func(c journal.Claim) journal.Claim { return &lostSaver{Claim: c} } })
}

func firstMeaning(h journaltest.Harness) journaltest.Harness {
	var seen hashes
	return wrap(h, func(b *broken) {
		b.change = func(e *journal.Entry) {
			fresh, known := false, false
			for i, k := range e.Keys {
				isNew := seen.add(k.Hash)
				fresh, known = fresh || i == 0 && isNew, known || i > 0 && !isNew
			}
			if fresh && known {
				e.Meaning = journal.Hash{}
			}
		}
	})
}

func windowsEndEarly(h journaltest.Harness) journaltest.Harness {
	var back atomic.Bool
	move := h.Clock
	h.Clock = func(d time.Duration) {
		if d == -2*time.Hour {
			back.Store(true)
		}
		move(d)
	}
	return wrap(h, func(b *broken) {
		b.change = func(e *journal.Entry) {
			if back.Load() {
				e.Keys = eachKey(e.Keys, func(k *journal.Key) { k.Window = max(k.Window-time.Hour, time.Second) })
			}
		}
	})
}

func resolves(wrong error, which func(sinks.Mark) bool) func(journaltest.Harness) journaltest.Harness {
	return func(h journaltest.Harness) journaltest.Harness {
		return wrap(h, func(b *broken) {
			b.resolve = func(ctx context.Context, m sinks.Mark) error {
				err := b.Journal.Resolve(ctx, m)
				if errors.Is(err, wrong) && which(m) {
					return nil
				}
				return err
			}
		})
	}
}

func splitsArrays(h journaltest.Harness) journaltest.Harness {
	return wrap(h, func(b *broken) {
		b.appendAll = func(ctx context.Context, entries []journal.Entry) (receipts []journal.Receipt, err error) {
			for _, e := range entries {
				if e.Operation != journal.Receive {
					return b.Journal.AppendAll(ctx, entries)
				}
			}
			for _, e := range entries {
				r, err := b.Journal.Append(ctx, e)
				if err != nil {
					return nil, err
				}
				receipts = append(receipts, r)
			}
			return receipts, nil
		}
	})
}

func keepsRest(h journaltest.Harness) journaltest.Harness {
	return wrap(h, func(b *broken) {
		b.appendAll = func(ctx context.Context, entries []journal.Entry) ([]journal.Receipt, error) {
			receipts, err := b.Journal.AppendAll(ctx, entries)
			if errors.Is(err, journal.ErrNotFound) {
				for _, e := range entries {
					e.Versions = nil
					_, _ = b.Journal.Append(ctx, e)
				}
			}
			return receipts, err
		}
	})
}

// knowsDuplicates publishes the versions of a duplicate in an entry of its own.
func knowsDuplicates(h journaltest.Harness) journaltest.Harness {
	return wrap(h, func(b *broken) {
		b.append = func(ctx context.Context, e journal.Entry) (journal.Receipt, error) {
			r, err := b.Journal.Append(ctx, e)
			if r.Duplicate && len(e.Versions) > 0 {
				e.Bytes[0]++
				e.Meaning[0]++
				_, err = b.Journal.Append(ctx, e)
			}
			return r, err
		}
	})
}

type forgetsNote struct {
	journal.Claim
	note []byte
}

func (c *forgetsNote) Note() []byte { return c.note }

func (c *forgetsNote) SaveNote(ctx context.Context, note []byte) error {
	c.note = note
	return c.Claim.SaveNote(ctx, note)
}

type forgetsMove struct {
	journal.Claim
	forgotten bool
}

func (c *forgetsMove) Moved() bool { return c.Claim.Moved() && !c.forgotten }

type movedForGood struct {
	journal.Claim
	moved bool
}

func (c *movedForGood) Moved() bool { return c.moved }

type revivesReplays struct {
	journal.Claim
	j journal.Journal
}

func (c *revivesReplays) Requests(ctx context.Context) (journal.Requests, error) {
	all, err := c.Claim.Requests(ctx)
	replays, listed := c.j.ListReplays(ctx, "")
	for _, r := range replays {
		if r.GetState() == journalv1.ReplayState_REPLAY_STATE_CANCELLED {
			all.Replays = append(all.Replays, r)
		}
	}
	return all, errors.Join(err, listed)
}

type savesEndsOnly struct{ journal.Claim }

func (c *savesEndsOnly) SaveReplay(ctx context.Context, r *journalv1.Replay) error {
	if r.GetEndedAt() == nil && r.GetDelivered() > 0 {
		return nil
	}
	return c.Claim.SaveReplay(ctx, r)
}

type gapsTwice struct{ journal.Claim }

func (c *gapsTwice) RecordGap(ctx context.Context, from, to sinks.Position) (uint64, error) {
	_, err := c.Claim.RecordGap(ctx, from, to)
	return uint64(to - from), err
}

type parksDiscarded struct{ journal.Claim }

func (c *parksDiscarded) AddAttempt(ctx context.Context, p *journalv1.Parked) error {
	return c.Park(ctx, p)
}

type parksAnew struct{ journal.Claim }

func (c *parksAnew) Park(ctx context.Context, p *journalv1.Parked) error {
	if err := c.Unpark(ctx, sinks.Position(p.GetPosition())); err != nil {
		return err
	}
	return c.Claim.Park(ctx, p)
}
