package repair

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/retino"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	retinov1 "github.com/webhook-bridge/bridge/gen/webhooks/retino/v1"
	"github.com/webhook-bridge/bridge/internal/intake"
	"github.com/webhook-bridge/bridge/internal/intake/intaketest"
	"github.com/webhook-bridge/bridge/internal/source"
)

// shipping is an event that the desk's connector models.
const shipping = "shipping.ordered"

// desk receives and repairs the webhooks of one source, whose connector's answers the test decides.
type desk struct {
	*Repairer

	intake    *intake.Intake
	book      *intaketest.Book
	registry  *prometheus.Registry
	log       *strings.Builder
	connector *connectors.Connector
	source    *intake.Source
	received  time.Time
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{
		book: &intaketest.Book{}, registry: prometheus.NewRegistry(), log: &strings.Builder{},
		connector: &connectors.Connector{Name: "acme", Service: retino.New().Service, EventField: "event_type"},
		received:  time.Date(2026, 11, 22, 10, 0, 0, 123456789, time.UTC),
	}
	var err error
	d.intake, err = intake.New(intake.Config{Journal: d.book, Logger: slog.New(slog.NewTextHandler(d.log, nil)), Registerer: d.registry})
	if err != nil {
		t.Fatal(err)
	}
	d.Repairer = New(d.book, d.intake)
	d.source = d.sourceOf(d.connector)
	return d
}

func (d *desk) sourceOf(c *connectors.Connector) *intake.Source {
	return d.intake.Source(source.Source{
		Name: "shop", Connector: c, Zone: time.UTC, Window: connectors.DefaultWindow, Limits: source.Limits{Body: 4 << 10},
	}, nil)
}

func (d *desk) delivery(event, body string) *intake.Delivery {
	return &intake.Delivery{
		Source: d.source, PathEvent: event, ReceivedAt: d.received, Body: []byte(body),
		Encoding: journalv1.Encoding_ENCODING_JSON, Headers: []*journalv1.Header{{Name: "user-agent", Value: "x"}},
	}
}

// receive commits what a delivery becomes, and returns the outcome.
func (d *desk) receive(delivery *intake.Delivery) (intake.Outcome, error) {
	drafts := delivery.Source.Drafts(delivery)
	err := d.intake.Commit(context.Background(), drafts...)
	return drafts[0].Outcome, err
}

func (d *desk) accept(t *testing.T, body string) intake.Outcome {
	t.Helper()
	o, err := d.receive(d.delivery(shipping, body))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// held puts a webhook into quarantine, and returns it as it is stored.
func (d *desk) held(t *testing.T, delivery *intake.Delivery) *journalv1.Webhook {
	t.Helper()
	delivery.Fault = intake.NewFault(intake.Malformed, errors.New("a test's"))
	o, err := d.receive(delivery)
	if o != intake.Quarantined || err != nil {
		t.Fatal(o, err)
	}
	return d.last().Webhook
}

func (d *desk) last() intaketest.Written { return d.book.Entries[len(d.book.Entries)-1] }

func (d *desk) retry(t *testing.T, w *journalv1.Webhook, o Options) Retried {
	t.Helper()
	r, err := d.Retry(t.Context(), d.source, w, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (d *desk) retranslate(t *testing.T, w *journalv1.Webhook, dryRun bool) Retranslated {
	t.Helper()
	r, err := d.Retranslate(t.Context(), d.source, w, dryRun)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// translates makes the connector answer with n events under a key. The shipment's id is their version.
func (d *desk) translates(key connectors.Key, n int) {
	d.connector.Translate = func(in connectors.Input) (connectors.Translation, error) {
		t := connectors.Translation{Key: key}
		m, _ := in.Message.(*retinov1.ShippingOrdered)
		for i := range n {
			e := &eventv1.Event{Type: "order.changed", Subject: fmt.Sprintf("order/%d", i), SubjectVersion: m.GetShipping().GetId()}
			t.Events = append(t.Events, e)
		}
		return t, nil
	}
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

// stored lists what was stored: element, and reason or subjects.
func (d *desk) stored() []string {
	var all []string
	for _, e := range d.book.Entries {
		line := []string{fmt.Sprintf("%d:%s", e.Webhook.GetElement(), e.Webhook.GetQuarantine().GetReason())}
		for _, ev := range e.Events {
			line = append(line, ev.GetSubject())
		}
		all = append(all, strings.Join(line, ""))
	}
	return all
}

func body(text string) string { return `{"event_type":"` + shipping + `",` + text + `}` }

// version is a webhook of the same fact, whose shipment has another id.
func version(id string) string { return body(`"shipping":{"id":"` + id + `"}`) }
