package vendorjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestSplit(t *testing.T) {
	tests := []struct {
		data string
		want []string
	}{
		{`[]`, nil},
		{" [ ]\r\n", nil},
		{`[{}]`, []string{`{}`}},
		{"\uFEFF [ {\"a\" : 1 } ,\n\t{\"a\":[1,{\"b\":2}]}]", []string{`{"a" : 1 }`, `{"a":[1,{"b":2}]}`}},
		{`[{"a":1,"a":2,"\ud83d":"\ude00"}]`, []string{`{"a":1,"a":2,"\ud83d":"\ude00"}`}},
		{`[1,"]",null,true,[],[[{}]],"\u005d\\"]`, []string{`1`, `"]"`, `null`, `true`, `[]`, `[[{}]]`, `"\u005d\\"`}},
	}
	for _, tt := range tests {
		got, err := Split([]byte(tt.data))
		if err != nil {
			t.Errorf("%s: %v", tt.data, err)
			continue
		}
		var texts []string
		for _, e := range got {
			texts = append(texts, string(e.Of([]byte(tt.data))))
		}
		if diff := cmp.Diff(tt.want, texts); diff != "" {
			t.Errorf("%s: -want +got:\n%s", tt.data, diff)
		}
	}
}

// An element is a part of the text, which appending to it leaves alone.
func TestSplitGivesParts(t *testing.T) {
	data := []byte(`[{"a":1},{"b":2}]`)
	elements, err := Split(data)
	if err != nil {
		t.Fatal(err)
	}
	first := elements[0].Of(data)
	_ = append(first, "XXX"...)
	if string(data) != `[{"a":1},{"b":2}]` {
		t.Errorf("appending wrote into the text: %s", data)
	}
	data[2] = '!'
	if first[1] != '!' {
		t.Error("an element is a copy")
	}
}

func TestSplitRefuses(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	many := func(n int) string { return "[" + strings.Repeat("1,", n-1) + "1]" }
	for _, data := range []string{deep(100_000), many(MaxValues - 1), "[" + many(MaxValues) + "," + many(MaxValues) + "]"} {
		if _, err := Split([]byte(data)); err != nil {
			t.Errorf("%.20s…, within the limits: %v", data, err)
		}
	}
	tests := []struct {
		data string
		want Error
	}{
		{``, Error{CodeMalformed, "$", 0, "is empty"}},
		{"\uFEFF ", Error{CodeMalformed, "$", 4, "is empty"}},
		{`{"a":[]}`, Error{CodeMalformed, "$", 0, "is not a JSON array"}},
		{`"a"`, Error{CodeMalformed, "$", 0, "is not a JSON array"}},
		{`[{"a":1},{"a":1,"b":}]`, Error{CodeMalformed, "$[1].b", 20, `has '}' where a value should be`}},
		{`[0,1,2,{"x":[1,2,x]}]`, Error{CodeMalformed, "$[3].x[2]", 17, `has 'x' where a value should be`}},
		{"\uFEFF[1,2", Error{CodeMalformed, "$[1]", 7, "ends where a comma or ] should be"}},
		{`[1,]`, Error{CodeMalformed, "$[1]", 3, `has ']' where a value should be`}},
		{`[,1]`, Error{CodeMalformed, "$[0]", 1, `has ',' where a value should be`}},
		{`[1 2]`, Error{CodeMalformed, "$[0]", 3, `has '2' where a comma or ] should be`}},
		{`[1}`, Error{CodeMalformed, "$[0]", 2, `has '}' where a comma or ] should be`}},
		{`[]]`, Error{CodeMalformed, "$", 2, "is followed by more data"}},
		{`[1],[2]`, Error{CodeMalformed, "$", 3, "is followed by more data"}},
		{`[1,"` + "\xff" + `"]`, Error{CodeMalformed, "$[1]", 4, "has invalid UTF-8"}},
		{strings.Repeat("[", 100_000), Error{CodeMalformed, "$" + strings.Repeat("[0]", MaxDepth), 100_000, "ends where a value should be"}},
		{many(MaxValues), Error{CodeLimit, "$[99999]", 2*MaxValues - 1, "is one value more than the 100000 allowed"}},
	}
	for _, tt := range tests {
		elements, err := Split([]byte(tt.data))
		e, ok := errors.AsType[*Error](err)
		if !ok || elements != nil {
			t.Errorf("%.40s: %v, %v", tt.data, elements, err)
			continue
		}
		if diff := cmp.Diff(tt.want, *e); diff != "" {
			t.Errorf("%.40s: -want +got:\n%s", tt.data, diff)
		}
	}
}

// FuzzSplit compares Split with encoding/json: an array that it accepts has the same elements, and a text that it refuses is
// no array of UTF-8, or has too many elements. Each element that is an object is a document of its own.
func FuzzSplit(f *testing.F) {
	for _, s := range samples(f) {
		f.Add([]byte("[" + string(s.data) + " ,1," + string(s.data) + "]"))
	}
	f.Add([]byte("\uFEFF [ ]"))
	f.Add([]byte(`[[],{"a":"\ud83d\ude00","b":[null,true,-1.5e+3]},"]",0]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		elements, err := Split(data)
		plain := bytes.TrimPrefix(data, byteOrderMark)
		var want []json.RawMessage
		jsonErr := json.Unmarshal(plain, &want)
		if err != nil {
			checkError(t, data, err)
			e, _ := errors.AsType[*Error](err)
			if e.Code == CodeMalformed && jsonErr == nil && strict(plain) {
				t.Fatalf("%q\nencoding/json reads it, but: %v", data, err)
			}
			return
		}
		if jsonErr != nil && tooDeep(jsonErr) {
			return
		}
		if jsonErr != nil || len(want) != len(elements) {
			t.Fatalf("%q\n%d elements; encoding/json: %d, %v", data, len(elements), len(want), jsonErr)
		}
		for i, at := range elements {
			e := at.Of(data)
			if !bytes.Equal(e, want[i]) {
				t.Fatalf("%q\nelement %d is %q, want %q", data, i, e, want[i])
			}
			if e[0] == '{' && Check(e) != nil {
				t.Fatalf("%q\nelement %d: %v", data, i, Check(e))
			}
		}
	})
}

// strict reports whether data, which encoding/json accepts, is an array, and UTF-8, which encoding/json does not check. It
// refuses arrays nested deeper than 10,000, which Split reads.
func strict(data []byte) bool {
	return bytes.HasPrefix(bytes.TrimSpace(data), []byte("[")) && utf8.Valid(data)
}
