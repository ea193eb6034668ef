package vendorjson

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/dynamicpb"

	retinov1 "github.com/webhook-bridge/bridge/gen/webhooks/retino/v1"
)

var update = flag.Bool("update", false, "write the golden files")

// The samples are decoded completely: nothing unknown, nothing unexpected, and the message equals the golden file beside the
// sample, in protobuf's text form.
func TestSamples(t *testing.T) {
	for _, s := range samples(t) {
		t.Run(s.name, func(t *testing.T) {
			got, want := s.typ.New().Interface(), s.typ.New().Interface()
			drifts, err := Unmarshal(s.data, got)
			if err != nil {
				t.Fatal(err)
			}
			if len(drifts) != 0 {
				t.Errorf("drift in a sample of the vendor's own: %q", driftLines(drifts))
			}
			golden := filepath.Join("testdata", "samples", filepath.FromSlash(s.name)+".txtpb")
			if *update {
				if err := os.WriteFile(golden, goldenText(t, got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			text, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if err := prototext.Unmarshal(text, want); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// goldenText writes a message in a fixed form: prototext varies its white space on purpose.
func goldenText(tb testing.TB, m proto.Message) []byte {
	tb.Helper()
	text, err := prototext.MarshalOptions{Multiline: true, Indent: "  "}.Marshal(m)
	if err != nil {
		tb.Fatal(err)
	}
	return regexp.MustCompile(`(?m)^( *\w+:) +`).ReplaceAll(text, []byte("$1 "))
}

// vendorForm writes a message as the vendors do: with a decimal's digits in place of the message that protojson makes.
func vendorForm(tb testing.TB, m proto.Message) []byte {
	tb.Helper()
	text, err := protojson.Marshal(m)
	if err != nil {
		tb.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		tb.Fatal(err)
	}
	text, err = json.Marshal(flatten(v))
	if err != nil {
		tb.Fatal(err)
	}
	quoted, err := json.Marshal(verbatim)
	if err != nil {
		tb.Fatal(err)
	}
	return bytes.ReplaceAll(text, quoted, []byte(verbatim))
}

// verbatim is the value of fields that carry JSON.
const verbatim = `{"any":["JSON",1.50]}`

func flatten(v any) any {
	switch v := v.(type) {
	case map[string]any:
		if value, ok := v["value"].(string); ok && len(v) == 1 {
			return value
		}
		for k, e := range v {
			v[k] = flatten(e)
		}
	case []any:
		for i, e := range v {
			v[i] = flatten(e)
		}
	}
	return v
}

// Every message of the five vendors can be decoded, and comes back from its own JSON with every field set.
func TestEveryVendorMessage(t *testing.T) {
	for _, typ := range vendorMessages(t) {
		t.Run(string(typ.Descriptor().FullName()), func(t *testing.T) {
			if err := Prepare(typ.Descriptor()); err != nil {
				t.Fatal(err)
			}
			want := typ.New()
			fill(want, 4)
			text := vendorForm(t, want.Interface())
			got := typ.New().Interface()
			drifts, err := Unmarshal(text, got)
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			for _, d := range drifts {
				// protojson writes 64-bit integers as strings.
				if d.Kind != Type || !strings.HasPrefix(string(d.Sample), `"9`) {
					t.Errorf("drift in a message as it is declared: %q", driftLines([]Drift{d}))
				}
			}
			if diff := cmp.Diff(want.Interface(), got, protocmp.Transform()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// fill sets every field, lists to two elements, down to a depth.
func fill(m protoreflect.Message, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		n := 1
		if fd.IsList() {
			n = 2
		}
		for j := range n {
			v, ok := fillValue(m, fd, depth, i+j)
			switch {
			case !ok:
			case fd.IsList():
				m.Mutable(fd).List().Append(v)
			default:
				m.Set(fd, v)
			}
		}
	}
}

func fillValue(m protoreflect.Message, fd protoreflect.FieldDescriptor, depth, i int) (protoreflect.Value, bool) {
	switch fd.Kind() {
	case protoreflect.StringKind:
		if f := tableField(m.Descriptor(), fd); f.form == formVerbatim {
			return protoreflect.ValueOfString(verbatim), true
		}
		return protoreflect.ValueOfString(fmt.Sprintf("text %d „ěščřž“ \"\\\n", i)), true
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(i%2 == 0), true
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(9_007_199_254_740_993 + int64(i)), true
	case protoreflect.MessageKind:
		if depth == 0 {
			return protoreflect.Value{}, false
		}
		v := m.NewField(fd)
		if fd.IsList() {
			v = v.List().NewElement()
		}
		if fd.Message().FullName() == "google.type.Decimal" {
			v.Message().Set(fd.Message().Fields().ByName("value"), protoreflect.ValueOfString(fmt.Sprintf("%d.50", i)))
		} else {
			fill(v.Message(), depth-1)
		}
		return v, true
	default:
		panic("a kind that no vendor has: " + fd.Kind().String())
	}
}

func tableField(md protoreflect.MessageDescriptor, fd protoreflect.FieldDescriptor) field {
	table, err := tableOf(md)
	if err != nil {
		panic(err)
	}
	return table.fields[fd.Index()]
}

// The values that each kind of field accepts without a report.
func TestKinds(t *testing.T) {
	tests := []struct{ json, want string }{
		{`{}`, ``},
		{" \t\r\n{ \"aString\" : \"x\" ,\n \"int32\" : 1 } \n", `a_string: "x" int32: 1`},
		{`{"aString":""}`, `a_string: ""`},
		{"\uFEFF {\"aString\":\"after a byte order mark\"}", `a_string: "after a byte order mark"`},
		{`{"\u0061String":"escaped name"}`, `a_string: "escaped name"`},
		{`{"swap":"the JSON name wins","swapped":"x"}`, `other: "the JSON name wins" swap: "x"`},
		{`{"aString":"\"\\\/\b\f\n\r\t\u0041\u00e9\u20AC\ud83d\ude00\u0000"}`, `a_string: "\"\\/\b\f\n\r\tAé€😀\x00"`},
		{`{"aString":"Zásilkovna 😀 \u007f"}`, `a_string: "Zásilkovna 😀 \x7f"`},
		{`{"aBool":true}`, `a_bool: true`},
		{`{"aBool":false}`, `a_bool: false`},
		{`{"int32":2147483647,"sint32":-2147483648,"sfixed32":-1}`, `int32: 2147483647 sint32: -2147483648 sfixed32: -1`},
		{`{"int32":-2147483648,"sint32":2147483647,"sfixed32":2147483647}`, `int32: -2147483648 sint32: 2147483647 sfixed32: 2147483647`},
		{`{"uint32":4294967295,"fixed32":4294967295}`, `uint32: 4294967295 fixed32: 4294967295`},
		{`{"int64":9007199254740993}`, `int64: 9007199254740993`},
		{`{"int64":9223372036854775807,"sint64":-9223372036854775808}`, `int64: 9223372036854775807 sint64: -9223372036854775808`},
		{`{"int64":-9223372036854775808,"sfixed64":-9223372036854775808}`, `int64: -9223372036854775808 sfixed64: -9223372036854775808`},
		{`{"uint64":18446744073709551615,"fixed64":18446744073709551615}`, `uint64: 18446744073709551615 fixed64: 18446744073709551615`},
		{`{"int64":1.0,"sint64":1e3,"sfixed64":-0,"uint64":-0.0e9999999999}`, `int64: 1 sint64: 1000 sfixed64: 0 uint64: 0`},
		{`{"int64":12.50e2,"sint64":100e-2,"uint64":1844674407370955161.5E1}`, `int64: 1250 sint64: 1 uint64: 18446744073709551615`},
		{`{"int64":9007199254740993.000000000000000000000}`, `int64: 9007199254740993`},
		{`{"int64":9007199254740993000000000000e-12}`, `int64: 9007199254740993`},
		{`{"plain":0}`, ``},
		{`{"aFloat":1.5,"aDouble":-1.25e-3}`, `a_float: 1.5 a_double: -0.00125`},
		{`{"aDouble":1e-400}`, `a_double: 0`},
		{`{"someBytes":"aGk="}`, `some_bytes: "hi"`},
		{`{"someBytes":"-_8"}`, `some_bytes: "\xfb\xff"`},
		{`{"someBytes":""}`, `some_bytes: ""`},
		{`{"anEnum":"COLOUR_RED"}`, `an_enum: COLOUR_RED`},
		{`{"anEnum":1}`, `an_enum: COLOUR_RED`},
		{`{"anEnum":7}`, `an_enum: 7`},
		{`{"anEnum":-1}`, `an_enum: -1`},
		{`{"decimal":99}`, `decimal { value: "99" }`},
		{`{"decimal":"99.00"}`, `decimal { value: "99.00" }`},
		{`{"decimal":0.10000000000000000000000000001}`, `decimal { value: "0.10000000000000000000000000001" }`},
		{`{"decimal":-1.50E+10}`, `decimal { value: "-1.50E+10" }`},
		{`{"decimal":"+.5"}`, `decimal { value: "+.5" }`},
		{`{"decimal":"007."}`, `decimal { value: "007." }`},
		{`{"nested":{}}`, `nested {}`},
		{`{"nested":{"nested":{"int64":1},"aString":"x"}}`, `nested { nested { int64: 1 } a_string: "x" }`},
		{`{"verbatim":{"a":[1, 2.50,"\u0041"] }}`, `verbatim: "{\"a\":[1, 2.50,\"\\u0041\"] }"`},
		{`{"verbatim":  "text"  }`, `verbatim: "\"text\""`},
		{`{"verbatim":1.0}`, `verbatim: "1.0"`},
		{`{"verbatim":[]}`, `verbatim: "[]"`},
		{`{"verbatim":true}`, `verbatim: "true"`},
		{`{"verbatim":null}`, ``},
		{`{"strings":["a","","b"],"numbers":[1,0,-1],"bools":[true,false]}`, `strings: ["a","","b"] numbers: [1,0,-1] bools: [true,false]`},
		{`{"doubles":[1,2.5],"enums":["COLOUR_RED",0],"decimals":[1,"2.0"]}`, `doubles: [1,2.5] enums: [COLOUR_RED,COLOUR_UNSPECIFIED] decimals: [{value:"1"},{value:"2.0"}]`},
		{`{"list":[{},{"list":[{"int64":1}]},{}],"strings":[]}`, `list: {} list: { list: { int64: 1 } } list: {}`},
		{`{"aString":null,"aBool":null,"int64":null,"decimal":null,"nested":null,"list":null,"anEnum":null}`, ``},
	}
	for _, tt := range tests {
		got := kind(t, "Kinds")
		drifts, err := Unmarshal([]byte(tt.json), got)
		if err != nil {
			t.Errorf("%s: %v", tt.json, err)
			continue
		}
		if diff := cmp.Diff(kindsOf(t, tt.want), got, protocmp.Transform()); diff != "" {
			t.Errorf("%s: -want +got:\n%s", tt.json, diff)
		}
		if len(drifts) != 0 {
			t.Errorf("%s: drift %q", tt.json, driftLines(drifts))
		}
	}
}

// A string keeps its text wherever it lies in the eight bytes that are looked at together.
func TestStringsOfEveryLength(t *testing.T) {
	for _, special := range []string{``, `"`, `\`, `é`, "\u20ac", `😀`, `/`, "\x7f", " ", "\u2028", "\n"} {
		for before := range 20 {
			for after := range 10 {
				want := strings.Repeat("a", before) + special + strings.Repeat("z", after)
				quoted, err := json.Marshal(want)
				if err != nil {
					t.Fatal(err)
				}
				for _, doc := range []string{`{"event_type":` + string(quoted) + `}`, `{"event_type":` + string(quoted) + `   ` + `  }`} {
					got := new(retinov1.ShippingOrdered)
					if _, err := Unmarshal([]byte(doc), got); err != nil {
						t.Fatalf("%s: %v", doc, err)
					}
					if got.GetEventType() != want {
						t.Fatalf("%s: got %q", doc, got.GetEventType())
					}
				}
			}
		}
	}
}

// Messages longer than one byte of length can say, at each border.
func TestLengths(t *testing.T) {
	for _, n := range []int{0, 1, 100, 126, 127, 128, 129, 16383, 16384, 1 << 20, 1<<21 + 1} {
		id := strings.Repeat("x", n)
		got := new(retinov1.ShippingOrdered)
		if _, err := Unmarshal([]byte(`{"shipping":{"id":"`+id+`","option_name":"after"},"event_type":"e"}`), got); err != nil {
			t.Fatal(err)
		}
		if got.GetShipping().GetId() != id || got.GetShipping().GetOptionName() != "after" || got.GetEventType() != "e" {
			t.Errorf("a string of %d bytes did not come through", n)
		}
	}
}

// The caller owns the input: it is not changed, and the message does not share its memory.
func TestInputIsNotKept(t *testing.T) {
	for _, s := range samples(t) {
		data := bytes.Clone(s.data)
		got, want := s.typ.New().Interface(), s.typ.New().Interface()
		if _, err := Unmarshal(data, got); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(data, s.data) {
			t.Errorf("%s: the input was changed", s.name)
		}
		clear(data)
		if _, err := Unmarshal(s.data, want); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
			t.Errorf("%s: the message lies in the input:\n%s", s.name, diff)
		}
	}
}

func TestPrepareRefuses(t *testing.T) {
	tests := []struct{ message, want string }{
		{"Map", "vendorjson: vendorjson.kinds.Map.map is not supported: it is a map"},
		{"Oneof", "vendorjson: vendorjson.kinds.Oneof.one is not supported: it is in a oneof"},
		{"WellKnown", "vendorjson: google.protobuf.Timestamp is not supported: its JSON form is its own"},
		{"VerbatimNumber", "vendorjson: vendorjson.kinds.VerbatimNumber.n is marked verbatim but is no string"},
		{"Outer", "vendorjson: vendorjson.kinds.Map.map is not supported: it is a map"},
	}
	for _, tt := range tests {
		m := kind(t, protoreflect.Name(tt.message))
		// Twice: a table that could not be built must not be there the second time.
		for range 2 {
			if err := Prepare(m.ProtoReflect().Descriptor()); err == nil || err.Error() != tt.want {
				t.Errorf("Prepare(%s) = %v, want %s", tt.message, err, tt.want)
			}
		}
		_, err := Unmarshal([]byte(`{}`), m)
		want := &Error{Code: CodeShape, Path: "$", Problem: tt.want}
		if diff := cmp.Diff(error(want), err); diff != "" {
			t.Errorf("%s: %s", tt.message, diff)
		}
	}
}

// Tables of messages that contain one another are built by many at once, and all see whole ones.
func TestPrepareConcurrently(t *testing.T) {
	file, err := kindsFile()
	if err != nil {
		t.Fatal(err)
	}
	md := file.Messages().ByName("Kinds")
	tables.Delete(md)
	var wait sync.WaitGroup
	for range 16 {
		wait.Go(func() {
			m := dynamicpb.NewMessage(md)
			if _, err := Unmarshal([]byte(`{"nested":{"nested":{"swap":"x"}}}`), m); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
}
