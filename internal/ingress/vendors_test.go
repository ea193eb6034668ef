package ingress_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/dealpos"
	"github.com/webhook-bridge/bridge/connectors/kasafik"
	"github.com/webhook-bridge/bridge/connectors/linga"
	"github.com/webhook-bridge/bridge/connectors/openloyalty"
	"github.com/webhook-bridge/bridge/connectors/retino"
	"github.com/webhook-bridge/bridge/connectors/sample"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/ingress"
	"github.com/webhook-bridge/bridge/internal/intake"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/pebble"
	"github.com/webhook-bridge/bridge/internal/secret"
	"github.com/webhook-bridge/bridge/internal/source"
)

// vendors are the connectors, with the source that their testdata come from.
var vendors = []struct {
	connector *connectors.Connector
	currency  string
	zone      *time.Location
}{
	{dealpos.New(), "IDR", zone("Asia/Jakarta")},
	{kasafik.New(), "", time.UTC},
	{linga.New(), "USD", zone("America/New_York")},
	{openloyalty.New(), "EUR", time.UTC},
	{retino.New(), "", time.UTC},
}

func zone(name string) *time.Location {
	z, err := time.LoadLocation(name)
	if err != nil {
		panic(err)
	}
	return z
}

// promises are the sentences of docs/guarantees.md that must be true for each webhook of each vendor. check gets a webhook
// that was sent once, and the entries that it added to the journal.
var promises = []struct {
	name  string
	check func(b *bridge, w sample.Webhook, first []written) error
}{
	{"received: the journal has the events and the quarantine of the sample's file", (*bridge).checkReceived},
	{"redelivered: a webhook that is sent again is a duplicate; with a natural key its ids stay for ever", (*bridge).checkRedelivered},
	{"repeated: a content hash is a duplicate until the end of the window, and then a new webhook", (*bridge).checkRepeated},
	{"restated: other bytes under the same natural key that mean the same are stored and publish nothing", (*bridge).checkRestated},
	{"truncated: a body that is cut publishes nothing", (*bridge).checkTruncated},
	{"unknown: a field that is not in the schema changes no event and is drift", (*bridge).checkUnknown},
	{"secrets: a request without a valid secret is answered 401, and both of two secrets are valid", (*bridge).checkSecrets},
}

func TestEveryVendor(t *testing.T) {
	for _, v := range vendors {
		webhooks, err := sample.Read(v.connector.Samples)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range promises {
			name, sentence, _ := strings.Cut(p.name, ": ")
			t.Run(v.connector.Name+"/"+name, func(t *testing.T) {
				b := openBridge(t, source.Source{Name: "shop", Connector: v.connector, Currency: v.currency, Zone: v.zone})
				for _, w := range webhooks {
					first, err := b.send(w)
					if err == nil {
						err = p.check(b, w, first)
					}
					if err != nil {
						t.Errorf("%s: %v\nThe promise: %s", w.Name, err, sentence)
					}
					b.expireKeys()
				}
			})
		}
	}
}

// bridge is an edge with one source, over a journal in memory.
type bridge struct {
	connector *connectors.Connector
	handler   http.Handler
	journal   *recorder
	// now is the journal's clock, in nanoseconds since 1970.
	now atomic.Int64
}

const (
	secretHeader = "X-Bridge-Secret"
	secretNew    = "secret-new-0123456789abcdef"
	secretOld    = "secret-old-0123456789abcdef"
)

func openBridge(t *testing.T, src source.Source) *bridge {
	t.Helper()
	b := &bridge{connector: src.Connector}
	b.now.Store(time.Now().UnixNano())
	j, err := pebble.Open(t.Context(), pebble.Config{
		Dir: "journal", FS: vfs.NewMem(), Now: func() time.Time { return time.Unix(0, b.now.Load()) },
		Interval: 1000 * time.Hour, Retention: pebble.Retention{Age: -1, Size: -1, QuarantineAge: -1},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	b.journal = &recorder{Journal: j}
	in, err := intake.New(intake.Config{Journal: b.journal})
	if err != nil {
		t.Fatal(err)
	}
	src.Auth = source.Auth{Scheme: source.SchemeHeader, Header: secretHeader, Values: secret.List(secretNew, secretOld)}
	b.handler, err = ingress.New(ingress.Config{Intake: in, Sources: []source.Source{src}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bridge) wait(d time.Duration) { b.now.Add(int64(d)) }

// expireKeys waits until the windows of all keys have passed.
func (b *bridge) expireKeys() { b.wait(max(intake.NaturalWindow, b.window()) + time.Hour) }

// window is how long a content hash counts.
func (b *bridge) window() time.Duration {
	if b.connector.Window > 0 {
		return b.connector.Window
	}
	return connectors.DefaultWindow
}

// post sends a webhook with the secrets, and returns the answer and the entries that it added to the journal.
func (b *bridge) post(w sample.Webhook, secrets ...string) (*httptest.ResponseRecorder, []written) {
	to := "/webhooks/shop"
	if w.Event != "" {
		to += "/" + url.PathEscape(w.Event)
	}
	r := httptest.NewRequest(http.MethodPost, to, bytes.NewReader(w.Body))
	for name, values := range w.Header {
		r.Header[name] = values
	}
	r.Header.Set("Content-Type", w.ContentType)
	r.Header[secretHeader] = secrets
	b.journal.added, b.journal.kept = nil, 0
	answer := httptest.NewRecorder()
	b.handler.ServeHTTP(answer, r)
	return answer, b.journal.added
}

// send posts a webhook that must be answered with the connector's answer.
func (b *bridge) send(w sample.Webhook) ([]written, error) {
	answer, added := b.post(w, secretNew)
	if answer.Code != http.StatusOK || answer.Body.String() != b.connector.Answer {
		return nil, fmt.Errorf("answer %d %q", answer.Code, answer.Body)
	}
	return added, nil
}

// written is an entry that the journal added, with its events decoded.
type written struct {
	Webhook *journalv1.Webhook
	Events  []*eventv1.Event
}

func newWritten(e journal.Entry) written {
	w := written{Webhook: proto.CloneOf(e.Webhook)}
	for _, encoded := range e.Events {
		event := new(eventv1.Event)
		if err := proto.Unmarshal(encoded, event); err != nil {
			panic(err)
		}
		w.Events = append(w.Events, event)
	}
	return w
}

// recorder is a journal that records the entries that it adds.
type recorder struct {
	journal.Journal

	added []written
	// kept is how many duplicates were stored beside the first.
	kept int
}

func (r *recorder) record(e journal.Entry, receipt journal.Receipt) {
	switch {
	case receipt.Kept:
		r.kept++
	case !receipt.Duplicate:
		r.added = append(r.added, newWritten(e))
	}
}

func (r *recorder) Append(ctx context.Context, e journal.Entry) (journal.Receipt, error) {
	receipt, err := r.Journal.Append(ctx, e)
	if err == nil {
		r.record(e, receipt)
	}
	return receipt, err
}

func (r *recorder) AppendAll(ctx context.Context, entries []journal.Entry) ([]journal.Receipt, error) {
	receipts, err := r.Journal.AppendAll(ctx, entries)
	for i, receipt := range receipts {
		r.record(entries[i], receipt)
	}
	return receipts, err
}

// expected is one webhook in the expectations of a sample.
type expected struct {
	Key        string
	Events     []json.RawMessage
	Quarantine *struct{ Reason string }
	Ping       string
	Drift      []struct{ Path string }
}

// natural reports whether the webhook has a natural key.
func (e expected) natural() bool { return strings.HasPrefix(e.Key, "natural ") }

// expectations reads the expectations of a sample: one webhook, or a list of them without the repetitions.
func expectations(w sample.Webhook) (all []expected, err error) {
	all = make([]expected, 1)
	for _, f := range w.Expected {
		switch {
		case f.Name == sample.Quarantine:
			err = json.Unmarshal(f.Data, &all[0].Quarantine)
		case f.Name == sample.Drift:
			err = json.Unmarshal(f.Data, &all[0].Drift)
		case bytes.HasPrefix(f.Data, []byte("[")):
			all = nil
			err = json.Unmarshal(f.Data, &all)
		default:
			err = json.Unmarshal(f.Data, &all[0])
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	known := make(map[string]bool)
	return slices.DeleteFunc(all, func(e expected) bool {
		repeated := e.natural() && known[e.Key]
		known[e.Key] = true
		return repeated
	}), nil
}

func (b *bridge) checkReceived(w sample.Webhook, got []written) error {
	want, err := expectations(w)
	if err != nil || len(got) != len(want) {
		return errors.Join(err, fmt.Errorf("%d webhooks are stored, want %d", len(got), len(want)))
	}
	for i := range want {
		if err := checkEntry(got[i], want[i]); err != nil {
			return err
		}
	}
	return nil
}

func checkEntry(got written, want expected) error {
	reason := ""
	if want.Quarantine != nil {
		reason = want.Quarantine.Reason
	}
	if quarantined := got.Webhook.GetQuarantine().GetReason(); quarantined != reason {
		return fmt.Errorf("quarantined with the reason %q, want %q", quarantined, reason)
	}
	if got.Webhook.GetPing() != want.Ping {
		return fmt.Errorf("the ping %q, want %q", got.Webhook.GetPing(), want.Ping)
	}
	if len(got.Webhook.GetDrift()) != len(want.Drift) {
		return fmt.Errorf("drift %v, want %v", got.Webhook.GetDrift(), want.Drift)
	}
	for i, d := range got.Webhook.GetDrift() {
		if d.GetPath() != want.Drift[i].Path {
			return fmt.Errorf("drift %v, want %v", got.Webhook.GetDrift(), want.Drift)
		}
	}
	events := make([]*eventv1.Event, len(want.Events))
	for i, data := range want.Events {
		events[i] = new(eventv1.Event)
		if err := protojson.Unmarshal(data, events[i]); err != nil {
			return err
		}
	}
	if diff := cmp.Diff(events, unset(got.Events), protocmp.Transform()); diff != "" {
		return errors.New("the events differ (-want +got):\n" + diff)
	}
	return nil
}

// unset returns the events without the fields that Bridge sets.
func unset(events []*eventv1.Event) []*eventv1.Event {
	all := make([]*eventv1.Event, len(events))
	for i, e := range events {
		all[i] = proto.CloneOf(e)
		all[i].Id, all[i].Source, all[i].Connector, all[i].VendorEvent = "", "", "", ""
		all[i].ReceivedAt, all[i].WebhookId = nil, ""
	}
	return all
}

func (b *bridge) checkRedelivered(w sample.Webhook, first []written) error {
	if err := b.checkDuplicate(w); err != nil {
		return err
	}
	want, err := expectations(w)
	if err != nil || slices.ContainsFunc(want, func(e expected) bool { return !e.natural() }) {
		return err
	}
	b.wait(96 * time.Hour) // longer than any vendor retries
	if err := b.checkDuplicate(w); err != nil {
		return err
	}
	b.wait(intake.NaturalWindow + time.Hour)
	later, err := b.send(w)
	if diff := cmp.Diff(eventIDs(first), eventIDs(later)); err == nil && diff != "" {
		err = errors.New("after the window its events have other ids (-first +later):\n" + diff)
	}
	return err
}

func (b *bridge) checkDuplicate(w sample.Webhook) error {
	added, err := b.send(w)
	if err == nil && len(added) > 0 {
		err = fmt.Errorf("sent again, it adds %d webhooks", len(added))
	}
	return err
}

func eventIDs(entries []written) (ids []string) {
	for _, entry := range entries {
		for _, e := range entry.Events {
			ids = append(ids, e.GetId())
		}
	}
	return ids
}

func (b *bridge) checkRepeated(w sample.Webhook, first []written) error {
	want, err := expectations(w)
	if err != nil || slices.ContainsFunc(want, expected.natural) {
		return err
	}
	b.wait(b.window() - time.Second)
	if err := b.checkDuplicate(w); err != nil {
		return err
	}
	b.wait(2 * time.Second)
	second, err := b.send(w)
	return errors.Join(err, checkNew(first, second))
}

func (b *bridge) checkRestated(w sample.Webhook, first []written) error {
	want, err := expectations(w)
	if err != nil || len(want) != 1 || !want[0].natural() || w.ContentType != sample.JSON {
		return err
	}
	w.Body = append(slices.Clone(w.Body), ' ')
	second, err := b.send(w)
	switch {
	case err != nil:
	case len(first) > 0 && len(first[0].Events) > 0 && first[0].Events[0].GetUnmapped() != nil:
		err = checkNew(first, second) // nothing tells what it means, so bytes decide
	case len(second) > 0 || b.journal.kept != 1:
		err = fmt.Errorf("%d webhooks are added, %d are stored beside the first", len(second), b.journal.kept)
	}
	return errors.Join(err, b.checkDuplicate(w))
}

// checkNew returns an error unless the later entries have as many events as the earlier ones, with other ids.
func checkNew(before, after []written) error {
	if len(before) != len(after) {
		return fmt.Errorf("%d webhooks are stored, want %d", len(after), len(before))
	}
	old, ids := eventIDs(before), eventIDs(after)
	if len(old) != len(ids) || slices.ContainsFunc(ids, func(id string) bool { return slices.Contains(old, id) }) {
		return fmt.Errorf("the ids of the events are %q, before they were %q", ids, old)
	}
	return nil
}

func (b *bridge) checkTruncated(w sample.Webhook, _ []written) error {
	whole := bytes.TrimRight(w.Body, " \t\r\n")
	for i := range 16 {
		n := len(whole) * i / 16
		cut := w
		cut.Body = whole[:n]
		answer, added := b.post(cut, secretNew)
		if answer.Code != http.StatusOK && answer.Code != http.StatusBadRequest || len(eventIDs(added)) > 0 {
			return fmt.Errorf("cut at byte %d: answer %d, %d events", n, answer.Code, len(eventIDs(added)))
		}
	}
	return nil
}

func (b *bridge) checkUnknown(w sample.Webhook, first []written) error {
	if !bytes.HasPrefix(w.Body, []byte("{")) || len(first) != 1 || first[0].Webhook.GetQuarantine() != nil ||
		len(first[0].Events) == 0 || first[0].Events[0].GetUnmapped() != nil {
		return nil
	}
	b.expireKeys()
	w.Body = append([]byte(`{"bridge_unknown": {"x": [null, 1]}, `), w.Body[1:]...)
	added, err := b.send(w)
	if err != nil || len(added) != 1 {
		return errors.Join(err, fmt.Errorf("%d webhooks are stored, want 1", len(added)))
	}
	if diff := cmp.Diff(unset(first[0].Events), unset(added[0].Events), protocmp.Transform()); diff != "" {
		return errors.New("the events differ (-without +with):\n" + diff)
	}
	if drift := added[0].Webhook.GetDrift(); len(drift) == 0 || drift[0].GetPath() != "$.bridge_unknown" {
		return fmt.Errorf("drift %v", drift)
	}
	return nil
}

func (b *bridge) checkSecrets(w sample.Webhook, first []written) error {
	for _, secrets := range [][]string{nil, {""}, {"secret-bad-0123456789abcdef"}, {secretNew[:13]}, {secretNew + "0"}, {secretNew, secretNew}} {
		if answer, added := b.post(w, secrets...); answer.Code != http.StatusUnauthorized || len(added) > 0 {
			return fmt.Errorf("with the secrets %q: answer %d, %d webhooks stored", secrets, answer.Code, len(added))
		}
	}
	b.wait(1000 * time.Hour) // the keys expire
	if answer, added := b.post(w, secretOld); answer.Code != http.StatusOK || len(added) != len(first) {
		return fmt.Errorf("with the old secret: answer %d, %d webhooks stored", answer.Code, len(added))
	}
	return nil
}
