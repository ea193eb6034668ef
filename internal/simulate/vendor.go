package simulate

import (
	"fmt"
	"math/rand/v2"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/sample"
)

// Vendor generates a vendor's webhooks: the connector's samples with new ids, times, amounts and people. [NewVendor] creates
// it. It is not safe for concurrent use.
type Vendor struct {
	connector *connectors.Connector
	// valid has the templates of valid webhooks by event, broken the templates of broken ones.
	valid  [][]*template
	broken []*template
	// keyed means that every webhook has the vendor's id in the header.
	keyed  bool
	random *rand.Rand
}

// template is a prepared sample.
type template struct {
	// event is the vendor's name for the event, if it is known.
	event string
	// path is the name in the URL, if any.
	path   string
	header http.Header
	broken bool
	// keyed means that the sample has the vendor's id of the webhook in a header.
	keyed bool
	*text
	// before and after are the parts of a form around the JSON; nil for other bodies.
	before, after []byte
	json          []byte // the JSON of the last webhook
	// latest is the time of the last webhook.
	latest time.Time
}

// Webhook is a webhook as a vendor sends it.
type Webhook struct {
	// Event is the vendor's name for the event; a broken webhook may have none.
	Event string
	// Path is the event's name in the URL, if the vendor has it there.
	Path string
	// Header has its headers without credentials. Webhooks share it, so it must not be changed.
	Header http.Header
	// Key is the vendor's own id of the webhook, for the header that carries it; empty if there is none.
	Key string
	// Body has the bytes on the wire.
	Body []byte
	// Broken means that Bridge cannot translate it.
	Broken bool
}

// NewVendor prepares the connector's samples. The same seed generates the same webhooks, except for the time. Times without a
// zone are in zone. NewVendor leaves out pings, samples that have no value to tell two webhooks apart, and samples that differ
// from the vendor's schema.
func NewVendor(c *connectors.Connector, zone *time.Location, seed uint64) (*Vendor, error) {
	if c.Samples == nil {
		return nil, fmt.Errorf("simulate: connector %s has no samples", c.Name)
	}
	samples, err := sample.Read(c.Samples)
	if err != nil {
		return nil, fmt.Errorf("simulate: connector %s: %w", c.Name, err)
	}
	v := &Vendor{connector: c, random: newRandom(seed)}
	shown := false
	byEvent := map[string]int{}
	for _, w := range samples {
		if !w.Broken && slices.ContainsFunc(w.Expected, func(e sample.Expectation) bool { return e.Name == sample.Drift }) {
			continue // the vendor keeps to its schema
		}
		t, ok := v.prepare(w, zone)
		if !ok || w.Ping {
			continue
		}
		shown = shown || t.keyed
		if t.broken {
			v.broken = append(v.broken, t)
			continue
		}
		n, seen := byEvent[t.event]
		if !seen {
			n = len(v.valid)
			byEvent[t.event] = n
			v.valid = append(v.valid, nil)
		}
		v.valid[n] = append(v.valid[n], t)
	}
	// If no sample has the id, every webhook gets one.
	v.keyed = c.KeyHeader != "" && !shown
	return v, nil
}

// newRandom returns random numbers that depend on a seed only.
func newRandom(seed uint64) *rand.Rand {
	return rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15)) //nolint:gosec // made-up data, which is to be the same again
}

// prepare makes a template from a sample. It returns false if two webhooks from it could be equal.
func (v *Vendor) prepare(w sample.Webhook, zone *time.Location) (*template, bool) {
	c := v.connector
	t := &template{event: w.Event, path: w.Event, header: http.Header{"Content-Type": {w.ContentType}}, broken: w.Broken}
	for name, values := range w.Header {
		if c.KeyHeader != "" && strings.EqualFold(name, c.KeyHeader) {
			t.keyed = true
			continue
		}
		t.header[name] = values
	}
	if t.event == "" && c.EventHeader != "" {
		t.event = t.header.Get(c.EventHeader)
	}
	json := w.Body
	if mediaType, _, _ := mime.ParseMediaType(w.ContentType); c.FormField != "" && mediaType == sample.Form {
		var ok bool
		if t.before, json, t.after, ok = openForm(w.Body, c.FormField); !ok {
			return nil, false
		}
	}
	t.text = compile(json, c.EventField, zone, v.random)
	if t.event == "" && c.EventField != "" {
		scalars := scan(json)
		if n := slices.IndexFunc(scalars, func(s scalar) bool { return s.key == c.EventField }); n >= 0 {
			t.event = scalars[n].text
		}
	}
	return t, t.distinct()
}

// openForm returns the JSON in a form's field, and the parts of the form around it.
func openForm(form []byte, field string) (before, json, after []byte, ok bool) {
	at := 0
	for pair := range strings.SplitSeq(string(form), "&") {
		name, value, _ := strings.Cut(pair, "=")
		if name, err := url.QueryUnescape(name); err == nil && name == field {
			text, err := url.QueryUnescape(value)
			start := at + len(pair) - len(value)
			return append([]byte{}, form[:start]...), []byte(text), form[start+len(value):], err == nil
		}
		at += len(pair) + 1
	}
	return nil, nil, nil, false
}

// HasValid and HasBroken report whether there are samples of webhooks that are translated, and of webhooks that are
// quarantined.
func (v *Vendor) HasValid() bool { return len(v.valid) > 0 }

// HasBroken is documented with [Vendor.HasValid].
func (v *Vendor) HasBroken() bool { return len(v.broken) > 0 }

// Next generates a webhook that happened now: a valid one of a random event, or a broken one. There must be samples for it.
// With more than a thousand webhooks of a sample in a second, their times run ahead.
func (v *Vendor) Next(broken bool, now time.Time) Webhook {
	templates := v.broken
	if !broken {
		templates = v.valid[v.random.IntN(len(v.valid))]
	}
	t := templates[v.random.IntN(len(templates))]
	t.json = t.appendTo(t.json[:0], t.tick(now), v.random)
	return v.wrap(t)
}

// versionsApart is the time between the versions of a record: long enough for every time format.
const versionsApart = time.Minute

// Versions generates two valid webhooks about the same record: the later one happened now. If the record has no precise time,
// they are about two records.
func (v *Vendor) Versions(now time.Time) (earlier, later Webhook) {
	templates := v.valid[v.random.IntN(len(v.valid))]
	t := templates[v.random.IntN(len(templates))]
	at := t.tick(now)
	t.json = t.appendTo(t.json[:0], at.Add(-versionsApart), v.random)
	earlier = v.wrap(t)
	if t.fine {
		t.json = t.appendLater(t.json[:0], at)
	} else {
		t.json = t.appendTo(t.json[:0], at, v.random)
	}
	return earlier, v.wrap(t)
}

// tick returns now, or the last webhook's time plus a millisecond: some webhooks differ in their time only.
func (t *template) tick(now time.Time) time.Time {
	if next := t.latest.Add(time.Millisecond); now.Before(next) {
		now = next
	}
	t.latest = now
	return now
}

// wrap makes a webhook from the JSON that the template has just generated.
func (v *Vendor) wrap(t *template) Webhook {
	body := make([]byte, 0, len(t.raw)+len(t.raw)/8)
	if t.before == nil {
		body = append(body, t.json...)
	} else {
		body = append(body, t.before...)
		body = append(body, url.QueryEscape(string(t.json))...)
		body = append(body, t.after...)
	}
	w := Webhook{Event: t.event, Path: t.path, Header: t.header, Broken: t.broken, Body: body}
	if t.keyed || v.keyed {
		w.Key = newUUID(v.random)
	}
	return w
}

// newUUID returns a random UUID that depends on the seed.
func newUUID(r *rand.Rand) string {
	v := value{kind: kindHex, old: "00000000-0000-4000-8000-000000000000"}
	return string(v.appendHex(nil, r))
}
