package vendorjson

import (
	"bytes"
	"hash/maphash"
)

// seed makes the hashes of names unpredictable to those who send them.
var seed = maphash.MakeSeed()

// fewKeys is how many names of an object are compared one by one before they are indexed.
const fewKeys = 8

// keySet finds duplicate names in time linear to the document. It holds the names of the objects that are open and is used
// as a stack: an object adds names only while it is the innermost one.
type keySet struct {
	refs []keyRef
	// slots hold, for each object with more than fewKeys names, a hash table of a power of two of slots: the number of the
	// name within its object, counted from one, or zero.
	slots []uint32
}

// keyRef is a name in the text, between its quotes.
type keyRef struct {
	hash       uint64
	start, end uint32
}

// scope is an object's part of a keySet.
type scope struct {
	refs, slots int
	// size of the hash table; 0 until there is one.
	size int
}

func (s *keySet) reset() {
	s.refs, s.slots = s.refs[:0], s.slots[:0]
}

func (s *keySet) shrink() {
	if cap(s.refs)*16 > keepBytes {
		s.refs = nil
	}
	if cap(s.slots)*4 > keepBytes {
		s.slots = nil
	}
}

func (s *keySet) open() scope {
	return scope{refs: len(s.refs), slots: len(s.slots)}
}

func (s *keySet) close(o scope) {
	s.refs, s.slots = s.refs[:o.refs], s.slots[:o.slots]
}

// add notes a name of an object, which stands at at and reads text; it returns false if the object has it already.
func (s *keySet) add(o *scope, data []byte, at span, text []byte) bool {
	ref := keyRef{hash: maphash.Bytes(seed, text), start: uint32(at.start), end: uint32(at.end)}
	mine := s.refs[o.refs:]
	if o.size == 0 {
		for _, r := range mine {
			if r.hash == ref.hash && sameKey(data, r, text) {
				return false
			}
		}
		s.refs = append(s.refs, ref)
		if len(mine)+1 > fewKeys {
			s.index(o, 4*fewKeys)
		}
		return true
	}
	slots := s.slots[o.slots : o.slots+o.size]
	i := int(ref.hash) & (o.size - 1)
	for ; slots[i] != 0; i = (i + 1) & (o.size - 1) {
		if r := mine[slots[i]-1]; r.hash == ref.hash && sameKey(data, r, text) {
			return false
		}
	}
	s.refs = append(s.refs, ref)
	slots[i] = uint32(len(mine) + 1)
	if 2*(len(mine)+1) > o.size {
		s.index(o, 4*o.size)
	}
	return true
}

// index builds the hash table of an object anew.
func (s *keySet) index(o *scope, size int) {
	s.slots = append(s.slots[:o.slots], make([]uint32, size)...)
	o.size = size
	slots := s.slots[o.slots:]
	for n, r := range s.refs[o.refs:] {
		i := int(r.hash) & (size - 1)
		for slots[i] != 0 {
			i = (i + 1) & (size - 1)
		}
		slots[i] = uint32(n + 1)
	}
}

// sameKey compares a name in the text with one without escapes.
func sameKey(data []byte, r keyRef, text []byte) bool {
	raw := data[r.start:r.end]
	if bytes.IndexByte(raw, '\\') < 0 {
		return bytes.Equal(raw, text)
	}
	plain, _ := unescape(nil, raw)
	return bytes.Equal(plain, text)
}
