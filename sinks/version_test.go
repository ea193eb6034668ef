package sinks

import (
	"math/big"
	"strings"
	"testing"
)

func TestCompareVersions(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("9", 500)
	for _, c := range []struct{ older, newer string }{
		{"9", "10"},
		{"1.9", "1.95"},
		{"1.09", "1.1"},
		{"-1", "0"},
		{"-10", "-9"},
		{"0", "0.0001"},
		{"-0.5", "0"},
		{"-0.5", "-0.25"},
		{"9007199254740992", "9007199254740993"},
		{"18446744073709551615", "18446744073709551616"},
		{"1700000000000.000000000000000000001", "1700000000000.000000000000000000002"},
		{long, "1" + long},
		{long + ".1", long + ".2"},
		{"007", "8"},
		{"1e2", "101"},
		{"99", "1e2"},
		{"1e-2", "0.02"},
		{"-1e99999999999999999", "1"},
		{"5", "1e99999999999999999"},
		{"1e-99999999999999999", "0.1"},
		{"0e5", "1e-5"},
		// Not numbers: text.
		{"v10", "v9"},
		{"1.10.0", "1.9.0"},
		{"2026-03-01T12:00:00Z", "2026-03-01T12:00:01Z"},
		{"", "0"},
		{"10", "9a"},
		{"1.", "2"},
		{"a", "b"},
		{"A", "a"},
		{"z", "é"},
		{"10 ", "9 "},
		{"+", "-"},
		{"1e999999999999999999", "2"},
		{"0x10", "0x9"},
		{"NaN", "nan"},
	} {
		if CompareVersions(c.older, c.newer) >= 0 || CompareVersions(c.newer, c.older) <= 0 {
			t.Errorf("%.40q is not older than %.40q", c.older, c.newer)
		}
	}
	for _, c := range [][2]string{
		{"1", "1.0"},
		{"1", "01"},
		{"100", "1e2"},
		{"1.20", "1.2"},
		{"0", "-0"},
		{"0", "0.000"},
		{"0e9", "-0.0e-7"},
		{"0.01", "1e-2"},
		{"+5", "5"},
		{"12.5", "1.25E+1"},
		{"", ""},
		{"v1", "v1"},
	} {
		if CompareVersions(c[0], c[1]) != 0 || CompareVersions(c[1], c[0]) != 0 {
			t.Errorf("%q and %q differ", c[0], c[1])
		}
	}
}

func TestCompareVersionsAllocates(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { CompareVersions("1772366400123", "1772366400124.5e3") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzCompareVersions compares with exact rational numbers, and with text.
func FuzzCompareVersions(f *testing.F) {
	f.Add("1.10", "1.9")
	f.Add("-0.001e3", "12345678901234567890")
	f.Fuzz(func(t *testing.T, a, b string) {
		got := CompareVersions(a, b)
		if got != -CompareVersions(b, a) {
			t.Fatalf("%q and %q: %d, and the other way %d", a, b, got, CompareVersions(b, a))
		}
		_, number := parseNumber(a)
		_, other := parseNumber(b)
		want := strings.Compare(a, b)
		if number && other {
			if _, e, _ := strings.Cut(strings.ToLower(a+" "+b), "e"); len(e) > 4 {
				return // too large to write down
			}
			x, okX := new(big.Rat).SetString(a)
			y, okY := new(big.Rat).SetString(b)
			if !okX || !okY {
				t.Fatalf("%q or %q is no number", a, b)
			}
			want = x.Cmp(y)
		}
		if got != want {
			t.Fatalf("%q and %q: %d, want %d", a, b, got, want)
		}
	})
}
