package connectors

import (
	"errors"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/type/date"
	"google.golang.org/protobuf/types/known/timestamppb"
)

var errTimeRange = errors.New("is out of range for a time")

// Millis makes a time of milliseconds since 1970; nil for nil. The error is for times that no timestamp holds.
func Millis(ms *int64) (*timestamppb.Timestamp, error) {
	if ms == nil {
		return nil, nil
	}
	return timestamp(time.UnixMilli(*ms))
}

func timestamp(t time.Time) (*timestamppb.Timestamp, error) {
	ts := timestamppb.New(t)
	if ts.CheckValid() != nil {
		return nil, errTimeRange
	}
	return ts, nil
}

// timeLayouts are the forms of ISO 8601 that vendors use. Go reads decimals of seconds wherever a layout has none.
var timeLayouts = [...]struct {
	layout string
	zoned  bool
}{
	{time.RFC3339, true},
	{"2006-01-02T15:04:05", false},
	{time.DateOnly, false},
	{"2006-01-02 15:04:05", false},
	{"2006-01-02T15:04", false},
	{"2006-01-02 15:04", false},
	{"2006-01-02T15:04:05Z0700", true},
	{"2006-01-02 15:04:05Z07:00", true},
}

// Time reads an ISO 8601 time or date. One without zone is in zone, by the rule of [Local]; a date is the start of its day
// there. Time returns nil for an empty text and for any time in the years 1 and 9999, which .NET systems send for "not set" and
// "never".
func Time(s string, zone *time.Location) (*timestamppb.Timestamp, error) {
	t, zoned, err := parseTime(s)
	switch {
	case err != nil || t.IsZero():
		return nil, err
	case !zoned:
		t = Local(t, zone)
	}
	return timestamp(t)
}

// Date reads the day of an ISO 8601 time or date as it is written, without regard to its zone. It returns nil where [Time] does.
func Date(s string) (*date.Date, error) {
	t, _, err := parseTime(s)
	if err != nil || t.IsZero() {
		return nil, err
	}
	return &date.Date{Year: int32(t.Year()), Month: int32(t.Month()), Day: int32(t.Day())}, nil
}

// parseTime returns the zero time for a time that is not set. A time without zone is in UTC.
func parseTime(s string) (t time.Time, zoned bool, err error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return time.Time{}, false, nil
	}
	for _, form := range timeLayouts {
		t, err := time.ParseInLocation(form.layout, s, time.UTC)
		if err != nil {
			continue
		}
		if t.Year() <= 1 || t.Year() >= 9999 {
			return time.Time{}, false, nil
		}
		return t, form.zoned, nil
	}
	return time.Time{}, false, errors.New("is not an ISO 8601 time")
}

// maxShift is more than any zone's clocks were ever moved: by a day, where the date line was.
const maxShift = 25 * time.Hour

// Local returns the time at which the clocks of zone show wall's date and time of day. wall's own zone does not count. It is the
// one rule for local times, that of RFC 5545 and of java.time:
//
//   - A time that the clocks show twice is the first of the two: 01:30 on the day on which clocks go back is before they do.
//   - A time that the clocks skip is moved forward by what they skip: 02:30 on the day on which they go forward an hour is 03:30.
//     A day that a zone skips is the next one.
func Local(wall time.Time, zone *time.Location) time.Time {
	year, month, day := wall.Date()
	hour, minute, second := wall.Clock()
	t := time.Date(year, month, day, hour, minute, second, wall.Nanosecond(), zone)
	start, end := t.ZoneBounds()
	if (start.IsZero() || t.Sub(start) > maxShift) && (end.IsZero() || end.Sub(t) > maxShift) {
		return t // only a change of the clocks makes a time skipped, or shown twice
	}
	utc := time.Date(year, month, day, hour, minute, second, wall.Nanosecond(), time.UTC)
	for period := utc.Add(-maxShift).In(zone); ; {
		t, next := atOffsetOf(period, utc)
		if next.IsZero() || t.Before(next) {
			return t // the first period in which the clocks show it
		}
		if later, _ := atOffsetOf(next, utc); later.Before(next) {
			return t // between two periods: the offset before the gap counts
		}
		period = next
	}
}

// atOffsetOf reads utc's date and time of day with the offset of the zone's period that a time is in. It also returns the next
// period's start, which is zero for the last.
func atOffsetOf(period, utc time.Time) (t, next time.Time) {
	_, offset := period.Zone()
	_, next = period.ZoneBounds()
	return utc.Add(-time.Duration(offset) * time.Second).In(period.Location()), next
}
