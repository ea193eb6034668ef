// Package secret holds values that must not be printed: passwords, tokens and the keys of signatures.
//
// A [Value] may get a new text while the program runs, because the file that holds it has changed. All copies of a Value share
// the text. When a whole configuration is read again, its secrets are new Values: an old one that stays in use is told to [Value.Become] its
// successor. Code that prepares something from secrets, such as digests, keeps it in a [Derived], which follows the texts. A Value
// also remembers when it was used last, so that an old secret can be retired.
package secret

import (
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"
)

const redacted = "[redacted]"

// Value is a secret. Formatting, logging and encoding print a placeholder in its place. The zero Value is empty and stays
// empty. A Value is safe for concurrent use.
type Value struct {
	// A pointer, since fmt does not call the methods of an unexported field's value: there it prints an address.
	cell *cell
}

// cell is shared by all copies of a Value.
type cell struct {
	text atomic.Pointer[string]
	// used is when it was used last, in Unix seconds. 0 is never.
	used     atomic.Int64
	refused  atomic.Bool
	place    string
	fromFile bool
	// next is the cell of the Value that this one has become, or nil.
	next atomic.Pointer[cell]
}

// current returns the cell that counts, or nil. It remembers it, so that the chain stays short.
func (v Value) current() *cell {
	if v.cell == nil {
		return nil
	}
	last := v.cell
	for next := last.next.Load(); next != nil; next = last.next.Load() {
		last = next
	}
	if first := v.cell.next.Load(); first != nil && first != last {
		v.cell.next.Store(last)
	}
	return last
}

// New returns text as a Value.
func New(text string) Value { return At("", text, false) }

// At returns text as a Value that stands at a place in the configuration, such as "access.tokens[0]". fromFile says that a file
// holds the text, so that it may change.
func At(place, text string, fromFile bool) Value {
	v := Value{&cell{place: place, fromFile: fromFile}}
	v.cell.text.Store(&text)
	return v
}

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
	c := v.current()
	if c == nil {
		return ""
	}
	return *c.text.Load()
}

// Reveal returns the texts of all values that are not empty.
func Reveal(all []Value) []string {
	texts := make([]string, 0, len(all))
	for _, v := range all {
		if text := v.Reveal(); text != "" {
			texts = append(texts, text)
		}
	}
	return texts
}

// Place returns where the value stands in the configuration, or "".
func (v Value) Place() string {
	c := v.current()
	if c == nil {
		return ""
	}
	return c.place
}

// FromFile reports whether a file holds the text.
func (v Value) FromFile() bool {
	c := v.current()
	return c != nil && c.fromFile
}

// Replace sets the text. The new text was not used yet.
func (v Value) Replace(text string) {
	c := v.current()
	c.text.Store(&text)
	c.used.Store(0)
}

// Become makes v, and all its copies, stand for next from now on: they have its text, its place and its use. A next with the same text has been
// used when v was. Nothing happens if v stands for next already.
func (v Value) Become(next Value) {
	old, successor := v.current(), next.current()
	if old == nil || successor == nil || old == successor {
		return
	}
	if *old.text.Load() == *successor.text.Load() {
		successor.used.Store(max(successor.used.Load(), old.used.Load()))
	}
	old.next.Store(successor)
}

// Use records a use of the secret. It is cheap: the time counts in seconds.
func (v Value) Use(now time.Time) {
	c := v.current()
	if c == nil {
		return
	}
	if s := now.Unix(); c.used.Load() < s {
		c.used.Store(s)
	}
}

// LastUsed returns when the text was used last, to the second. It returns the zero time if it was not.
func (v Value) LastUsed() time.Time {
	c := v.current()
	if c == nil || c.used.Load() == 0 {
		return time.Time{}
	}
	return time.Unix(c.used.Load(), 0)
}

// SetRefused records whether the file holds a text that was refused, so that the old one stays.
func (v Value) SetRefused(refused bool) { v.current().refused.Store(refused) }

// Refused reports whether the file holds a text that was refused.
func (v Value) Refused() bool {
	c := v.current()
	return c != nil && c.refused.Load()
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
