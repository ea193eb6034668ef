package vendorjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

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
	for _, data := range []string{deep(MaxDepth), many(MaxValues - 1)} {
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
		{`[{"a":1},{"a":1,"b":2,"\u0061":3}]`, Error{CodeMalformed, "$[1].a", 22, duplicated}},
		{"\uFEFF[1,2", Error{CodeMalformed, "$[1]", 7, "ends where a comma or ] should be"}},
		{`[1,]`, Error{CodeMalformed, "$[1]", 3, `has ']' where a value should be`}},
		{`[,1]`, Error{CodeMalformed, "$[0]", 1, `has ',' where a value should be`}},
		{`[1 2]`, Error{CodeMalformed, "$[0]", 3, `has '2' where a comma or ] should be`}},
		{`[1}`, Error{CodeMalformed, "$[0]", 2, `has '}' where a comma or ] should be`}},
		{`[]]`, Error{CodeMalformed, "$", 2, "is followed by more data"}},
		{`[1],[2]`, Error{CodeMalformed, "$", 3, "is followed by more data"}},
		{`[1,"` + "\xff" + `"]`, Error{CodeMalformed, "$[1]", 4, "has invalid UTF-8"}},
		{`[` + deep(MaxDepth) + `]`, Error{CodeLimit, "$" + strings.Repeat("[0]", MaxDepth), MaxDepth, "is nested deeper than 64"}},
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

// FuzzSplit holds Split against encoding/json: what it accepts is an array with the same elements, and what it refuses is
// none, but for duplicates and what is past the limits. Each element that is an object is a document of its own.
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
			if e.Code == CodeMalformed && e.Problem != duplicated && jsonErr == nil && strict(plain) {
				t.Fatalf("%q\nencoding/json reads it, but: %v", data, err)
			}
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

// strict says whether data, which encoding/json accepts, has none of what it is lenient about: null in place of an array,
// invalid UTF-8, and halves of surrogate pairs.
func strict(data []byte) bool {
	return bytes.HasPrefix(bytes.TrimSpace(data), []byte("[")) && json.Valid(data) &&
		bytes.Equal(bytes.ToValidUTF8(data, nil), data) && !bytes.Contains(bytes.ToLower(data), []byte(`\ud`))
}
