package cloudevents

import (
	"strings"
)

// Headers are the names of the attributes in a binding that carries each one in a header of its own: a prefix and the attribute's name.
type Headers [nameCount]string

// NewHeaders returns the names with a prefix, such as "ce_" in Kafka, and "ce-" in HTTP and NATS.
func NewHeaders(prefix string) *Headers {
	h := &Headers{}
	for i := range h {
		h[i] = prefix + names[i]
	}
	return h
}

// Of returns the name of an attribute's header.
func (h *Headers) Of(a Attribute) string { return h[a.name] }

// HeaderValue returns a value as the bindings for HTTP and NATS write it in a header: printable ASCII as it is, except the space, the
// double quote and the percent sign, and each other character as the percent-encoded bytes of its UTF-8. Kafka and AMQP take UTF-8.
func HeaderValue(value []byte) string {
	var out strings.Builder
	out.Grow(len(value))
	for _, c := range value {
		if c > ' ' && c < 0x7f && c != '"' && c != '%' {
			out.WriteByte(c)
			continue
		}
		const digits = "0123456789ABCDEF"
		out.WriteByte('%')
		out.WriteByte(digits[c>>4])
		out.WriteByte(digits[c&15])
	}
	return out.String()
}
