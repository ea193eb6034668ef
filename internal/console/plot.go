package console

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/webhook-bridge/bridge/internal/history"
)

// plot is a line over the last hour, drawn as SVG.
type plot struct {
	// Title, and the value of now and the largest one as text. Summary says it all in a sentence.
	Title, Now, Most, Summary string
	// Tone is the class that chooses its colour.
	Tone string
	// From is what stands below the left end.
	From string
	// Line, Area and Grid are paths in a box of Width by Height.
	Line, Area, Grid string
	Width, Height    int
}

// The box of a plot, and the room above the largest value.
const (
	plotWidth, plotHeight = 360, 72
	plotHeadroom          = 4
)

// curve is what a plot shows.
type curve struct {
	title, tone string
	// value returns a point's value. NaN is none.
	value func(history.Point) float64
	// text writes a value.
	text func(float64) string
}

// shortest is the shortest time that a plot shows.
const shortest = 5 * time.Minute

// plots draws the curves up to now, over the time that the points are of.
func plots(points []history.Point, curves []curve, end time.Time) (all []plot) {
	span := shortest
	if len(points) > 0 {
		span = min(max(end.Sub(points[0].At)+points[0].For, shortest), history.Span)
	}
	for _, c := range curves {
		all = append(all, c.draw(points, end, span))
	}
	return all
}

func (c curve) draw(points []history.Point, end time.Time, span time.Duration) plot {
	p := plot{Title: c.title, Tone: c.tone, Width: plotWidth, Height: plotHeight, From: duration(span) + " ago"}
	latest, most := math.NaN(), 0.0
	for _, x := range points {
		if v := c.value(x); !math.IsNaN(v) {
			latest, most = v, max(most, v)
		} else {
			latest = v
		}
	}
	p.Now, p.Most = "–", c.text(most)
	if !math.IsNaN(latest) {
		p.Now = c.text(latest)
	}
	p.Summary = fmt.Sprintf("%s in the last %s: now %s, at most %s", c.title, duration(span), p.Now, p.Most)
	p.Line, p.Area = c.paths(points, end, span, most)
	p.Grid = fmt.Sprintf("M0 %d.5H%d", plotHeight-1, plotWidth)
	for i := 1; i < 4; i++ {
		p.Grid += fmt.Sprintf("M%d 0V%d", plotWidth*i/4, plotHeight)
	}
	return p
}

// paths returns the line and the area below it. Where there is no value, both have a gap.
func (c curve) paths(points []history.Point, end time.Time, span time.Duration, most float64) (line, area string) {
	var l, a strings.Builder
	from := ""
	last := ""
	leave := func() {
		if from != "" {
			fmt.Fprintf(&a, "L%s %dL%s %dZ", last, plotHeight, from, plotHeight)
		}
		from = ""
	}
	for _, p := range points {
		v := c.value(p)
		if math.IsNaN(v) {
			leave()
			continue
		}
		x := short(plotWidth * (1 - float64(end.Sub(p.At))/float64(span)))
		y := float64(plotHeight)
		if most > 0 {
			y -= (plotHeight - plotHeadroom) * v / most
		}
		step := "L"
		if from == "" {
			step, from = "M", x
		}
		fmt.Fprintf(&l, "%s%s %s", step, x, short(y))
		fmt.Fprintf(&a, "%s%s %s", step, x, short(y))
		last = x
	}
	leave()
	return l.String(), a.String()
}

func short(f float64) string { return strconv.FormatFloat(f, 'f', 1, 64) }

// The curves of the overview.
var overviewCurves = []curve{
	{"Received", "blue", func(p history.Point) float64 { return p.Received / p.For.Seconds() }, perSecond},
	{"Duplicates", "grey", func(p history.Point) float64 { return p.Duplicates / p.For.Seconds() }, perSecond},
	{"Quarantined", "red", func(p history.Point) float64 { return p.Quarantined / p.For.Seconds() }, perSecond},
	{"Answered within (p99)", "green", func(p history.Point) float64 { return p.P99 }, seconds},
}

// seconds writes a time in seconds.
func seconds(s float64) string {
	switch {
	case s == 0:
		return "–"
	case s < .01:
		return strconv.FormatFloat(s*1000, 'f', 1, 64) + " ms"
	case s < 1:
		return strconv.FormatFloat(s*1000, 'f', 0, 64) + " ms"
	}
	return strconv.FormatFloat(s, 'f', 1, 64) + " s"
}
