package intake

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/webhook-bridge/bridge/connectors"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/vendorjson"
)

const (
	// NaturalWindow is how long a natural key counts. It must outlast every vendor's retries (Retino's last for 72 hours).
	NaturalWindow = 7 * 24 * time.Hour
	// DefaultWindow is how long a body counts as its own key where the connector does not say.
	DefaultWindow = 2 * time.Minute
	// MaxEvents is how many events one webhook may make.
	MaxEvents = 10_000
	// MaxSubject is the longest subject, and the longest version of one, in bytes.
	MaxSubject = 512
)

// ErrUnavailable means that the webhook could not be made durable now. Ask the sender to come again.
var ErrUnavailable = errors.New("intake: cannot be made durable now")

// Journal is where webhooks are made durable. Append must not keep its entry after it has returned, unless it returns an
// error.
type Journal interface {
	Append(ctx context.Context, e journal.Entry) (journal.Receipt, error)
}

// Outcome is what became of a webhook.
type Outcome uint8

const (
	// Accepted means that webhook and events are durable.
	Accepted Outcome = iota + 1
	// Duplicate means that the same webhook was durable already.
	Duplicate
	// Quarantined means that the webhook is durable and made no event.
	Quarantined
)

func (o Outcome) String() string {
	switch o {
	case Accepted:
		return "accepted"
	case Duplicate:
		return "duplicate"
	case Quarantined:
		return "quarantined"
	}
	return fmt.Sprintf("Outcome(%d)", uint8(o))
}

// Delivery is one webhook as it was received.
type Delivery struct {
	// Source that it came to, from [Intake.Source].
	Source *Source
	// Event is the vendor's name for it; empty when none could be told.
	Event string
	// ReceivedAt is when it came in, before anything was done with it.
	ReceivedAt time.Time
	// Headers to keep, in lower case; never a credential.
	Headers []*journalv1.Header
	// Body, read only while a call lasts that returns no error.
	Body []byte
	// Encoding of Body.
	Encoding journalv1.Encoding
}

// SourceConfig is what intake needs to know of a source.
type SourceConfig struct {
	Connector *connectors.Connector
	Info      connectors.Source
	// Reject refuses what cannot be decoded or translated, instead of keeping it, unless the fault is ours.
	Reject bool
}

// Source is a configured source. It is made by [Intake.Source] and safe for concurrent use.
type Source struct {
	SourceConfig

	window     time.Duration
	duplicates prometheus.Counter
	quarantine prometheus.Counter
	revisions  prometheus.Counter
	drift      *driftCounter
	// complaints keeps a vendor that sends nothing but broken webhooks from flooding the log; the counters see them all.
	complaints rate.Sometimes
}

// Config is what an [Intake] is made of.
type Config struct {
	Journal Journal
	// Logger for quarantined webhooks and panics of connectors. nil discards.
	Logger *slog.Logger
	// Registerer for the metrics. nil registers nowhere.
	Registerer prometheus.Registerer
}

// Intake takes in webhooks. It is safe for concurrent use.
type Intake struct {
	journal Journal
	log     *slog.Logger
	metrics *metrics
}

// New returns an Intake over a journal that the caller keeps open for as long as it is used. It fails only when metrics of
// the same names are registered already.
func New(c Config) (*Intake, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	m, err := newMetrics(c.Registerer)
	if err != nil {
		return nil, fmt.Errorf("intake: metrics: %w", err)
	}
	return &Intake{journal: c.Journal, log: c.Logger, metrics: m}, nil
}

// Source resolves a source once, so that nothing is looked up for each webhook.
func (in *Intake) Source(c SourceConfig) *Source {
	window := c.Connector.Window
	if window == 0 {
		window = DefaultWindow
	}
	return &Source{
		SourceConfig: c,
		window:       window,
		duplicates:   in.metrics.duplicates.WithLabelValues(c.Info.Name),
		quarantine:   in.metrics.quarantined.WithLabelValues(c.Info.Name),
		revisions:    in.metrics.revisions.WithLabelValues(c.Info.Name),
		drift:        in.metrics.driftOf(c.Connector.Name),
		complaints:   rate.Sometimes{First: 10, Interval: time.Second},
	}
}

// Accept takes in a webhook that was decoded into msg, the request message of its event's RPC, with what the decoder
// found odd. It blocks until the webhook is durable, or ctx ends; errors are those of the package comment.
func (in *Intake) Accept(ctx context.Context, d *Delivery, msg proto.Message, drift []vendorjson.Drift) (Outcome, error) {
	t, fault := Translate(&d.Source.SourceConfig, d.Event, msg)
	if fault != nil {
		return in.setAside(ctx, d, fault, drift)
	}
	return in.commit(ctx, d, t, drift)
}

// Unmapped takes in a webhook of an event that nobody modelled. It is one event of type "unmapped" that carries the JSON
// as it came, provided that it is JSON and that the event's name is text; else the webhook is quarantined.
func (in *Intake) Unmapped(ctx context.Context, d *Delivery) (Outcome, error) {
	t, fault := TranslateUnmapped(&d.Source.SourceConfig, d.Event, d.Body)
	if fault != nil {
		return in.setAside(ctx, d, fault, nil)
	}
	return in.commit(ctx, d, t, nil)
}

// Quarantine keeps a webhook that could not be decoded, and says why. The fault must not quote the body at length nor any
// secret.
func (in *Intake) Quarantine(ctx context.Context, d *Delivery, f *Fault) (Outcome, error) {
	return in.setAside(ctx, d, f, nil)
}

// commit makes a translated webhook durable.
func (in *Intake) commit(ctx context.Context, d *Delivery, t connectors.Translation, drift []vendorjson.Drift) (Outcome, error) {
	w, err := newWebhook(d, drift)
	if err != nil {
		return 0, err
	}
	id := identify(d, t.Key)
	fill(t.Events, w)
	id.name(t.Events, w.GetId())
	entry := journal.Entry{Webhook: w, Events: t.Events, Key: id.key, Body: id.body, Window: id.window}
	r, err := in.journal.Append(ctx, entry)
	if errors.Is(err, journal.ErrRevised) {
		id = id.revised()
		id.name(t.Events, w.GetId())
		entry.Key = id.key
		if r, err = in.journal.Append(ctx, entry); err == nil && !r.Duplicate {
			d.Source.revisions.Inc()
		}
	}
	o, err := d.Source.outcome(r, err, Accepted)
	if o == Accepted {
		d.Source.drift.count(d.Event, drift)
	}
	return o, err
}

// setAside makes a webhook durable without events, or returns the fault where the source refuses such webhooks. One that may
// be fine is not refused: its sender could do nothing about it.
func (in *Intake) setAside(ctx context.Context, d *Delivery, f *Fault, drift []vendorjson.Drift) (Outcome, error) {
	if f.stack != nil {
		in.log.Error("connector panicked", "source", d.Source.Info.Name, "event", clean(d.Event, maxName),
			"problem", f.Problem, "stack", string(f.stack))
	}
	if d.Source.Reject && !f.Ours() {
		return 0, f
	}
	w, err := newWebhook(d, drift)
	if err != nil {
		return 0, err
	}
	w.Quarantine = f.quarantine()
	id := identifyQuarantined(d)
	entry := journal.Entry{Webhook: w, Key: id.key, Body: id.body, Window: id.window}
	r, err := in.journal.Append(ctx, entry)
	o, err := d.Source.outcome(r, err, Quarantined)
	if o == Quarantined {
		d.Source.drift.count(d.Event, drift)
		d.Source.quarantine.Inc()
		d.Source.complaints.Do(func() {
			in.log.Warn("quarantined webhook", "source", w.GetSource(), "event", w.GetVendorEvent(), "webhook", w.GetId(), "fault", f)
		})
	}
	return o, err
}

// outcome counts and translates the journal's answer.
func (s *Source) outcome(r journal.Receipt, err error, added Outcome) (Outcome, error) {
	switch {
	case err != nil:
		return 0, fmt.Errorf("%w: %w", ErrUnavailable, err)
	case r.Duplicate:
		s.duplicates.Inc()
		return Duplicate, nil
	}
	return added, nil
}

// newWebhook is what is stored of a delivery. It shares the delivery's memory.
func newWebhook(d *Delivery, drift []vendorjson.Drift) (*journalv1.Webhook, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("%w: webhook id: %w", ErrUnavailable, err)
	}
	w := &journalv1.Webhook{
		Id:          id.String(),
		Source:      d.Source.Info.Name,
		Connector:   d.Source.Connector.Name,
		VendorEvent: clean(d.Event, maxName),
		ReceivedAt:  timestamppb.New(d.ReceivedAt),
		Encoding:    d.Encoding,
		Body:        d.Body,
		Headers:     d.Headers,
	}
	for _, x := range drift {
		w.Drift = append(w.Drift, &journalv1.Drift{Kind: driftKind(x.Kind), Path: x.Path, Sample: x.Sample})
	}
	return w, nil
}

// fill completes what the connector left to us, but for the ids.
func fill(events []*eventv1.Event, w *journalv1.Webhook) {
	for _, e := range events {
		e.Source = w.GetSource()
		e.Connector = w.GetConnector()
		e.VendorEvent = w.GetVendorEvent()
		e.ReceivedAt = w.GetReceivedAt()
		e.WebhookId = w.GetId()
	}
}

func driftKind(k vendorjson.Kind) journalv1.DriftKind {
	switch k {
	case vendorjson.Unknown:
		return journalv1.DriftKind_DRIFT_KIND_UNKNOWN
	case vendorjson.Type:
		return journalv1.DriftKind_DRIFT_KIND_TYPE
	case vendorjson.Missing:
		return journalv1.DriftKind_DRIFT_KIND_MISSING
	}
	return journalv1.DriftKind_DRIFT_KIND_UNSPECIFIED
}

// clean makes a string of a sender's fit to be stored: valid UTF-8 of at most limit bytes.
func clean(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit]
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
