// Package connectors is the contract between Bridge and its knowledge of a vendor.
//
// A connector is a value: a name, the descriptor of the vendor's service, a few facts about the vendor's protocol, and one
// pure function. It has no I/O, no goroutine, no clock, no logger and no mutable state. So a stored webhook that is translated
// again, tomorrow or in a test, gives the same events.
//
// Who does what:
//
//   - The vendor's protobuf service, in proto/webhooks/<vendor>/v1, says which events exist: one RPC an event, the last
//     segment of its HTTP path being the vendor's own name for it.
//   - Bridge finds the source, authenticates the sender, limits the body, finds the event's name, decodes the JSON into the
//     RPC's request message and records the drift.
//   - Translate turns that message into canonical events and returns the key that identifies the webhook.
//   - Bridge sets ids, source, connector, vendor_event, received_at and webhook_id, and makes everything durable at once.
//
// Translate must not assume that fields are present, that strings are not empty, or that the vendor follows its own
// documentation. A message without a required field gets an [Error], and the webhook is quarantined. A field that the vendor
// never promised is not required: without it the message gets [ErrUnmapped].
//
// # Values that are not understood
//
// Translate never drops a value silently. If the event is wrong without it, as without an amount, the message gets an Error.
// Otherwise [Fields.Drift] records it, and Bridge reports it with the webhook's drift: a word that no enumeration has, or a time in
// an unknown form.
//
// # Numbers
//
// [Fields.Money], [Fields.Decimal] and [Plain] read numbers, also as people print them: with separators between thousands, a decimal
// comma, a minus on either side or parentheses, and a currency. They read forms of one meaning: "$1,234.00", "(5.00)",
// "1 234,50" and "5,00 Kč". "1,234" has two meanings and is an error, and so is "€1.234"; a bare "1.234" has JSON's meaning. Never
// publish a vendor's decimal in another way. A decimal in a message may be any short text with a digit, and "1e1000000000" has a
// billion digits.
//
// # Local times
//
// [Fields.Time] and [Local] have the one rule for times without an offset, also for hours that are there twice or not at all.
package connectors

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
)

// DefaultWindow is the window of a connector that sets none.
const DefaultWindow = 2 * time.Minute

// Connector describes one vendor. The zero values of the optional fields are good.
type Connector struct {
	// Name is the name in configurations: one lower-case word.
	Name string
	// Service is the vendor's service.
	Service protoreflect.ServiceDescriptor
	// Register is the generated gateway's registration over conn:
	//
	//	func(ctx context.Context, mux *runtime.ServeMux, conn grpc.ClientConnInterface) error {
	//		return acmev1.RegisterAcmeWebhookServiceHandlerClient(ctx, mux, acmev1.NewAcmeWebhookServiceClient(conn))
	//	}
	Register func(ctx context.Context, mux *runtime.ServeMux, conn grpc.ClientConnInterface) error
	// EventField is the top-level JSON field that names the event, such as "event_type". Empty when the body does not say
	// and only the URL does.
	EventField string
	// EventHeader is the request header with the name of the event, if the vendor has one. Bridge uses it if neither body nor URL
	// names the event. If more than one names it, they must agree. The header is stored with the webhook.
	EventHeader string
	// KeyHeader is the request header with the vendor's own id of the delivery, which is the same when it is sent again. The id is
	// a key beside the translation's natural keys, and the only key if there is none. It never makes two facts of one that the
	// body tells. The header is stored with the webhook. If the vendor's signature does not cover it, an attacker can send a
	// captured webhook that has no natural key again with another id: sources must permit that.
	KeyHeader string
	// FormField is the field with the JSON, for vendors that send forms (application/x-www-form-urlencoded). Empty: a form is
	// quarantined, because it is not JSON.
	FormField string
	// Normalize, for vendors that send almost JSON, returns the text as JSON before it is decoded. Examples are a trailing comma
	// and typographic quotation marks. It returns a text of the same length, so that offsets stay those of the vendor: it fills
	// up with spaces. It does not write to its argument. It returns as it is a text that it cannot normalize. Bridge stores the
	// text that was received.
	Normalize func(text []byte) []byte
	// Batches says that a body may be a JSON array of webhooks. Each element is a webhook of its own, with its own name, key and
	// result. All are made durable at once.
	Batches bool
	// Pings are the vendor's pings that Bridge does not know by itself. The first that fits counts.
	Pings []Ping
	// NoPings says that the vendor sends facts that look like the pings that Bridge knows by itself, such as an empty body whose
	// event the URL names. Then only Pings are pings.
	NoPings bool
	// Handshakes are the requests with which the vendor checks an address. The first that fits is answered.
	Handshakes []Handshake
	// Verification is how the vendor authenticates its webhooks.
	Verification Verification
	// Delivery is how the vendor delivers. Only the simulator uses it: nothing that is received depends on it.
	Delivery DeliveryPolicy
	// Samples are the connector's testdata: webhooks with the expected events, as package connectortest reads them.
	Samples fs.FS
	// Answer is the body of Bridge's success answer, always JSON and always with status 200. It is the answer that the vendor's
	// page shows, or "{}" if the page shows none.
	Answer string
	// MaxBody is the largest body in bytes that the vendor is known to need. 0 means 1 MiB.
	MaxBody int64
	// NeedsCurrency and NeedsTimeZone say that the vendor leaves them out. Then the source's configuration must have them.
	NeedsCurrency, NeedsTimeZone bool
	// NeedsHTTPS says that the vendor accepts only URLs that begin with https.
	NeedsHTTPS bool
	// Window is how long a second webhook with the same body is a duplicate, if the key is [ContentHash] or the webhook is
	// quarantined. It must be longer than the waits between the vendor's attempts, and not much longer: after it the same body
	// is a new webhook. 0 is [DefaultWindow].
	Window time.Duration
	// Translate makes canonical events of one vendor message. It must not change the message. The events may share memory with
	// the message, which is not changed afterwards. Errors are *[Error], or [ErrUnmapped].
	Translate func(Input) (Translation, error)
	// Envelope, if the vendor has one, identifies events that are not in the schema.
	Envelope *Envelope
}

// Envelope is the part of a body that all of a vendor's events share.
type Envelope struct {
	// New returns an empty message to decode the body into. Fields that it does not declare are ignored.
	New func() proto.Message
	// Identify returns the key of the webhook, and the subject's version if there is one.
	Identify func(proto.Message) (key Key, subjectVersion string)
}

// Input is one decoded webhook.
type Input struct {
	// Source is the source that received it.
	Source Source
	// Event is the vendor's name for the event, one of the service's.
	Event string
	// Message is the request message of the event's RPC.
	Message proto.Message
}

// Source is the part of a source's configuration that its connector sees.
type Source struct {
	// Name is unique among sources.
	Name string
	// Currency is an ISO 4217 code, for amounts that come without one. May be empty unless the connector needs it.
	Currency string
	// Zone is for times that come without one. Never nil: UTC unless configured.
	Zone *time.Location
}

// Translation is the meaning of one webhook.
type Translation struct {
	// Key distinguishes a redelivery from a new occurrence. The ids of the events are made from it.
	Key Key
	// Also are further natural keys, such as an id of the occurrence beside an id with a version. A webhook is a redelivery if
	// one of its keys was received with the same meaning. If Key is [ContentHash], the first natural key of Also takes its place.
	Also []Key
	// Events, in the vendor's order. Each has type, subject, subject_version, occurred_at and data; Bridge sets the other fields.
	// Of two versions of a subject the newer one must be greater: as a number if both are numbers, otherwise as text, byte by byte.
	// Bridge marks events with lesser versions as stale. A version without such an order must be left out.
	Events []*eventv1.Event
	// Drift are the values that Translate did not understand and left out of the events. Bridge reports them with the drift that
	// the decoder finds, as the kind "value".
	Drift []Drift
}

// Drift is a declared field whose value Translate did not understand.
type Drift struct {
	// Path of the field, as in an [Error]. Bridge leaves list indexes out.
	Path string
	// Value is the field's text.
	Value string
}

// Key identifies a webhook: two webhooks of one source and one event with the same key are the same. Make it with [NaturalKey], [OwnID] or [ContentHash].
type Key struct {
	natural string
	own     bool
}

// NaturalKey is for events whose data identify the occurrence, such as an id with a version or an id with a time. Two webhooks
// with the same parts are the same occurrence. If any part is empty, the key is [ContentHash].
func NaturalKey(parts ...string) Key {
	b := make([]byte, 0, 96)
	for _, p := range parts {
		if p == "" {
			return ContentHash()
		}
		b = strconv.AppendInt(b, int64(len(p)), 10)
		b = append(b, ':')
		b = append(b, p...)
	}
	return Key{natural: string(b)}
}

// OwnID is [NaturalKey] for vendors whose body has an id of the occurrence itself, such as "evt_1NG8Du2eZvKYlo2C", which is unique
// across all subjects. The id of a record is not such an id: every event of the record has it.
func OwnID(id string) Key {
	key := NaturalKey(id)
	key.own = key.natural != ""
	return key
}

// ContentHash is for events whose data may be the same, byte for byte, in a new occurrence. The same body within the
// connector's window is a redelivery; after the window it is a new event. ContentHash is the zero Key.
func ContentHash() Key { return Key{} }

// Natural returns the parts given to [NaturalKey] in one unambiguous string, and whether there are any.
func (k Key) Natural() (string, bool) { return k.natural, k.natural != "" }

// Own reports whether the key is an [OwnID], which need not depend on the subject.
func (k Key) Own() bool { return k.own }

// ErrUnmapped says that a message fits its event's schema but has no subject, because the vendor's page does not promise the
// field with it. The webhook is passed on unchanged as an `unmapped` event, with the same key as other unmapped events. A typed
// call has no JSON to pass on, and is quarantined.
var ErrUnmapped = errors.New("lacks a fact that the vendor does not promise, without which it is not understood")

// Error says that a message cannot be translated, and why. The webhook is quarantined with it.
type Error struct {
	// Path of the wrong field, in the vendor's JSON names, such as "$.shipping.id".
	Path string
	// Problem for people, such as "is missing".
	Problem string
}

// Errorf returns an [*Error] about the field at path.
func Errorf(path, format string, args ...any) *Error {
	return &Error{Path: path, Problem: fmt.Sprintf(format, args...)}
}

func (e *Error) Error() string { return e.Path + " " + e.Problem }
