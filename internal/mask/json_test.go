package mask

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"
)

func TestShape(t *testing.T) {
	tests := []struct{ in, want string }{
		{``, ``},
		{`"Jan Novák, +420 777-123"`, `"xxx xxxxx, +000 000-000"`},
		{"a\tB\n[{`~^|", "x\tx\n[{`~^|"},
		{"٣½Ⅷ Ⓐ€😀 „日本“\u00a0", "000 xxx „xx“\u00a0"},
		{"n\u0303\u200d\ufffd", "xxxx"},
		{"Nov\xe1k \xc3", "xxxxx x"},
		{strings.Repeat("é", 300), strings.Repeat("x", maxShape)},
		{strings.Repeat("é", maxShape-1) + "„", strings.Repeat("x", maxShape-1)},
	}
	for _, tt := range tests {
		if got := Shape([]byte(tt.in)); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestJSON(t *testing.T) {
	tests := []struct{ in, want string }{
		// Declared values stay unchanged, and personal ones do not.
		{`{"_id":"Ab1","count":12,"fullName":"Jan","age":42}`, `{"_id":"Ab1","count":12,"fullName":"xxx","age":00}`},
		{" {\n\t\"_id\" : \"Ab1\" ,\r\n \"tags\" : [ \"a1\" , \"b2\" ] } ", ""},
		{"\uFEFF{\"count\":1}", ""},
		{`{"_id":null,"count":true,"price":false,"age":null}`, ""},
		{`{"price":1.50,"prices":["1.50",2e3],"tags":"one"}`, ""},
		{`{"_id":"a\"b\\\u0061","fullName":"a\"b\\\u0061"}`, `{"_id":"a\"b\\\u0061","fullName":"x\"x\\\x0000"}`},
		{
			`{"mails":["a@b.cz",7],"picture":"eHh4","born":{"year":1985},"kin":[{"_id":"7"}]}`,
			`{"mails":["x@x.xx",0],"picture":"xxx0","born":{"year":0000},"kin":[{"_id":"0"}]}`,
		},
		{`{"friend":{"friends":[{"_id":"A","fullName":"B"},{"count":-1}]}}`, `{"friend":{"friends":[{"_id":"A","fullName":"x"},{"count":-1}]}}`},
		{`[{"_id":"A","fullName":"B"},{"x":"C"}]`, `[{"_id":"A","fullName":"x"},{"x":"x"}]`},

		// Values of another kind than declared are unknown.
		{`{"_id":{"count":1},"count":["A",{"_id":"B"}]}`, `{"_id":{"count":0},"count":["x",{"_id":"x"}]}`},
		{`{"friend":"Jan","friends":{"_id":"A"}}`, `{"friend":"xxx","friends":{"_id":"A"}}`},
		{`{"friends":[[{"_id":"A"}],"Jan"],"tags":[["Jan"]]}`, `{"friends":[[{"_id":"x"}],"xxx"],"tags":[["xxx"]]}`},
		{
			`{"price":{"value":"1"},"more":{"_id":"A"},"labels":{"k":"V"},"groups":{"k":{"_id":"V"}}}`,
			`{"price":{"value":"0"},"more":{"_id":"x"},"labels":{"k":"x"},"groups":{"k":{"_id":"x"}}}`,
		},
		// The content of verbatim fields is undeclared.
		{`{"more":"Jan","count":1}`, `{"more":"xxx","count":1}`},
		{`{"more":777,"count":1}`, `{"more":000,"count":1}`},
		// A field's name in the schema is not its JSON name, and an escaped name is unknown.
		{`{"id":"A","name":"B","\u005fid":"C"}`, `{"id":"x","name":"x","\x000xxx":"x"}`},
		{`"Jan"`, `"xxx"`},
		{`12`, `00`},
		{`["Jan"]`, `["xxx"]`},

		// Names of undeclared fields.
		{`{"příliš-_$.1":"A","@type":1,"$ref":2,"_":3,"a":{"b":{"c":4}}}`, `{"příliš-_$.1":"x","@type":0,"$ref":0,"_":0,"a":{"b":{"c":0}}}`},
		{
			`{"777123456":1,"jan@novak.cz":2,"Jan Novák":3,"":4,"a\tb":5,"-a":6,".a":7}`,
			`{"000000000":0,"xxx@xxxxx.xx":0,"xxx xxxxx":0,"":0,"x\xx":0,"-x":0,".x":0}`,
		},
		{`{"` + strings.Repeat("a", 64) + `":1,"` + strings.Repeat("a", 65) + `":1}`, `{"` + strings.Repeat("a", 64) + `":0,"` + strings.Repeat("x", 65) + `":0}`},

		// Text with an end that is not JSON.
		{``, ``},
		{`Jan Novák`, `xxx xxxxx`},
		{`data=%7B%22_id%22%3A1`, `xxxx=%0x%00_xx%00%0x0`},
		{"{\"_id\":\"A\"}\n{\"_id\":\"B\"}", "{\"_id\":\"A\"}\n{\"_xx\":\"x\"}"},
		{`{"_id":"A","count":Jan,"_id":"B"}`, `{"_id":"A","count":xxx,"_xx":"x"}`},
		{`{"_id":"A","count":1Jan}`, `{"_id":"A","count":1xxx}`},
		{`{"_id":"A","count":trueJan}`, `{"_id":"A","count":truexxx}`},
		{`{"_id":"A" "count":1}`, `{"_id":"A" "xxxxx":0}`},
		{`{"_id","count":1}`, `{"_id","xxxxx":0}`},
		{`{"_id":"A",count:1}`, `{"_id":"A",xxxxx:0}`},
		{`{"_id":"A"]1}`, `{"_id":"A"]0}`},
		{`["A":1]`, `["x":0]`},
		{`{'_id':'A'}`, `{'_xx':'x'}`},
		{`{"_id":"A","_id":"Jan`, `{"_id":"A","_id":"xxx`},
		{`{"_id":"A","_id`, `{"_id":"A","_xx`},
		{`{"_id":"A\`, `{"_id":"x\`},
		{`{"_id":"A","count":1`, ``},
		{`{"_id":"A",}`, ``},
		{`{"tags":["A",],"_id":"B"}`, ``},
		{`{"count":01,"price":1.,"_id":-}`, `{"count":01,"price":1.,"_id":-}`},
		// An invalid string is hidden, and parsing continues after it.
		{"{\"_id\":\"A\xe1\",\"count\":1}", `{"_id":"xx","count":1}`},
		{"{\"_id\":\"A\nB\",\"count\":1}", "{\"_id\":\"x\nx\",\"count\":1}"},
		{"{\"n\xe1me\":\"A\",\"count\":1}", "{\"xxxx\":\"x\",\"count\":1}"},
	}
	for _, tt := range tests {
		want := tt.want
		if want == "" {
			want = tt.in
		}
		in := []byte(tt.in)
		if got := JSON(in, personType(t)); string(got) != want {
			t.Errorf("%s:\n got %s\nwant %s", tt.in, got, want)
		}
		if string(in) != tt.in {
			t.Errorf("%s was changed to %s", tt.in, in)
		}
	}
}

// Without a descriptor only true, false and null are shown.
func TestJSONOfUnknown(t *testing.T) {
	const in, want = `{"_id":"Ab1","count":-12.5e+3,"tags":["a",true,null,{"b":false}]}`, `{"_id":"xx0","count":-00.0x+0,"tags":["x",true,null,{"b":false}]}`
	if got := JSON([]byte(in), nil); string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// The depth of declared values is limited: deeper ones are text.
func TestJSONDepth(t *testing.T) {
	nest := func(n int) string {
		return strings.Repeat(`{"friend":`, n-1) + `{"_id":"A"}` + strings.Repeat("}", n-1)
	}
	for n, want := range map[int]string{maxDepth: `{"_id":"A"}`, maxDepth + 1: `{"_xx":"x"}`} {
		if got := string(JSON([]byte(nest(n)), personType(t))); !strings.Contains(got, want) {
			t.Errorf("at depth %d: %s", n, got)
		}
	}
	// What follows an undeclared value is read, however deep that is.
	for _, n := range []int{90, 1 << 20} {
		deep := strings.Repeat(`[{"k":[`, n) + `"Jan",true` + strings.Repeat(`]}]`, n)
		want := strings.Replace(deep, "Jan", "xxx", 1)
		if got := string(JSON([]byte(`{"x":`+deep+`,"_id":"A","fullName":"B"}`), personType(t))); got != `{"x":`+want+`,"_id":"A","fullName":"x"}` {
			t.Errorf("at depth %d: %.80s", n, got)
		}
	}
	deep := strings.Repeat("[", 1<<20)
	if got := string(JSON([]byte(deep), personType(t))); got != deep {
		t.Errorf("a million brackets became %d bytes, %.20s…", len(got), got)
	}
}

// FuzzJSON compares JSON with encoding/json: for a document that both read, JSON hides the same values as a plain walk over
// encoding/json's tokens. For every input, the result is UTF-8 and not longer than the input. Without a descriptor its letters
// and digits are shaped, except in names and the three words.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{
		`{"_id":"Ab1","count":12,"fullName":"Jan","age":42,"friend":{"friends":[{"_id":"A","mails":["x"]}]}}`,
		`[{"_id":"A","price":1.5,"x":{"y":[1,"2",null]}},{"home":{"_id":"1"}}]`,
		`{"_id":"A\u0061","jan@novak.cz":{"_id":1},"tags":["a",{"_id":"b"},["c"]]}`,
		`{"x":` + strings.Repeat("[", 90) + `{"\ud83d":"\ud83d"}` + strings.Repeat("]", 90) + `,"_id":"A","x":1,"x":2}`,
		"\uFEFF{\"_id\":\"A\",\"more\":{\"_id\":1}} x", "{\"_id\":\"A\xe1\nB\",\"count\":01Jan", `{'_id':'A'}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, md := range []protoreflect.MessageDescriptor{nil, personType(t)} {
			in := bytes.Clone(body)
			got := JSON(in, md)
			if !bytes.Equal(in, body) {
				t.Fatalf("%q was changed to %q", body, in)
			}
			if !utf8.Valid(got) || len(got) > len(body) {
				t.Fatalf("%q: %q", body, got)
			}
			if want, ok := reference(body, md); ok && !bytes.Equal(got, want) {
				t.Fatalf("%q:\n got %q\nwant %q", body, got, want)
			}
		}
		if left := allowed.ReplaceAll(JSON(body, nil), nil); !shaped.Match(left) {
			t.Fatalf("%q: left %q", body, left)
		}
	})
}

var (
	// allowed matches the text that may be shown without a descriptor: field names, and the three words. Each match includes the
	// byte before.
	allowed = regexp.MustCompile(`[{,]\s*"[\p{L}_$@][\p{L}\p{Nd}_$.-]{0,63}"|true|false|null`)
	shaped  = regexp.MustCompile(`^[^a-wyzA-Z1-9]*$`)
)

// reference masks a document in strict JSON. ok is false for all others.
func reference(body []byte, md protoreflect.MessageDescriptor) (out []byte, ok bool) {
	text := bytes.TrimPrefix(body, byteOrderMark)
	if !json.Valid(text) || !utf8.Valid(text) {
		return nil, false
	}
	out = append(out, body[:len(body)-len(text)]...)
	levels := []level{{value: place{message: md, list: true}}}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	last := 0
	for {
		token, err := d.Token()
		if err != nil {
			return append(out, text[last:]...), true
		}
		end := int(d.InputOffset())
		start := last + bytes.IndexFunc(text[last:end], func(r rune) bool { return !strings.ContainsRune(" \t\r\n,:", r) })
		out = append(out, text[last:start]...)
		raw := text[start:end]
		last = end
		top := &levels[len(levels)-1]
		if delim, is := token.(json.Delim); is {
			out = append(out, raw...)
			declared := delim == '{' && top.value.message != nil || delim == '[' && top.value.list
			switch delim {
			case '{':
				levels = append(levels, level{object: true, name: true, place: top.value})
			case '[':
				inner := top.value
				if !inner.list {
					inner = place{}
				}
				inner.list = false
				levels = append(levels, level{value: inner})
			default:
				levels = levels[:len(levels)-1]
				levels[len(levels)-1].name = levels[len(levels)-1].object
			}
			if declared && len(levels) > maxDepth+1 {
				return nil, false
			}
			continue
		}
		if top.shows(token, raw) {
			out = append(out, raw...)
		} else {
			out = appendShape(out, raw)
		}
		top.name = top.object && !top.name
	}
}

// level is an object or list around the current token.
type level struct {
	object bool
	// name: the next token is a name.
	name bool
	// The places of the object and of the next value.
	place, value place
}

// shows reports whether a token that is not a bracket is shown. After a name it sets the place of the value.
func (l *level) shows(token json.Token, raw []byte) bool {
	if l.name {
		l.value = place{}
		name := string(raw[1 : len(raw)-1])
		if l.place.message != nil {
			if fd := l.place.message.Fields().ByJSONName(name); fd != nil {
				l.value = placeOf(fd)
				return true
			}
		}
		return isName([]byte(name))
	}
	switch token.(type) {
	case bool, nil:
		return true
	default:
		return l.value.scalar
	}
}

func BenchmarkJSON(b *testing.B) {
	body := []byte(`[` + strings.Repeat(`{"_id":"Ab1","count":12,"fullName":"Jan Novák","mails":["jan@novak.cz"],"friend":{"x":1}},`, 5000) + `{}]`)
	md := personType(b)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		JSON(body, md)
	}
}
