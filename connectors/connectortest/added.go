package connectortest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// added are fields that no schema has, with values that JSON's grammar has. A comma follows each.
var added = []string{
	`"kit_added":"\ud83d",`,
	`"kit_added\ude00":{"\ud83d":["\ud83d\ud83d\ude00"]},`,
	`"kit_added":` + strings.Repeat("[", 90) + strings.Repeat("]", 90) + `,`,
	`"kit_added":{"a":1,"a":{"b":1,"b":2}},"kit_added":2,`,
	`"kit_added":[1e999999,-1E-999999,"\u0000",""],"":null,`,
}

// manyValues is a field like those of added, with more values than a document may declare.
var manyValues = `"kit_added":[0` + strings.Repeat(",0", 100_000) + `],`

// checkAdded adds fields to every object of every document.
func checkAdded(k *kit) error {
	many := manyValues
	return k.each(func(d document) error {
		before := k.run(d)
		text := k.text(d)
		if before.fault != nil || !wellFormed(text) {
			return nil //nolint:nilerr // a document with a fault of its own is not this rule's
		}
		all := holes(text)
		err := k.checkSame(d, before, withAll(text, all, strings.Join(added, "")))
		if err == nil && many != "" && len(all) > 0 {
			err = k.checkSame(d, before, withAll(text, all[:1], many))
			many = "" // one document is enough
		}
		return err
	})
}

// checkSame checks that a document with another text has the result before.
func (k *kit) checkSame(d document, before result, text []byte) error {
	after := k.run(d.of(text))
	before.translation.Drift, after.translation.Drift = nil, nil // a value that is left out may have the field in it
	switch {
	case after.fault != nil:
		return fmt.Errorf("with added fields: %w", after.fault)
	case before.unmapped() && after.unmapped(): // the event has the text
		return nil
	case !same(before.translation, after.translation):
		return fmt.Errorf("with added fields it becomes %v, key %v", after.translation.Events, after.translation.Key)
	}
	return nil
}

// checkAddedOnce is checkAdded for one field in one object, which seed chooses.
func (k *kit) checkAddedOnce(d document, before result, seed uint32) error {
	text := k.text(d)
	all := holes(text)
	if before.fault != nil || len(all) == 0 || !wellFormed(text) {
		return nil //nolint:nilerr // as in checkAdded
	}
	at := int(seed) % len(all)
	return k.checkSame(d, before, withAll(text, all[at:at+1], added[int(seed>>16)%len(added)]))
}

// holes returns the places after each brace that opens an object with fields. The text must be JSON.
func holes(text []byte) (at []int) {
	quoted := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == '{' && !quoted && !bytes.HasPrefix(bytes.TrimLeft(text[i+1:], " \t\r\n"), []byte("}")):
			at = append(at, i+1)
		}
	}
	return at
}

// withAll returns text with a part inserted at each place.
func withAll(text []byte, at []int, part string) []byte {
	var out []byte
	last := 0
	for _, i := range at {
		out = append(append(out, text[last:i]...), part...)
		last = i
	}
	return slices.Concat(out, text[last:])
}
