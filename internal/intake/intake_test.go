package intake

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/retino"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	retinov1 "github.com/webhook-bridge/bridge/gen/webhooks/retino/v1"
	"github.com/webhook-bridge/bridge/internal/intake/intaketest"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/source"
	"github.com/webhook-bridge/bridge/internal/vendorjson"
	"github.com/webhook-bridge/bridge/sinks"
)

// desk is an Intake with one source, whose connector's answers the test decides.
type desk struct {
	*Intake
	book      *intaketest.Book
	registry  *prometheus.Registry
	log       *strings.Builder
	connector *connectors.Connector
	source    *Source
	received  time.Time
}

func newDesk(t *testing.T, change ...func(*source.Source)) *desk {
	t.Helper()
	d := &desk{
		book: &intaketest.Book{}, registry: prometheus.NewRegistry(), log: &strings.Builder{},
		connector: &connectors.Connector{NoPings: true, Name: "acme", Service: retino.New().Service},
		received:  time.Date(2026, 11, 22, 10, 0, 0, 123456789, time.UTC),
	}
	var err error
	d.Intake, err = New(Config{Journal: d.book, Logger: slog.New(slog.NewTextHandler(d.log, nil)), Registerer: d.registry})
	if err != nil {
		t.Fatal(err)
	}
	c := source.Source{Name: "shop", Connector: d.connector, Auth: source.Auth{Scheme: source.SchemeNone}}
	for _, f := range change {
		f(&c)
	}
	resolved := []source.Source{c}
	if problems := source.Resolve(resolved); problems != nil {
		t.Fatal(problems)
	}
	d.source = d.Source(resolved[0], nil)
	d.source.events = receipts(d.source.events)
	return d
}

// receipts adds events that are receipts to those of the desk's connector.
func receipts(events func() (map[string]connectors.Event, error)) func() (map[string]connectors.Event, error) {
	return func() (map[string]connectors.Event, error) {
		all, err := events()
		all = maps.Clone(all)
		for _, name := range []string{"order", "refund"} {
			all[name] = connectors.Event{Name: name, Type: new(retinov1.Receipt).ProtoReflect().Type()}
		}
		return all, err
	}
}

func (d *desk) delivery(event, body string) *Delivery {
	return &Delivery{
		Source: d.source, Event: event, ReceivedAt: d.received, Body: []byte(body),
		Encoding: journalv1.Encoding_ENCODING_JSON, Headers: []*journalv1.Header{{Name: "user-agent", Value: "x"}},
	}
}

// translates makes the connector answer with n events under a key. What a receipt says is their version.
func (d *desk) translates(key connectors.Key, n int) {
	d.connector.Translate = func(in connectors.Input) (connectors.Translation, error) {
		t := connectors.Translation{Key: key}
		receipt, _ := in.Message.(*retinov1.Receipt)
		for i := range n {
			e := &eventv1.Event{Type: "order.changed", Subject: fmt.Sprintf("order/%d", i), SubjectVersion: receipt.GetStatus()}
			t.Events = append(t.Events, e)
		}
		return t, nil
	}
}

// receive drafts and commits a delivery, as [Intake.Receive] does, and returns the outcome.
func (d *desk) receive(delivery *Delivery) (Outcome, error) {
	all := delivery.Source.Drafts(delivery)
	if err := d.rejected(all...); err != nil {
		return 0, err
	}
	err := d.Commit(context.Background(), all...)
	return all[0].Outcome, err
}

// receiveDecoded receives a delivery that was decoded into a message.
func (d *desk) receiveDecoded(delivery *Delivery, m proto.Message, drift []vendorjson.Drift) (Outcome, error) {
	delivery.Message, delivery.Drift = m, drift
	return d.receive(delivery)
}

// receiveBroken receives a delivery that cannot be read.
func (d *desk) receiveBroken(delivery *Delivery, f *Fault) (Outcome, error) {
	delivery.Fault = f
	return d.receive(delivery)
}

func (d *desk) accept(t *testing.T, event, body string) Outcome {
	t.Helper()
	o, err := d.receive(d.delivery(event, body))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func (d *desk) value(t *testing.T, name string) float64 {
	t.Helper()
	families, err := d.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var sum float64
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// TestIDsAreForGood: consumers know facts by these ids, so they never change.
func TestIDsAreForGood(t *testing.T) {
	d := newDesk(t)
	d.translates(connectors.NaturalKey("order-1", "7"), 2)
	d.accept(t, "order", `{"status":"1"}`)
	d.accept(t, "order", `{"status":"2"}`)
	want := [][]string{
		{"5bf0c0ec-14cb-5b9c-8977-3bbe31c71217", "59395261-ec1e-55fe-965c-51b2eb112ce1"},
		{"9fccb319-1ee1-5343-ab04-9c105cd7bca9", "0f2495cd-2143-544d-a0cf-ffb6b617e978"}, // a revision
	}
	for i, e := range d.book.Entries {
		for j, ev := range e.Events {
			if ev.GetId() != want[i][j] {
				t.Errorf("webhook %d, event %d: %q", i, j, ev.GetId())
			}
		}
	}
}

// TestFilledIn: the connector says what happened; the rest is filled in.
func TestFilledIn(t *testing.T) {
	d := newDesk(t)
	d.translates(connectors.ContentHash(), 1)
	drift := []vendorjson.Drift{{Kind: vendorjson.Unknown, Path: "$.new", Sample: []byte("1")}, {Kind: vendorjson.Type, Path: "$.n"}}
	delivery := d.delivery("order", `{"new":1}`)
	if o, err := d.receiveDecoded(delivery, &retinov1.Receipt{}, drift); o != Accepted || err != nil {
		t.Fatal(o, err)
	}
	entry := d.book.Entries[0]
	id := entry.Webhook.GetId()
	wantWebhook := &journalv1.Webhook{
		Id: id, Source: "shop", Connector: "acme", VendorEvent: "order", ReceivedAt: timestamppb.New(d.received),
		Encoding: journalv1.Encoding_ENCODING_JSON, Body: []byte(`{"new":1}`), Headers: delivery.Headers, EventCount: 1, FirstPosition: 1,
		Drift: []*journalv1.Drift{
			{Kind: journalv1.DriftKind_DRIFT_KIND_UNKNOWN, Path: "$.new", Sample: []byte("0")},
			{Kind: journalv1.DriftKind_DRIFT_KIND_TYPE, Path: "$.n"},
		},
	}
	if diff := cmp.Diff(wantWebhook, entry.Webhook, protocmp.Transform()); diff != "" {
		t.Errorf("webhook (-want +got):\n%s", diff)
	}
	wantEvent := &eventv1.Event{
		Id: entry.Events[0].GetId(), Type: "order.changed", Subject: "order/0", Source: "shop", Connector: "acme",
		VendorEvent: "order", ReceivedAt: timestamppb.New(d.received), WebhookId: id,
	}
	if diff := cmp.Diff(wantEvent, entry.Events[0], protocmp.Transform()); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
	if id[14] != '7' || entry.Events[0].GetId()[14] != '5' {
		t.Errorf("ids %s and %s are not of versions 7 and 5", id, entry.Events[0].GetId())
	}
}

func TestNaturalKey(t *testing.T) {
	d := newDesk(t)
	d.translates(connectors.NaturalKey("1"), 1)
	for i, step := range []struct {
		event, body string
		want        Outcome
	}{
		{"order", `{"status":"1"}`, Accepted},
		{"order", `{"status":"1"}`, Duplicate},
		{"order", `{"status":"2"}`, Accepted}, // a revision
		{"order", `{"status":"2"}`, Duplicate},
		{"order", `{"status":"1"}`, Duplicate},
		{"order", `{"status":"3"}`, Accepted}, // another
		{"refund", `{"status":"1"}`, Accepted},
	} {
		if got := d.accept(t, step.event, step.body); got != step.want {
			t.Errorf("step %d: %v, want %v", i, got, step.want)
		}
	}
	if got := d.value(t, "bridge_revisions_total"); got != 2 {
		t.Errorf("bridge_revisions_total = %v", got)
	}
	if got := d.value(t, "bridge_duplicates_total"); got != 3 {
		t.Errorf("bridge_duplicates_total = %v", got)
	}
	seen := map[string]bool{}
	for _, e := range d.book.Entries {
		if e.Window != NaturalWindow {
			t.Errorf("window %v", e.Window)
		}
		if id := e.Events[0].GetId(); seen[id] {
			t.Errorf("id %s twice", id)
		}
		seen[e.Events[0].GetId()] = true
	}
	if NaturalWindow < 96*time.Hour {
		t.Error("natural keys must count for 96 hours")
	}
}

func TestContentHash(t *testing.T) {
	d := newDesk(t, func(c *source.Source) { c.Connector.Window = 10 * time.Second })
	d.translates(connectors.ContentHash(), 1)
	for i, step := range []struct {
		event, body string
		want        Outcome
	}{
		{"order", `{"v":1}`, Accepted},
		{"order", `{"v":1}`, Duplicate},
		{"order", `{"v":2}`, Accepted},
		{"refund", `{"v":1}`, Accepted},
	} {
		if got := d.accept(t, step.event, step.body); got != step.want {
			t.Errorf("step %d: %v, want %v", i, got, step.want)
		}
	}
	if got := d.book.Entries[0].Window; got != 10*time.Second {
		t.Errorf("window %v", got)
	}
	// Once the window has passed the same body is a new fact, with an id of its own.
	first := d.book.Entries[0].Events[0].GetId()
	d.book.Forget()
	d.accept(t, "order", `{"v":1}`)
	if last := d.book.Entries[len(d.book.Entries)-1].Events[0].GetId(); last == first {
		t.Error("two facts have one id")
	}
	if got := newDesk(t).source.Window; got != connectors.DefaultWindow {
		t.Errorf("default window %v", got)
	}
}

// TestKeysAreScoped: what is the same in one source and event is not the same elsewhere, however the names are cut.
func TestKeysAreScoped(t *testing.T) {
	seen := map[journal.Hash]string{}
	for _, source := range []string{"shop", "shopo"} {
		for _, event := range []string{"order", "rder", ""} {
			for _, kind := range []byte{kindNatural, kindBody, kindQuarantine, kindReleased, kindCorrection} {
				for _, key := range []string{"1:a", "1:b", ""} {
					at := fmt.Sprintf("%s %s %c %s", source, event, kind, key)
					hash := scope{source, event}.key(kind, key, time.Hour).Hash
					if was, taken := seen[hash]; taken {
						t.Errorf("%s has the key of %s", at, was)
					}
					seen[hash] = at
				}
			}
		}
	}
}

func TestFaults(t *testing.T) {
	boom := errors.New("boom")
	for _, tt := range []struct {
		name      string
		translate func(connectors.Input) (connectors.Translation, error)
		want      *journalv1.Quarantine
	}{
		{
			"refused", func(connectors.Input) (connectors.Translation, error) {
				return connectors.Translation{}, fmt.Errorf("wrapped: %w", connectors.Errorf("$.id", "is missing"))
			},
			&journalv1.Quarantine{Reason: "untranslatable", Detail: "is missing", Path: "$.id", Offset: -1},
		},
		{
			"plain error", func(connectors.Input) (connectors.Translation, error) { return connectors.Translation{}, boom },
			&journalv1.Quarantine{Reason: "untranslatable", Detail: "boom", Offset: -1},
		},
		{
			"long error", func(connectors.Input) (connectors.Translation, error) {
				return connectors.Translation{}, errors.New(strings.Repeat("é", 500))
			},
			&journalv1.Quarantine{Reason: "untranslatable", Detail: strings.Repeat("é", 256), Offset: -1},
		},
		{
			"no events", func(connectors.Input) (connectors.Translation, error) { return connectors.Translation{}, nil },
			&journalv1.Quarantine{Reason: "bad_events", Detail: "the connector made no event", Offset: -1},
		},
		{
			"no subject", func(connectors.Input) (connectors.Translation, error) {
				return connectors.Translation{Events: []*eventv1.Event{{Type: "a", Subject: "b"}, {Type: "a"}}}, nil
			},
			&journalv1.Quarantine{Reason: "bad_events", Detail: "the connector's event 1 has no type or no subject", Offset: -1},
		},
		{
			"nil event", func(connectors.Input) (connectors.Translation, error) {
				return connectors.Translation{Events: []*eventv1.Event{nil}}, nil
			},
			&journalv1.Quarantine{Reason: "bad_events", Detail: "the connector's event 0 has no type or no subject", Offset: -1},
		},
		{
			"too many", func(connectors.Input) (connectors.Translation, error) {
				return connectors.Translation{Events: make([]*eventv1.Event, MaxEvents+1)}, nil
			},
			&journalv1.Quarantine{Reason: "too_many_events", Detail: "10001 events, more than 10000", Offset: -1},
		},
		{
			"long subject", func(connectors.Input) (connectors.Translation, error) {
				return connectors.Translation{Events: []*eventv1.Event{{Type: "a", Subject: "b/" + strings.Repeat("x", 1<<20)}}}, nil
			},
			&journalv1.Quarantine{Reason: "bad_subject", Detail: "the subject of event 0 is longer than 512 bytes", Offset: -1},
		},
		{
			"unprintable subject", func(connectors.Input) (connectors.Translation, error) {
				return connectors.Translation{Events: []*eventv1.Event{{Type: "a", Subject: strings.Repeat("x", MaxSubject)}, {Type: "a", Subject: "b/\x00"}}}, nil
			},
			&journalv1.Quarantine{Reason: "bad_subject", Detail: "the subject of event 1 has the unprintable character U+0000", Offset: -1},
		},
		{
			"subject of no characters", func(connectors.Input) (connectors.Translation, error) {
				return connectors.Translation{Events: []*eventv1.Event{{Type: "a", Subject: "b/\xff"}}}, nil
			},
			&journalv1.Quarantine{Reason: "bad_subject", Detail: "the subject of event 0 is not valid UTF-8", Offset: -1},
		},
		{
			"long version", func(connectors.Input) (connectors.Translation, error) {
				return connectors.Translation{Events: []*eventv1.Event{{Type: "a", Subject: "b/1", SubjectVersion: strings.Repeat("1", MaxSubject+1)}}}, nil
			},
			&journalv1.Quarantine{Reason: "bad_subject", Detail: "the subject's version of event 0 is longer than 512 bytes", Offset: -1},
		},
		{
			"panic", func(connectors.Input) (connectors.Translation, error) {
				return connectors.Translation{Events: make([]*eventv1.Event, len(strings.Repeat("x", 1))-2)}, nil
			},
			&journalv1.Quarantine{Reason: "panic", Detail: "runtime error: makeslice: len out of range", Offset: -1},
		},
		{
			"panic with what may be private", func(connectors.Input) (connectors.Translation, error) { panic("Jan Novak") },
			&journalv1.Quarantine{Reason: "panic", Detail: "panic with a string", Offset: -1},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDesk(t, func(c *source.Source) { c.Connector.Translate = tt.translate })
			if got := d.accept(t, "order", "{}"); got != Quarantined {
				t.Errorf("outcome %v", got)
			}
			entry := d.book.Entries[0]
			if diff := cmp.Diff(tt.want, entry.Webhook.GetQuarantine(), protocmp.Transform()); diff != "" {
				t.Errorf("quarantine (-want +got):\n%s", diff)
			}
			if len(entry.Events) != 0 || string(entry.Webhook.GetBody()) != "{}" {
				t.Errorf("stored %v with %d events", entry.Webhook, len(entry.Events))
			}
			if strings.Contains(d.log.String(), "Novak") {
				t.Errorf("log: %s", d.log)
			}
			// Again, it is there already; where such webhooks are refused, nothing is kept.
			if got := d.accept(t, "order", "{}"); got != Duplicate {
				t.Errorf("again: %v", got)
			}
			if got := d.value(t, "bridge_quarantined_total"); got != 1 {
				t.Errorf("bridge_quarantined_total = %v", got)
			}
			d = newDesk(t, func(c *source.Source) { c.Connector.Translate, c.Reject = tt.translate, true })
			o, err := d.receiveDecoded(d.delivery("order", "{}"), &retinov1.Receipt{}, nil)
			if ours := tt.want.GetReason() == "panic" || tt.want.GetReason() == "bad_events"; ours {
				if o != Quarantined || err != nil || len(d.book.Entries) != 1 {
					t.Errorf("an internal error where webhooks are refused: %v, %v", o, err)
				}
				return
			}
			var fault *Fault
			if !errors.As(err, &fault) || string(fault.Reason) != tt.want.GetReason() || len(d.book.Entries) != 0 {
				t.Errorf("refused: %v, %d stored", err, len(d.book.Entries))
			}
		})
	}
}

// TestMended: a webhook that was set aside is taken in when it comes again and can be understood.
func TestMended(t *testing.T) {
	d := newDesk(t)
	d.connector.Translate = func(connectors.Input) (connectors.Translation, error) {
		return connectors.Translation{}, errors.New("not yet")
	}
	if got := d.accept(t, "order", "{}"); got != Quarantined {
		t.Fatal(got)
	}
	d.translates(connectors.ContentHash(), 1)
	if got := d.accept(t, "order", "{}"); got != Accepted {
		t.Errorf("outcome %v", got)
	}
}

func TestQuarantine(t *testing.T) {
	d := newDesk(t)
	decoding := &vendorjson.Error{Code: vendorjson.CodeShape, Path: "$.a\xff", Offset: 7, Problem: "is odd"}
	o, err := d.receiveBroken(d.delivery("bad\xffname"+strings.Repeat("x", 300), "{"), NewFault(NoEvent, decoding))
	if o != Quarantined || err != nil {
		t.Fatal(o, err)
	}
	w := d.book.Entries[0].Webhook
	want := &journalv1.Quarantine{Reason: "wrong_shape", Detail: "is odd", Path: "$.a\uFFFD", Offset: 7}
	if diff := cmp.Diff(want, w.GetQuarantine(), protocmp.Transform()); diff != "" {
		t.Errorf("quarantine (-want +got):\n%s", diff)
	}
	if !strings.HasPrefix(w.GetVendorEvent(), "bad\uFFFDname") || len(w.GetVendorEvent()) > 260 {
		t.Errorf("event %q", w.GetVendorEvent())
	}
	if _, err := d.receiveBroken(d.delivery("", "{"), NewFault(NoEvent, nil)); err != nil {
		t.Fatal(err)
	}
	if got := d.book.Entries[1].Webhook.GetQuarantine(); got.GetReason() != "no_event" || got.GetOffset() != -1 {
		t.Errorf("quarantine %v", got)
	}
}

func TestUnmapped(t *testing.T) {
	d := newDesk(t)
	const body = `{"event_type": "x", "created_at": "now", "more": [1, 2.50]}`
	if o, err := d.receive(d.delivery("x.happened", body)); o != Accepted || err != nil {
		t.Fatal(o, err)
	}
	ev := d.book.Entries[0].Events[0]
	if ev.GetType() != "unmapped" || ev.GetSubject() != "acme/x.happened" || ev.GetUnmapped().GetJson() != body || ev.GetId() == "" {
		t.Errorf("event %v", ev)
	}
	if o, err := d.receive(d.delivery("x.marked", "\uFEFF{}")); o != Accepted || err != nil {
		t.Fatal(o, err)
	}
	if got := d.book.Entries[1].Events[0].GetUnmapped().GetJson(); got != "{}" {
		t.Errorf("JSON %q", got)
	}
	if o, err := d.receive(d.delivery("x.happened", `{"a":1,}`)); o != Quarantined || err != nil {
		t.Fatal(o, err)
	}
	if q := d.book.Entries[2].Webhook.GetQuarantine(); q.GetReason() != "malformed_json" || q.GetOffset() != 7 {
		t.Errorf("quarantine %v", q)
	}
}

func TestUnmappedWithEnvelope(t *testing.T) {
	d := newDesk(t)
	d.connector.Envelope = &connectors.Envelope{
		New: func() proto.Message { return new(retinov1.ShippingOrdered) },
		Identify: func(m proto.Message) (connectors.Key, string) {
			at := m.(*retinov1.ShippingOrdered).GetCreatedAt()
			if at == "panic" {
				panic(at)
			}
			return connectors.NaturalKey(at), at
		},
	}
	for i, step := range []struct {
		body    string
		want    Outcome
		version string
		window  time.Duration
	}{
		{`{"created_at":"t1","n":1}`, Accepted, "t1", NaturalWindow},
		{`{"created_at":"t1","n":1}`, Duplicate, "", 0},
		{`{"created_at":{},"n":1}`, Accepted, "", connectors.DefaultWindow}, // the envelope does not fit
		{`{"created_at":"panic"}`, Quarantined, "", connectors.DefaultWindow},
		{`{"created_at":"a\nb"}`, Quarantined, "", connectors.DefaultWindow},
	} {
		o, err := d.receive(d.delivery("x", step.body))
		if o != step.want || err != nil {
			t.Errorf("step %d: %v, %v", i, o, err)
		}
		if o == Duplicate {
			continue
		}
		last := d.book.Entries[len(d.book.Entries)-1]
		if last.Window != step.window {
			t.Errorf("step %d: window %v", i, last.Window)
		}
		if o == Accepted && last.Events[0].GetSubjectVersion() != step.version {
			t.Errorf("step %d: version %q", i, last.Events[0].GetSubjectVersion())
		}
	}
}

func TestUnavailable(t *testing.T) {
	d := newDesk(t)
	d.translates(connectors.NaturalKey("1"), 1)
	for _, cause := range []error{journal.ErrUnavailable, sinks.ErrClosed, context.Canceled} {
		d.book.Err = cause
		if _, err := d.receiveDecoded(d.delivery("order", "{}"), &retinov1.Receipt{}, nil); !errors.Is(err, ErrUnavailable) || !errors.Is(err, cause) {
			t.Errorf("Accept: %v", err)
		}
		if _, err := d.receive(d.delivery("order", "{}")); !errors.Is(err, ErrUnavailable) {
			t.Errorf("Unmapped: %v", err)
		}
		if _, err := d.receiveBroken(d.delivery("order", "{}"), NewFault(NoEvent, nil)); !errors.Is(err, ErrUnavailable) {
			t.Errorf("Quarantine: %v", err)
		}
	}
	if got := d.value(t, "bridge_quarantined_total") + d.value(t, "bridge_duplicates_total"); got != 0 {
		t.Errorf("counted %v", got)
	}
}

// drifts counts a stored webhook's drift.
func (d *desk) drifts(drift ...vendorjson.Drift) {
	d.source.drift.count(&journalv1.Webhook{VendorEvent: "order"}, storedDrift(drift))
}

// TestDriftIsBounded: however inventive a vendor, its drift has at most so many series, and nothing is lost of the sum.
func TestDriftIsBounded(t *testing.T) {
	d := newDesk(t)
	d.translates(connectors.ContentHash(), 1)
	const fields = maxDriftSeries + 200
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range fields {
				d.drifts(vendorjson.Drift{Kind: vendorjson.Unknown, Path: fmt.Sprintf("$.f%d", i)})
			}
		})
	}
	wg.Wait()
	d.drifts(vendorjson.Drift{Kind: vendorjson.Type, Path: "$.\xff"}, vendorjson.Drift{Kind: vendorjson.Type, Path: "$" + strings.Repeat(".x", 500)})
	families, err := d.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "bridge_drift_total" && len(f.GetMetric()) != maxDriftSeries+1 {
			t.Errorf("%d series", len(f.GetMetric()))
		}
	}
	if got := d.value(t, "bridge_drift_total"); got != 4*fields+2 {
		t.Errorf("counted %v", got)
	}
	// Sources of one connector share the cap; another connector has its own.
	if d.Source(d.source.Source, nil).drift != d.source.drift {
		t.Error("two sources of one connector count apart")
	}
}

// TestDriftOfRedeliveries: what is kept once is counted once, however often it comes, and what is not kept is not counted.
func TestDriftOfRedeliveries(t *testing.T) {
	d := newDesk(t)
	drift := []vendorjson.Drift{{Kind: vendorjson.Unknown, Path: "$.new"}}
	accept := func(body string) {
		if _, err := d.receiveDecoded(d.delivery("order", body), &retinov1.Receipt{}, drift); err != nil && !errors.Is(err, ErrUnavailable) {
			t.Fatal(err)
		}
	}
	for i, translate := range []func(connectors.Input) (connectors.Translation, error){
		func(connectors.Input) (connectors.Translation, error) {
			return connectors.Translation{Events: []*eventv1.Event{{Type: "a", Subject: "b/1"}}}, nil
		},
		func(connectors.Input) (connectors.Translation, error) {
			return connectors.Translation{}, errors.New("no")
		},
	} {
		d.connector.Translate = translate
		body := fmt.Sprintf(`{"new":%d}`, i)
		d.book.Err = journal.ErrUnavailable
		accept(body)
		d.book.Err = nil
		for range 3 {
			accept(body)
		}
		if got := d.value(t, "bridge_drift_total"); got != float64(i+1) {
			t.Errorf("counted %v after %d webhooks", got, i+1)
		}
	}
}

func TestMetricsAreRegisteredOnce(t *testing.T) {
	d := newDesk(t)
	if _, err := New(Config{Journal: d.book, Registerer: d.registry}); err == nil {
		t.Error("a second Intake took the same metrics")
	}
}
