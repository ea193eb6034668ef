package intake

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/webhook-bridge/bridge/connectors"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/internal/vendorjson"
)

// UnmappedType is the type of the event that carries a document as it came.
const UnmappedType = "unmapped"

// translate has the connector translate the message. If there is none, or the connector does not understand it, the event
// carries the document. A typed call has no document to carry; then that is a fault.
func (s *Source) translate(r *Reading) {
	if r.Message == nil {
		s.translateUnmapped(r)
	} else {
		t, err := s.Connector.Translate(connectors.Input{Source: s.Info(), Event: r.Event, Message: r.Message})
		switch {
		case errors.Is(err, connectors.ErrUnmapped) && r.Document != nil:
			s.translateUnmapped(r)
		case err != nil:
			r.Fault = NewFault(Untranslatable, err)
		default:
			r.Translation = t
			r.addDrift(t.Drift)
		}
	}
	if r.Fault == nil {
		r.Fault = checkEvents(r.Translation.Events)
	}
	if r.Fault != nil {
		r.Translation = connectors.Translation{}
	}
}

// listIndexes are the parts of a path that drift leaves out.
var listIndexes = regexp.MustCompile(`\[[0-9]+\]`)

// addDrift adds the values that the connector did not understand, each path once.
func (r *Reading) addDrift(drift []connectors.Drift) {
	r.Drift = slices.Clip(r.Drift) // it may be the delivery's
	for _, d := range drift {
		path := listIndexes.ReplaceAllLiteralString(d.Path, "[]")
		known := func(d vendorjson.Drift) bool { return d.Kind == vendorjson.Value && d.Path == path }
		if len(r.Drift) == vendorjson.MaxDrifts || slices.ContainsFunc(r.Drift, known) {
			continue
		}
		sample := strconv.AppendQuote(nil, clean(d.Value, vendorjson.MaxSample))
		r.Drift = append(r.Drift, vendorjson.Drift{Kind: vendorjson.Value, Path: path, Sample: sample[:min(len(sample), vendorjson.MaxSample)]})
	}
}

// translateUnmapped makes the one event that carries the document. The vendor's envelope identifies it, if there is one and
// it fits.
func (s *Source) translateUnmapped(r *Reading) {
	if err := checkName(r.Event); err != nil {
		r.Fault = NewFault(BadEventName, fmt.Errorf("the event's name %w", err))
		return
	}
	if r.Fault = s.checkUndeclared(r.Document); r.Fault != nil {
		return
	}
	// What consumers parse must be JSON, and a byte order mark is not part of JSON.
	text := strings.TrimPrefix(string(r.Document), "\uFEFF")
	e := &eventv1.Event{
		Type:    UnmappedType,
		Subject: s.Connector.Name + "/" + r.Event,
		Data:    &eventv1.Event_Unmapped{Unmapped: &eventv1.Unmapped{Json: text}},
	}
	r.Translation, r.Unmapped = connectors.Translation{Events: []*eventv1.Event{e}}, true
	if envelope := s.Connector.Envelope; envelope != nil {
		m := envelope.New()
		// An envelope that does not fit is no fault: then the body is its own identity.
		if _, err := vendorjson.Unmarshal(r.Document, m); err == nil {
			r.Translation.Key, e.SubjectVersion = envelope.Identify(m)
		}
	}
}

// checkUndeclared checks a document that no message declares, or one whose message does not declare the field with the event's
// name. That field names one event.
func (s *Source) checkUndeclared(document []byte) *Fault {
	var declared []string
	if s.Connector.EventField != "" {
		declared = []string{s.Connector.EventField}
	}
	if err := vendorjson.Check(document, declared...); err != nil {
		return NewFault(Malformed, err)
	}
	return nil
}

// checkEvents checks what a connector made against its contract, and against what sinks accept as a key or a header.
func checkEvents(events []*eventv1.Event) *Fault {
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
