package grpcstream

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/sinks"
)

// maxKnownTypes bounds the number of types that a filter remembers. Bridge has a few dozen.
const maxKnownTypes = 1024

// filter chooses events. It belongs to one goroutine.
type filter struct {
	patterns []pattern
	sources  map[string]struct{}
	subjects map[string]struct{}
	stale    *bool
	passing  map[string]bool // By type: whether it matches a pattern.
}

// newFilter returns the filter that f describes. Its errors are for the client.
func newFilter(f *streamv1.Filter) (*filter, error) {
	c := &filter{sources: set(f.GetSources()), subjects: set(f.GetSubjects()), passing: make(map[string]bool)}
	if f != nil {
		c.stale = f.Stale
	}
	for i, text := range f.GetTypes() {
		p, err := parsePattern(text)
		if err != nil {
			return nil, fmt.Errorf("filter.types[%d]: %w", i, err)
		}
		c.patterns = append(c.patterns, p)
	}
	return c, nil
}

func set(values []string) map[string]struct{} {
	s := make(map[string]struct{}, len(values))
	for _, v := range values {
		s[v] = struct{}{}
	}
	return s
}

// passes reports whether the filter chooses an event.
func (f *filter) passes(h *sinks.Header) bool {
	if f.stale != nil && *f.stale != h.Stale {
		return false
	}
	return among(f.sources, h.Source) && among(f.subjects, h.Subject) && f.passesType(h.Type)
}

func among(s map[string]struct{}, value []byte) bool {
	if len(s) == 0 {
		return true
	}
	_, ok := s[string(value)]
	return ok
}

func (f *filter) passesType(kind []byte) bool {
	if len(f.patterns) == 0 {
		return true
	}
	if passes, ok := f.passing[string(kind)]; ok {
		return passes
	}
	segments := strings.Split(string(kind), ".")
	passes := slices.ContainsFunc(f.patterns, func(p pattern) bool { return p.matches(segments) })
	if len(f.passing) < maxKnownTypes {
		f.passing[string(kind)] = passes
	}
	return passes
}

// hashFilter returns a hash of a filter. The order of the entries makes no difference.
func hashFilter(f *streamv1.Filter) [filterHashLen]byte {
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
	case f == nil || f.Stale == nil: // the hash that the filter had before there was this choice
	case f.GetStale():
		b = append(b, 1)
	default:
		b = append(b, 0)
	}
	sum := sha256.Sum256(b)
	return [filterHashLen]byte(sum[:])
}
