package intake

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/webhook-bridge/bridge/connectors"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/internal/source"
	"github.com/webhook-bridge/bridge/internal/vendorjson"
)

// UnmappedType is the type of the event that is made of an event nobody modelled.
const UnmappedType = "unmapped"

// Translate has the source's connector translate a decoded webhook. It is pure: the same webhook gives the same
// translation, today and from the journal next year. Ids and what else the connector leaves out are not filled in.
//
// document is the JSON that msg was decoded of, nil for a typed call. What the connector does not understand is passed on as
// [TranslateUnmapped] does it; a typed call, which has nothing to pass on, is a fault.
func Translate(src *source.Source, event string, msg proto.Message, document []byte) (t connectors.Translation, fault *Fault) {
	defer func() {
		if p := recover(); p != nil {
			t, fault = connectors.Translation{}, newPanic(p, debug.Stack())
		}
	}()
	t, err := src.Connector.Translate(connectors.Input{Source: src.Info(), Event: event, Message: msg})
	switch {
	case errors.Is(err, connectors.ErrUnmapped) && document != nil:
		return TranslateUnmapped(src, event, document)
	case err != nil:
		return connectors.Translation{}, NewFault(Untranslatable, err)
	}
	if fault := inspect(t.Events); fault != nil {
		return connectors.Translation{}, fault
	}
	return t, nil
}

// TranslateUnmapped makes the one event of a webhook that nobody modelled or understood, identified by the vendor's envelope if
// it has one and it fits. It is pure, as [Translate] is.
func TranslateUnmapped(src *source.Source, event string, body []byte) (t connectors.Translation, fault *Fault) {
	defer func() {
		if p := recover(); p != nil {
			t, fault = connectors.Translation{}, newPanic(p, debug.Stack())
		}
	}()
	if err := checkName(event); err != nil {
		return connectors.Translation{}, NewFault(BadEventName, fmt.Errorf("the event's name %w", err))
	}
	if err := vendorjson.Check(body); err != nil {
		return connectors.Translation{}, NewFault(Malformed, err)
	}
	// What consumers parse must be JSON, which a byte order mark is no part of.
	text := strings.TrimPrefix(string(body), "\uFEFF")
	e := &eventv1.Event{
		Type:    UnmappedType,
		Subject: src.Connector.Name + "/" + event,
		Data:    &eventv1.Event_Unmapped{Unmapped: &eventv1.Unmapped{Json: text}},
	}
	t = connectors.Translation{Key: connectors.ContentHash(), Events: []*eventv1.Event{e}}
	if envelope := src.Connector.Envelope; envelope != nil {
		m := envelope.New()
		// An envelope that does not fit is no fault: then the body is its own identity.
		if _, err := vendorjson.Unmarshal(body, m); err == nil {
			t.Key, e.SubjectVersion = envelope.Identify(m)
		}
	}
	if fault := inspect(t.Events); fault != nil {
		return connectors.Translation{}, fault
	}
	return t, nil
}

// encodable says what is wrong with events that the journal cannot write down. That is seldom so, and as much work as writing
// them: webhooks that come in are only looked at once the journal has refused them.
func encodable(events []*eventv1.Event) *Fault {
	for i, e := range events {
		if _, err := proto.Marshal(e); err != nil {
			return NewFault(BadEvents, fmt.Errorf("the connector's event %d cannot be encoded: %w", i, err))
		}
	}
	return nil
}

// inspect holds a connector to its contract, and webhooks to what sinks can take for a key or a header.
func inspect(events []*eventv1.Event) *Fault {
	switch n := len(events); {
	case n == 0:
		return NewFault(BadEvents, errors.New("the connector made no event"))
	case n > MaxEvents:
		return NewFault(TooManyEvents, fmt.Errorf("%d events, more than %d", n, MaxEvents))
	}
	for i, e := range events {
		if e.GetType() == "" || e.GetSubject() == "" {
			return NewFault(BadEvents, fmt.Errorf("the connector's event %d has no type or no subject", i))
		}
		if err := checkText(e.GetSubject(), MaxSubject); err != nil {
			return NewFault(BadSubject, fmt.Errorf("the subject of event %d %w", i, err))
		}
		if err := checkText(e.GetSubjectVersion(), MaxSubject); err != nil {
			return NewFault(BadSubject, fmt.Errorf("the subject's version of event %d %w", i, err))
		}
	}
	return nil
}
