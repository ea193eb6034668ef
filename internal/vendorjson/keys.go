package vendorjson

import (
	"bytes"
	"hash/maphash"
)

// seed makes the hashes of names unpredictable for senders.
var seed = maphash.MakeSeed()

// fewKeys is the number of names of an object that are compared one by one before they are indexed.
const fewKeys = 8

// keySet finds duplicate names, in time linear in the size of the document. It has the names of the open objects, as a stack:
// only the innermost object adds names.
type keySet struct {
	refs []keyRef
	// slots has, for each object with more than fewKeys names, a hash table with a power of two of slots: the number of the name
	// within its object, from one on, or zero.
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

// add adds the name of an object, at at with that text. It returns false if the object already has the name.
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

// index rebuilds the hash table of an object.
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
