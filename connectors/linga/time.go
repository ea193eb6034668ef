package linga

import (
	"regexp"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/type/decimal"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/webhook-bridge/bridge/connectors"
	lingav1 "github.com/webhook-bridge/bridge/gen/webhooks/linga/v1"
)

// openedAt returns when the check was opened. saleOpenTime is a time, or a time of day on startDate's day. Without such a pair
// another time takes its place and, as the last choice, a day alone. The day alone does not replace a time of day that
// cannot be used, because no check was opened at midnight. A text that is not understood is drift.
func (f fields) openedAt(m *lingav1.Check) *timestamppb.Timestamp {
	opened, start := f.moment("$.saleOpenTime", m.GetSaleOpenTime()), f.dated("$.startDate", m.GetStartDate())
	created, ordered := f.dated("$.dateCreated", m.GetDateCreated()), f.dated("$.orderedDateStr", m.GetOrderedDateStr())
	switch {
	case opened.form != timeOfDay:
	case start.form == day || start.form == instant:
		if start.isDayElsewhere(opened) {
			f.Drift("$.startDate", m.GetStartDate())
		}
		return timestamppb.New(connectors.Local(opened.on(start), f.source.Zone))
	case start.form == absent:
		f.Drift("$.saleOpenTime", m.GetSaleOpenTime())
	}
	unused := opened.form == timeOfDay || opened.form == unread
	if unused && start.form == instant && start.isMidnight() {
		start.form = day
	}
	for _, other := range []moment{opened, created, ordered, start} {
		if other.form == instant {
			return timestamppb.New(other.Time)
		}
	}
	for _, other := range []moment{opened, start, created, ordered} {
		if other.form == day && !unused {
			return timestamppb.New(connectors.Local(other.Time, f.source.Zone))
		}
	}
	return nil
}

// form is how much of a time a text says.
type form uint8

const (
	absent form = iota
	// unread is a text that is not understood.
	unread
	day
	timeOfDay
	// instant is a day with a time of day.
	instant
)

// moment is a text as a time.
type moment struct {
	// Time of an instant is in the source's zone. A day and a time of day are without zone, in UTC.
	time.Time

	form form
	// zoned says that the text of an instant has an offset, or counts from 1970.
	zoned bool
}

// on returns the day of start with the time of day of m.
func (m moment) on(start moment) time.Time {
	year, month, date := start.Date()
	hour, minute, second := m.Clock()
	return time.Date(year, month, date, hour, minute, second, m.Nanosecond(), time.UTC)
}

func (m moment) isMidnight() bool { return m.Equal(m.Truncate(time.Second)) && isMidnight(m.Clock()) }

func isMidnight(hour, minute, second int) bool { return hour == 0 && minute == 0 && second == 0 }

// isDayElsewhere reports whether an instant may have been meant as a day: it is midnight in UTC, which in the source's zone is on
// another day, and it is not the time of day that is beside it.
func (m moment) isDayElsewhere(clock moment) bool {
	if m.form != instant || !m.zoned || !isMidnight(m.UTC().Clock()) || m.Day() == m.UTC().Day() {
		return false
	}
	return m.Hour() != clock.Hour() || m.Minute() != clock.Minute()
}

// dated is moment for a field that has a day.
func (f fields) dated(path, text string) moment {
	m := f.moment(path, text)
	if m.form == timeOfDay {
		f.Drift(path, text)
		m.form = unread
	}
	return m
}

// moment reads a time in any form that LINGA is known to use. Any other text is drift.
func (f fields) moment(path, text string) moment {
	m := f.parse(strings.TrimSpace(spaces.Replace(text)))
	switch {
	case m.form == unread:
		f.Drift(path, text)
	case (m.form == day || m.form == instant) && (m.Year() <= 1 || m.Year() >= 9999):
		return moment{} // .NET's "not set" and "never"
	}
	return m
}

// halves replaces the longer forms of AM and PM.
var halves = strings.NewReplacer("A.M.", "AM", "P.M.", "PM")

// spaces replaces the spaces that programs print before "PM".
var spaces = strings.NewReplacer("\u00A0", " ", "\u202F", " ")

var (
	epoch = regexp.MustCompile(`^[0-9.]+([eE]\+?[0-9]+)?$`)
	// clockFirst matches a time of day, and texts like one.
	clockFirst = regexp.MustCompile(`^[0-9]{1,2}(:| ?[AP]M$)`)
	// dayFirst splits a text into a day and the time of day after it.
	dayFirst = regexp.MustCompile(`^([0-9]{4}[-/][0-9]{1,2}[-/][0-9]{1,2}|` +
		`[0-9]{1,2}[- ][A-Z]{3,9}[- ][0-9]{4}|[A-Z]{3,9} [0-9]{1,2}, [0-9]{4})(?:(?:T|,? )(.+))?$`)
	yearLast = regexp.MustCompile(`^([0-9]{1,2})[-/.]([0-9]{1,2})[-/.]([0-9]{4})(.*)$`)
	// zoned splits a time of day from its offset.
	zoned = regexp.MustCompile(`^(.+?) ?(Z|[+-][0-9]{2}(?::?[0-9]{2})?)$`)
)

var (
	dayLayouts = [...]string{
		"2006-1-2", "2-Jan-2006", "2006/1/2", "2 Jan 2006", "Jan 2, 2006", "2-January-2006", "2 January 2006", "January 2, 2006",
	}
	// clockLayouts are times of day. Go reads decimals of seconds wherever a layout has none.
	clockLayouts  = [...]string{"15:04:05", "15:04", "3:04:05 PM", "3:04 PM", "3:04:05PM", "3:04PM", "3 PM", "3PM"}
	offsetLayouts = [...]string{"Z07:00", "Z0700", "Z07"}
)

// parse reads a text without spaces around it.
func (f fields) parse(text string) moment {
	if text == "" {
		return moment{}
	}
	if t, ok := sinceEpoch(text); ok {
		return moment{Time: t.In(f.source.Zone), form: instant, zoned: true}
	}
	text = halves.Replace(strings.ToUpper(text))
	if clockFirst.MatchString(text) {
		if clock, ok := parseAny(clockLayouts[:], text); ok {
			return moment{Time: clock, form: timeOfDay}
		}
	}
	part := dayFirst.FindStringSubmatch(isoOfYearLast(text))
	if part == nil {
		return moment{form: unread}
	}
	date, ok := parseAny(dayLayouts[:], part[1])
	switch {
	case !ok:
		return moment{form: unread}
	case part[2] == "":
		return moment{Time: date, form: day}
	}
	return f.parseClock(date, part[2])
}

// parseClock reads a time of day after a day, with or without an offset.
func (f fields) parseClock(date time.Time, text string) moment {
	m := moment{form: instant}
	offset := ""
	if part := zoned.FindStringSubmatch(text); part != nil {
		text, offset, m.zoned = part[1], part[2], true
	}
	clock, ok := parseAny(clockLayouts[:], text)
	if !ok {
		return moment{form: unread}
	}
	m.Time = moment{Time: clock}.on(moment{Time: date})
	if !m.zoned {
		m.Time = connectors.Local(m.Time, f.source.Zone)
		return m
	}
	zone, ok := parseAny(offsetLayouts[:], offset)
	if !ok {
		return moment{form: unread}
	}
	_, seconds := zone.Zone()
	m.Time = m.Add(-time.Duration(seconds) * time.Second).In(f.source.Zone)
	return m
}

func parseAny(layouts []string, text string) (time.Time, bool) {
	for _, layout := range layouts {
		if t, err := time.Parse(layout, text); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// sinceEpoch reads seconds since 1970, from 2001 to 2286, and milliseconds from 2001 on. Other numbers may be either, or a date
// without separators.
func sinceEpoch(text string) (time.Time, bool) {
	if !epoch.MatchString(text) {
		return time.Time{}, false
	}
	n, err := connectors.Money(&decimal.Decimal{Value: text}, "")
	switch units := n.GetUnits(); {
	case err != nil:
	case units >= 1e9 && units < 1e10:
		return time.Unix(units, int64(n.GetNanos())), true
	case units >= 1e12 && units < 1e14 && n.GetNanos() == 0:
		return time.UnixMilli(units), true
	}
	return time.Time{}, false
}

// isoOfYearLast returns a date such as "09/13/2026" in the form of ISO 8601, and any other text as it is. Month and day come in
// either order. So "09/01/2026" has two meanings and stays as it is.
func isoOfYearLast(text string) string {
	part := yearLast.FindStringSubmatch(text)
	if part == nil {
		return text
	}
	date := part[1] + "/" + part[2] + "/" + part[3]
	us, errUS := time.Parse("1/2/2006", date)
	eu, errEU := time.Parse("2/1/2006", date)
	switch {
	case errUS == nil && (errEU != nil || us.Equal(eu)):
		return us.Format(time.DateOnly) + part[4]
	case errUS != nil && errEU == nil:
		return eu.Format(time.DateOnly) + part[4]
	}
	return text
}
