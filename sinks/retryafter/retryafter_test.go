package retryafter

import (
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "0": 0, "7": 7 * time.Second, "-7": 0, "+7": 0, "7.5": 0, "7s": 0, " 7": 0, "soon": 0,
		"60": time.Minute, "61": time.Minute, "9223372036854775807": time.Minute, "9999999999999999999999": time.Minute,
		"Sun, 01 Mar 2026 12:00:05 GMT": 5 * time.Second, "Sun, 01 Mar 2026 11:59:55 GMT": 0, "Sun, 01 Mar 2126 12:00:05 GMT": time.Minute,
		"Sunday, 01-Mar-26 12:00:05 GMT": 5 * time.Second, "Sun Mar  1 12:00:05 2026": 5 * time.Second,
	} {
		if got := Parse(text, now, time.Minute); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("7")
	f.Add("Sun, 01 Mar 2026 12:00:05 GMT")
	f.Fuzz(func(t *testing.T, text string) {
		if got := Parse(text, time.Unix(1772000000, 0), time.Hour); got < 0 || got > time.Hour {
			t.Errorf("%q: %s", text, got)
		}
	})
}
