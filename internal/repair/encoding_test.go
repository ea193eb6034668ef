package repair

import (
	"bytes"
	"net/url"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"google.golang.org/protobuf/proto"

	"github.com/webhook-bridge/bridge/connectors"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/intake"
)

// brotlied compresses a text.
func brotlied(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := brotli.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestReleaseEncoded: a body that was kept encoded is decoded by its retry, within the source's limit, and is a duplicate of the
// same body that came plain. What was received stays stored.
func TestReleaseEncoded(t *testing.T) {
	text := body(`"shipping":{"id":"s1"}`)
	var zip bytes.Buffer
	w := gzip.NewWriter(&zip)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, body string
		encodings  []string
		form       bool
		reason     intake.Reason
	}{
		{name: "br", body: brotlied(t, text), encodings: []string{"br"}},
		{name: "two headers", body: brotlied(t, zip.String()), encodings: []string{"gzip", "br"}},
		{name: "a charset", body: text, encodings: []string{"utf-8"}},
		{name: "a form", body: brotlied(t, "payload="+url.QueryEscape(text)), encodings: []string{"br"}, form: true},
		{name: "unknown", body: text, encodings: []string{"compress"}, reason: intake.UnknownEncoding},
		{name: "corrupt", body: brotlied(t, text)[:9], encodings: []string{"br"}, reason: intake.CorruptEncoding},
		{name: "too large", body: brotlied(t, text+strings.Repeat(" ", 8<<10)), encodings: []string{"br"}, reason: intake.Limit},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDesk(t)
			d.translates(connectors.NaturalKey("1"), 1)
			delivery := d.delivery(shipping, tt.body)
			delivery.Encoding = journalv1.Encoding_ENCODING_RAW
			for _, e := range tt.encodings {
				delivery.Headers = append(delivery.Headers, &journalv1.Header{Name: "content-encoding", Value: e})
			}
			if tt.form {
				d.connector.FormField = "payload"
				delivery.Headers = append(delivery.Headers, &journalv1.Header{Name: "content-type", Value: "application/x-www-form-urlencoded"})
			}
			r := d.retry(t, d.held(t, delivery), Options{})
			if tt.reason != "" {
				if r.Fault == nil || r.Fault.Reason != tt.reason || len(d.book.Entries) != 1 {
					t.Errorf("%+v, %v", r, r.Fault)
				}
				return
			}
			released := d.last()
			if r.Outcome != intake.Accepted || r.Events != 1 || string(released.Webhook.GetBody()) != tt.body {
				t.Fatalf("%+v, %v, %q", r, r.Fault, released.Webhook.GetBody())
			}
			if o := d.accept(t, text); o != intake.Duplicate {
				t.Errorf("the same, plain, is %v", o)
			}
			// The stored body can be read again.
			if again := d.retranslate(t, released.Webhook, true); again.Fault != nil || len(again.Changes) != 0 {
				t.Errorf("%+v", again)
			}
		})
	}
}

// TestUnencodableAgain: what is stored stays as it is, and says so, in a dry run too.
func TestUnencodableAgain(t *testing.T) {
	d := newDesk(t)
	d.translates(connectors.NaturalKey("1"), 1)
	if o := d.accept(t, version("1")); o != intake.Accepted {
		t.Fatal(o)
	}
	accepted := d.book.Entries[0]
	held := d.held(t, d.delivery(shipping, version("2")))
	translate := d.connector.Translate
	d.connector.Translate = func(in connectors.Input) (connectors.Translation, error) {
		t, err := translate(in)
		t.Events[0].Data = &eventv1.Event_Customer{Customer: &eventv1.Customer{Name: "Nov\xc3"}}
		return t, err
	}
	for _, dryRun := range []bool{true, false} {
		if r := d.retry(t, held, Options{DryRun: dryRun}); r.Outcome != intake.Quarantined || r.Fault == nil || r.Fault.Reason != intake.BadEvents {
			t.Errorf("release: %+v", r)
		}
		r, err := d.Retranslate(t.Context(), d.source, accepted.Webhook, dryRun)
		if err != nil || r.Fault == nil || r.Fault.Reason != intake.BadEvents {
			t.Errorf("retranslate: %+v, %v", r, err)
		}
	}
	if len(d.book.Entries) != 2 || !proto.Equal(held, d.book.Entries[1].Webhook) {
		t.Errorf("%d entries", len(d.book.Entries))
	}
}
