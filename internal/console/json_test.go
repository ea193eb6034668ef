package console

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func (s shown) text() string {
	var b strings.Builder
	for _, t := range s.Tokens {
		if t.Mark {
			b.WriteString("«" + t.Text + "»")
		} else {
			b.WriteString(t.Text)
		}
	}
	return b.String()
}

// TestShowJSON: a text is indented, also where it is masked, cut or no JSON, and the place is marked.
func TestShowJSON(t *testing.T) {
	for _, c := range []struct {
		text string
		m    marks
		want string
	}{
		{`{"a":1,"b":[true,{}],"c":{"d":"x"}}`, noMarks, "{\n  \"a\": 1,\n  \"b\": [\n    true,\n    {}\n  ],\n  \"c\": {\n    \"d\": \"x\"\n  }\n}"},
		{`{"a":007,"b":[1,2]}`, marks{offset: -1, path: "$.b[1]"}, "{\n  \"a\": 007,\n  \"b\": [\n    1,\n    «2»\n  ]\n}"},
		{`{"a b":{"c":1}}`, marks{offset: -1, path: `$["a b"]`}, "{\n  \"a b\": «{»\n    \"c\": 1\n  }\n}"},
		{`{"a":1 "b":2}`, marks{offset: 7}, "{\n  \"a\": 1«\"b\"»: 2\n}"},
		{`{"a":`, marks{offset: 5}, "{\n  \"a\": «⟨the end⟩»"},
		{``, marks{offset: 0}, "«⟨the end⟩»"},
		{`}]plain "text`, noMarks, `}]plain"text`},
		{"\"a\x00\u202e\xffb\"", noMarks, "\"a\u2400\u2426\uFFFDb\""},
	} {
		if got := showJSON(c.text, c.m).text(); got != c.want {
			t.Errorf("%s is shown as\n%s\nnot as\n%s", c.text, got, c.want)
		}
	}
}

// TestShowDrift: values whose path drifted are told apart, whatever their place in a list.
func TestShowDrift(t *testing.T) {
	s := showJSON(`{"items":[{"a":1},{"colour":"green"}]}`, marks{offset: -1, drift: []string{"$.items[].colour"}})
	n := 0
	for _, x := range s.Tokens {
		if strings.HasSuffix(x.Class, " d") {
			n++
		}
	}
	if n != 2 {
		t.Errorf("%d tokens are marked as drift: %+v", n, s.Tokens)
	}
}

// TestShowLarge: a large text is shown in part, with the place of its problem.
func TestShowLarge(t *testing.T) {
	text := `{"a":"` + strings.Repeat("ž", 1<<20) + `" "b":1}`
	s := showJSON(text, marks{offset: strings.Index(text, `"b"`)})
	if !s.Cut || !s.Marked || !strings.Contains(s.text(), `«"b"»`) || len(s.text()) > 2*maxText || s.Size != len(text) {
		t.Errorf("cut %v, marked %v, %d bytes", s.Cut, s.Marked, len(s.text()))
	}
}

func FuzzShowJSON(f *testing.F) {
	f.Add(`{"a":[1,"b"]}`, 3)
	f.Add(`"\`, 1)
	f.Add("\xff{", 0)
	f.Fuzz(func(t *testing.T, text string, at int) {
		m := marks{offset: at, path: "$.a[0]", drift: []string{"$.a[]"}}
		if at > len(text) {
			m.offset = -1
		}
		if got := showJSON(text, m).text(); !utf8.ValidString(got) {
			t.Error("not UTF-8")
		}
	})
}
