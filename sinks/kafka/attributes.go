package kafka

import (
	"slices"
	"strings"
	"time"

	"github.com/webhook-bridge/bridge/sinks"
)

// attribute is one of CloudEvents 1.0, or an extension.
type attribute struct {
	header string // Its name in Kafka's binding: "ce_" and its own.
	value  []byte
}

func (a attribute) name() string { return strings.TrimPrefix(a.header, "ce_") }

var specVersion = []byte("1.0")

// attributes returns the attributes that the event has.
func attributes(h *sinks.Header) []attribute {
	// CloudEvents' time is when it happened, as the vendor says, or else when the webhook was received.
	happened := h.OccurredAt
	if happened.IsZero() {
		happened = h.ReceivedAt
	}
	all := [...]attribute{
		{"ce_specversion", specVersion},
		{"ce_id", h.ID},
		{"ce_type", h.Type},
		{"ce_source", h.Source},
		{"ce_subject", h.Subject},
		{"ce_time", formatTime(happened)},
		{"ce_connector", h.Connector},
		{"ce_vendorevent", h.VendorEvent},
		{"ce_subjectversion", h.SubjectVersion},
		{"ce_webhookid", h.WebhookID},
		{"ce_receivedtime", formatTime(h.ReceivedAt)},
		{"ce_supersedes", h.Supersedes},
	}
	return slices.DeleteFunc(all[:], func(a attribute) bool { return len(a.value) == 0 })
}

func formatTime(t time.Time) []byte {
	if t.IsZero() {
		return nil
	}
	return t.AppendFormat(make([]byte, 0, len(time.RFC3339Nano)), time.RFC3339Nano)
}
