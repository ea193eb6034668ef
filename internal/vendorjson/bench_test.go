package vendorjson

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
)

// BenchmarkUnmarshal decodes every sample without its white space, which vendors do not send, and with protojson the same
// message as protojson itself writes it, since it takes neither numbers for decimals nor other alternates. It reports how
// many times as long protojson takes.
func BenchmarkUnmarshal(b *testing.B) {
	for _, s := range samples(b) {
		b.Run(s.name, func(b *testing.B) {
			plain, data := asProtojson(b, s), compact(b, s.data)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Unmarshal(data, s.typ.New().Interface()); err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			ours, theirs := best(b, s, data, plain)
			b.ReportMetric(float64(theirs)/float64(ours), "x-faster")
		})
	}
}

// BenchmarkProtojson is the reference by itself, for its allocations.
func BenchmarkProtojson(b *testing.B) {
	for _, s := range samples(b) {
		b.Run(s.name, func(b *testing.B) {
			plain := asProtojson(b, s)
			b.SetBytes(int64(len(plain)))
			b.ReportAllocs()
			for b.Loop() {
				if err := protojson.Unmarshal(plain, s.typ.New().Interface()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkField(b *testing.B) {
	for _, s := range samples(b) {
		b.Run(s.name, func(b *testing.B) {
			data := compact(b, s.data)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := Field(data, "no such field"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// The decoder is faster than protojson on every sample. The best of several rounds counts, so that a busy machine does not
// decide. It must be at least half as fast again; it is far faster.
func TestFasterThanProtojson(t *testing.T) {
	if underRace {
		t.Skip("the race detector is no stopwatch; a run without it measures")
	}
	for _, s := range samples(t) {
		ours, theirs := best(t, s, compact(t, s.data), asProtojson(t, s))
		if 2*theirs < 3*ours {
			t.Errorf("%s: %v, protojson %v", s.name, ours, theirs)
		}
	}
}

// best is how long each decoder takes for a hundred documents at its best, measured by turns.
func best(tb testing.TB, s sample, data, plain []byte) (ours, theirs time.Duration) {
	tb.Helper()
	ours, theirs = time.Hour, time.Hour
	for range 12 {
		ours = min(ours, timed(tb, func() error { _, err := Unmarshal(data, s.typ.New().Interface()); return err }))
		theirs = min(theirs, timed(tb, func() error { return protojson.Unmarshal(plain, s.typ.New().Interface()) }))
	}
	return ours, theirs
}

func timed(tb testing.TB, f func() error) time.Duration {
	tb.Helper()
	start := time.Now()
	for range 100 {
		if err := f(); err != nil {
			tb.Fatal(err)
		}
	}
	return time.Since(start)
}

func compact(tb testing.TB, data []byte) []byte {
	tb.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, data); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// asProtojson is the message of a sample as protojson writes it.
func asProtojson(tb testing.TB, s sample) []byte {
	tb.Helper()
	m := s.typ.New().Interface()
	if _, err := Unmarshal(s.data, m); err != nil {
		tb.Fatal(err)
	}
	plain, err := protojson.Marshal(m)
	if err != nil {
		tb.Fatal(err)
	}
	return plain
}
