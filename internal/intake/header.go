package intake

import (
	"strconv"
	"strings"

	"github.com/webhook-bridge/bridge/connectors"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
)

// HeaderOf returns the value of a kept header, whose name may be in any case. One that came several times is a list, as HTTP
// has it: the values with commas between them. Empty if it did not come.
func HeaderOf(headers []*journalv1.Header, name string) string {
	if name == "" {
		return ""
	}
	value, found := "", false
	for _, h := range headers {
		switch {
		case !strings.EqualFold(h.GetName(), name):
		case found:
			value += ", " + h.GetValue()
		default:
			value, found = h.GetValue(), true
		}
	}
	return value
}

// DeliveryKey is the key that the connector's KeyHeader makes of the kept headers, for the webhook at element of an array,
// counted from 1, or for a whole body, which is 0. ok is false if there is none, or none that is usable: an unusable name of
// an event is an unusable id too.
func DeliveryKey(c *connectors.Connector, headers []*journalv1.Header, element int) (key connectors.Key, ok bool) {
	value := HeaderOf(headers, c.KeyHeader)
	if value == "" || checkName(value) != nil {
		return connectors.Key{}, false
	}
	if element == 0 {
		return connectors.NaturalKey("header", value), true
	}
	return connectors.NaturalKey("header", value, strconv.Itoa(element)), true
}
