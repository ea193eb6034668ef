package intake

import (
	"cmp"
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
	"github.com/webhook-bridge/bridge/internal/tracing"
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

// ErrUnavailable means that the webhook could not be made durable now. Ask the sender to try again.
var ErrUnavailable = errors.New("intake: cannot be made durable now")

// Journal is where webhooks are made durable: the part of [journal.Writer] that intake uses.
type Journal interface {
	Append(ctx context.Context, e journal.Entry) (journal.Receipt, error)
	AppendAll(ctx context.Context, entries []journal.Entry) ([]journal.Receipt, error)
}

// Outcome is the result of a webhook.
type Outcome uint8

const (
	// Accepted means that webhook and events are durable.
	Accepted Outcome = iota + 1
	// Duplicate means that the same webhook was durable already.
	Duplicate
	// Quarantined means that the webhook is durable and made no event.
	Quarantined
	// Ping means that the webhook tells no fact. It is durable, or one like it that came shortly before.
	Ping
)

func (o Outcome) String() string {
	switch o {
	case Accepted:
		return "accepted"
	case Duplicate:
		return "duplicate"
	case Quarantined:
		return "quarantined"
	case Ping:
		return "ping"
	}
	return fmt.Sprintf("Outcome(%d)", uint8(o))
}

// Delivery is one body as it was received: a webhook, or an array of them.
type Delivery struct {
	// Source that it came to, from [Intake.Source].
	Source *Source
	// Event, if set, replaces the event's name that the webhook has.
	Event string
	// PathEvent is the event's name in the URL, if it had one.
	PathEvent string
	// ReceivedAt is when it came in, before anything was done with it.
	ReceivedAt time.Time
	// Headers to keep, in lower case; never a credential. The connector's EventHeader and KeyHeader are among them.
	Headers []*journalv1.Header
	// Body must not be changed while it is used.
	Body []byte
	// Encoding of Body.
	Encoding journalv1.Encoding
	// Element is which of its array it is, counted from 1. 0 if it came alone.
	Element int
	// Message, if set, is the message that Body was decoded into, and Drift how the two differ.
	Message proto.Message
	Drift   []vendorjson.Drift
	// Fault, if set, is why Body cannot be read.
	Fault *Fault
	// Traceparent is stored with the webhook and its events, so that their deliveries belong to the request's trace. Empty: they belong
	// to none.
	Traceparent string
	// Span shows the work on the delivery, in a trace.
	Span tracing.Span
	// Ping is set by [Intake.Receive] if the delivery is a ping, and Challenge is the text that the ping's answer repeats, if it has a
	// valid one.
	Ping      *connectors.Ping
	Challenge string
	// Stored is the quarantined webhook that is delivered once more, or whose array this is an element of. Nil at receipt.
	Stored *journalv1.Webhook

	// text is the document that Body is or holds, if that is known.
	text []byte
	// recorded is the event's name as it was stored. It counts where nothing else names the event.
	recorded string
}

// Redelivery returns a stored webhook as it was delivered. A webhook that became events keeps the name that it was given
// then; one in quarantine is named by what it says today, or is read as the event, if that is set.
func (s *Source) Redelivery(w *journalv1.Webhook, event string) *Delivery {
	d := &Delivery{
		Source: s, Event: event, PathEvent: w.GetPathEvent(), ReceivedAt: w.GetReceivedAt().AsTime(), Headers: w.GetHeaders(),
		Body: w.GetBody(), Encoding: w.GetEncoding(), Element: int(w.GetElement()), recorded: w.GetVendorEvent(),
	}
	if w.GetQuarantine() != nil && w.GetReleasedAt() == nil {
		d.Stored = w
	} else if event == "" {
		d.Event = w.GetVendorEvent()
	}
	switch d.Encoding {
	case journalv1.Encoding_ENCODING_JSON, journalv1.Encoding_ENCODING_FORM:
	case journalv1.Encoding_ENCODING_PROTOBUF:
		d.Event = cmp.Or(d.Event, w.GetVendorEvent())
	default:
		d.Fault = d.decodeStored()
	}
	return d
}

// Source is a configured source. It is safe for concurrent use.
type Source struct {
	source.Source

	decoder Decoder
	// decides says which parts of a request may name the event.
	decides source.Decides
	// events that the connector's service models.
	events func() (map[string]connectors.Event, error)

	pings      map[string]prometheus.Counter
	duplicates prometheus.Counter
	quarantine prometheus.Counter
	revisions  prometheus.Counter
	released   prometheus.Counter
	stale      prometheus.Counter
	drift      *driftCounter
	// complaints and panics keep a vendor that sends nothing but broken webhooks from flooding the log. The counters see them
	// all.
	complaints, panics rate.Sometimes
}

// NewSource prepares a source for reading and drafting. s must be resolved, by [source.Resolve]. A nil decoder decodes with
// package vendorjson. Committing needs a source of [Intake.Source].
func NewSource(s source.Source, d Decoder) *Source {
	src := &Source{Source: s, decoder: d, decides: s.Decides(), events: sync.OnceValues(s.Connector.Events)}
	if d == nil {
		src.decoder = src.direct
	}
	return src
}

// Config has the parts and settings of an [Intake].
type Config struct {
	Journal Journal
	// Logger for quarantined webhooks and panics of connectors. nil discards.
	Logger *slog.Logger
	// Registerer for the metrics. nil registers nowhere.
	Registerer prometheus.Registerer
}

// Intake commits webhooks. It is safe for concurrent use.
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

// Source is [NewSource] for receiving too. It prepares a source, so that nothing is looked up for each webhook.
func (in *Intake) Source(s source.Source, d Decoder) *Source {
	src := NewSource(s, d)
	src.pings = in.metrics.pingsOf(&s)
	src.duplicates = in.metrics.duplicates.WithLabelValues(s.Name)
	src.quarantine = in.metrics.quarantined.WithLabelValues(s.Name)
	src.revisions = in.metrics.revisions.WithLabelValues(s.Name)
	src.released = in.metrics.released.WithLabelValues(s.Name)
	src.stale = in.metrics.stale.WithLabelValues(s.Name)
	src.drift = in.metrics.driftOf(s.Connector.Name)
	src.complaints = rate.Sometimes{First: 10, Interval: time.Second}
	src.panics = rate.Sometimes{First: 10, Interval: time.Second}
	return src
}
