package file

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/webhook-bridge/bridge/sinks"
)

// none stands for a destination without a position.
const none = -1

// reachedIn opens the file in a state, as after a crash, and returns the next event, or none.
func reachedIn(t *testing.T, c Config) int {
	t.Helper()
	s, err := open(t.Context(), c, origin, unsynced{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r, known, err := s.Resume(t.Context())
	switch {
	case err != nil:
		t.Fatal(err)
	case !known:
		return none
	case r.Log != origin.Log.ID() || r.Mark != origin.Log.Mark(r.Mark.Position):
		t.Errorf("reached %+v, want a mark of log %s", r, origin.Log.ID())
	}
	return int(r.Mark.Position) - 1
}

func mustMoveTo(tb testing.TB, s *Sink, next int) {
	tb.Helper()
	if err := s.MoveTo(tb.Context(), sinks.Position(next+1)); err != nil {
		tb.Fatal(err)
	}
}

func mustClose(tb testing.TB, s *Sink) {
	tb.Helper()
	if err := s.Close(); err != nil {
		tb.Fatal(err)
	}
}

// Each of these changes a file in which the events 0 to 9 are, at rest. It returns what the file then tells.
func TestChangedFile(t *testing.T) {
	for name, change := range map[string]func(*testing.T, Config) int{
		"none": func(*testing.T, Config) int { return 10 },
		"removed": func(t *testing.T, c Config) int {
			must(t, os.Remove(c.Path))
			return none
		},
		"moved, and the note too": func(t *testing.T, c Config) int {
			must(t, os.Rename(c.Path, c.Path+".1"))
			must(t, os.Remove(c.Path+".position"))
			return none
		},
		"emptied": func(t *testing.T, c Config) int {
			must(t, os.Truncate(c.Path, 0))
			return 0 // The note of the new file.
		},
		"the note removed": func(t *testing.T, c Config) int {
			must(t, os.Remove(c.Path+".position"))
			return 10
		},
		"the note damaged": func(t *testing.T, c Config) int {
			must(t, os.WriteFile(c.Path+".position", []byte(`{"log":`), 0o600))
			return 10
		},
		"cut": func(t *testing.T, c Config) int {
			info, err := os.Stat(c.Path)
			must(t, err)
			must(t, os.Truncate(c.Path, info.Size()-1))
			if c.Compression == Zstd {
				return 5 // A frame has all events of a Deliver.
			}
			return 9
		},
		"of an older version": func(t *testing.T, c Config) int {
			if c.Format != JSONL || c.Compression != None {
				return 10
			}
			must(t, os.WriteFile(c.Path, []byte(`{"id":"a"}`+"\n"), 0o600))
			return none
		},
	} {
		for _, c := range variants {
			t.Run(name+"/"+c.String(), func(t *testing.T) {
				c := c.in(t.TempDir())
				s := mustOpen(t, c)
				mustMoveTo(t, s, 0)
				mustDeliver(t, s, numbers(t, 0, 5))
				mustDeliver(t, s, numbers(t, 5, 10))
				mustClose(t, s)
				want := change(t, c)
				for range 2 {
					if got := reachedIn(t, c); got != want {
						t.Errorf("the file tells %d, want %d", got, want)
					}
				}
				s = mustOpen(t, c)
				mustDeliver(t, s, numbers(t, 20, 25))
				mustClose(t, s)
				if got := reachedIn(t, c); got != 25 {
					t.Errorf("after another Deliver the file tells %d, want 25", got)
				}
			})
		}
	}
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// The position survives rotations, also if the rotated files are gone, and a crash at any moment of one.
func TestReachedAfterRotation(t *testing.T) {
	for _, c := range variants {
		c := c.in(t.TempDir())
		c.RotateSize = 1
		s := mustOpen(t, c)
		for n := range 5 {
			mustDeliver(t, s, numbers(t, n, n+1))
		}
		must(t, s.rotate())
		mustClose(t, s)
		rotated, err := filepath.Glob(filepath.Join(filepath.Dir(c.Path), "events-*"))
		if err != nil || len(rotated) != 5 {
			t.Fatalf("%q, %v", rotated, err)
		}
		for _, name := range rotated {
			must(t, os.Remove(name))
		}
		if got := reachedIn(t, c); got != 5 {
			t.Errorf("%s: %d, want 5", c, got)
		}
	}
}

// Between the rename and the creation of the next file there is none.
func TestReachedWithinRotation(t *testing.T) {
	for step, op := range []string{"rename", "open", "syncDir"} {
		c := Config{}.in(t.TempDir())
		c.RotateSize = 1
		d := newFragile()
		s, err := open(t.Context(), c, origin, d)
		must(t, err)
		mustDeliver(t, s, numbers(t, 0, 3))
		renames := 0
		d.set(func(now string) error {
			if now == "rename" {
				renames++ // The first is the note's.
			}
			if renames > 1 && now == op || renames > 1 && step == 0 {
				return errDisk
			}
			return nil
		}, -1)
		if n, err := s.Deliver(t.Context(), numbers(t, 3, 5)); n != 0 || err == nil {
			t.Fatalf("%s: %d, %v", op, n, err)
		}
		must(t, s.lock.Close())
		must(t, d.crash(killed))
		if got := reachedIn(t, c); got != 3 {
			t.Errorf("%s: %d, want 3", op, got)
		}
	}
}

// A move is durable without an event. Events from before the position are repeated, and do not move it.
func TestMoves(t *testing.T) {
	for _, c := range variants {
		t.Run(c.String(), func(t *testing.T) {
			c := c.in(t.TempDir())
			for i, step := range []struct {
				do   func(*Sink)
				want int
			}{
				{func(s *Sink) { mustMoveTo(t, s, 7) }, 7},
				{func(s *Sink) { mustDeliver(t, s, numbers(t, 7, 10)) }, 10},
				{func(s *Sink) { mustMoveTo(t, s, 150) }, 150},
				{func(s *Sink) { mustDeliver(t, s, numbers(t, 150, 152)) }, 152},
				{func(s *Sink) { mustDeliver(t, s, numbers(t, 8, 9)) }, 152},
				{func(s *Sink) { mustMoveTo(t, s, 8) }, 8},
				{func(s *Sink) { mustMoveTo(t, s, 9) }, 9},
				{func(s *Sink) { mustDeliver(t, s, numbers(t, 9, 10)) }, 10},
				{func(s *Sink) { mustDeliver(t, s, numbers(t, 2, 3)) }, 10},
				{func(*Sink) {}, 10},
			} {
				s := mustOpen(t, c)
				step.do(s)
				mustClose(t, s)
				if got := reachedIn(t, c); got != step.want {
					t.Fatalf("step %d: %d, want %d", i, got, step.want)
				}
			}
			want := []int{7, 8, 9, 150, 151, 8, 9, 2}
			if diff := cmp.Diff(want, mustRead(t, c)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A file that another log wrote tells that log's position. The sink's own follow it.
func TestFileOfAnotherLog(t *testing.T) {
	c := Config{}.in(t.TempDir())
	other := sinks.Origin{Log: steps("another"), Sink: "archive"}
	s, err := Open(t.Context(), c, other)
	must(t, err)
	mustDeliver(t, s, numbers(t, 500, 510))
	mustClose(t, s)
	s = mustOpen(t, c)
	if r, known, err := s.Resume(t.Context()); !known || err != nil || r != other.Reached(511) {
		t.Errorf("%+v, %t, %v", r, known, err)
	}
	mustDeliver(t, s, numbers(t, 3, 5))
	mustClose(t, s)
	if got := reachedIn(t, c); got != 5 {
		t.Errorf("%d, want 5", got)
	}
}

// After a change of the format, the old file tells how far it is.
func TestReachedInAnotherFormat(t *testing.T) {
	for _, before := range variants {
		for _, now := range variants {
			dir := t.TempDir()
			before, now := before.in(dir), now.in(dir)
			s := mustOpen(t, before)
			mustDeliver(t, s, numbers(t, 0, 5))
			mustClose(t, s)
			for range 2 {
				if got := reachedIn(t, now); got != 5 {
					t.Errorf("%s, then %s: %d, want 5", before, now, got)
				}
			}
		}
	}
}

// The file tells the sink's position also after another program has changed it below a running sink.
func TestChangedWhileRunning(t *testing.T) {
	for name, change := range map[string]func(c Config) error{
		"moved":   func(c Config) error { return os.Rename(c.Path, c.Path+".1") },
		"removed": func(c Config) error { return os.Remove(c.Path) },
		"emptied": func(c Config) error { return os.Truncate(c.Path, 0) },
		"cut":     func(c Config) error { return os.Truncate(c.Path, 200) },
	} {
		c := Config{}.in(t.TempDir())
		s := mustOpen(t, c)
		mustDeliver(t, s, numbers(t, 0, 5))
		must(t, change(c))
		if r, known, err := s.Resume(t.Context()); !known || err != nil || r != origin.Reached(6) {
			t.Errorf("%s: %+v, %t, %v", name, r, known, err)
		}
		mustClose(t, s)
		if got := reachedIn(t, c); got != 5 {
			t.Errorf("%s: %d, want 5", name, got)
		}
	}
}

// Lines of replays and of retries can be told from the first ones.
func TestRepeatedLines(t *testing.T) {
	c := Config{}.in(t.TempDir())
	s := mustOpen(t, c)
	mustDeliver(t, s, numbers(t, 0, 3))
	again := numbers(t, 1, 2)
	again[0].Header.Replay = []byte("0197")
	mustDeliver(t, s, again)
	text, err := os.ReadFile(c.Path)
	must(t, err)
	lines := strings.Split(string(text), "\n")
	const want = `"logPosition":{"log":"0f5a","epoch":"9223372036854775808","position":"2","nextPosition":"4",` +
		`"nextEpoch":"9223372036854775808","replay":"0197"}}`
	if !strings.HasSuffix(lines[3], want) {
		t.Errorf("%s, want %s at its end", lines[3], want)
	}
}
