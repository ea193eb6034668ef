package config

import (
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

const redacted = "[redacted]"

// Secret is a value that no formatting, logging or encoding prints. The zero Secret is empty.
type Secret struct {
	// A pointer, since fmt does not call the methods of what lies in unexported fields: there it prints an address.
	value *string
}

// NewSecret returns value as a Secret.
func NewSecret(value string) Secret { return Secret{value: &value} }

// Reveal returns the value itself, to compare or to send, never to print.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// Equal reports in constant time, lengths apart, whether both hold the same value.
func (s Secret) Equal(other Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(other.Reveal())) == 1
}

// String returns a placeholder.
func (s Secret) String() string { return redacted }

// GoString returns a placeholder.
func (s Secret) GoString() string { return redacted }

// Format writes a placeholder whatever the verb: fmt prints operands of a wrong verb without asking String.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue returns a placeholder.
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns a placeholder, in JSON too.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
