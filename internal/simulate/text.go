package simulate

import (
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"time"
)

// text is a JSON text with the places that differ between webhooks. All other bytes stay.
type text struct {
	raw    []byte
	places []place
	values []value
	// first is the first time in the text: the time of the event.
	first *stamp
	// fine means that some time in the text has more than a date.
	fine bool
	// rendered counts webhooks. scratch has the values of the current one.
	rendered uint64
	scratch  [][]byte
}

// place is a part of a text that changes.
type place struct {
	start, end int
	value      int    // an index of values, if stamp is nil
	stamp      *stamp // a time
}

// compile finds the values to vary in a JSON text, except those of the member that names the event. Times without a zone are in
// zone.
func compile(raw []byte, eventField string, zone *time.Location, r *rand.Rand) *text {
	c := compiler{text: text{raw: raw}, zone: zone, random: r, ids: map[string]int{}}
	scalars := slices.DeleteFunc(scan(raw), func(s scalar) bool {
		return eventField != "" && s.key == eventField || strings.Contains(s.key, "irthda")
	})
	// Ids first, because other texts may contain them.
	rest := c.each(scalars, c.addID)
	rest = c.each(rest, c.addParts)
	rest = c.each(rest, c.addWhole)
	c.each(rest, c.addParts) // of the ids found before
	slices.SortFunc(c.places, func(a, b place) int { return a.start - b.start })
	c.scratch = make([][]byte, len(c.values))
	return &c.text
}

type compiler struct {
	text
	zone   *time.Location
	random *rand.Rand
	// ids are the values that may be part of longer texts. Both then get the same new value.
	ids map[string]int
}

// each returns the scalars that take does not accept.
func (c *compiler) each(scalars []scalar, take func(scalar) bool) (rest []scalar) {
	for _, s := range scalars {
		if !take(s) {
			rest = append(rest, s)
		}
	}
	return rest
}

// addID adds times, texts with UUIDs, other ids of letters and digits, and large numbers.
func (c *compiler) addID(s scalar) bool {
	if t, ok := parseStamp(s, c.zone); ok {
		c.places = append(c.places, place{start: s.start, end: s.end, stamp: &t})
		if c.first == nil {
			c.first = &t
		}
		c.fine = c.fine || !t.days
		return true
	}
	if s.isString && c.takeUUIDs(s) {
		return true
	}
	if k, id := classify(s); id && (k == kindHex || k == kindToken || idNumber.MatchString(s.text)) {
		c.add(s.start, s.end, k, s.text, true)
		return true
	}
	return false
}

func (c *compiler) takeUUIDs(s scalar) bool {
	found := uuidText.FindAllStringIndex(s.text, -1)
	for _, loc := range found {
		if uuid := s.text[loc[0]:loc[1]]; !nilUUID.MatchString(uuid) {
			c.add(s.start+loc[0], s.start+loc[1], kindHex, uuid, true)
		}
	}
	return found != nil
}

// addParts adds a text that is not an id but contains ids.
func (c *compiler) addParts(s scalar) bool {
	if !s.isString {
		return false
	}
	// The longest first, because an id may be part of another.
	ids := make([]string, 0, len(c.ids))
	for id := range c.ids {
		if len(id) >= 6 && strings.Contains(s.text, id) {
			ids = append(ids, regexp.QuoteMeta(id))
		}
	}
	if len(ids) == 0 {
		return false
	}
	slices.SortFunc(ids, func(a, b string) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(a, b)
	})
	for _, loc := range regexp.MustCompile(strings.Join(ids, "|")).FindAllStringIndex(s.text, -1) {
		c.places = append(c.places, place{start: s.start + loc[0], end: s.start + loc[1], value: c.ids[s.text[loc[0]:loc[1]]]})
	}
	return true
}

// addWhole adds the other values that are varied.
func (c *compiler) addWhole(s scalar) bool {
	k, id := classify(s)
	if k == 0 {
		return false
	}
	c.add(s.start, s.end, k, s.text, id)
	return true
}

// add adds a place. Places with the same text share a value. Amounts are the same if their digits are.
func (c *compiler) add(start, end int, k kind, old string, id bool) {
	if k == kindAmount {
		old = significant(old)
	}
	n := slices.IndexFunc(c.values, func(v value) bool { return v.kind == k && v.old == old })
	if n < 0 {
		n = len(c.values)
		// A step that is coprime to ten reaches all numbers of a width before it repeats one.
		step := c.random.Uint64N(9e5)*10 + 1_000_003
		c.values = append(c.values, value{kind: k, old: old, step: step, offset: c.random.Uint64N(1e12)})
	}
	if id {
		c.ids[old] = n
	}
	c.places = append(c.places, place{start: start, end: end, value: n})
}

// distinct reports whether two renderings always differ.
func (t *text) distinct() bool {
	return slices.ContainsFunc(t.values, func(v value) bool { return v.tells() })
}

// appendTo appends the next webhook, for an event at that time.
func (t *text) appendTo(b []byte, at time.Time, r *rand.Rand) []byte {
	n := t.rendered
	t.rendered++
	for i := range t.values {
		v, old := &t.values[i], t.scratch[i][:0]
		switch v.kind {
		case kindHex:
			old = v.appendHex(old, r)
		case kindToken:
			old = v.appendToken(old, r)
		case kindNumber:
			old = v.appendNumber(old, n)
		case kindAmount:
			old = v.appendDigits(old, r)
		default:
			old = v.appendName(old, r)
		}
		t.scratch[i] = old
	}
	return t.appendLater(b, at)
}

// appendLater appends the last webhook again, with the times of an event at that time.
func (t *text) appendLater(b []byte, at time.Time) []byte {
	var shift time.Duration
	if t.first != nil {
		shift = at.Sub(t.first.at)
	}
	from := 0
	for _, p := range t.places {
		b = append(b, t.raw[from:p.start]...)
		switch {
		case p.stamp != nil:
			b = p.stamp.appendTo(b, shift)
		case t.values[p.value].kind == kindAmount:
			b = appendAmount(b, t.raw[p.start:p.end], t.scratch[p.value])
		default:
			b = append(b, t.scratch[p.value]...)
		}
		from = p.end
	}
	return append(b, t.raw[from:]...)
}
