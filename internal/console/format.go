package console

import (
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
)

// functions are what templates may call.
func functions(a *assets) template.FuncMap {
	return template.FuncMap{
		"asset": a.url,
		"count": count,
		"rate":  perSecond,
		"size":  size,
		"when":  when,
		"ago":   ago,
		"date":  date,
		"iso":   iso,
		"words": words,
		"args":  args,
	}
}

// args makes a list of values, for a part of a page that needs several.
func args(all ...any) []any { return all }

// count writes a number with its thousands apart.
func count(n any) string {
	text := fmt.Sprint(n)
	if f, ok := n.(float64); ok {
		text = strconv.FormatFloat(math.Round(f), 'f', 0, 64)
	}
	sign := ""
	if strings.HasPrefix(text, "-") {
		sign, text = "-", text[1:]
	}
	var b strings.Builder
	for i, digit := range text {
		if i > 0 && (len(text)-i)%3 == 0 {
			b.WriteRune('\u202f') // a narrow space that does not break
		}
		b.WriteRune(digit)
	}
	return sign + b.String()
}

// perSecond writes a number for each second.
func perSecond(n float64) string {
	switch {
	case n == 0:
		return "0"
	case n < .1:
		return strconv.FormatFloat(n*60, 'f', 1, 64) + "/min"
	case n < 10:
		return strconv.FormatFloat(n, 'f', 1, 64) + "/s"
	}
	return count(n) + "/s"
}

// size writes a number of bytes.
func size(n any) string {
	f, unit := 0.0, "B"
	switch n := n.(type) {
	case int:
		f = float64(n)
	case uint64:
		f = float64(n)
	}
	for _, next := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if f < 1024 {
			break
		}
		f, unit = f/1024, next
	}
	if unit == "B" || f >= 100 {
		return fmt.Sprintf("%.0f %s", f, unit)
	}
	return fmt.Sprintf("%.1f %s", f, unit)
}

// moment returns the time of a timestamp or a time. The zero time stands for none.
func moment(t any) time.Time {
	switch t := t.(type) {
	case *timestamppb.Timestamp:
		if t != nil {
			return t.AsTime()
		}
	case time.Time:
		return t.UTC()
	}
	return time.Time{}
}

func iso(t any) string  { return moment(t).Format(time.RFC3339Nano) }
func date(t any) string { return moment(t).Format("2006-01-02 15:04:05") }

// when is a time for people: the time alone where it is of today.
func when(t any) string {
	at := moment(t)
	if at.Format(time.DateOnly) == now().Format(time.DateOnly) {
		return at.Format(time.TimeOnly)
	}
	return at.Format("2 Jan 15:04:05")
}

// ago is how long ago a time was, for people.
func ago(t any) string {
	at := moment(t)
	if at.IsZero() {
		return "never"
	}
	d := now().Sub(at)
	if d < time.Second {
		return "just now"
	}
	return duration(d) + " ago"
}

// duration is a time's length for people: its largest unit, or two of them where the first is small.
func duration(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return strconv.FormatInt(d.Microseconds(), 10) + " µs"
	case d < time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
	case d < time.Minute:
		return strconv.Itoa(int(d.Seconds())) + " s"
	case d <= time.Hour:
		return strconv.Itoa(int(d.Minutes())) + " min"
	case d < 48*time.Hour:
		return strconv.Itoa(int(d.Hours())) + " h"
	}
	return strconv.Itoa(int(d.Hours()/24)) + " days"
}

// words writes a name in code, such as no_such_event, as words.
func words(name string) string { return strings.ReplaceAll(name, "_", " ") }
