package postgres

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/postgres/pgtest"
)

// briefLease is a lease that tests see run out.
const briefLease = 1500 * time.Millisecond

func brief(c *Config) { c.lease, c.noRetention = briefLease, true }

func claimOf(t *testing.T, j *Journal, name string) journal.Claim {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := j.Claim(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func isLost(c journal.Claim) bool {
	select {
	case <-c.Lost():
		return true
	default:
		return false
	}
}

// takeOver is a claim that another instance waits for.
type takeOver struct {
	got chan journal.Claim
	at  time.Time
}

// claimAside claims in another goroutine.
func claimAside(t *testing.T, j *Journal, name string) *takeOver {
	o := &takeOver{got: make(chan journal.Claim, 1)}
	go func() {
		c, err := j.Claim(t.Context(), name)
		if err != nil {
			t.Errorf("claim: %v", err)
		}
		o.at = time.Now()
		o.got <- c
	}()
	return o
}

func (o *takeOver) wait(t *testing.T) journal.Claim {
	t.Helper()
	select {
	case c := <-o.got:
		if c == nil {
			t.FailNow()
		}
		return c
	case <-time.After(patience):
		t.Fatal("the claim is not taken over")
		return nil
	}
}

// A claim that its holder gives back, also by closing, is taken over at once.
func TestHandOver(t *testing.T) {
	s := newSite(t, pgtest.Shared(t))
	long := func(c *Config) { c.noRetention = true } // a lease of 15 s: nobody waits for its end
	a, b := s.open(long), s.open(long)
	held := claimOf(t, a, "sink")
	for _, give := range []func() error{
		func() error { return held.Release(t.Context()) },
		func() error { return a.Close() },
	} {
		next := claimAside(t, b, "sink")
		began := time.Now()
		if err := give(); err != nil {
			t.Fatal(err)
		}
		c := next.wait(t)
		if took := next.at.Sub(began); took > time.Second {
			t.Errorf("taken over after %v", took)
		}
		if !isLost(held) {
			t.Error("the claim is not lost at its holder")
		}
		if err := c.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !a.isClosing() {
			held = claimOf(t, a, "sink")
		}
	}
}

// A holder that is cut off loses its claim by its own clock before another instance has it, and changes nothing afterwards.
func TestHolderCutOff(t *testing.T) {
	s := newSite(t, pgtest.Shared(t))
	p := s.cluster.NewProxy(t)
	a := s.open(brief, func(c *Config) { c.URL = s.cluster.URLBy(p) })
	b := s.open(brief)
	if err := a.Register(t.Context(), "sink", 1, journal.Hold); err != nil {
		t.Fatal(err)
	}
	zombie := claimOf(t, a, "sink")
	next := claimAside(t, b, "sink")
	p.Freeze()
	began := time.Now()
	late := make(chan error, 4)
	go func() { late <- zombie.Save(t.Context(), 1) }()
	go func() { late <- zombie.Park(t.Context(), &journalv1.Parked{Position: 7}) }()
	go func() { _, err := zombie.RecordGap(t.Context(), 1, 5); late <- err }()
	go func() { late <- zombie.SaveNote(t.Context(), []byte("late")) }()
	var lostAt time.Time
	select {
	case <-zombie.Lost():
		lostAt = time.Now()
	case <-next.got:
		t.Fatal("another instance has the claim, and it is not lost")
	case <-time.After(patience):
		t.Fatal("the claim is not lost")
	}
	c := next.wait(t)
	if grace := next.at.Sub(lostAt); grace < b.cfg.grace()/2 {
		t.Errorf("only %v between the loss and the take-over", grace)
	}
	if took := next.at.Sub(began); took > briefLease+2*time.Second {
		t.Errorf("taken over after %v", took)
	}
	p.Thaw()
	for range cap(late) {
		if err := <-late; !errors.Is(err, journal.ErrLost) {
			t.Errorf("write of a holder that thawed: %v", err)
		}
	}
	if n := s.number(`select (select count(*) from bridge.parked) + (select count(*) from bridge.gap)
		+ (select count(*) from bridge.reader where note <> '')`); n > 0 {
		t.Errorf("a holder that thawed wrote %d rows", n)
	}
	if isLost(c) {
		t.Error("the next claim is lost")
	}
}

// The leases of an instance that died without a word run out.
func TestHolderKilled(t *testing.T) {
	s := newSite(t, pgtest.Shared(t))
	a, b := s.open(brief), s.open(brief)
	claimOf(t, a, "sink")
	next := claimAside(t, b, "sink")
	began := time.Now()
	a.abandon()
	next.wait(t)
	if took := next.at.Sub(began); took > briefLease+time.Second || took < b.cfg.grace() {
		t.Errorf("taken over after %v", took)
	}
}

// A claim that is renewed lasts.
func TestRenewal(t *testing.T) {
	s := newSite(t, pgtest.Shared(t))
	a, b := s.open(brief), s.open(brief)
	c := claimOf(t, a, "sink")
	ctx, cancel := context.WithTimeout(t.Context(), 3*briefLease)
	defer cancel()
	if _, err := b.Claim(ctx, "sink"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a second claim: %v", err)
	}
	if isLost(c) {
		t.Error("the claim is lost")
	}
}

// Instances that ask for the same readers share them. Who holds more asks later, so a busy machine may upset it once in a while.
func TestSpread(t *testing.T) {
	var held [2]int
	for range 5 {
		if held = claimedByTwo(t, 6); min(held[0], held[1]) >= 2 {
			return
		}
		t.Logf("the instances hold %v", held)
	}
	t.Errorf("in none of five trials do both of them hold two")
}

// claimedByTwo has two instances claim readers at the same instant. It returns how many each of them holds.
func claimedByTwo(t *testing.T, readers int) (held [2]int) {
	t.Helper()
	s := newSite(t, pgtest.Shared(t))
	both := []*Journal{s.open(brief), s.open(brief)}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	type grant struct{ instance, reader int }
	granted := make(chan grant)
	for i, j := range both {
		for n := range readers {
			go func() {
				if _, err := j.Claim(ctx, fmt.Sprint("sink", n)); err == nil {
					granted <- grant{i, n}
				}
			}()
		}
	}
	names := map[int]bool{}
	for range readers {
		select {
		case g := <-granted:
			held[g.instance]++
			names[g.reader] = true
		case <-time.After(patience):
			t.Fatalf("claimed so far: %v", held)
		}
	}
	if len(names) != readers {
		t.Errorf("the instances hold %v of %d readers", held, readers)
	}
	return held
}

// Whoever takes a claim away knows that it is lost at its holder, and another instance waits until the holder has ended.
func TestRevocation(t *testing.T) {
	s := newSite(t, pgtest.Shared(t))
	long := func(c *Config) { c.noRetention = true }
	a, b := s.open(long), s.open(long)
	if err := a.Register(t.Context(), "sink", 1, journal.Hold); err != nil {
		t.Fatal(err)
	}
	c := claimOf(t, a, "sink")
	if err := b.MoveTo(t.Context(), "sink", 1); err != nil {
		t.Fatal(err)
	}
	if !isLost(c) {
		t.Fatal("moved, and the claim is not lost at its holder")
	}
	next := claimAside(t, b, "sink")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	select {
	case <-next.got:
		t.Fatal("another instance has the claim while its holder ends")
	case <-ctx.Done():
	}
	if err := c.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	next.wait(t)
}

// A caller that stops waiting leaves no lease behind.
func TestClaimGivenUp(t *testing.T) {
	s := newSite(t, pgtest.Shared(t))
	a, b := s.open(func(c *Config) { c.noRetention = true }), s.open(brief)
	for n := range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(n)*time.Millisecond/2)
		c, err := a.Claim(ctx, fmt.Sprint("sink", n))
		cancel()
		if err == nil {
			err = c.Release(t.Context())
		} else if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
	}
	for n := range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // less than the lease of a
		if _, err := b.Claim(ctx, fmt.Sprint("sink", n)); err != nil {
			t.Errorf("sink %d: %v", n, err)
		}
		cancel()
	}
}

// TestMovedBesideOlderVersion: what a replica of the version before saves ends a move, though it does not know the column of moves.
func TestMovedBesideOlderVersion(t *testing.T) {
	s := newSite(t, pgtest.Shared(t))
	j := s.open(func(c *Config) { c.noRetention = true })
	for range 3 {
		appendTo(t, j, newEntry())
	}
	if err := j.Register(t.Context(), "reader", 3, journal.Hold); err != nil {
		t.Fatal(err)
	}
	if err := j.MoveTo(t.Context(), "reader", 1); err != nil {
		t.Fatal(err)
	}
	c := claimOf(t, j, "reader")
	if !c.Moved() {
		t.Error("the move is not known")
	}
	if err := c.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := j.pool.Exec(t.Context(), j.sql(`update bridge.reader set position = 2 where name = 'reader'`)); err != nil {
		t.Fatal(err)
	}
	if c := claimOf(t, j, "reader"); c.Moved() || c.Position() != 2 {
		t.Errorf("at %d, moved: %v", c.Position(), c.Moved())
	}
}
