package cli

import (
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/sample"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/intake"
)

// vendorSample is a webhook of a connector's testdata.
type vendorSample struct {
	sample.Webhook
	connector *connectors.Connector
	// event is the vendor's name for it.
	event string
}

// samplesOf returns the sample of each of the connector's events that has one: the good one that is named after it, see
// [sample.NameFor]. They are in the order of the vendor's service.
func samplesOf(c *connectors.Connector) ([]vendorSample, error) {
	events, err := eventsOf(c)
	if err != nil {
		return nil, err
	}
	webhooks, err := sample.Read(c.Samples)
	if err != nil {
		return nil, fmt.Errorf("connector %s: %w", c.Name, err)
	}
	named := make(map[string]sample.Webhook, len(webhooks))
	for _, w := range webhooks {
		if event := eventOf(c, w); !w.Broken && !w.Ping && w.Name == sample.NameFor(event) {
			named[event] = w
		}
	}
	var out []vendorSample
	for _, e := range events {
		if w, ok := named[e.Name]; ok {
			out = append(out, vendorSample{w, c, e.Name})
		}
	}
	return out, nil
}

// sampleNamed returns the connector's sample of that name, of any kind.
func sampleNamed(c *connectors.Connector, name string) (vendorSample, error) {
	webhooks, err := sample.Read(c.Samples)
	if err != nil {
		return vendorSample{}, fmt.Errorf("connector %s: %w", c.Name, err)
	}
	for _, w := range webhooks {
		if w.Name == name {
			return vendorSample{w, c, eventOf(c, w)}, nil
		}
	}
	return vendorSample{}, fmt.Errorf("connector %s has no sample %s", c.Name, name)
}

// eventsOf returns the connector's events in the order of the vendor's service.
func eventsOf(c *connectors.Connector) ([]connectors.Event, error) {
	events, err := c.Events()
	if err != nil {
		return nil, err
	}
	return slices.SortedFunc(maps.Values(events), func(a, b connectors.Event) int {
		return a.Method.Index() - b.Method.Index()
	}), nil
}

// eventOf returns the name of a sample's event; the likeliest where the sample is broken.
func eventOf(c *connectors.Connector, w sample.Webhook) string {
	encoding := journalv1.Encoding_ENCODING_JSON
	if w.ContentType == sample.Form {
		encoding = journalv1.Encoding_ENCODING_FORM
	}
	body, fault := intake.Document(c, encoding, w.Body)
	if fault != nil {
		return w.Event
	}
	event, _ := intake.EventName(c, intake.Names{Path: w.Event, Header: http.Header(w.Header).Get(c.EventHeader)}, body)
	return event
}

// named returns the event's name if the body does not say it.
func (s vendorSample) named() string {
	if s.connector.EventField != "" {
		return s.Event
	}
	return s.event
}

// canonical returns how many canonical events the sample becomes.
func (s vendorSample) canonical() int {
	events, err := s.CanonicalEvents()
	if err != nil {
		return 0
	}
	return len(events)
}
