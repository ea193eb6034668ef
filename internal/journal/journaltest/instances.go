package journaltest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

const (
	acrossInstances = "All of this holds across instances: for what arrives at several of them at the same instant, and for what one commits and another one shows."
	mayLag          = "An instance may show less than another one, for a moment. What one instance acknowledged or showed is never ErrFuture at another one."
	stoppedInstance = "An instance that stops holds up the others for some seconds at most."
	stoppedHolder   = "A holder that stopped loses its claim, and notices before another holder has the name. When it goes on, nothing that it does through the claim takes effect."
)

var instanceCases = []testCase{
	{"raced keys", acrossInstances, racedKeys, []need{several}},
	{"raced revisions", acrossInstances, racedRevisions, []need{several}},
	{"positions of another instance", mayLag, othersPositions, []need{several}},
	{"bounds while another instance appends", mayLag, boundsNeverLead, []need{several}},
	{"a stopped instance", stoppedInstance, stopped, []need{several, canFreeze}},
	{"a claim of a stopped instance", stoppedHolder, takeOver, []need{several, canFreeze}},
}

// heldUpWithin is how long a stopped instance may hold up the others.
const heldUpWithin = 10 * time.Second

// race appends the same entries at all instances, at the same instant, one after the other, and returns the receipts by instance.
func (t *test) race(specs []spec) (receipts [][]journal.Receipt) {
	receipts = make([][]journal.Receipt, len(t.h.Instances))
	failed := make([]error, len(t.h.Instances))
	var wg sync.WaitGroup
	for i, j := range t.h.Instances {
		entries := t.entries(specs...)
		wg.Go(func() {
			for _, e := range entries {
				r, err := j.Append(t.ctx, e)
				receipts[i], failed[i] = append(receipts[i], r), errors.Join(failed[i], err)
			}
		})
	}
	wg.Wait()
	t.fail("append", errors.Join(failed...))
	return receipts
}

func racedKeys(t *test) {
	const each = 200
	var specs []spec
	for n := range each {
		specs = append(specs, plain(fmt.Sprint("a", n)).adding(1+n%2))
	}
	receipts := t.race(specs)
	for n := range specs {
		won := 0
		for i := range receipts {
			if !receipts[i][n].Duplicate {
				won++
			}
		}
		if won != 1 {
			t.fatalf("a webhook that arrived at %d instances was new at %d of them", len(receipts), won)
		}
	}
	t.equal("events", len(t.events()), each+each/2)
	t.equal("webhooks", len(t.webhooks(false)), each)
}

func racedRevisions(t *test) {
	const each = 50
	t.add(plain("a"))
	var specs []spec
	for n := range each {
		specs = append(specs, plain("a").with(fmt.Sprint("b", n), fmt.Sprint("b", n)))
	}
	for n, receipts := 0, t.race(specs); n < each; n++ {
		revised := 0
		for i := range receipts {
			if r := receipts[i][n]; r.Revised && !r.Duplicate {
				revised++
			} else if !r.Duplicate || r.Revised {
				t.fatalf("a revision that arrived at several instances: %+v", r)
			}
		}
		t.equal("how often it counts as revision", revised, 1)
	}
	t.equal("events", len(t.events()), each+1)
}

// othersPositions uses at one instance what another one has just acknowledged, or just shows.
func othersPositions(t *test) {
	t.register("reader", 1, journal.Hold)
	for n := range 30 {
		a, b := t.h.Instances[n%len(t.h.Instances)], t.h.Instances[(n+1)%len(t.h.Instances)]
		e := t.entry(plain(fmt.Sprint("a", n)))
		r, err := a.Append(t.ctx, e)
		t.fail("append", err)
		t.fail("mark of what was acknowledged", b.Resolve(t.ctx, a.Mark(r.First)))
		t.fail("mark of the end", b.Resolve(t.ctx, a.Mark(a.Bounds().Next)))
		got, err := b.EventAt(t.ctx, r.First)
		t.fail("event", err)
		t.equal("event", got, decode(e.Events[0]))
		_, err = b.CommittedAt(t.ctx, r.First)
		t.fail("committed at", err)
		records, err := b.Read(t.ctx, r.First, make([]sinks.Record, 0, 1))
		t.fail("read", err)
		t.equal("records", len(records), 1)
	}
	for n := range 6 {
		a, b := t.h.Instances[n%len(t.h.Instances)], t.h.Instances[(n+1)%len(t.h.Instances)]
		c, err := b.Claim(t.ctx, "reader")
		t.fail("claim", err)
		r, err := a.Append(t.ctx, t.entry(plain(fmt.Sprint("b", n))))
		t.fail("append", err)
		t.fail("save", c.Save(t.ctx, r.First+1))
		t.fail("register", b.Register(t.ctx, fmt.Sprint("reader", n), r.First+1, journal.Hold))
		r, err = a.Append(t.ctx, t.entry(plain(fmt.Sprint("c", n))))
		t.fail("append", err)
		t.fail("move", b.MoveTo(t.ctx, "reader", r.First+1))
	}
}

// boundsNeverLead reads at every instance up to the bounds of each of them, while all append.
func boundsNeverLead(t *test) {
	var ended atomic.Bool
	var appending, reading sync.WaitGroup
	failed := make(chan error, 2*len(t.h.Instances))
	for i, j := range t.h.Instances {
		var entries []journal.Entry
		for n := range 150 {
			entries = append(entries, t.entry(plain(fmt.Sprint(i, "/", n))))
		}
		appending.Go(func() {
			for _, e := range entries {
				if _, err := j.Append(t.ctx, e); err != nil {
					failed <- err
					return
				}
			}
		})
		other := t.h.Instances[(i+1)%len(t.h.Instances)]
		reading.Go(func() {
			last := j.Bounds()
			for !ended.Load() {
				b := j.Bounds()
				if b.Next < last.Next {
					failed <- fmt.Errorf("the end went back from %d to %d", last.Next, b.Next)
					return
				}
				last = b
				if b.Next == 1 {
					continue
				}
				for _, at := range []journal.Journal{j, other} {
					if _, err := at.EventAt(t.ctx, b.Next-1); err != nil {
						failed <- fmt.Errorf("the last event that an instance shows: %w", err)
						return
					}
				}
			}
		})
	}
	appending.Wait()
	ended.Store(true)
	reading.Wait()
	close(failed)
	for err := range failed {
		t.fail("while instances append", err)
	}
	t.equal("events", len(t.events()), 150*len(t.h.Instances))
}

// stopped stops an instance in the middle of its appends, again and again.
func stopped(t *test) {
	var specs []spec
	var answers []*answer
	for n := range 3 {
		i := n % len(t.h.Instances)
		j, other := t.h.Instances[i], t.h.Instances[(i+1)%len(t.h.Instances)]
		for k := range 20 {
			specs = append(specs, plain(fmt.Sprint(n, "/", k)))
			answers = append(answers, t.appendAsideAt(j, t.entry(specs[len(specs)-1])))
		}
		<-answers[len(answers)-20].done // some are under way
		thaw := t.h.Freeze(i)
		began := time.Now()
		t.persist("append at another instance", func() error {
			_, err := other.Append(t.ctx, t.entry(plain(fmt.Sprint("other", n))))
			return err
		})
		if d := time.Since(began); d > heldUpWithin {
			t.fatalf("an instance that stopped held up another one for %v", d)
		}
		thaw()
	}
	for n, a := range answers {
		<-a.done
		if a.err != nil {
			t.is("append of a stopped instance", a.err, journal.ErrUnavailable)
		}
		var again journal.Receipt
		t.persist("append again", func() (err error) {
			again, err = t.journal().Append(t.ctx, t.entry(specs[n]))
			return err
		})
		if a.err == nil && !again.Duplicate {
			t.fatalf("acknowledged by an instance that was stopped, and then %+v", again)
		}
	}
	t.equal("events", len(t.events()), len(specs)+3)
}

// takeOver has the holder's instance stop, another one take the name, and the first one go on.
func takeOver(t *test) {
	t.add(plain("a").adding(9))
	t.register("reader", 1, journal.Hold)
	zombie, err := t.h.Instances[0].Claim(t.ctx, "reader")
	t.fail("claim", err)
	t.fail("save", zombie.Save(t.ctx, 3))
	t.fail("park", zombie.Park(t.ctx, parked(1, "refused")))
	before, err := t.journal().Parked(t.ctx, "reader", 0, 10)
	t.fail("parked", err)
	thaw := t.h.Freeze(0)
	saving := make(chan error, 1)
	go func() { saving <- zombie.Save(t.ctx, 2) }() // reaches the storage when the instance goes on
	next, err := t.h.Instances[1].Claim(t.ctx, "reader")
	t.fail("claim of the next holder", err)
	if !isLost(zombie) {
		t.fatalf("another holder has the name, and the claim is not lost")
	}
	t.equal("position", next.Position(), sinks.Position(3))
	t.fail("save of the next holder", next.Save(t.ctx, 5))
	thaw()
	if err := <-saving; !errors.Is(err, journal.ErrLost) && !errors.Is(err, journal.ErrUnavailable) {
		t.fatalf("save that was under way: %v", err)
	}
	t.writesAreLost(zombie)
	for i := range t.h.Instances {
		after, err := t.h.Instances[i].Parked(t.ctx, "reader", 0, 10)
		t.fail("parked", err)
		t.equal("parked", after, before)
	}
	t.equal("position", t.reader("reader").Position, sinks.Position(5))
	t.fail("save of the next holder", next.Save(t.ctx, 6))
	t.fail("release", zombie.Release(t.ctx))
	if isLost(next) {
		t.fatalf("the claim is lost by the release of an earlier one")
	}
}

// writesAreLost ends the case unless every write through a claim is ErrLost.
func (t *test) writesAreLost(c journal.Claim) {
	for what, write := range map[string]func(context.Context) error{
		"save":    func(ctx context.Context) error { return c.Save(ctx, 4) },
		"park":    func(ctx context.Context) error { return c.Park(ctx, parked(3, "late")) },
		"attempt": func(ctx context.Context) error { return c.AddAttempt(ctx, parked(1, "late")) },
		"unpark":  func(ctx context.Context) error { return c.Unpark(ctx, 1) },
		"replay":  func(ctx context.Context) error { return c.SaveReplay(ctx, replay("reader", 1)) },
		"gap":     func(ctx context.Context) error { _, err := c.RecordGap(ctx, 1, 3); return err },
	} {
		t.is(what+" of a holder that stopped", write(t.ctx), journal.ErrLost)
	}
}
