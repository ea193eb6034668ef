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

// maxVerdicts bounds what a stream remembers about types. There are a few dozen.
const maxVerdicts = 1024

// filter chooses events. It belongs to one goroutine.
type filter struct {
	patterns []pattern
	sources  map[string]struct{}
	subjects map[string]struct{}
	verdicts map[string]bool // By type, as met.
}

// newFilter returns the filter that f describes. Its errors are for the client.
func newFilter(f *streamv1.Filter) (*filter, error) {
	c := &filter{sources: set(f.GetSources()), subjects: set(f.GetSubjects()), verdicts: make(map[string]bool)}
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

// passes reports whether an event is one of those chosen.
func (f *filter) passes(h *sinks.Header) bool {
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
	if verdict, ok := f.verdicts[string(kind)]; ok {
		return verdict
	}
	segments := strings.Split(string(kind), ".")
	verdict := slices.ContainsFunc(f.patterns, func(p pattern) bool { return p.matches(segments) })
	if len(f.verdicts) < maxVerdicts {
		f.verdicts[string(kind)] = verdict
	}
	return verdict
}

// hashFilter returns the same hash for filters that choose the same by the same entries, in whatever order.
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
	sum := sha256.Sum256(b)
	return [filterHashLen]byte(sum[:])
}
