package vendorjson

import (
	"bytes"
	"hash/maphash"
	"math/bits"
	"slices"
	"strconv"
	"unicode"
	"unicode/utf8"

	optionsv1 "github.com/webhook-bridge/bridge/gen/bridge/options/v1"
)

// maxName is the largest part of a name in a path, in bytes.
const maxName = 64

// seed makes the hashes of names unpredictable for senders.
var seed = maphash.MakeSeed()

// frame is an open message. Hashes distinguish paths, so that a path is written once for a report and not once for a value.
type frame struct {
	// name of the field that holds the message; the outermost has none.
	name    string
	element bool
	hash    uint64
}

const rootHash = 0x9E3779B97F4A7C15

func (d *decoder) pushFrame(t target) {
	d.frames = append(d.frames, frame{name: t.name, element: t.element, hash: d.pathHash(t.hash, t.element)})
}

// pathHash returns the hash of the path of a field of the innermost message.
func (d *decoder) pathHash(name uint64, element bool) uint64 {
	h := mix(d.frames[len(d.frames)-1].hash, name)
	if element {
		h = mix(h, 1)
	}
	return h
}

func mix(h, v uint64) uint64 {
	h = (h ^ v) * 0x9E3779B97F4A7C15
	return h ^ h>>29
}

// reportType reports the value that ends at the cursor, unless the field expects its form.
func (d *decoder) reportType(t target, form optionsv1.JsonForm) {
	if form != optionsv1.JsonForm_JSON_FORM_UNSPECIFIED && t.accepts>>form&1 != 0 {
		return
	}
	if d.isNew(Type, d.pathHash(t.hash, t.element)) {
		d.report(Type, t.name, t.element, t.start)
	}
}

// reportUnknown reports the field with the name at at, and the value from start to the cursor.
func (d *decoder) reportUnknown(at span, start int) {
	if len(d.drifts) == MaxDrifts {
		return
	}
	var memory [maxName + utf8.UTFMax]byte
	name := shownName(memory[:0], d.data[at.start:at.end])
	if d.isNew(Unknown, d.pathHash(maphash.Bytes(seed, name), false)) {
		d.report(Unknown, string(name), false, start)
	}
}

// reportAbsent reports the fields marked `always` that the message just read does not have, according to seen. A field with
// null was reported before.
func (d *decoder) reportAbsent(t *table, seen []uint64) {
	for word, always := range t.always {
		for absent := always &^ seen[word]; absent != 0; absent &= absent - 1 {
			d.reportMissing(&t.fields[word<<6+bits.TrailingZeros64(absent)])
		}
	}
}

func (d *decoder) reportMissing(f *field) {
	if d.isNew(Missing, d.pathHash(f.hash, false)) {
		d.drifts = append(d.drifts, Drift{Kind: Missing, Path: d.pathOf(f.name, false)})
	}
}

// isNew reports whether a drift is new, and records it.
func (d *decoder) isNew(kind Kind, path uint64) bool {
	n := len(d.drifts)
	h := mix(path, uint64(kind))
	if n == MaxDrifts || slices.Contains(d.reported[:n], h) {
		return false
	}
	d.reported[n] = h
	return true
}

func (d *decoder) report(kind Kind, name string, element bool, start int) {
	sample := bytes.Clone(cut(d.data[start:d.pos], MaxSample))
	d.drifts = append(d.drifts, Drift{Kind: kind, Path: d.pathOf(name, element), Sample: sample})
}

// pathOf returns the path of a field of the innermost message.
func (d *decoder) pathOf(name string, element bool) string {
	path := []byte{'$'}
	for _, f := range d.frames[1:] {
		path = appendStep(path, f.name, f.element)
	}
	return string(appendStep(path, name, element))
}

func appendStep(path []byte, name string, element bool) []byte {
	path = appendName(path, name)
	if element {
		path = append(path, "[]"...)
	}
	return path
}

// appendName appends ".name", or `["na.me"]` if the name has special characters.
func appendName(path []byte, name string) []byte {
	for _, r := range name {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' && r != '-' && r != '$' && r != '@' {
			path = append(path, '[')
			path = strconv.AppendQuote(path, name)
			return append(path, ']')
		}
	}
	if name == "" {
		return append(path, `[""]`...)
	}
	return append(append(path, '.'), name...)
}

// cut returns at most the first n bytes of b, without a part of a character.
func cut(b []byte, n int) []byte {
	if len(b) <= n {
		return b
	}
	for n > 0 && !utf8.RuneStart(b[n]) {
		n--
	}
	return b[:n]
}
