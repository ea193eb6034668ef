package signature

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// Two different requests must not sign the same bytes; otherwise a stranger who captured one has a signature of the other. The
// signed bytes are a sequence of values, so the receiver must be able to tell where each value begins and ends. A value before
// the body ends at the literal after it. A value after the body begins at the literal before it. The remainder is the body.
// Without a body, the remainder is the last value.
//
// This concerns headers, which a sender may fill freely. A time has a fixed length while it is current. The address (method,
// host, path and URL) is the receiver's own, with many dots in it: an address with a part of the body in it would lead to
// another place. Some vendors sign {url}{body}.

// errAmbiguous means that a value contains the literal that should mark its end.
var errAmbiguous = fmt.Errorf("%w: a signed value holds the text that sets it apart from its neighbour", ErrMalformed)

// boundary marks where a value begins or ends.
type boundary struct {
	part int
	// literal is the text after the value, or before it. If it is empty, the value is a URL, which begins with its scheme.
	literal []byte
	before  bool
}

// boundaries returns the boundaries that the signed values must keep. It returns false if two values are adjacent and nothing
// marks their boundary.
func (t template) boundaries() (all []boundary, ok bool) {
	remainder := t.remainder()
	for i := range t {
		p := &t[i]
		switch {
		case i == remainder || !t.varies(i, remainder) || p.isTime():
		case p.isAddress():
			if i > remainder && p.name == "url" {
				all = append(all, boundary{part: i, before: true})
			}
		case i < remainder && t[i+1].name == "":
			all = append(all, boundary{part: i, literal: t[i+1].literal})
		case i > remainder && t[i-1].name == "":
			all = append(all, boundary{part: i, literal: t[i-1].literal, before: true})
		default:
			return nil, false
		}
	}
	return all, true
}

// isAddress reports whether the part is a part of the request's address.
func (p *part) isAddress() bool {
	return p.function == "" && slices.Contains([]string{"method", "host", "path", "url"}, p.name)
}

// isTime reports whether the part is the time of signing, as written in the request.
func (p *part) isTime() bool { return p.function == "" && p.name == "timestamp" }

// remainder returns the part whose extent follows from all others: the body, or otherwise the last part with a variable length.
// -1 if there is none.
func (t template) remainder() int {
	last := -1
	for i := range t {
		if !t.varies(i, len(t)) {
			continue
		}
		if last = i; t[i].name == "body" && t[i].function == "" {
			break
		}
	}
	return last
}

// varies reports whether the length of part i is still unknown when all parts before it, and before the remainder, are known.
func (t template) varies(i, remainder int) bool {
	p := &t[i]
	if p.name == "" || p.function == "sha256" {
		return false
	}
	if p.function == "" {
		for j := range t[:min(i, remainder)] {
			if q := &t[j]; q.function == "len" && q.name == p.name && q.header == p.header {
				return false
			}
		}
	}
	return true
}

// isUnambiguous reports whether the signed values keep to their boundaries.
func (s *Scheme) isUnambiguous(message [][]byte) bool {
	for i := range s.boundaries {
		if b := &s.boundaries[i]; !b.isKept(message[b.part]) {
			return false
		}
	}
	return true
}

// isKept reports whether the literal occurs once only. The end of a value may also look like the beginning of the literal.
func (b *boundary) isKept(value []byte) bool {
	switch {
	case len(b.literal) == 0:
		url := string(value)
		return (strings.HasPrefix(url, "https://") || strings.HasPrefix(url, "http://")) && strings.Count(url, "://") == 1
	case b.before:
		return bytes.LastIndex(bytes.Join([][]byte{b.literal, value}, nil), b.literal) == 0
	default:
		return bytes.Index(bytes.Join([][]byte{value, b.literal}, nil), b.literal) == len(value)
	}
}
