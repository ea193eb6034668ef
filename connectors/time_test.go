package connectors_test

import (
	"testing"
	"time"

	"github.com/webhook-bridge/bridge/connectors"
)

// TestLocal has hours that are there twice, and hours and days that are not there at all.
func TestLocal(t *testing.T) {
	for _, tt := range []struct{ text, zone, want string }{
		// Clocks go forward: the time is moved by what they skip.
		{"2026-03-29T01:59:59", "Europe/Prague", "2026-03-29T01:59:59+01:00"},
		{"2026-03-29T02:00:00", "Europe/Prague", "2026-03-29T03:00:00+02:00"},
		{"2026-03-29T02:30:00", "Europe/Prague", "2026-03-29T03:30:00+02:00"},
		{"2026-03-29T02:59:59.9", "Europe/Prague", "2026-03-29T03:59:59.9+02:00"},
		{"2026-03-29T03:00:00", "Europe/Prague", "2026-03-29T03:00:00+02:00"},
		{"2026-03-08T02:30:00", "America/New_York", "2026-03-08T03:30:00-04:00"},
		{"2026-10-04T02:15:00", "Australia/Lord_Howe", "2026-10-04T02:45:00+11:00"},
		// Clocks go back: the time is the first of the two.
		{"2026-10-25T01:59:59", "Europe/Prague", "2026-10-25T01:59:59+02:00"},
		{"2026-10-25T02:00:00", "Europe/Prague", "2026-10-25T02:00:00+02:00"},
		{"2026-10-25T02:30:00", "Europe/Prague", "2026-10-25T02:30:00+02:00"},
		{"2026-10-25T03:00:00", "Europe/Prague", "2026-10-25T03:00:00+01:00"},
		{"2026-11-01T01:30:00", "America/New_York", "2026-11-01T01:30:00-04:00"},
		{"2026-11-01T02:00:00", "America/New_York", "2026-11-01T02:00:00-05:00"},
		{"2026-04-05T01:45:00", "Australia/Lord_Howe", "2026-04-05T01:45:00+11:00"},
		{"2026-04-05T02:00:00", "Australia/Lord_Howe", "2026-04-05T02:00:00+10:30"},
		// Dublin's winter time is the exception in the database, not its summer time.
		{"2026-10-25T01:30:00", "Europe/Dublin", "2026-10-25T01:30:00+01:00"},
		// Midnight is skipped: a day starts at its first hour. Or it is there twice.
		{"2018-11-04", "America/Sao_Paulo", "2018-11-04T01:00:00-02:00"},
		{"2018-02-17T23:30:00", "America/Sao_Paulo", "2018-02-17T23:30:00-02:00"},
		{"2018-02-18", "America/Sao_Paulo", "2018-02-18T00:00:00-03:00"},
		{"2022-03-27", "Asia/Beirut", "2022-03-27T01:00:00+03:00"},
		{"2022-10-29T23:30:00", "Asia/Beirut", "2022-10-29T23:30:00+03:00"},
		{"2022-11-06", "America/Havana", "2022-11-06T00:00:00-04:00"},
		// Samoa skipped a day, and so did Kwajalein. In 1892 Samoa had a day twice: the time is on the first.
		{"2011-12-29T23:59:59", "Pacific/Apia", "2011-12-29T23:59:59-10:00"},
		{"2011-12-30", "Pacific/Apia", "2011-12-31T00:00:00+14:00"},
		{"2011-12-30T18:05:00", "Pacific/Apia", "2011-12-31T18:05:00+14:00"},
		{"2011-12-31", "Pacific/Apia", "2011-12-31T00:00:00+14:00"},
		{"1993-08-21T12:00:00", "Pacific/Kwajalein", "1993-08-22T12:00:00+12:00"},
		{"1892-07-04T12:00:00", "Pacific/Apia", "1892-07-04T12:00:00+12:33"},
		// Nothing happens.
		{"2026-10-25T01:30:00", "UTC", "2026-10-25T01:30:00Z"},
		{"2026-10-25T02:30:00", "Asia/Jakarta", "2026-10-25T02:30:00+07:00"},
		// A time with an offset says which it is.
		{"2026-10-25T02:30:00+01:00", "Europe/Prague", "2026-10-25T02:30:00+01:00"},
		{"2026-03-29T02:30:00+01:00", "Europe/Prague", "2026-03-29T03:30:00+02:00"},
	} {
		loc := zone(t, tt.zone)
		got, err := connectors.Time(tt.text, loc)
		if s := got.AsTime().In(loc).Format("2006-01-02T15:04:05.999Z07:00"); err != nil || s != tt.want {
			t.Errorf("Time(%q, %s) = %s, %v; want %s", tt.text, tt.zone, s, err, tt.want)
		}
	}
}

// TestLocalOfEveryQuarter compares with a search over all times, in zones whose clocks moved in every way.
func TestLocalOfEveryQuarter(t *testing.T) {
	const quarter = 15 * time.Minute
	for _, tt := range []struct {
		zone       string
		year, days int
	}{
		{"Europe/Prague", 2026, 365},
		{"America/New_York", 2026, 365},
		{"Australia/Lord_Howe", 2026, 365},
		{"Pacific/Apia", 2011, 370},
		{"America/Sao_Paulo", 2018, 365},
		{"Asia/Beirut", 2022, 365},
		{"Africa/Casablanca", 2026, 365},
		{"Antarctica/Troll", 2026, 365},
		{"UTC", 2026, 30},
	} {
		loc := zone(t, tt.zone)
		from := time.Date(tt.year, 1, 1, 0, 0, 0, 0, time.UTC)
		// first has the first time at which the clocks show a text.
		first := make(map[string]time.Time)
		const text = "2006-01-02 15:04"
		for at := from.Add(-26 * time.Hour); at.Before(from.AddDate(0, 0, tt.days+2)); at = at.Add(quarter) {
			if shown := at.In(loc).Format(text); first[shown].IsZero() {
				first[shown] = at
			}
		}
		skipped := 0
		for wall := from; wall.Before(from.AddDate(0, 0, tt.days)); wall = wall.Add(quarter) {
			got := connectors.Local(wall, loc)
			want, shown := first[wall.Format(text)]
			if !shown {
				skipped++
				before := wall
				for first[before.Format(text)].IsZero() {
					before = before.Add(-quarter)
				}
				// The offset before the gap counts.
				want = first[before.Format(text)].Add(wall.Sub(before))
			}
			if !got.Equal(want) {
				t.Errorf("%s: %s is %v, want %v", tt.zone, wall.Format(text), got, want.In(loc))
			}
		}
		if skipped == 0 && tt.zone != "UTC" {
			t.Errorf("%s: the clocks skip nothing", tt.zone)
		}
	}
}
