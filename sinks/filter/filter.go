// Package filter chooses events: it applies a bridge.stream.v1.Filter to the records of a log.
//
// Most filters need only the header of a record, which was read when the log read the event. A CEL expression needs the decoded
// event. It is applied last, so an event that the rest of the filter refuses is not decoded, and a filter without an expression
// decodes nothing.
package filter

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/pattern"
)

// HashLen is the length of a filter's hash.
const HashLen = 7

// maxKnownTypes bounds the number of types that a filter remembers. Bridge has a few dozen.
const maxKnownTypes = 1024

// Filter chooses events. It is safe for concurrent use.
type Filter struct {
	patterns  []pattern.Pattern
	sources   map[string]struct{}
	subjects  map[string]struct{}
	stale     *bool
	known     atomic.Pointer[map[string]bool] // By type: whether it matches a pattern. A map never changes.
	cel       *expression                     // Nil without one.
	canonical []byte
	hash      [HashLen]byte
}

// New returns the filter that f describes. Nil passes all events. Failed counts the events that do not pass because the CEL
// expression fails for them; it may be nil. The errors are a [*FieldError] for the client, with the place in the field.
func New(f *streamv1.Filter, failed *atomic.Uint64) (*Filter, error) {
	c := &Filter{sources: set(f.GetSources()), subjects: set(f.GetSubjects()), canonical: canonical(f)}
	c.hash = hash(c.canonical)
	c.known.Store(&map[string]bool{})
	if f != nil {
		c.stale = f.Stale
	}
	for i, text := range f.GetTypes() {
		p, err := pattern.Parse(text)
		if err != nil {
			return nil, &FieldError{fmt.Sprintf("types[%d]", i), err}
		}
		c.patterns = append(c.patterns, p)
	}
	if text := f.GetCel(); text != "" {
		var err error
		if c.cel, err = compile(text, failed); err != nil {
			return nil, &FieldError{"cel", err}
		}
	}
	return c, nil
}

// FieldError is the error of a field of a filter.
type FieldError struct {
	// Field is such as "types[0]" or "cel".
	Field string
	Err   error
}

func (e *FieldError) Error() string { return "filter." + e.Field + ": " + e.Err.Error() }
func (e *FieldError) Unwrap() error { return e.Err }

func set(values []string) map[string]struct{} {
	s := make(map[string]struct{}, len(values))
	for _, v := range values {
		s[v] = struct{}{}
	}
	return s
}

// Passes reports whether the filter chooses an event.
func (f *Filter) Passes(r *sinks.Record) bool { return f.PassesHeader(&r.Header) && f.PassesData(r) }

// Decide behaves like [Filter.Passes], except that it returns an error if the expression fails for the event, and counts nothing.
// The error shows nothing of the event.
func (f *Filter) Decide(r *sinks.Record) (bool, error) {
	passes := f.PassesHeader(&r.Header)
	if !passes || f.cel == nil {
		return passes, nil
	}
	return f.cel.decide(r)
}

// PassesHeader reports whether all of the filter except the CEL expression chooses an event.
func (f *Filter) PassesHeader(h *sinks.Header) bool {
	if f.stale != nil && *f.stale != h.Stale {
		return false
	}
	return among(f.sources, h.Source) && among(f.subjects, h.Subject) && f.passesType(h.Type)
}

// PassesData reports whether the CEL expression chooses an event. Without one it does.
func (f *Filter) PassesData(r *sinks.Record) bool { return f.cel == nil || f.cel.passes(r) }

// NeedsData reports whether the filter has a CEL expression, which may look at all parts of an event.
func (f *Filter) NeedsData() bool { return f.cel != nil }

// Canonical returns an encoding of the filter. Two filters have the same one if they have the same entries, in any order. Nil and
// the empty filter have the same. It must not be changed.
func (f *Filter) Canonical() []byte { return f.canonical }

// Hash returns a hash of [Filter.Canonical], for tokens.
func (f *Filter) Hash() [HashLen]byte { return f.hash }

func among(s map[string]struct{}, value []byte) bool {
	if len(s) == 0 {
		return true
	}
	_, ok := s[string(value)]
	return ok
}

func (f *Filter) passesType(kind []byte) bool {
	if len(f.patterns) == 0 {
		return true
	}
	known := *f.known.Load()
	if passes, ok := known[string(kind)]; ok {
		return passes
	}
	segments := strings.Split(string(kind), ".")
	passes := slices.ContainsFunc(f.patterns, func(p pattern.Pattern) bool { return p.Matches(segments) })
	if len(known) < maxKnownTypes {
		// Another goroutine may do the same and overwrite this. Then the type is matched once more.
		known = maps.Clone(known)
		known[string(kind)] = passes
		f.known.Store(&known)
	}
	return passes
}

// Hash returns the hash that a filter has after New. It does not check the filter.
func Hash(f *streamv1.Filter) [HashLen]byte { return hash(canonical(f)) }

func hash(canonical []byte) [HashLen]byte {
	sum := sha256.Sum256(canonical)
	return [HashLen]byte(sum[:])
}

// canonical encodes a filter. Tokens have a hash of this, so the encoding of a filter without the later fields never changes.
func canonical(f *streamv1.Filter) []byte {
	var b []byte
	for _, list := range [][]string{f.GetTypes(), f.GetSources(), f.GetSubjects()} {
		list = slices.Clone(list)
		slices.Sort(list)
		list = slices.Compact(list)
		b = binary.AppendUvarint(b, uint64(len(list)))
		for _, entry := range list {
			b = binary.AppendUvarint(b, uint64(len(entry)))
			b = append(b, entry...)
		}
	}
	switch {
	case f == nil || f.Stale == nil:
	case f.GetStale():
		b = append(b, 1)
	default:
		b = append(b, 0)
	}
	if f.GetCel() != "" {
		b = append(append(b, 2), f.GetCel()...)
	}
	return b
}
