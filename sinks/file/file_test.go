package file

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/sinktest"
)

// The kit runs for each format and compression, in one combination each.
func TestSink(t *testing.T) {
	for _, c := range []Config{{Format: JSONL}, {Format: Protobuf, Compression: Zstd}} {
		t.Run(c.String(), func(t *testing.T) {
			sinktest.Run(t, func(tb testing.TB) sinktest.Harness { return harness(tb, c) }, sinktest.Features{
				TotalOrder: true, OneOpening: true,
			})
		})
	}
}

func harness(tb testing.TB, c Config) sinktest.Harness {
	tb.Helper()
	dir, kept := tb.TempDir(), filepath.Join(tb.TempDir(), "kept")
	c = c.in(dir)
	c.RotateSize = 64 << 10
	d := newFragile()
	var last *Sink
	h := sinktest.Harness{
		OpenFrom: func(ctx context.Context, from sinks.Origin) (sinks.Sink, error) {
			s, err := open(ctx, c, from, d)
			if err != nil {
				return nil, err
			}
			last = s
			return s, nil
		},
		Received: func(context.Context) ([]*eventv1.Event, error) {
			events, err := read(c)
			for _, e := range events {
				e.LogPosition = nil // The kit compares the events that it delivered.
			}
			return events, err
		},
		Break:  func() { d.set(away, -1) },
		Repair: func() { d.set(nil, -1) },
		Crash: func() {
			if err := last.lock.Close(); err != nil {
				tb.Error(err)
			}
			if err := d.crash(torn); err != nil {
				tb.Error(err)
			}
		},
		Backup:  func() { mustCopy(tb, dir, kept) },
		Restore: func() { mustCopy(tb, kept, dir) },
		Poison:  func() sinks.Record { return sinks.Record{Encoded: []byte("\n\x05half")} },
	}
	if c.Format == JSONL && c.Compression == None {
		h.BreakAfter = func(events int) { d.set(nil, events) }
	}
	return h
}

func BenchmarkSink(b *testing.B) {
	for _, c := range variants {
		b.Run(c.String(), func(b *testing.B) {
			sinktest.Bench(b, func(tb testing.TB) sinktest.Harness {
				h := harness(tb, c)
				h.OpenFrom = func(ctx context.Context, from sinks.Origin) (sinks.Sink, error) {
					return Open(ctx, c.in(tb.TempDir()), from)
				}
				return h
			})
		})
	}
}

// The bytes of each format are as documented.
func TestFormats(t *testing.T) {
	r, err := sinks.NewRecord(7, []byte("\n\x02ab\x12\x04a: b"))
	if err != nil {
		t.Fatal(err)
	}
	e := []sinks.Record{r}
	for c, want := range map[Config]string{
		{}: `{"id":"ab","type":"a: b","logPosition":{"log":"0f5a","epoch":"9223372036854775808","position":"7"}}` + "\n",
		{Format: Protobuf}: "\x22\n\x02ab\x12\x04a: b" + // The event, as it was.
			"\x6a\x16" + "\n\x040f5a" + "\x11\x00\x00\x00\x00\x00\x00\x00\x80" + "\x18\x07" + "\x3d\x4d\x7b\x9a\x87",
	} {
		c = c.in(t.TempDir())
		mustDeliver(t, mustOpen(t, c), e)
		if got, err := os.ReadFile(c.Path); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v, want %q", c.Format, got, err, want)
		}
	}
}

// A frame has whole events and a checksum, so it can be cut off or skipped.
func TestFrames(t *testing.T) {
	c := Config{Format: Protobuf, Compression: Zstd}.in(t.TempDir())
	s := mustOpen(t, c)
	var ends []int64
	for n := range 3 {
		mustDeliver(t, s, numbers(t, 10*n, 10*n+10))
		ends = append(ends, s.durable)
	}
	b, err := os.ReadFile(c.Path)
	if err != nil {
		t.Fatal(err)
	}
	from := int64(0)
	for n, end := range ends {
		frame := b[from:end]
		var h zstd.Header
		if err := h.Decode(frame); err != nil || !h.HasCheckSum {
			t.Errorf("frame %d: %+v, %v", n, h, err)
		}
		if events, err := decode(c, frame); err != nil || len(events) != 10 || number(events[0]) != 10*n {
			t.Errorf("frame %d: %d events, %v", n, len(events), err)
		}
		from = end
	}
}

func TestRotationBySize(t *testing.T) {
	for _, c := range variants {
		t.Run(c.String(), func(t *testing.T) {
			c = c.in(t.TempDir())
			c.RotateSize = 1000
			s := mustOpen(t, c)
			for n := range 40 {
				mustDeliver(t, s, numbers(t, 5*n, 5*n+5))
			}
			if diff := cmp.Diff(sequence(0, 200), mustRead(t, c)); diff != "" {
				t.Error(diff)
			}
			names, err := files(c)
			if err != nil {
				t.Fatal(err)
			}
			if len(names) < 5 || names[len(names)-1] != c.Path {
				t.Fatalf("files are %q", names)
			}
			for _, name := range names {
				info, err := os.Stat(name)
				if err != nil {
					t.Fatal(err)
				}
				if name != c.Path && (info.Size() < 1000 || info.Size() > 4000) || info.Mode().Perm() != 0o600 {
					t.Errorf("%s has %d bytes and mode %s", name, info.Size(), info.Mode())
				}
			}
		})
	}
}

func TestRotationByAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := Config{RotateAge: time.Hour}.in(t.TempDir())
		deliver := func(n int) {
			t.Helper()
			s, err := Open(t.Context(), c, origin)
			if err != nil {
				t.Fatal(err)
			}
			mustDeliver(t, s, numbers(t, n, n+1))
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		// The age is that of the file, not of the sink.
		deliver(0)
		advance(59 * time.Minute)
		deliver(1)
		advance(time.Minute)
		deliver(2)
		advance(2 * time.Hour)
		deliver(3)
		names, err := files(c)
		if err != nil {
			t.Fatal(err)
		}
		for i, name := range names {
			names[i] = filepath.Base(name)
		}
		want := []string{"events-20000101T010000.000000000Z.log", "events-20000101T030000.000000000Z.log", "events.log"}
		if diff := cmp.Diff(want, names); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(sequence(0, 4), mustRead(t, c)); diff != "" {
			t.Error(diff)
		}
	})
}

// advance moves the fake clock.
func advance(d time.Duration) { <-time.After(d) }

// If the clock was set back, or stands still, each name sorts after the last, and no name is used twice.
func TestNamesSortWhateverTheClockSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := Config{RotateSize: 1}.in(t.TempDir())
		dir := filepath.Dir(c.Path)
		for _, name := range []string{
			"events-20370101T000000.000000009Z.log", "events-20360101T000000.000000000Z.log", "events-2.log", "other-20990101T000000.000000000Z.log",
		} {
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s := mustOpen(t, c)
		for n := range 3 {
			mustDeliver(t, s, numbers(t, n, n+1))
		}
		for name, want := range map[string]int{"events-20370101T000000.000000010Z.log": 0, "events-20370101T000000.000000011Z.log": 1} {
			b, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			events, err := decode(s.config, b)
			if err != nil || len(events) != 1 || number(events[0]) != want {
				t.Errorf("%s: %v, %v", name, events, err)
			}
		}
	})
}

func TestSplitName(t *testing.T) {
	for base, want := range map[string][2]string{
		"events.jsonl":     {"events", ".jsonl"},
		"events.jsonl.zst": {"events", ".jsonl.zst"},
		"shop.events.pb":   {"shop.events", ".pb"},
		"events.zst":       {"events", ".zst"},
		"events":           {"events", ""},
	} {
		if stem, ext := splitName(base); stem != want[0] || ext != want[1] {
			t.Errorf("%s: %q, %q, want %q", base, stem, ext, want)
		}
	}
}

func TestConfigurationIsJudgedAsAWhole(t *testing.T) {
	_, err := Open(t.Context(), Config{Format: "csv", Compression: "gzip", RotateSize: -1, RotateAge: -1}, origin)
	want := "file: open: path is empty\nformat \"csv\" is neither \"jsonl\" nor \"protobuf\"\ncompression \"gzip\" is not \"zstd\"\n" +
		"rotation size -1 is negative\nrotation age -1ns is negative"
	if err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	taken := Config{Path: filepath.Join(dir, "taken")}
	mustOpen(t, taken)
	link := filepath.Join(dir, "link")
	if err := os.Symlink(taken.Path, link); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		taken.Path:                         "in use by another sink or process",
		link:                               "not a regular file",
		filepath.Join(dir, "folder"):       "is a directory",
		filepath.Join(dir, "none", "file"): "no such file or directory",
	} {
		s, err := Open(t.Context(), Config{Path: path}, origin)
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.HasPrefix(err.Error(), "file: open: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
	// A refused Open leaves no lock.
	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, Config{Path: link})
}

func TestRefusedForGood(t *testing.T) {
	year10000 := []byte("\n\x02ab\x42\x08\x08\x80\xa2\xa2\xa5\xa0\xe5\x4f")
	for name, test := range map[string]struct {
		encoded []byte
		formats []Format
	}{
		"empty":     {nil, []Format{JSONL, Protobuf}},
		"malformed": {[]byte("\n\x05half"), []Format{JSONL, Protobuf}},
		"too large": {make([]byte, sinks.LargestEvent+1), []Format{JSONL, Protobuf}},
		"year":      {year10000, []Format{JSONL}},
	} {
		for _, f := range []Format{JSONL, Protobuf} {
			c := Config{Format: f}.in(t.TempDir())
			records := numbers(t, 0, 3)
			records[1].Encoded = test.encoded
			n, err := mustOpen(t, c).Deliver(t.Context(), records)
			if want := slices.Contains(test.formats, f); want != errors.Is(err, sinks.ErrPermanent) || want != (n == 1) {
				t.Errorf("%s in %s: %d, %v", name, f, n, err)
			}
			if want := sequence(0, n); n == 1 && !cmp.Equal(want, mustRead(t, c)) {
				t.Errorf("%s in %s: %v is there", name, f, mustRead(t, c))
			}
		}
	}
}

// The sink does not write to a file that another program moved, removed or truncated: the events would be lost, or follow a
// hole.
func TestTheFileIsTakenAway(t *testing.T) {
	c := Config{}.in(t.TempDir())
	moved := c
	moved.Path += ".1"
	s := mustOpen(t, c)
	mustDeliver(t, s, numbers(t, 0, 3))
	if err := os.Rename(c.Path, moved.Path); err != nil {
		t.Fatal(err)
	}
	mustDeliver(t, s, numbers(t, 3, 5))
	if diff := cmp.Diff([][]int{sequence(0, 3), sequence(3, 5)}, [][]int{mustRead(t, moved), mustRead(t, c)}); diff != "" {
		t.Errorf("moved: %s", diff)
	}
	if err := os.Remove(c.Path); err != nil {
		t.Fatal(err)
	}
	mustDeliver(t, s, numbers(t, 5, 7))
	if diff := cmp.Diff(sequence(5, 7), mustRead(t, c)); diff != "" {
		t.Errorf("removed: %s", diff)
	}
	if err := os.Truncate(c.Path, 0); err != nil {
		t.Fatal(err)
	}
	mustDeliver(t, s, numbers(t, 7, 9))
	if diff := cmp.Diff(sequence(7, 9), mustRead(t, c)); diff != "" {
		t.Errorf("cut: %s", diff)
	}
}

func TestTheFileIsCutWhileTheDiskIsAway(t *testing.T) {
	c := Config{}.in(t.TempDir())
	d := newFragile()
	s, err := open(t.Context(), c, origin, d)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	mustDeliver(t, s, numbers(t, 0, 3))
	d.set(away, -1)
	if n, err := s.Deliver(t.Context(), numbers(t, 3, 5)); n != 0 || err == nil {
		t.Fatalf("delivered %d: %v", n, err)
	}
	if err := os.Truncate(c.Path, 0); err != nil {
		t.Fatal(err)
	}
	d.set(nil, -1)
	mustDeliver(t, s, numbers(t, 3, 5))
	if diff := cmp.Diff(sequence(3, 5), mustRead(t, c)); diff != "" {
		t.Error(diff)
	}
}
