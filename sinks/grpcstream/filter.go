package grpcstream

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
)

// maxVerdicts bounds what a stream remembers about types. There are a few dozen.
const maxVerdicts = 1024

// Field numbers of bridge.event.v1.Event.
const (
	eventType    protowire.Number = 2
	eventSource  protowire.Number = 3
	eventSubject protowire.Number = 6
)

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

// passes reports whether an event, in wire format, is one of those chosen.
func (f *filter) passes(encoded []byte) bool {
	if len(f.patterns) == 0 && len(f.sources) == 0 && len(f.subjects) == 0 {
		return true
	}
	kind, source, subject := attributes(encoded)
	return among(f.sources, source) && among(f.subjects, subject) && f.passesType(kind)
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

// attributes picks what filters look at out of an event in wire format. What is not there is empty; so is what follows a
// fault in the encoding.
func attributes(encoded []byte) (kind, source, subject []byte) {
	for len(encoded) > 0 {
		number, wire, n := protowire.ConsumeTag(encoded)
		if n < 0 {
			return kind, source, subject
		}
		size := protowire.ConsumeFieldValue(number, wire, encoded[n:])
		if size < 0 {
			return kind, source, subject
		}
		value := encoded[n : n+size]
		encoded = encoded[n+size:]
		if wire != protowire.BytesType {
			continue
		}
		switch number {
		case eventType:
			kind, _ = protowire.ConsumeBytes(value)
		case eventSource:
			source, _ = protowire.ConsumeBytes(value)
		case eventSubject:
			subject, _ = protowire.ConsumeBytes(value)
		}
	}
	return kind, source, subject
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
