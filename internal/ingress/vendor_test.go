package ingress

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/retino"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/intake"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/source"
)

// acme is a vendor with every habit: it names events and webhooks in headers, sends forms, and several webhooks at once.
func acme() *connectors.Connector {
	c := retino.New()
	c.EventHeader, c.KeyHeader, c.FormField, c.Batches = "X-Acme-Event", "X-Acme-Id", "payload", true
	return c
}

// newShop is an edge with one source of acme's, without authentication.
func newShop(tb testing.TB, change ...func(*source.Source)) *edge {
	tb.Helper()
	return newEdge(tb, func(c *Config) {
		s := source.Source{
			Connector: acme(), Name: "shop", Auth: source.Auth{Scheme: source.SchemeNone},
			Limits: source.Limits{Rate: 1000, Body: 4 * mebi},
		}
		for _, f := range change {
			f(&s)
		}
		c.Sources = []source.Source{s}
	})
}

// shipment is a good webhook about a shipment.
func shipment(id string) string {
	return `{"event_type":"shipping.ordered","created_at":"2023-01-23T10:28:10.010Z","shipping":{"id":"` + id + `"}}`
}

// stored lists what was kept: event, and reason or subjects.
func (e *edge) stored() []string {
	var all []string
	for _, entry := range e.book.all() {
		line := []string{entry.Webhook.GetVendorEvent() + " " + reasonOf(entry.Webhook)}
		for _, ev := range entry.Events {
			line = append(line, ev.GetSubject())
		}
		all = append(all, strings.Join(line, ""))
	}
	return all
}

func wantStored(t *testing.T, e *edge, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, e.stored()); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
}

// TestNamesOfEvents: in body, URL and header.
func TestNamesOfEvents(t *testing.T) {
	const ordered, nameless = `{"event_type":"shipping.ordered","shipping":{"id":"s1"}}`, `{"shipping":{"id":"s1"}}`
	for _, tt := range []struct{ name, path, header, body, want string }{
		{"header", "", "shipping.ordered", nameless, "shipping.ordered shipment/s1"},
		{"header and body", "", "shipping.ordered", ordered, "shipping.ordered shipment/s1"},
		{"all", "/shipping.ordered", "shipping.ordered", ordered, "shipping.ordered shipment/s1"},
		{"unmodelled", "", "shipping.lost", `{"v":1}`, "shipping.lost retino/shipping.lost"},
		{"header and body disagree", "", "shipping.lost", ordered, "shipping.ordered event_mismatch"},
		{"header and URL disagree", "/shipping.ordered", "shipping.lost", nameless, "shipping.ordered event_mismatch"},
		{"header came twice", "", "shipping.ordered,shipping.ordered", nameless, "shipping.ordered, shipping.ordered retino/shipping.ordered, shipping.ordered"},
		{"unprintable", "", "a\x80b", nameless, "a\uFFFDb bad_event_name"},
		{"none", "", "", nameless, " no_event"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newShop(t)
			h := http.Header{}
			if tt.header != "" {
				h["X-Acme-Event"] = strings.Split(tt.header, ",")
			}
			wantSuccess(t, e, "shop", e.post("/webhooks/shop"+tt.path, h, []byte(tt.body)))
			wantStored(t, e, tt.want)
			w := e.book.last(t).Webhook
			if got := strings.TrimPrefix(tt.path, "/"); w.GetPathEvent() != got {
				t.Errorf("path_event %q, want %q", w.GetPathEvent(), got)
			}
			kept := 0
			for _, k := range w.GetHeaders() {
				if k.GetName() == "x-acme-event" {
					kept++
				}
			}
			if kept != len(h["X-Acme-Event"]) {
				t.Errorf("%d of %d headers with the name are kept", kept, len(h["X-Acme-Event"]))
			}
		})
	}
}

// TestNameOfWhatCannotBeRead: a corrupt body is kept under the name that the request gives.
func TestNameOfWhatCannotBeRead(t *testing.T) {
	e := newShop(t)
	h := http.Header{"Content-Encoding": {"gzip"}, "X-Acme-Event": {"shipping.ordered"}}
	wantSuccess(t, e, "shop", e.post("/webhooks/shop", h, []byte("no gzip")))
	wantStored(t, e, "shipping.ordered corrupt_encoding")
}

// TestIDsInHeaders: a fact that the body tells is one event, however many ids its deliveries have. Where the body tells none,
// each delivery is one.
func TestIDsInHeaders(t *testing.T) {
	e := newShop(t)
	send := func(id, body string) {
		t.Helper()
		wantSuccess(t, e, "shop", e.post("/webhooks/shop", http.Header{"X-Acme-Id": {id}}, []byte(body)))
	}
	send("1", shipment("s1"))
	send("1", shipment("s1"))
	send("2", shipment("s1"))
	wantStored(t, e, "shipping.ordered shipment/s1")
	send("3", `{"event_type":"new"}`)
	send("3", `{"event_type":"new"}`)
	send("4", `{"event_type":"new"}`)
	if n := len(e.book.all()); n != 3 {
		t.Errorf("%d webhooks", n)
	}
}

// TestForms: stored as they came, and taken for the JSON that they hold.
func TestForms(t *testing.T) {
	form := "x=1&payload=" + url.QueryEscape(shipment("s1")) + "&y=2"
	for _, tt := range []struct {
		name, contentType, encoding, body string
		want                              string
		stored                            journalv1.Encoding
	}{
		{"form", "application/x-www-form-urlencoded", "", form, "shipping.ordered shipment/s1", journalv1.Encoding_ENCODING_FORM},
		{
			"form with a parameter", "Application/X-WWW-Form-URLEncoded ; charset=UTF-8", "", form,
			"shipping.ordered shipment/s1", journalv1.Encoding_ENCODING_FORM,
		},
		{"compressed", "application/x-www-form-urlencoded", "gzip", form, "shipping.ordered shipment/s1", journalv1.Encoding_ENCODING_FORM},
		{"JSON", "application/json", "", shipment("s1"), "shipping.ordered shipment/s1", journalv1.Encoding_ENCODING_JSON},
		{"no type", "", "", shipment("s1"), "shipping.ordered shipment/s1", journalv1.Encoding_ENCODING_JSON},
		{"unmodelled", "application/x-www-form-urlencoded", "", `payload={"event_type":"x"}`, "x retino/x", journalv1.Encoding_ENCODING_FORM},
		{"no field", "application/x-www-form-urlencoded", "", "x=1", " bad_form", journalv1.Encoding_ENCODING_FORM},
		{"two fields", "application/x-www-form-urlencoded", "", form + "&payload=1", " bad_form", journalv1.Encoding_ENCODING_FORM},
		{"bad escape", "application/x-www-form-urlencoded", "", "payload=%7", " bad_form", journalv1.Encoding_ENCODING_FORM},
		{"JSON that says it is a form", "application/x-www-form-urlencoded", "", shipment("s1"), " bad_form", journalv1.Encoding_ENCODING_FORM},
		{"broken JSON", "application/x-www-form-urlencoded", "", `payload={"event_type":}`, " malformed_json", journalv1.Encoding_ENCODING_FORM},
		{"form that says it is JSON", "application/json", "", form, " malformed_json", journalv1.Encoding_ENCODING_JSON},
		{"corrupt gzip", "application/x-www-form-urlencoded", "gzip", form, " corrupt_encoding", journalv1.Encoding_ENCODING_RAW},
		{"another field", "application/x-www-form-urlencoded", "", "x=1", " bad_form", journalv1.Encoding_ENCODING_FORM},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newShop(t)
			h, body := http.Header{"Content-Type": {tt.contentType}}, []byte(tt.body)
			if tt.encoding != "" {
				h.Set("Content-Encoding", tt.encoding)
				if tt.stored != journalv1.Encoding_ENCODING_RAW {
					body = zipped(t, body)
				}
			}
			wantSuccess(t, e, "shop", e.post("/webhooks/shop", h, body))
			wantStored(t, e, tt.want)
			if w := e.book.last(t).Webhook; w.GetEncoding() != tt.stored || string(w.GetBody()) != tt.body {
				t.Errorf("stored as %v: %q", w.GetEncoding(), w.GetBody())
			}
		})
	}
}

// TestFormsOfOthers: the body of a vendor that sends no forms is read as it is, under any content type.
func TestFormsOfOthers(t *testing.T) {
	e := newEdge(t)
	h := secretOf("returns")
	h.Set("Content-Type", "application/x-www-form-urlencoded")
	e.post("/webhooks/returns", h, []byte(shipment("s1")))
	if w := e.book.last(t).Webhook; w.GetEncoding() != journalv1.Encoding_ENCODING_JSON || reasonOf(w) != "" {
		t.Errorf("stored as %v, %q", w.GetEncoding(), reasonOf(w))
	}
}

// TestLargestForm: a form of the largest size fits the budget, compressed or not, even where there is only as much as must be; and
// gives it all back.
func TestLargestForm(t *testing.T) {
	e := newShop(t, func(s *source.Source) { s.Limits.Body, s.Limits.InFlight = 100*kibi, 100*kibi })
	for i, encoding := range []string{"identity", "gzip"} {
		form := []byte(`payload={"event_type":"new","n":` + strconv.Itoa(i) + `,"filler":"` + strings.Repeat("x", 100*kibi-46) + `"}`)
		if len(form) != 100*kibi {
			t.Fatalf("the form has %d bytes", len(form))
		}
		h := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Content-Encoding": {encoding}}
		wire := func(form []byte) []byte {
			if encoding == "gzip" {
				return zipped(t, form)
			}
			return form
		}
		wantSuccess(t, e, "shop", e.post("/webhooks/shop", h, wire(form)))
		if w := e.book.last(t).Webhook; !bytes.Equal(w.GetBody(), form) || reasonOf(w) != "" {
			t.Errorf("%s: stored %q", encoding, reasonOf(w))
		}
		if w := e.post("/webhooks/shop", h, wire(append(form, ' '))); w.Code != http.StatusRequestEntityTooLarge {
			t.Errorf("%s, a byte more: %d", encoding, w.Code)
		}
	}
	if !e.endpoint("shop").bodies.bytes.TryAcquire(3 * (100*kibi + 1)) {
		t.Error("bytes were lost")
	}
}

// TestBatch: every webhook of an array by itself, all in one commit.
func TestBatch(t *testing.T) {
	e := newShop(t)
	body := "\uFEFF [" + shipment("s1") + ",\n" + `{"event_type":"new","n":1}, {"event_type":"shipping.ordered","shipping":7},` +
		shipment("s1") + `, 5, {"event_type":"shipping.ordered","shipping":{}}, {}, ` + shipment("s2") + "] "
	h := http.Header{"Content-Type": {"application/json"}, "User-Agent": {"Acme/1"}}
	wantSuccess(t, e, "shop", e.post("/webhooks/shop", h, []byte(body)))
	wantStored(t, e, "shipping.ordered shipment/s1", "new retino/new", "shipping.ordered wrong_shape", " malformed_json",
		"shipping.ordered untranslatable", " no_event", "shipping.ordered shipment/s2")
	if e.book.Commits != 1 {
		t.Errorf("%d commits", e.book.Commits)
	}
	var elements []uint32
	for _, entry := range e.book.all() {
		w := entry.Webhook
		elements = append(elements, w.GetElement())
		if w.GetEncoding() != journalv1.Encoding_ENCODING_JSON || len(w.GetHeaders()) != 2 {
			t.Errorf("stored as %v with %v", w.GetEncoding(), w.GetHeaders())
		}
	}
	if diff := cmp.Diff([]uint32{1, 2, 3, 5, 6, 7, 8}, elements); diff != "" {
		t.Errorf("elements (-want +got):\n%s", diff)
	}
	if got := string(e.book.all()[1].Webhook.GetBody()); got != `{"event_type":"new","n":1}` {
		t.Errorf("body %q", got)
	}
	if got := e.value(t, "bridge_duplicates_total", "shop"); got != 1 {
		t.Errorf("bridge_duplicates_total = %v", got)
	}
	// Redelivered, it adds nothing; with one more, one.
	wantSuccess(t, e, "shop", e.post("/webhooks/shop", h, []byte(body)))
	wantSuccess(t, e, "shop", e.post("/webhooks/shop", h, []byte("["+shipment("s1")+","+shipment("s3")+"]")))
	if n := len(e.book.all()); n != 8 {
		t.Errorf("%d webhooks", n)
	}
	// So does what came in an array, alone.
	wantSuccess(t, e, "shop", e.post("/webhooks/shop", h, []byte(shipment("s3"))))
	if n := len(e.book.all()); n != 8 {
		t.Errorf("%d webhooks", n)
	}
	if got := e.value(t, "bridge_webhooks_received_total", "shop"); got != 4 {
		t.Errorf("bridge_webhooks_received_total = %v", got)
	}
}

// TestBatchOfRevisions: a known fact with another body, beside what is new.
func TestBatchOfRevisions(t *testing.T) {
	e := newShop(t)
	e.post("/webhooks/shop", nil, []byte(shipment("s1")))
	revised := strings.Replace(shipment("s1"), `"s1"`, `"s1","tracking_number":"t"`, 1)
	for range 2 {
		wantSuccess(t, e, "shop", e.post("/webhooks/shop", nil, []byte("["+revised+","+shipment("s2")+","+shipment("s1")+"]")))
	}
	wantStored(t, e, "shipping.ordered shipment/s1", "shipping.ordered shipment/s1", "shipping.ordered shipment/s2")
	if got := e.value(t, "bridge_revisions_total", "shop"); got != 1 {
		t.Errorf("bridge_revisions_total = %v", got)
	}
}

// TestBatchIsAllOrNothing: what cannot be committed is asked for again, whole.
func TestBatchIsAllOrNothing(t *testing.T) {
	e := newShop(t)
	e.book.Before = func(context.Context) error { return journal.ErrUnavailable }
	body := []byte("[" + shipment("s1") + ",{}," + shipment("s2") + "]")
	if w := e.post("/webhooks/shop", nil, body); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("answer %d", w.Code)
	}
	wantStored(t, e)
	if got := e.value(t, "bridge_quarantined_total", "shop"); got != 0 {
		t.Errorf("bridge_quarantined_total = %v", got)
	}
	e.book.Before = nil
	wantSuccess(t, e, "shop", e.post("/webhooks/shop", nil, body))
	wantStored(t, e, "shipping.ordered shipment/s1", " no_event", "shipping.ordered shipment/s2")
}

// TestBatchKeptWhole: an array that is no batch of webhooks is one broken webhook.
func TestBatchKeptWhole(t *testing.T) {
	for name, tt := range map[string]struct{ body, want, at string }{
		"cut off":           {"[" + shipment("s1") + ",", "x malformed_json", "$[1]"},
		"bad element":       {"[" + shipment("s1") + `,{"a":}]`, "x malformed_json", "$[1].a"},
		"more after it":     {"[" + shipment("s1") + "]{}", "x malformed_json", "$"},
		"too many webhooks": {"[{}" + strings.Repeat(",{}", intake.MaxElements) + "]", "x limit_exceeded", ""},
	} {
		t.Run(name, func(t *testing.T) {
			e := newShop(t)
			wantSuccess(t, e, "shop", e.post("/webhooks/shop/x", nil, []byte(tt.body)))
			wantStored(t, e, tt.want)
			w := e.book.last(t).Webhook
			if string(w.GetBody()) != tt.body || w.GetElement() != 0 || w.GetPathEvent() != "x" {
				t.Errorf("stored element %d of %q: %.80q", w.GetElement(), w.GetPathEvent(), w.GetBody())
			}
			if at := w.GetQuarantine().GetPath(); tt.at != "" && at != tt.at {
				t.Errorf("at %s, want %s", at, tt.at)
			}
		})
	}
}

// payments is a shipment with n empty details of payments, which are declared.
func payments(id string, n int) string {
	return strings.Replace(shipment(id), `"shipping":{`, `"shipping":{"customer_payment_details":[{}`+strings.Repeat(",{}", n-1)+`],`, 1)
}

// TestBatchOfManyValues: an array is limited as one webhook is, over all of its webhooks.
func TestBatchOfManyValues(t *testing.T) {
	e := newShop(t)
	wantSuccess(t, e, "shop", e.post("/webhooks/shop", nil, []byte("["+payments("s1", 60_000)+","+payments("s2", 60_000)+"]")))
	wantStored(t, e, " limit_exceeded")
}

// TestBatchOfUndeclared: parts of an array's webhooks that no message declares fail none of them, and no other.
func TestBatchOfUndeclared(t *testing.T) {
	added := func(id, part string) string { return `{` + part + `,` + shipment(id)[1:] }
	e := newShop(t)
	wantSuccess(t, e, "shop", e.post("/webhooks/shop", nil, []byte("["+strings.Join([]string{
		added("s1", `"x":"\ud83d"`),
		added("s2", `"x":`+strings.Repeat("[", 100)+strings.Repeat("]", 100)),
		added("s3", `"x":{"a":1,"a":2}`),
		added("s4", `"x":[0`+strings.Repeat(",0", 150_000)+`]`),
		added("s5", `"\ud83d":1,"x":1,"x":2`),
		strings.Replace(shipment("s6"), `"s6"`, `"s6\ud83d"`, 1),
		shipment("s7"),
	}, ",")+"]")))
	wantStored(t, e, "shipping.ordered shipment/s1", "shipping.ordered shipment/s2", "shipping.ordered shipment/s3",
		"shipping.ordered shipment/s4", "shipping.ordered shipment/s5", "shipping.ordered malformed_json", "shipping.ordered shipment/s7")
}

// TestUndeclaredParts: a field that no message declares fails no webhook, on each way in, and is drift.
func TestUndeclaredParts(t *testing.T) {
	for _, part := range []string{
		`"x":"\ud83d"`, `"x\ud83d":1`, `"x":{"\ude00":1}`, `"x":{"a":1,"a":2}`, `"x":1,"x":2`, `"x":1e999999`, `"x":"\u0000"`,
		`"x":` + strings.Repeat("[", 90) + strings.Repeat("]", 90),
		`"x":` + strings.Repeat(`{"x":`, 30_000) + "1" + strings.Repeat("}", 30_000),
		`"x":[0` + strings.Repeat(",0", 150_000) + `]`,
		`"` + strings.Repeat("x", 300_000) + `":1`,
	} {
		e := newShop(t)
		body := func(id string) string { return `{` + part + `,` + shipment(id)[1:] }
		form := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
		wantSuccess(t, e, "shop", e.post("/webhooks/shop", nil, []byte(body("s1"))))
		wantSuccess(t, e, "shop", e.post("/webhooks/shop", nil, []byte("["+body("s2")+"]")))
		wantSuccess(t, e, "shop", e.post("/webhooks/shop", form, []byte("payload="+url.QueryEscape(body("s3")))))
		wantSuccess(t, e, "shop", e.post("/webhooks/shop", form, []byte("payload="+url.QueryEscape("["+body("s4")+"]"))))
		wantStored(t, e, "shipping.ordered shipment/s1", "shipping.ordered shipment/s2", "shipping.ordered shipment/s3", "shipping.ordered shipment/s4")
		for _, entry := range e.book.all() {
			unknown := 0
			for _, d := range entry.Webhook.GetDrift() {
				if d.GetKind() == journalv1.DriftKind_DRIFT_KIND_UNKNOWN {
					unknown++
				}
				if !utf8.ValidString(d.GetPath()) || len(d.GetPath()) > 1024 {
					t.Errorf("%.60s: path %.100q", part, d.GetPath())
				}
			}
			if unknown != 1 {
				t.Errorf("%.60s: drift %v", part, entry.Webhook.GetDrift())
			}
		}
		other := strings.Replace(body("s5"), "shipping.ordered", "new", 1)
		wantSuccess(t, e, "shop", e.post("/webhooks/shop", nil, []byte(other)))
		if got := e.book.last(t).Events[0].GetUnmapped().GetJson(); got != other {
			t.Errorf("%.60s: unmapped, it is %.100q", part, got)
		}
	}
}

// TestLargestBatch: as many webhooks as may be are one commit, and as many events.
func TestLargestBatch(t *testing.T) {
	e := newShop(t)
	array := func(n int) []byte {
		var b bytes.Buffer
		for i := range n {
			fmt.Fprintf(&b, `,{"event_type":"new","n":%d}`, i)
		}
		b.WriteByte(']')
		b.Bytes()[0] = '['
		return b.Bytes()
	}
	wantSuccess(t, e, "shop", e.post("/webhooks/shop", nil, array(intake.MaxElements)))
	if n := len(e.book.all()); n != intake.MaxElements || e.book.Commits != 1 {
		t.Errorf("%d webhooks in %d commits", n, e.book.Commits)
	}
	e = newShop(t, func(s *source.Source) {
		translate := s.Connector.Translate
		s.Connector.Translate = func(in connectors.Input) (connectors.Translation, error) {
			tr, err := translate(in)
			for range 5000 {
				tr.Events = append(tr.Events, tr.Events[0])
			}
			return tr, err
		}
	})
	body := "[" + shipment("s1") + "," + shipment("s2") + "]"
	wantSuccess(t, e, "shop", e.post("/webhooks/shop", nil, []byte(body)))
	wantStored(t, e, " too_many_events")
}

// TestBatchNames: names in URL and header count for all, and are held against each.
func TestBatchNames(t *testing.T) {
	e := newShop(t)
	h := http.Header{"X-Acme-Event": {"shipping.ordered"}, "X-Acme-Id": {"1"}}
	body := []byte(`[{"shipping":{"id":"s1"}},{"event_type":"new"},{"shipping":{"id":"s1"}}]`)
	for range 2 {
		wantSuccess(t, e, "shop", e.post("/webhooks/shop/shipping.ordered", h, body))
	}
	// The header's id tells the first from the third by their places.
	wantStored(t, e, "shipping.ordered shipment/s1", "new event_mismatch", "shipping.ordered shipment/s1")
	for _, entry := range e.book.all() {
		if got := entry.Webhook.GetPathEvent(); got != "shipping.ordered" {
			t.Errorf("path_event %q", got)
		}
	}
}

// TestBatchInAForm: what the form holds is an array.
func TestBatchInAForm(t *testing.T) {
	e := newShop(t)
	h := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	wantSuccess(t, e, "shop", e.post("/webhooks/shop", h, []byte("payload="+url.QueryEscape("["+shipment("s1")+","+shipment("s2")+"]"))))
	wantStored(t, e, "shipping.ordered shipment/s1", "shipping.ordered shipment/s2")
	if w := e.book.last(t).Webhook; w.GetEncoding() != journalv1.Encoding_ENCODING_JSON || string(w.GetBody()) != shipment("s2") {
		t.Errorf("stored as %v: %q", w.GetEncoding(), w.GetBody())
	}
}

// TestBatchRefused: where broken webhooks are refused, one refuses all.
func TestBatchRefused(t *testing.T) {
	e := newShop(t, func(s *source.Source) { s.Reject = true })
	for _, body := range []string{"[" + shipment("s1") + ",{}]", "[" + shipment("s1"), "[" + shipment("s1") + `,{"event_type":"shipping.ordered"}]`} {
		if w := e.post("/webhooks/shop", nil, []byte(body)); w.Code != http.StatusBadRequest {
			t.Errorf("%s: %d", body, w.Code)
		}
	}
	wantStored(t, e)
	wantSuccess(t, e, "shop", e.post("/webhooks/shop", nil, []byte("["+shipment("s1")+"]")))
	wantStored(t, e, "shipping.ordered shipment/s1")
}

// TestBatchWithAPanic: one webhook's panic costs the others nothing.
func TestBatchWithAPanic(t *testing.T) {
	e := newShop(t)
	e.current.Load().gateways["retino"].routes["shipping.ordered"].handle = nil
	wantSuccess(t, e, "shop", e.post("/webhooks/shop", nil, []byte("["+shipment("s1")+`,{"event_type":"new"}]`)))
	wantStored(t, e, "shipping.ordered panic", "new retino/new")
}

// TestBatchesOfOthers: a vendor that sends one webhook at a time sends no arrays.
func TestBatchesOfOthers(t *testing.T) {
	e := newShop(t, func(s *source.Source) { s.Connector.Batches = false })
	wantSuccess(t, e, "shop", e.post("/webhooks/shop", nil, []byte("["+shipment("s1")+"]")))
	wantStored(t, e, " malformed_json")
}

// TestWindowOfSource: the source's own window counts.
func TestWindowOfSource(t *testing.T) {
	e := newShop(t, func(s *source.Source) { s.Window = time.Hour })
	e.post("/webhooks/shop", nil, []byte(`{"event_type":"new"}`))
	if got := e.book.last(t).Window; got != time.Hour {
		t.Errorf("window %v", got)
	}
}

// TestDecodingOfBatches: an array counts for what it may become, and a lone webhook of its size for less.
func TestDecodingOfBatches(t *testing.T) {
	array := "[" + strings.Repeat("{},", maxDecoding/batchFactor/3) + "{}]"
	for name, tt := range map[string]struct {
		contentType, body string
		free              int64
	}{
		"array":           {"", array, 0},
		"array in a form": {"application/x-www-form-urlencoded", "payload=" + array, 0},
		"lone webhook":    {"", `{"event_type":"new","filler":"` + strings.Repeat("x", len(array)) + `"}`, maxDecoding - int64(len(array)) - 100},
		"small array":     {"", "[" + shipment("s1") + "]", maxDecoding},
	} {
		t.Run(name, func(t *testing.T) {
			e := newShop(t)
			decoding, all := e.endpoint("shop").decoding.bytes, decodingBudget()/2
			e.book.Before = func(context.Context) error {
				free := all - maxDecoding + tt.free
				if !decoding.TryAcquire(free) {
					t.Errorf("less than %d are free", free)
					return nil
				}
				if decoding.Release(free); tt.free == 0 && decoding.TryAcquire(free+1) {
					t.Error("the array does not count for what it may become")
					decoding.Release(free + 1)
				}
				return nil
			}
			e.post("/webhooks/shop", http.Header{"Content-Type": {tt.contentType}}, []byte(tt.body))
			if e.book.Commits != 1 || !decoding.TryAcquire(all) {
				t.Errorf("%d commits, or not all was given back", e.book.Commits)
			}
		})
	}
}

// TestNormalizedBatch: webhooks are decoded as the connector normalizes them, and stored as received.
func TestNormalizedBatch(t *testing.T) {
	e := newShop(t, func(s *source.Source) {
		s.Limits.Body, s.Limits.InFlight = 100*kibi, 100*kibi
		s.Connector.Normalize = func(text []byte) []byte { return bytes.ReplaceAll(text, []byte("'"), []byte(`"`)) }
	})
	quoted := strings.ReplaceAll(shipment("s1"), `"`, "'")
	body := "\uFEFF [ " + quoted + ` , {'event_type':'new','a':[[]]}, ['x'] ,` + quoted + "]"
	wantSuccess(t, e, "shop", e.post("/webhooks/shop", nil, []byte(body)))
	wantStored(t, e, "shipping.ordered shipment/s1", "new retino/new", " malformed_json")
	for i, want := range []string{quoted, "{'event_type':'new','a':[[]]}", "['x']"} {
		if got := string(e.book.all()[i].Webhook.GetBody()); got != want {
			t.Errorf("webhook %d is stored as %s", i, got)
		}
	}
	wantReleased(t, e, "shop")
}
