// Package secret holds values that must not be printed: passwords, tokens and the keys of signatures.
package secret

import (
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

const redacted = "[redacted]"

// Value is a secret. Formatting, logging and encoding print a placeholder in its place. The zero Value is empty.
type Value struct {
	// A pointer, since fmt does not call the methods of an unexported field's value: there it prints an address.
	value *string
}

// New returns text as a Value.
func New(text string) Value { return Value{value: &text} }

// List returns texts as Values.
func List(texts ...string) []Value {
	all := make([]Value, 0, len(texts))
	for _, text := range texts {
		all = append(all, New(text))
	}
	return all
}

// Reveal returns the text itself, to compare or to send, never to print.
func (v Value) Reveal() string {
	if v.value == nil {
		return ""
	}
	return *v.value
}

// Reveal returns the texts of all values.
func Reveal(all []Value) []string {
	texts := make([]string, 0, len(all))
	for _, v := range all {
		texts = append(texts, v.Reveal())
	}
	return texts
}

// Equal reports whether both hold the same text. How long that takes tells nothing but the lengths.
func (v Value) Equal(other Value) bool {
	return subtle.ConstantTimeCompare([]byte(v.Reveal()), []byte(other.Reveal())) == 1
}

// String returns a placeholder.
func (v Value) String() string { return redacted }

// GoString returns a placeholder.
func (v Value) GoString() string { return redacted }

// Format writes a placeholder for each verb: fmt prints operands of a wrong verb without a call of String.
func (v Value) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue returns a placeholder.
func (v Value) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns a placeholder, in JSON too.
func (v Value) MarshalText() ([]byte, error) { return []byte(redacted), nil }
