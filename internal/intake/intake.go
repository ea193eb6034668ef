package intake

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	"google.golang.org/protobuf/proto"

	"github.com/webhook-bridge/bridge/connectors"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/source"
	"github.com/webhook-bridge/bridge/internal/vendorjson"
)

const (
	// NaturalWindow is how long a natural key counts. It must outlast every vendor's retries (Retino's last for 72 hours).
	NaturalWindow = 7 * 24 * time.Hour
	// MaxEvents is how many events one webhook may make.
	MaxEvents = 10_000
	// MaxSubject is the longest subject, and the longest version of one, in bytes.
	MaxSubject = 512
)

// ErrUnavailable means that the webhook could not be made durable now. Ask the sender to come again.
var ErrUnavailable = errors.New("intake: cannot be made durable now")

// Journal is where webhooks are made durable. It must not keep an entry after it has returned, unless it returns an error.
type Journal interface {
	Append(ctx context.Context, e journal.Entry) (journal.Receipt, error)
	AppendAll(ctx context.Context, entries []journal.Entry) ([]journal.Receipt, error)
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
	// Collected means that the webhook is part of a batch, and not durable yet.
	Collected
)

func (o Outcome) String() string {
	switch o {
	case Accepted:
		return "accepted"
	case Duplicate:
		return "duplicate"
	case Quarantined:
		return "quarantined"
	case Collected:
		return "collected"
	}
	return fmt.Sprintf("Outcome(%d)", uint8(o))
}

// Delivery is one webhook as it was received.
type Delivery struct {
	// Source that it came to, from [Intake.Source].
	Source *Source
	// Event is the vendor's name for it; empty when none could be told.
	Event string
	// PathEvent is the name in the URL, if it had one.
	PathEvent string
	// ReceivedAt is when it came in, before anything was done with it.
	ReceivedAt time.Time
	// Headers to keep, in lower case; never a credential. The connector's EventHeader and KeyHeader are among them.
	Headers []*journalv1.Header
	// Body, read only while a call lasts that returns no error; that of one in a batch until the batch is committed.
	Body []byte
	// Encoding of Body.
	Encoding journalv1.Encoding
	// Text is what [Document] made of Body, if that is not Body itself.
	Text []byte
	// Batch, if set, collects the webhook instead of making it durable.
	Batch *Batch
	// Element is which of its batch it is, counted from 1.
	Element int

	// stored is what tells a webhook that was kept from others, where it has no natural key. Empty at receipt.
	stored string
	// array is the released array that it is of, if any.
	array *journalv1.Webhook
}

// JSON returns the document that the body is, or holds.
func (d *Delivery) JSON() []byte {
	if d.Text != nil {
		return d.Text
	}
	return d.Body
}

// document is the JSON that was decoded; nil for a typed call.
func (d *Delivery) document() []byte {
	if d.Encoding == journalv1.Encoding_ENCODING_PROTOBUF {
		return nil
	}
	return d.JSON()
}

// Source is a configured source. It is made by [Intake.Source] and safe for concurrent use.
type Source struct {
	source.Source

	duplicates prometheus.Counter
	quarantine prometheus.Counter
	revisions  prometheus.Counter
	released   prometheus.Counter
	drift      *driftCounter
	// events that the connector's service models; for what is stored, since the edge has its own.
	events func() (map[string]connectors.Event, error)
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

// Source prepares a source, so that nothing is looked up for each webhook. s must be resolved, by [source.Resolve].
func (in *Intake) Source(s source.Source) *Source {
	return &Source{
		Source:     s,
		duplicates: in.metrics.duplicates.WithLabelValues(s.Name),
		quarantine: in.metrics.quarantined.WithLabelValues(s.Name),
		revisions:  in.metrics.revisions.WithLabelValues(s.Name),
		released:   in.metrics.released.WithLabelValues(s.Name),
		events:     sync.OnceValues(s.Connector.Events),
		drift:      in.metrics.driftOf(s.Connector.Name),
		complaints: rate.Sometimes{First: 10, Interval: time.Second},
	}
}

// Accept takes in a webhook that was decoded into msg, the request message of its event's RPC, with what the decoder
// found odd. It blocks until the webhook is durable, or ctx ends; errors are those of the package comment. One of a batch is
// [Collected] without blocking, or refused.
func (in *Intake) Accept(ctx context.Context, d *Delivery, msg proto.Message, drift []vendorjson.Drift) (Outcome, error) {
	t, fault := Translate(&d.Source.Source, d.Event, msg, d.document())
	if fault != nil {
		return in.setAside(ctx, d, fault, drift)
	}
	return in.commit(ctx, d, t, drift)
}

// Unmapped takes in a webhook of an event that nobody modelled. It is one event of type "unmapped" that carries the JSON
// as it came, provided that it is JSON and that the event's name is text; else the webhook is quarantined.
func (in *Intake) Unmapped(ctx context.Context, d *Delivery) (Outcome, error) {
	t, fault := TranslateUnmapped(&d.Source.Source, d.Event, d.JSON())
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
