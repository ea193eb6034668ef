package vendorjson

import (
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
)

// BenchmarkUnmarshal decodes every sample, and with protojson the same message as protojson itself writes it, since it
// takes neither numbers for decimals nor other alternates. It reports how many times as long protojson takes.
func BenchmarkUnmarshal(b *testing.B) {
	for _, s := range samples(b) {
		b.Run(s.name, func(b *testing.B) {
			plain := asProtojson(b, s)
			b.SetBytes(int64(len(s.data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Unmarshal(s.data, s.typ.New().Interface()); err != nil {
					b.Fatal(err)
				}
			}
			ours := b.Elapsed()
			b.StopTimer()
			start := time.Now()
			for range b.N {
				if err := protojson.Unmarshal(plain, s.typ.New().Interface()); err != nil {
					b.Fatal(err)
				}
			}
			theirs := time.Since(start)
			b.ReportMetric(float64(theirs)/float64(b.N), "protojson-ns/op")
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
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := Field(s.data, "no such field"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// asProtojson is the message of a sample as protojson writes it.
func asProtojson(tb testing.TB, s sample) []byte {
	tb.Helper()
	m := s.typ.New().Interface()
	if _, err := Unmarshal(s.data, m); err != nil {
		tb.Fatal(err)
	}
	plain, err := protojson.MarshalOptions{UseProtoNames: false}.Marshal(m)
	if err != nil {
		tb.Fatal(err)
	}
	return plain
}
