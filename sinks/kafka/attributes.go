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
	// boolean: the type of the attribute is Boolean. All others are strings.
	boolean bool
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
		{header: "ce_specversion", value: specVersion},
		{header: "ce_id", value: h.ID},
		{header: "ce_type", value: h.Type},
		{header: "ce_source", value: h.Source},
		{header: "ce_subject", value: h.Subject},
		{header: "ce_time", value: formatTime(happened)},
		{header: "ce_connector", value: h.Connector},
		{header: "ce_vendorevent", value: h.VendorEvent},
		{header: "ce_subjectversion", value: h.SubjectVersion},
		{header: "ce_webhookid", value: h.WebhookID},
		{header: "ce_receivedtime", value: formatTime(h.ReceivedAt)},
		{header: "ce_supersedes", value: h.Supersedes},
		{header: "ce_stale", value: formatTrue(h.Stale), boolean: true},
	}
	return slices.DeleteFunc(all[:], func(a attribute) bool { return len(a.value) == 0 })
}

// formatTrue returns the canonical text of a true CloudEvents Boolean. An event that is not stale has no such attribute.
func formatTrue(b bool) []byte {
	if !b {
		return nil
	}
	return []byte("true")
}

func formatTime(t time.Time) []byte {
	if t.IsZero() {
		return nil
	}
	return t.AppendFormat(make([]byte, 0, len(time.RFC3339Nano)), time.RFC3339Nano)
}
