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

// Vendor makes a vendor's webhooks: those of the connector's samples, each time with other ids, times, amounts and people.
// Make it with [NewVendor]. It is for one goroutine.
type Vendor struct {
	connector *connectors.Connector
	// sound are the webhooks that are translated, by event; broken are those that are quarantined.
	sound  [][]*template
	broken []*template
	// keyed says that every webhook has the vendor's id in the header.
	keyed  bool
	random *rand.Rand
}

// template is a sample, ready to be varied.
type template struct {
	// event is the vendor's name for it, as far as it can be told.
	event string
	// path is the name in the URL, if any.
	path   string
	header http.Header
	broken bool
	// keyed says that it has the vendor's id of the webhook in a header.
	keyed bool
	*text
	// before and after are what stands around the JSON in a form; nil for other bodies.
	before, after []byte
	json          []byte // the JSON that was made last
	// latest is when the webhook that was made last happened.
	latest time.Time
}

// Webhook is one that a vendor sends.
type Webhook struct {
	// Event is the vendor's name for it; a broken one may have none.
	Event string
	// Path is the event's name in the URL, if the vendor has it there.
	Path string
	// Header are its headers but for credentials. They are shared by webhooks: nobody changes them.
	Header http.Header
	// Key is the vendor's own id of the webhook, for the header that has it; empty if there is none.
	Key string
	// Body as it comes over the wire.
	Body []byte
	// Broken says that Bridge cannot translate it.
	Broken bool
}

// NewVendor prepares the connector's samples. What the same seed makes is the same but for the time. Times that are written
// without a zone are in zone. Samples that hold nothing by which two webhooks could be told apart are not used.
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
		t, ok := v.prepare(w, zone)
		if !ok {
			continue
		}
		shown = shown || t.keyed
		if t.broken {
			v.broken = append(v.broken, t)
			continue
		}
		n, seen := byEvent[t.event]
		if !seen {
			n = len(v.sound)
			byEvent[t.event] = n
			v.sound = append(v.sound, nil)
		}
		v.sound[n] = append(v.sound[n], t)
	}
	// Where the samples do not care, every webhook has an id.
	v.keyed = c.KeyHeader != "" && !shown
	return v, nil
}

// newRandom returns random numbers that a seed decides.
func newRandom(seed uint64) *rand.Rand {
	return rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15)) //nolint:gosec // made-up data, which is to be the same again
}

// prepare makes a template of a sample. Its text may be the same for all that is known.
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

// openForm returns the JSON in a form's field, and what stands around it in the form.
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

// Sound and Broken say whether there are samples of webhooks that are translated, and of those that are not.
func (v *Vendor) Sound() bool { return len(v.sound) > 0 }

// Broken is documented with [Vendor.Sound].
func (v *Vendor) Broken() bool { return len(v.broken) > 0 }

// Next makes another webhook, which happened now: of any event, all being as likely, or a broken one. There must be samples for it.
// If more than a thousand of a sample happen in a second, times run ahead.
func (v *Vendor) Next(broken bool, now time.Time) Webhook {
	templates := v.broken
	if !broken {
		templates = v.sound[v.random.IntN(len(v.sound))]
	}
	t := templates[v.random.IntN(len(templates))]
	t.json = t.appendTo(t.json[:0], t.tick(now), v.random)
	return v.wrap(t)
}

// versionsApart is by how much the versions of a record are apart in time: so much that any way to write a time shows it.
const versionsApart = time.Minute

// Versions makes two sound webhooks about the same record: the latter happened now, the former earlier. Where the record has no time
// that would tell, they are about two.
func (v *Vendor) Versions(now time.Time) (earlier, later Webhook) {
	templates := v.sound[v.random.IntN(len(v.sound))]
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

// tick returns now, or a millisecond after the webhook before: some vendors' facts are told apart by that alone.
func (t *template) tick(now time.Time) time.Time {
	if next := t.latest.Add(time.Millisecond); now.Before(next) {
		now = next
	}
	t.latest = now
	return now
}

// wrap makes a webhook of the JSON that the template has just made.
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

// newUUID returns a random UUID that the seed decides.
func newUUID(r *rand.Rand) string {
	v := value{kind: kindHex, old: "00000000-0000-4000-8000-000000000000"}
	return string(v.appendHex(nil, r))
}
