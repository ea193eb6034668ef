package move_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/move"
	"github.com/webhook-bridge/bridge/internal/journal/postgres/pgtest"
)

// filled returns a place with a journal in it.
func filled(t *testing.T, p place, n int) place {
	t.Helper()
	a := &author{t: t, rng: rand.New(rand.NewPCG(1, 2))}
	j := openPlace(t, p)
	a.write(j, n)
	shut(t, j)
	return p
}

// both runs a test for moves of a filled journal in both directions.
func both(t *testing.T, test func(t *testing.T, from place, fresh, back func(*testing.T) place)) {
	t.Run("to the database", func(t *testing.T) { test(t, filled(t, newFolder(t), 30), newSchema, newFolder) })
	t.Run("to a folder", func(t *testing.T) { test(t, filled(t, newSchema(t), 30), newFolder, newSchema) })
}

func wantError(t *testing.T, err, want error, text string) {
	t.Helper()
	if !errors.Is(err, want) || !strings.Contains(err.Error(), text) {
		t.Errorf("%v, want %v with %q", err, want, text)
	}
}

// TestOccupied: nothing is moved over another log, nor over the part of one, nor over one that moved away.
func TestOccupied(t *testing.T) {
	both(t, func(t *testing.T, from place, fresh, back func(*testing.T) place) {
		used := filled(t, fresh(t), 5)
		_, err := run(t, from, used, true)
		wantError(t, err, move.ErrOccupied, "it holds the log")
		openAndShut(t, used)
		openAndShut(t, from)

		part := fresh(t)
		if _, err := run(t, filled(t, back(t), 5), part, false); err != nil {
			t.Fatal(err)
		}
		_, err = run(t, from, part, true)
		wantError(t, err, move.ErrOccupied, "it holds a part of the log")
		openAndShut(t, from)

		left := filled(t, fresh(t), 5)
		moveTo(t, left, back(t))
		_, err = run(t, from, left, true)
		wantError(t, err, move.ErrOccupied, "which moved to the new")
		openAndShut(t, from)
	})
}

func openAndShut(t *testing.T, p place) {
	t.Helper()
	shut(t, openPlace(t, p))
}

// TestMovedSource: a log that moved is moved nowhere else, until the mark is removed.
func TestMovedSource(t *testing.T) {
	both(t, func(t *testing.T, from place, fresh, _ func(*testing.T) place) {
		moveTo(t, from, fresh(t))
		_, err := run(t, from, fresh(t), true)
		wantError(t, err, journal.ErrMoved, "the new ")
		_, err = from.open()
		wantError(t, err, journal.ErrMoved, "the new ")
		o, err := from.origin(false)
		if err != nil {
			t.Fatal(err)
		}
		if err := o.Unmark(t.Context()); err != nil {
			t.Fatal(err)
		}
		shut(t, o)
		openAndShut(t, from)
		moveTo(t, from, fresh(t))
	})
}

// TestInUse: a journal that is open is copied, and not moved. What it gets meanwhile is copied at the end.
func TestInUse(t *testing.T) {
	from, to := newSchema(t), newFolder(t)
	a := &author{t: t, rng: rand.New(rand.NewPCG(3, 2))}
	j := openPlace(t, from)
	a.write(j, 50)
	_, err := run(t, from, to, true)
	wantError(t, err, move.ErrInUse, "one")
	if _, err := run(t, from, to, false); err != nil {
		t.Fatal(err)
	}
	_, err = to.open()
	wantError(t, err, journal.ErrIncomplete, "the old database")
	a.write(j, 20)
	before := contentsOf(t, j)
	shut(t, j)
	result := moveTo(t, from, to)
	if n := result.Records[move.Events]; n == 0 || n > 60 {
		t.Errorf("%d events were copied at the end, want those since the copy alone", n)
	}
	j = openPlace(t, to)
	same(t, "moved", contentsOf(t, j), before)
	shut(t, j)
}

// TestRunningInstance: an instance that runs although its log moved away notices at its next group.
func TestRunningInstance(t *testing.T) {
	from := newSchema(t)
	a := &author{t: t, rng: rand.New(rand.NewPCG(3, 2))}
	j := openPlace(t, from)
	defer shut(t, j)
	a.write(j, 10)
	note := move.Note{State: move.Moved, Log: j.ID(), Place: "elsewhere"}
	pgtest.Shared(t).Exec(t, "update "+from.schema+".log set move = '"+note.Encode()+"'")
	_, err := j.Append(t.Context(), a.received(1))
	wantError(t, err, journal.ErrUnavailable, "moved: to elsewhere")
}

// forging is a target that loses or changes records.
type forging struct {
	target
	forge func(k move.Kind, all []move.Record) []move.Record
}

func (f *forging) Write(ctx context.Context, k move.Kind, all []move.Record, n move.Note) error {
	return f.target.Write(ctx, k, f.forge(k, all), n)
}

// TestDifference: a copy that lacks a record, or has another, is found, whatever its kind. Then the source stays usable, and the target closed.
func TestDifference(t *testing.T) {
	both(t, func(t *testing.T, from place, fresh, _ func(*testing.T) place) {
		a := &author{t: t}
		j := openPlace(t, from)
		a.readers(j)
		a.groups(j)
		shut(t, j)
		for _, kind := range append(append([]move.Kind{}, move.Growing...), move.Changing...) {
			to := fresh(t)
			err := forgedRun(t, from, to, func(k move.Kind, all []move.Record) []move.Record {
				if k == kind {
					return all[1:]
				}
				return all
			})
			wantError(t, err, move.ErrDiffers, string(kind))
			_, err = to.open()
			wantError(t, err, journal.ErrIncomplete, "the old ")
			openAndShut(t, from)
		}
		err := forgedRun(t, from, fresh(t), func(_ move.Kind, all []move.Record) []move.Record {
			if e, ok := all[0].(*move.Event); ok {
				e.Encoded[len(e.Encoded)-1] ^= 1
			}
			return all
		})
		wantError(t, err, move.ErrDiffers, "events")
	})
}

func forgedRun(t *testing.T, from, to place, forge func(move.Kind, []move.Record) []move.Record) error {
	t.Helper()
	a, err := from.origin(true)
	if err != nil {
		t.Fatal(err)
	}
	defer shut(t, a)
	b, err := to.target()
	if err != nil {
		t.Fatal(err)
	}
	defer shut(t, b)
	_, err = move.Run(t.Context(), a, &forging{b, forge}, move.Options{Final: true, From: "the old " + from.name, To: "the new " + to.name})
	return err
}

// unmarkable is a source that cannot be marked.
type unmarkable struct{ origin }

func (unmarkable) MarkMoved(context.Context, move.Note) error { return errors.New("the power is cut") }

// TestAbandonedTarget: a run ends after the comparison, before the mark, and the log moves to another target. Then the first one stays
// closed: the log goes on in one place alone.
func TestAbandonedTarget(t *testing.T) {
	both(t, func(t *testing.T, from place, fresh, _ func(*testing.T) place) {
		abandoned := fresh(t)
		a, err := from.origin(true)
		if err != nil {
			t.Fatal(err)
		}
		b, err := abandoned.target()
		if err != nil {
			t.Fatal(err)
		}
		_, err = move.Run(t.Context(), unmarkable{a}, b, move.Options{Final: true, From: "the old " + from.name, To: "the first"})
		shut(t, a)
		shut(t, b)
		if err == nil {
			t.Fatal("the source was marked")
		}
		moveTo(t, from, fresh(t))

		_, err = run(t, from, abandoned, true)
		wantError(t, err, journal.ErrMoved, "the new ")
		_, err = abandoned.open()
		wantError(t, err, journal.ErrIncomplete, "the old ")
	})
}

// slow is a source whose second page takes long. late says that it was read after the run had returned.
type slow struct {
	origin

	second, returned chan struct{}
	late             chan bool
}

func (s *slow) Read(ctx context.Context, k move.Kind, since move.Stamp, from string) (move.Page, error) {
	if from == "" {
		p, err := s.origin.Read(ctx, k, since, from)
		p.Next = "more"
		return p, err
	}
	close(s.second)
	<-ctx.Done()
	select {
	case <-s.returned:
		s.late <- true
	case <-time.After(100 * time.Millisecond):
		s.late <- false
	}
	return move.Page{}, ctx.Err()
}

// failing is a target that fails while the source's second page is read.
type failing struct {
	target

	second chan struct{}
}

func (f *failing) Write(context.Context, move.Kind, []move.Record, move.Note) error {
	<-f.second
	return errors.New("no space left on device")
}

// TestFailureWhileReading: a run that fails returns when nothing reads the source any more, which is closed next.
func TestFailureWhileReading(t *testing.T) {
	from, to := filled(t, newFolder(t), 5), newFolder(t)
	a, err := from.origin(true)
	if err != nil {
		t.Fatal(err)
	}
	defer shut(t, a)
	b, err := to.target()
	if err != nil {
		t.Fatal(err)
	}
	defer shut(t, b)
	s := &slow{origin: a, second: make(chan struct{}), returned: make(chan struct{}), late: make(chan bool, 1)}
	_, err = move.Run(t.Context(), s, &failing{b, s.second}, move.Options{Final: true, From: "here", To: "there"})
	close(s.returned)
	if err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("error %v", err)
	}
	if <-s.late {
		t.Error("the source was read after the run had returned")
	}
}
