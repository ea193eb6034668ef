package intake

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"

	"github.com/webhook-bridge/bridge/connectors"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/mask"
	"github.com/webhook-bridge/bridge/internal/vendorjson"
)

// Reason is why a webhook made no event: one of a closed list of words, for metrics, filters and alarms.
type Reason string

// Reasons of the package's own callers. The decoder's are vendorjson's codes: see [Decoder].
const (
	// NoEvent: neither body, URL nor header names the event.
	NoEvent Reason = "no_event"
	// EventMismatch: body, URL and header name different events.
	EventMismatch Reason = "event_mismatch"
	// UnsignedName: only the URL or a header names the event, and the sender's signature does not cover it.
	UnsignedName Reason = "unsigned_name"
	// BadEventName: the name is longer than 256 bytes or is no printable text.
	BadEventName Reason = "bad_event_name"
	// CorruptEncoding: the content encoding could not be undone.
	CorruptEncoding Reason = "corrupt_encoding"
	// UnknownEncoding: the content encoding is not one that we undo.
	UnknownEncoding Reason = "unknown_encoding"
	// BadForm: a form without the field that holds the JSON, with several of it, or with one whose escapes are wrong.
	BadForm Reason = "bad_form"
	// Malformed: not one JSON object in UTF-8, or a declared part that is there twice or has half of a surrogate pair.
	Malformed Reason = vendorjson.CodeMalformed
	// Limit: declared values are nested too deeply, or are too many.
	Limit Reason = vendorjson.CodeLimit
	// Shape: a value that its field cannot take.
	Shape Reason = vendorjson.CodeShape
	// Untranslatable: the connector says that a required fact is missing or makes no sense.
	Untranslatable Reason = "untranslatable"
	// TooManyEvents: the connector made more than [MaxEvents] of it.
	TooManyEvents Reason = "too_many_events"
	// BadSubject: an event's subject, or its version, is longer than [MaxSubject] or is no printable text. The connector takes
	// them from the webhook.
	BadSubject Reason = "bad_subject"
	// BadEvents: the connector broke its contract, or the generated decoder did not decode. The connector made no event, or
	// one without type or subject, or one that is no protobuf; or its Normalize changed the length. An internal error.
	BadEvents Reason = "bad_events"
	// UnknownEvent: a stored webhook is to be read as an event that today's connector does not have. It is never stored.
	UnknownEvent Reason = "unknown_event"
	// Panicked: connector or decoder panicked. An internal error.
	Panicked Reason = "panic"
)

// maxDetail is the longest detail that is kept, in bytes.
const maxDetail = 512

// Fault says why a webhook made no event. As an error it means that the source refuses such webhooks.
type Fault struct { //nolint:errname // most faults are stored and never returned
	Reason Reason
	// Problem for people.
	Problem string
	// Path of the value at fault, empty when not about one.
	Path string
	// Offset in the body in bytes, -1 when not about one place.
	Offset int64

	// stack of a panic.
	stack []byte
}

func (f *Fault) Error() string {
	if f.Path == "" {
		return fmt.Sprintf("intake: %s: %s", f.Reason, f.Problem)
	}
	return fmt.Sprintf("intake: %s: %s %s", f.Reason, f.Path, f.Problem)
}

// Ours reports whether the webhook may be fine and this program is at fault.
func (f *Fault) Ours() bool { return f.Reason == Panicked || f.Reason == BadEvents }

// LogValue leaves out the problem, which may quote a few bytes of the body, and names in the path that could be somebody's.
func (f *Fault) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("reason", string(f.Reason)), slog.String("path", mask.Path(clean(f.Path, maxDetail))), slog.Int64("offset", f.Offset))
}

// NewFault returns a fault for a reason, with path and offset if err has them. The code of a decoder's error takes the
// reason's place. err may be nil.
func NewFault(reason Reason, err error) *Fault {
	f := &Fault{Reason: reason, Offset: -1}
	var decoding *vendorjson.Error
	var translating *connectors.Error
	switch {
	case err == nil:
	case errors.As(err, &decoding):
		f.Reason, f.Problem, f.Path, f.Offset = Reason(decoding.Code), decoding.Problem, decoding.Path, decoding.Offset
	case errors.As(err, &translating):
		f.Problem, f.Path = translating.Problem, translating.Path
	default:
		f.Problem = err.Error()
	}
	return f
}

// guard calls f, and returns a panic as a fault. It is the one place that recovers a connector's panic, or a decoder's.
func guard(f func()) (fault *Fault) {
	defer func() {
		if p := recover(); p != nil {
			fault = newPanic(p, debug.Stack())
		}
	}()
	f()
	return nil
}

// newPanic is the fault of a recovered panic. Its text keeps to what Go itself says: a value that was panicked with may
// hold anything.
func newPanic(value any, stack []byte) *Fault {
	f := &Fault{Reason: Panicked, Offset: -1, Problem: fmt.Sprintf("panic with a %T", value), stack: stack}
	var err runtime.Error
	if e, ok := value.(error); ok && errors.As(e, &err) {
		f.Problem = err.Error()
	}
	return f
}

func (f *Fault) quarantine() *journalv1.Quarantine {
	return &journalv1.Quarantine{
		Reason: string(f.Reason),
		Detail: clean(f.Problem, maxDetail),
		Path:   clean(f.Path, maxDetail),
		Offset: f.Offset,
	}
}
