package signature

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// Two requests must not sign alike, or whoever has captured one has a signature of the other. What is signed is its values one
// after the other, so it must tell where each begins and ends: those before the body by the literal that follows them, those
// after it by the literal before, and what is left is the body. Without a body among them it is the last value that is left.
//
// That is about headers, which a sender fills as it likes. The time has one length for as long as it is fresh. The address
// (method, host, path and URL) is where the receiver is, and full of dots: one that had taken in a part of the body would
// lead elsewhere. Vendors do sign {url}{body}.

// errAmbiguous means that a value holds the literal that is to tell where it ends.
var errAmbiguous = fmt.Errorf("%w: a signed value holds the text that sets it apart from its neighbour", ErrMalformed)

// boundary tells where a value begins or ends.
type boundary struct {
	part int
	// literal stands after the value, or before it. Empty: the value is a URL, which begins with its scheme.
	literal []byte
	before  bool
}

// boundaries returns those that what is signed must keep to. It reports false if a
// value stands beside another and nothing tells where it ends.
func (t template) boundaries() (all []boundary, ok bool) {
	left := t.left()
	for i := range t {
		p := &t[i]
		switch {
		case i == left || !t.varies(i, left) || p.isTime():
		case p.isAddress():
			if i > left && p.name == "url" {
				all = append(all, boundary{part: i, before: true})
			}
		case i < left && t[i+1].name == "":
			all = append(all, boundary{part: i, literal: t[i+1].literal})
		case i > left && t[i-1].name == "":
			all = append(all, boundary{part: i, literal: t[i-1].literal, before: true})
		default:
			return nil, false
		}
	}
	return all, true
}

// isAddress reports whether the part is where the request went.
func (p *part) isAddress() bool {
	return p.function == "" && slices.Contains([]string{"method", "host", "path", "url"}, p.name)
}

// isTime reports whether the part is the time of signing, as it is in the request.
func (p *part) isTime() bool { return p.function == "" && p.name == "timestamp" }

// left returns the part that is left when all others are known: the body, else the last of those that vary in length. -1 if
// there is none.
func (t template) left() int {
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

// varies reports whether the length of part i is not known once all parts before it, and before the one that is left, are.
func (t template) varies(i, left int) bool {
	p := &t[i]
	if p.name == "" || p.function == "sha256" {
		return false
	}
	if p.function == "" {
		for j := range t[:min(i, left)] {
			if q := &t[j]; q.function == "len" && q.name == p.name && q.header == p.header {
				return false
			}
		}
	}
	return true
}

// unambiguous reports whether the parts of what is signed keep to their boundaries.
func (s *Scheme) unambiguous(message [][]byte) bool {
	for i := range s.boundaries {
		if b := &s.boundaries[i]; !b.holds(message[b.part]) {
			return false
		}
	}
	return true
}

// holds reports whether the value shows up once only: the end of one may look like the literal's beginning, too.
func (b *boundary) holds(value []byte) bool {
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
