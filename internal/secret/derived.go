package secret

import "sync/atomic"

// Derived is something that is made of secrets, such as their digests, and that is made again when a text has changed. It is
// safe for concurrent use. A look at it costs an atomic read for each secret.
type Derived[T any] struct {
	values  []Value
	derive  func([]Entry) (T, error)
	current atomic.Pointer[derivation[T]]
}

// Entry is a secret with its text at one moment.
type Entry struct {
	Value Value
	// Text is not empty.
	Text string
}

// derivation has a derived value, and the texts that it was made of.
type derivation[T any] struct {
	texts []*string
	made  T
}

// Derive makes a Derived of the secrets that are not empty. It returns derive's error.
func Derive[T any](values []Value, derive func([]Entry) (T, error)) (*Derived[T], error) {
	d := &Derived[T]{values: values, derive: derive}
	next, err := d.next()
	d.current.Store(next)
	return d, err
}

// Get returns what derive made of the current texts. If derive cannot use them, Get returns what it made of the last ones that
// it could use.
func (d *Derived[T]) Get() T {
	current := d.current.Load()
	for i, v := range d.values {
		if c := v.current(); c != nil && c.text.Load() != current.texts[i] {
			next, err := d.next()
			if err != nil {
				next.made = current.made
			}
			// Of two that do this at the same time, the later text may lose. Then the next Get finds that.
			d.current.Store(next)
			return next.made
		}
	}
	return current.made
}

func (d *Derived[T]) next() (*derivation[T], error) {
	next := &derivation[T]{texts: make([]*string, len(d.values))}
	entries := make([]Entry, 0, len(d.values))
	for i, v := range d.values {
		c := v.current()
		if c == nil {
			continue
		}
		next.texts[i] = c.text.Load()
		if text := *next.texts[i]; text != "" {
			entries = append(entries, Entry{v, text})
		}
	}
	var err error
	next.made, err = d.derive(entries)
	return next, err
}
