package vendorjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// part is a field that a vendor might add: a name, as it stands between its quotes, and a value.
type part struct{ name, value string }

func (p part) String() string { return fmt.Sprintf("%.40q: %.60s", p.name, p.value) }

// small reports whether many documents with the part take little time.
func (p part) small() bool { return len(p.name)+len(p.value) < 4096 }

// deepValue is a value nested n deep, in objects and lists by turns.
func deepValue(n int) string {
	return strings.Repeat(`[{"a":`, n/2) + "1" + strings.Repeat("}]", n/2)
}

// readable has parts that RFC 8259's grammar has.
var readable = []part{
	{"x", "null"},
	{"x", `"\ud83d"`},
	{"x", `"\ude00\ud83d"`},
	{"x", `"\uD83D\uD83D\uDE00 \ud83d\u0041"`},
	{"x", `["\ud83d",{"y":"\udfff"}]`},
	{`\ud83d`, "1"},
	{`x\uDE00`, `{"\ud83d":{"\ud83d":"\ud83d"}}`},
	{"x", `{"\ud83d":1,"\ud83d":2}`},
	{"x", deepValue(90)},
	{"x", deepValue(200_000)},
	{"x", strings.Repeat("[", 300_000) + strings.Repeat("]", 300_000)},
	{"x", `{"a":1,"a":2,"a":{"b":1,"b":1}}`},
	{"x", `{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"j":1,"k":1,"a":1}`},
	{"x", `{"a":1,"\u0061":2}`},
	{"x", `{"":1,"":2}`},
	{"x", `[0` + strings.Repeat(",0", 2*MaxValues) + `]`},
	{"x", `[{}` + strings.Repeat(",{}", 2*MaxValues) + `]`},
	{"x", distinct("", 2*MaxValues)},
	{"x", "1e999999"},
	{"x", "-1E-99999999999999999999"},
	{"x", strings.Repeat("9", 100_000) + "." + strings.Repeat("9", 100_000) + "e+" + strings.Repeat("9", 100_000)},
	{"x", `"\u0000"`},
	{`\u0000`, `{"\u0000":"\u0000\u001f"}`},
	{"", "[]"},
	{strings.Repeat("n", 1<<20), "{}"},
	{strings.Repeat(`\u00e9`, 1<<16), `{"` + strings.Repeat("é", 1<<16) + `":1}`},
	{strings.Repeat(`\ud83d`, 1<<16), `1`},
	{strings.Repeat("n", 63) + "😀", "1"},
	{"x", "\"\ufffd\U0010ffff\u2028\""},
	{"x", " \t\r\n{ \"a\" : [ \r\n ] , \"b\" : { } } "},
	{"x", `"` + strings.Repeat("ě", 1<<20) + `"`},
}

// unreadable has parts that the grammar does not have.
var unreadable = []part{
	{"x", `"\ud83"`},
	{"x", `"\x"`},
	{`\ud83d\x`, "1"},
	{"x", "\"\xff\""},
	{"x", "\"\xed\xa0\xbd\""}, // half of a surrogate pair in the bytes themselves
	{"x\xc3", "1"},
	{"x", "{\"\xff\":1}"},
	{"x", "\"\x00\""},
	{"x", "\"a\nb\""},
	{"x\x01", "1"},
	{"x", "01"},
	{"x", "1."},
	{"x", "1e"},
	{"x", "NaN"},
	{"x", `{"a"}`},
	{"x", `{"a":1,}`},
	{"x", `[1,]`},
	{"x", `[1}`},
	{"x", `{"a":1]`},
	{"x", `[[]`},
	{"x", deepValue(90) + "]"},
	{"x", strings.Repeat("[", 300_000)},
	{"x", strings.Repeat(`{"a":`, 300_000)},
	{"x", ""},
}

// hole is a place in a document where a field can be added: after the brace that opens an object.
type hole struct {
	at int
	// message declares the object; nil if the object is undeclared itself.
	message protoreflect.MessageDescriptor
	// last: the object has no field.
	last bool
}

// holes returns every hole of a document of md, without those in verbatim fields.
func holes(tb testing.TB, data []byte, md protoreflect.MessageDescriptor) []hole {
	tb.Helper()
	w := holeWalker{tb: tb, decoder: json.NewDecoder(bytes.NewReader(data))}
	w.value(md)
	return w.found
}

type holeWalker struct {
	tb      testing.TB
	decoder *json.Decoder
	found   []hole
}

func (w *holeWalker) token() json.Token {
	token, err := w.decoder.Token()
	if err != nil {
		w.tb.Fatal(err)
	}
	return token
}

func (w *holeWalker) value(md protoreflect.MessageDescriptor) {
	switch w.token() {
	case json.Delim('{'):
		w.found = append(w.found, hole{int(w.decoder.InputOffset()), md, !w.decoder.More()})
		for w.decoder.More() {
			w.member(md, w.token().(string))
		}
		w.token()
	case json.Delim('['):
		for w.decoder.More() {
			w.value(md)
		}
		w.token()
	}
}

// member walks the value of an object's field.
func (w *holeWalker) member(md protoreflect.MessageDescriptor, name string) {
	var fd protoreflect.FieldDescriptor
	if md != nil {
		fd = md.Fields().ByJSONName(name)
	}
	switch {
	case fd == nil:
		w.value(nil)
	case tableField(md, fd).form == formVerbatim:
		var raw json.RawMessage
		if err := w.decoder.Decode(&raw); err != nil {
			w.tb.Fatal(err)
		}
	default:
		w.value(fd.Message())
	}
}

// with returns the document with a part added at a hole.
func (h hole) with(data []byte, p part) []byte {
	added := slices.Concat(data[:h.at], []byte(`"`+p.name+`":`+p.value))
	if !h.last {
		added = append(added, ',')
	}
	return append(added, data[h.at:]...)
}

// An added part that the grammar has changes nothing but the drift, wherever it is: the message stays. It is one drift at most,
// with a path and a sample that are short and UTF-8.
func TestUndeclaredPartsChangeNothing(t *testing.T) {
	for n, s := range samples(t) {
		want := s.typ.New().Interface()
		before, err := Unmarshal(s.data, want)
		if err != nil {
			t.Fatal(err)
		}
		all := holes(t, s.data, s.typ.Descriptor())
		for i, p := range readable {
			if n > 0 && !p.small() {
				continue // large parts take time: one document is enough
			}
			for _, h := range []hole{all[0], all[i%len(all)]} {
				checkAdded(t, s.typ, h.with(s.data, p), want, before)
			}
		}
	}
}

// checkAdded checks that a document with an added part has the message want, and at most one drift more than before.
func checkAdded(t *testing.T, typ protoreflect.MessageType, doc []byte, want proto.Message, before []Drift) {
	t.Helper()
	got := typ.New().Interface()
	after, err := Unmarshal(doc, got)
	if err != nil {
		t.Fatalf("%.300q: %v", doc, err)
	}
	if !proto.Equal(want, got) {
		t.Fatalf("%.300q: the message changed: %v", doc, got)
	}
	if len(after) > len(before)+1 || len(before) < MaxDrifts && len(after) < len(before) {
		t.Fatalf("%.300q: %d drifts became %d", doc, len(before), len(after))
	}
	for _, d := range after {
		if !utf8.ValidString(d.Path) || len(d.Path) > 4096 || !utf8.Valid(d.Sample) || len(d.Sample) > MaxSample {
			t.Fatalf("%.300q: drift %+v", doc, d)
		}
	}
	if err := Check(doc); err != nil {
		t.Fatalf("%.300q: %v", doc, err)
	}
	elements, err := Split(slices.Concat([]byte("[1,"), doc, []byte("]")))
	if err != nil || len(elements) != 2 {
		t.Fatalf("%.300q: in an array: %v, %v", doc, elements, err)
	}
}

// An added part is drift: the name is shown as far as it has a text, and the sample begins as the value does.
func TestUndeclaredPartsAreDrift(t *testing.T) {
	for _, tt := range []struct {
		part
		path, sample string
	}{
		{part{"x", `"\ud83d"`}, "$.x", `"\ud83d"`},
		{part{`\ud83d`, "1"}, "$[\"\ufffd\"]", "1"},
		{part{`a\ud83d\ud83d\ude00b`, "1"}, "$[\"a\ufffd😀b\"]", "1"},
		{part{`\u0000`, `"\u0000"`}, `$["\x00"]`, `"\u0000"`},
		{part{"x", `{"a":1,"a":2}`}, "$.x", `{"a":1,"a":2}`},
		{part{"x", deepValue(1000)}, "$.x", strings.Repeat(`[{"a":`, 11)[:MaxSample]},
		{part{strings.Repeat("n", 1<<20), "1"}, "$." + strings.Repeat("n", maxName), "1"},
		{part{strings.Repeat(`\u006e`, 1<<20), "1"}, "$." + strings.Repeat("n", maxName), "1"},
		{part{strings.Repeat(`\ud83d`, 1<<20), "1"}, `$["` + strings.Repeat("\ufffd", maxName/3) + `"]`, "1"},
		{part{"x", "1e999999"}, "$.x", "1e999999"},
		{part{"x", `1,"x":2,"\u0078":3`}, "$.x", "1"},
	} {
		drifts, err := Unmarshal([]byte(`{"`+tt.name+`":`+tt.value+`}`), kind(t, "Kinds"))
		if err != nil {
			t.Errorf("%v: %v", tt.part, err)
			continue
		}
		want := []Drift{{Kind: Unknown, Path: tt.path, Sample: []byte(tt.sample)}}
		if diff := cmp.Diff(want, drifts); diff != "" {
			t.Errorf("%v: drift (-want +got):\n%s", tt.part, diff)
		}
	}
}

// A part that the grammar does not have refuses the document, wherever it is.
func TestUndeclaredPartsOfNoGrammar(t *testing.T) {
	for n, s := range samples(t) {
		all := holes(t, s.data, s.typ.Descriptor())
		for i, p := range unreadable {
			if n > 0 && !p.small() {
				continue
			}
			for _, h := range []hole{all[0], all[i%len(all)]} {
				doc := h.with(s.data, p)
				_, err := Unmarshal(doc, s.typ.New().Interface())
				checkError(t, doc, err)
				if e, _ := errors.AsType[*Error](err); e.Code != CodeMalformed || len(e.Path) > 4096 || !utf8.ValidString(e.Path) {
					t.Fatalf("%s, %v: %+v", s.name, p, e)
				}
				if Check(doc) == nil {
					t.Fatalf("%s, %v: Check accepts it", s.name, p)
				}
			}
		}
	}
}

// A field marked verbatim has any value that the grammar has, byte for byte.
func TestVerbatimIsUndeclaredBelow(t *testing.T) {
	for _, p := range readable {
		m := kind(t, "Kinds").ProtoReflect()
		drifts, err := Unmarshal([]byte(`{"verbatim":`+p.value+`}`), m.Interface())
		if err != nil || len(drifts) != 0 {
			t.Errorf("%v: %v, drift %q", p, err, driftLines(drifts))
			continue
		}
		fd := m.Descriptor().Fields().ByName("verbatim")
		want := strings.TrimSpace(p.value)
		if want == "null" {
			want = ""
		}
		if got := m.Get(fd).String(); got != want {
			t.Errorf("%v: got %.100q", p, got)
		}
	}
}

// Names that a caller declares are there once at most, at the top level.
func TestCheckOnce(t *testing.T) {
	for _, doc := range []string{
		`{}`, `{"type":1}`, `{"a":1,"a":2,"type":"x"}`, `{"type":{"type":1,"type":2}}`, `{"x":[{"type":1,"type":2}],"type":1}`,
		`{"\ud83d":1,"\ud83d":1,"type":1}`,
	} {
		if err := Check([]byte(doc), "type", "t"); err != nil {
			t.Errorf("%s: %v", doc, err)
		}
	}
	for _, tt := range []refusal{
		{`{"type":1,▲"type":1}`, "$.type", "is there twice"},
		{`{"type":1,"t":1,▲"\u0074":1}`, "$.t", "is there twice"},
	} {
		doc, _ := tt.split()
		refused(t, doc, func() error { return Check(doc, "type", "t") }, tt.want(CodeMalformed))
	}
}

// FuzzUndeclared adds a part to a sample and compares with encoding/json: if the part is JSON, the document has the same message as
// without it; if the document is no JSON, it is refused. The same part in a verbatim field arrives byte for byte.
func FuzzUndeclared(f *testing.F) {
	for i, p := range slices.Concat(readable, unreadable) {
		if p.small() {
			f.Add(uint(i), uint(i), []byte(p.name), []byte(p.value))
		}
	}
	all := bases(f)
	f.Fuzz(func(t *testing.T, which, where uint, name, value []byte) {
		all[which%uint(len(all))].check(t, where, part{string(name), string(value)})
	})
}

var documents = flag.Int("documents", 6000, "number of documents that TestRandomDocuments and TestRandomUndeclared compose")

// Parts that are made of others, with small changes, are read or refused as encoding/json does. Unlike the fuzzer this needs no
// instrumented code, so millions of documents take a minute.
func TestRandomUndeclared(t *testing.T) {
	all := bases(t)
	var seeds []part
	for _, p := range slices.Concat(readable, unreadable) {
		if len(p.name)+len(p.value) < 256 {
			seeds = append(seeds, p)
		}
	}
	accepted := 0
	for i := range *documents {
		r := composer{rand.New(rand.NewPCG(uint64(i), 11))}
		p := seeds[r.IntN(len(seeds))]
		for range r.IntN(4) {
			p = r.changed(p, seeds[r.IntN(len(seeds))])
		}
		if all[r.IntN(len(all))].check(t, uint(r.IntN(1000)), p) {
			accepted++
		}
	}
	if accepted < *documents/10 || accepted > *documents*9/10 {
		t.Errorf("of %d documents %d were accepted", *documents, accepted)
	}
}

// changed returns a part with a small change, perhaps with a piece of another part.
func (r composer) changed(p, other part) part {
	if r.IntN(4) == 0 {
		return part{r.spliced(p.name, other.name), p.value}
	}
	switch r.IntN(4) {
	case 0:
		return part{p.name, "[" + p.value + "," + other.value + "]"}
	case 1:
		return part{p.name, `{"` + other.name + `":` + p.value + `,"` + p.name + `":` + other.value + "}"}
	default:
		return part{p.name, r.spliced(p.value, other.value)}
	}
}

// spliced returns a with a few bytes removed, changed, or replaced by some of b's.
func (r composer) spliced(a, b string) string {
	from := r.IntN(len(a) + 1)
	to := min(len(a), from+r.IntN(4))
	start := r.IntN(len(b) + 1)
	piece := b[start:min(len(b), start+r.IntN(12))]
	if r.IntN(3) == 0 {
		piece = string([]byte{byte(r.IntN(256))})
	}
	return a[:from] + piece + a[to:]
}

// base is a sample that parts are added to.
type base struct {
	sample
	message proto.Message
	drifts  []Drift
	holes   []hole
}

func bases(tb testing.TB) []base {
	tb.Helper()
	var all []base
	for _, s := range samples(tb) {
		b := base{sample: s, message: s.typ.New().Interface(), holes: holes(tb, s.data, s.typ.Descriptor())}
		var err error
		if b.drifts, err = Unmarshal(s.data, b.message); err != nil {
			tb.Fatal(err)
		}
		all = append(all, b)
	}
	return all
}

// check adds a part at a hole and checks the outcome. It returns false if the document is refused, rightly.
func (b base) check(t *testing.T, where uint, p part) bool {
	t.Helper()
	h := b.holes[where%uint(len(b.holes))]
	doc := h.with(b.data, p)
	valid, sure := isJSON(doc)
	if !valid && sure {
		_, err := Unmarshal(doc, b.typ.New().Interface())
		checkError(t, doc, err)
		return false
	}
	var name string
	if !sure || json.Unmarshal([]byte(`"`+p.name+`"`), &name) != nil || !json.Valid([]byte(p.value)) {
		return true // several fields, perhaps declared ones
	}
	checkVerbatim(t, []byte(p.value))
	if h.message == nil || h.message.Fields().ByJSONName(name) == nil {
		checkAdded(t, b.typ, doc, b.message, b.drifts)
	}
	return true
}

// checkVerbatim checks that a verbatim field gets the bytes of a value.
func checkVerbatim(t *testing.T, value []byte) {
	t.Helper()
	m := kind(t, "Kinds").ProtoReflect()
	if _, err := Unmarshal(slices.Concat([]byte(`{"verbatim":`), value, []byte("}")), m.Interface()); err != nil {
		t.Fatalf("%q: %v", value, err)
	}
	want := string(bytes.Trim(value, " \t\r\n"))
	if got := m.Get(m.Descriptor().Fields().ByName("verbatim")).String(); got != want && want != "null" {
		t.Fatalf("%q became %q", value, got)
	}
}

// isJSON reports whether data is one JSON value in UTF-8, which encoding/json does not check. It is not sure of values nested
// deeper than 10,000, which encoding/json refuses.
func isJSON(data []byte) (valid, sure bool) {
	var raw json.RawMessage
	err := json.Unmarshal(data, &raw)
	return err == nil && utf8.Valid(data), err == nil || !tooDeep(err)
}

// tooDeep reports whether encoding/json refused a text for its depth.
func tooDeep(err error) bool { return strings.Contains(err.Error(), "exceeded max depth") }
