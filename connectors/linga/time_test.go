package linga

import (
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/webhook-bridge/bridge/connectors"
	lingav1 "github.com/webhook-bridge/bridge/gen/webhooks/linga/v1"
)

func newYork(t *testing.T) connectors.Source {
	t.Helper()
	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	return connectors.Source{Name: "diner", Currency: "USD", Zone: zone}
}

// opened translates a check, and returns its time of opening and the paths that are drift.
func opened(t *testing.T, m *lingav1.Check) (at string, drift []string) {
	t.Helper()
	m.Id = new("c1")
	got, err := translate(connectors.Input{Source: newYork(t), Event: "open", Message: m})
	if err != nil {
		t.Fatal(err)
	}
	if ts := got.Events[0].GetOrder().GetOpenedAt(); ts != nil {
		at = ts.AsTime().In(newYork(t).Zone).Format("2006-01-02T15:04:05.999")
	}
	for _, d := range got.Drift {
		drift = append(drift, d.Path)
	}
	return at, drift
}

// TestDayAndTimeOfDay joins every form of a day with every form of a time of day.
func TestDayAndTimeOfDay(t *testing.T) {
	days := []string{
		"2026-09-01", "2026-9-1", "2026/09/01", "01-Sep-2026", "1-SEP-2026", "1 Sep 2026", "Sep 1, 2026", "September 1, 2026", "01-September-2026",
		"2026-09-01T00:00:00", "2026-09-01T11:12", "2026-09-01T11:12:13.123456789", "2026-09-01 11:12:13", "2026-09-01 11:12 AM", "2026-09-01 11:12:13 pm",
		"2026-09-01T23:12:13-04:00", "2026-09-02T03:12:13Z", "2026-09-02T03:12:13.250Z", "2026-09-02T03:12:13.250+0000", "2026-09-02 03:12:13 +00:00",
		"2026-09-02T03:12+00", "01-Sep-2026 11:12:13", "01-Sep-2026, 11:12 PM", "Sep 1, 2026, 11:12:13\u202fPM", "1788300309000", "1788300309", "1788300309.5",
		"1.788300309E12", " 2026-09-01 ", "2026-09-01T23:12:13,5",
	}
	clocks := map[string]string{
		"18:05": "18:05:00", "18:05:30": "18:05:30", "18:05:30.25": "18:05:30.25", "6:05 PM": "18:05:00", "06:05:30 PM": "18:05:30", "6:05pm": "18:05:00",
		"6:05\u202fPM": "18:05:00", "6:05\u00a0p.m.": "18:05:00", "6 PM": "18:00:00", "12:05 AM": "00:05:00", "00:05": "00:05:00", "12:05 pm": "12:05:00",
	}
	for _, day := range days {
		for clock, want := range clocks {
			at, drift := opened(t, &lingav1.Check{StartDate: new(day), SaleOpenTime: new(clock)})
			if at != "2026-09-01T"+want || drift != nil {
				t.Errorf("%q with %q: %s, drift %v", day, clock, at, drift)
			}
		}
	}
}

// TestTimesNotUnderstood: a text that is not understood is left out and reported, and the other one is never used alone as
// midnight.
func TestTimesNotUnderstood(t *testing.T) {
	for _, day := range []string{
		"Tuesday", "09/01/2026", "09/01/2026 18:05", "01.09.2026", "20260901", "2026-02-30", "2026-09-01T25:00", "2026-09-01 noon", "17883003", "178830030900",
		"1788300309000000", "1788300309000.5", "-1788300309000", "1e1000000000", "2026-09-01T18:05:00 EST", "2026-09-01T18:05:00+99:00", "32-Sep-2026", "18:05", "null", "\x00",
	} {
		if at, drift := opened(t, &lingav1.Check{StartDate: new(day), SaleOpenTime: new("18:05")}); at != "" || len(drift) != 1 || drift[0] != "$.startDate" {
			t.Errorf("start %q: %s, drift %v", day, at, drift)
		}
	}
	for _, clock := range []string{"noon", "25:00", "18:60", "1805", "18.05", "13:05 PM", "18:05Z", "18:05-04:00", "6", "T18:05"} {
		if at, drift := opened(t, &lingav1.Check{StartDate: new("2026-09-01"), SaleOpenTime: new(clock)}); at != "" || len(drift) != 1 || drift[0] != "$.saleOpenTime" {
			t.Errorf("opened at %q: %s, drift %v", clock, at, drift)
		}
	}
}

func TestOtherTimesTakeTheirPlace(t *testing.T) {
	for name, tt := range map[string]struct {
		check *lingav1.Check
		want  string
		drift int
	}{
		"a whole time of opening":     {&lingav1.Check{SaleOpenTime: new("2026-09-01T18:05"), StartDate: new("31-Aug-2026"), DateCreated: new("2026-08-30")}, "2026-09-01T18:05:00", 0},
		"a day without time of day":   {&lingav1.Check{StartDate: new("01-Sep-2026")}, "2026-09-01T00:00:00", 0},
		"an instant before a day":     {&lingav1.Check{StartDate: new("01-Sep-2026"), OrderedDateStr: new("2026-09-01 18:05")}, "2026-09-01T18:05:00", 0},
		"an unreadable time of day":   {&lingav1.Check{StartDate: new("2026-09-01T18:05:00"), SaleOpenTime: new("noon")}, "2026-09-01T18:05:00", 1},
		"midnight is no time of day":  {&lingav1.Check{StartDate: new("2026-09-01T00:00:00"), SaleOpenTime: new("noon")}, "", 1},
		"a time of day without a day": {&lingav1.Check{SaleOpenTime: new("18:05"), DateCreated: new("1788300309000")}, "2026-09-01T18:05:09", 1},
		"nothing":                     {&lingav1.Check{StartDate: new(""), SaleOpenTime: new(" ")}, "", 0},
		"not set, as .NET has it":     {&lingav1.Check{StartDate: new("0001-01-01T00:00:00"), DateCreated: new("9999-12-31")}, "", 0},
		"an unused text":              {&lingav1.Check{SaleOpenTime: new("2026-09-01T18:05"), DateCreated: new("soon")}, "2026-09-01T18:05:00", 1},
	} {
		if at, drift := opened(t, tt.check); at != tt.want || len(drift) != tt.drift {
			t.Errorf("%s: %s, drift %v", name, at, drift)
		}
	}
}
