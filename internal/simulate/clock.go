package simulate

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

// stamp is a time in a vendor's format.
type stamp struct {
	// at is the time in the sample.
	at time.Time
	// layout is the layout of package time; empty for a number since 1970, in unit.
	layout string
	unit   time.Duration
	// days means that it is a date, which moves by whole days only.
	days bool
}

// isoTime matches a date, with or without a time, a fraction and a zone.
var isoTime = regexp.MustCompile(`^\d{4}-\d\d-\d\d(?:([T ])\d\d:\d\d:\d\d(?:\.(\d{1,9}))?(Z|[+-]\d\d:?\d\d)?)?$`)

// otherLayouts are the layouts of times that are not in ISO 8601.
var otherLayouts = []string{"02-Jan-2006", "2-Jan-2006", "02-Jan-2006 15:04:05", "02-Jan-2006 03:04PM"}

// parseStamp parses a time. Times without a zone are in zone. It refuses very old times: they mean "never".
func parseStamp(s scalar, zone *time.Location) (stamp, bool) {
	var t stamp
	if layout, ok := isoLayout(s.text); ok && s.isString {
		t.layout = layout
	} else if s.isString {
		for _, layout := range otherLayouts {
			if _, err := time.Parse(layout, s.text); err == nil {
				t.layout = layout
			}
		}
	}
	if t.layout == "" {
		return parseCount(s)
	}
	if strings.HasSuffix(t.layout, "Z") {
		zone = time.UTC
	}
	at, err := time.ParseInLocation(t.layout, s.text, zone)
	if err != nil || at.Year() < 1990 {
		return t, false
	}
	t.at = at
	t.days = at.Equal(midnight(at)) && !strings.Contains(t.layout, ".")
	return t, true
}

// isoLayout returns the layout of a time in text.
func isoLayout(text string) (string, bool) {
	m := isoTime.FindStringSubmatch(text)
	if m == nil {
		return "", false
	}
	layout := "2006-01-02"
	if m[1] != "" {
		layout += m[1] + "15:04:05"
	}
	if m[2] != "" {
		layout += "." + strings.Repeat("0", len(m[2]))
	}
	switch zone := m[3]; {
	case zone == "Z":
		layout += "Z" // package time treats it as any other letter
	case strings.Contains(zone, ":"):
		layout += "-07:00"
	case zone != "":
		layout += "-0700"
	}
	return layout, true
}

// countsTime matches the ends of keys of times in seconds. Times in milliseconds are known by their size.
var countsTime = regexp.MustCompile(`(?i)(at|on|time|date|created|updated|expires?|start|end)$`)

// parseCount parses a whole number of seconds or milliseconds since 1970, in this century.
func parseCount(s scalar) (stamp, bool) {
	n, err := strconv.ParseInt(s.text, 10, 64)
	switch {
	case err != nil:
	case n >= 1e12 && n < 2.2e12:
		return stamp{at: time.UnixMilli(n), unit: time.Millisecond}, true
	case n >= 1e9 && n < 2.2e9 && countsTime.MatchString(s.key):
		return stamp{at: time.Unix(n, 0), unit: time.Second}, true
	}
	return stamp{}, false
}

// appendTo appends the time, moved by shift.
func (t *stamp) appendTo(b []byte, shift time.Duration) []byte {
	at := t.at.Add(shift)
	if t.days {
		at = midnight(at)
	}
	switch {
	case t.layout != "":
		return at.AppendFormat(b, t.layout)
	case t.unit == time.Second:
		return strconv.AppendInt(b, at.Unix(), 10)
	default:
		return strconv.AppendInt(b, at.UnixMilli(), 10)
	}
}

func midnight(t time.Time) time.Time {
	y, m, d := t.Date()
	return time.Date(y, m, d, 0, 0, 0, 0, t.Location())
}
