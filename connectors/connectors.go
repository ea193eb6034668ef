// Package connectors is the contract between Bridge and what it knows of a vendor.
//
// A connector is a value: a name, the descriptor of the vendor's service, a few facts about how the vendor talks, and one
// pure function. It has no I/O, no goroutine, no clock, no logger and no mutable state, so that translating a stored
// webhook again, tomorrow or in a test, gives what it gives now.
//
// Who does what:
//
//   - The vendor's protobuf service, in proto/webhooks/<vendor>/v1, says which events exist: one RPC an event, the last
//     segment of its HTTP path being the vendor's own name for it.
//   - Bridge finds the source, checks who is calling, bounds the body, finds the event's name, decodes the JSON into the
//     RPC's request message and reports what did not fit.
//   - Translate turns that message into canonical events and says what makes the webhook the same as another.
//   - Bridge fills in ids, source, connector, vendor_event, received_at and webhook_id, and makes it all durable at once.
//
// What is not promised to Translate: that fields are present, that strings are not empty, that the vendor kept to its own
// documentation. A message whose required facts are missing gets an [Error]; it is then quarantined, not lost. Facts that the
// vendor never promised are not required: without them the message gets [ErrUnmapped].
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

// Connector is what Bridge knows of one vendor. The zero values of the optional fields are good.
type Connector struct {
	// Name is how configurations call it: one lower-case word.
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
	// EventHeader names the request header that names the event, for vendors that put it there. It counts where neither body
	// nor URL names the event; where more than one does, they must agree. It is kept with the webhook.
	EventHeader string
	// KeyHeader names the request header whose value is the vendor's own id of the webhook, the same when it is sent again.
	// Where it is present it is the webhook's natural key, and the translation's own does not count. It is kept with the
	// webhook. Where a signature does not cover it, whoever captures a webhook can choose it, and so send the webhook again as
	// another: then leave it empty if the body has an id as good.
	KeyHeader string
	// FormField is the field that holds the JSON, for vendors that send forms (application/x-www-form-urlencoded). Empty: a
	// form is a body like any other, which is no JSON.
	FormField string
	// Normalize, for vendors that send almost JSON, returns the text as JSON before it is decoded. Examples are a trailing comma
	// and typographic quotation marks. It returns a text of the same length, so that offsets stay those of the vendor: it fills
	// up with spaces. It does not write to its argument. It returns as it is a text that it cannot normalize. Bridge stores the
	// text that was received.
	Normalize func(text []byte) []byte
	// Batches says that a body may be a JSON array of webhooks. Each is a webhook of its own, with its own name, key and
	// fate; all are made durable at once.
	Batches bool
	// Verification is how the vendor lets its webhooks be told from others'.
	Verification Verification
	// Delivery is how the vendor delivers. Only the simulator uses it: nothing that is received depends on it.
	Delivery DeliveryPolicy
	// Samples are the connector's testdata: webhooks with what becomes of them, as package connectortest reads them.
	Samples fs.FS
	// Answer is the body of the vendor's success answer, always JSON and always with status 200. It is what the vendor's
	// page shows; "{}" where the page shows nothing.
	Answer string
	// MaxBody is the largest body in bytes that the vendor is known to need. 0 means 1 MiB.
	MaxBody int64
	// NeedsCurrency and NeedsTimeZone say that the vendor leaves them out, so that a source's configuration must not.
	NeedsCurrency, NeedsTimeZone bool
	// Window is how long two webhooks with the same body are taken for one, where nothing better tells them apart: where
	// the key is [ContentHash], and for quarantined webhooks. It outlasts the waits between the vendor's attempts, and not much
	// else: what comes again later is news. 0 is [DefaultWindow].
	Window time.Duration
	// Translate makes canonical events of one vendor message. It must not change the message; what it returns may share
	// parts with it, which nobody changes afterwards. Errors are *[Error], or [ErrUnmapped].
	Translate func(Input) (Translation, error)
	// Envelope, if the vendor has one, identifies events that nobody modelled.
	Envelope *Envelope
}

// Envelope is the part of a body that all of a vendor's events share.
type Envelope struct {
	// New returns an empty message to decode the body into; what it does not declare is ignored.
	New func() proto.Message
	// Identify says what makes the webhook the same as another, and the subject's version if there is one.
	Identify func(proto.Message) (key Key, subjectVersion string)
}

// Input is one decoded webhook.
type Input struct {
	// Source is what the configuration says of the sender.
	Source Source
	// Event is the vendor's name for the event, one of the service's.
	Event string
	// Message is the request message of the event's RPC.
	Message proto.Message
}

// Source is what a source's configuration says to its connector.
type Source struct {
	// Name is unique among sources.
	Name string
	// Currency is an ISO 4217 code, for amounts that come without one. May be empty unless the connector needs it.
	Currency string
	// Zone is for times that come without one. Never nil: UTC unless configured.
	Zone *time.Location
}

// Translation is what one webhook means.
type Translation struct {
	// Key tells a redelivery from a new occurrence.
	Key Key
	// Events, in the vendor's order. Each has type, subject, subject_version, occurred_at and data; the rest is filled in.
	Events []*eventv1.Event
}

// Key is what makes two webhooks of one source and one event the same. Make it with [NaturalKey], [OwnID] or [ContentHash].
type Key struct {
	natural string
	own     bool
}

// NaturalKey is for events whose data tell occurrences apart: an id with a version, an id with a time. Two webhooks with
// the same parts are the same fact. If any part is empty the parts tell nothing apart, and the key is [ContentHash].
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
// whatever it is about. The id of a record is none: it is there in all that ever happens to the record.
func OwnID(id string) Key {
	key := NaturalKey(id)
	key.own = key.natural != ""
	return key
}

// ContentHash is for events whose data may come again, byte for byte, and mean a new occurrence: the same body within
// the connector's window is a redelivery, outside it is a new event. It is the zero Key.
func ContentHash() Key { return Key{} }

// Natural returns the parts given to [NaturalKey] in one unambiguous string, and whether there are any.
func (k Key) Natural() (string, bool) { return k.natural, k.natural != "" }

// Own says that the key is an [OwnID], which need not tell what it is about.
func (k Key) Own() bool { return k.own }

// ErrUnmapped says that a message fits its event and yet is not understood, because what tells its subject is only supposed
// to be there: no vendor's page has it. It is passed on as it came, like an event that nobody modelled, and is known by what
// those are known by. A typed call has no JSON to pass on, and is quarantined.
var ErrUnmapped = errors.New("lacks a fact that the vendor does not promise, without which it is not understood")

// Error says that a message cannot be translated, and why. The webhook is quarantined with it.
type Error struct {
	// Path of the field at fault, in the vendor's JSON names, such as "$.shipping.id".
	Path string
	// Problem for people, such as "is missing".
	Problem string
}

// Errorf returns an [*Error] about the field at path.
func Errorf(path, format string, args ...any) *Error {
	return &Error{Path: path, Problem: fmt.Sprintf(format, args...)}
}

func (e *Error) Error() string { return e.Path + " " + e.Problem }
