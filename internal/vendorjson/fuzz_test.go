package vendorjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// FuzzUnmarshalAgainstProtojson compares the decoder with protojson: if both accept a text, both make the same message. It
// leaves out inputs with an intended difference:
//
//   - google.type.Decimal, which protojson reads from an object, and fields marked verbatim: messages that have one of them
//     set in either result;
//   - names that fields have in the schema, which protojson takes for the field's own;
//   - halves of surrogate pairs in undeclared parts, which protojson refuses: see FuzzUndeclared.
//
// Text that protojson accepts is accepted, except for texts over the limits, decimals, and texts that are not JSON: protojson
// accepts "0e" as a number.
//
// For every input: text that encoding/json refuses is not accepted, an error is an *Error within the document, and decoding
// again gives the same result.
func FuzzUnmarshalAgainstProtojson(f *testing.F) {
	types := vendorMessages(f)
	byName := make(map[protoreflect.FullName]int)
	for i, typ := range types {
		byName[typ.Descriptor().FullName()] = i
	}
	for _, s := range samples(f) {
		f.Add(byName[s.typ.Descriptor().FullName()], s.data)
		f.Add(byName[s.typ.Descriptor().FullName()], asProtojson(f, s))
	}
	f.Add(byName["webhooks.kasafik.v1.Order"], []byte(`{"id":9007199254740993,"id_c":"1.0","id_shop":1e3,"_d":false}`))
	f.Add(byName["webhooks.kasafik.v1.Order"], []byte(`{"t":"x","_t":"y"}`))
	f.Add(byName["webhooks.kasafik.v1.Order"], []byte("\uFEFF{"))
	f.Add(byName["webhooks.retino.v1.Shipping"], []byte(`{"id":"\ud83d\ude00\u0000","option_name":"\ud800"}`))
	f.Fuzz(func(t *testing.T, index int, data []byte) {
		compare(t, types[uint(index)%uint(len(types))], data)
	})
}

// compare decodes data both ways; see FuzzUnmarshalAgainstProtojson. read says whether both made the same of it.
func compare(t *testing.T, typ protoreflect.MessageType, data []byte) (read bool) {
	t.Helper()
	ours, theirs := typ.New().Interface(), typ.New().Interface()
	drifts, err := Unmarshal(data, ours)
	options := protojson.UnmarshalOptions{DiscardUnknown: true}
	whole := data
	data = bytes.TrimPrefix(data, byteOrderMark)
	if err != nil {
		checkError(t, whole, err)
		e, _ := errors.AsType[*Error](err)
		// With DiscardUnknown, protojson drops names that an enumeration does not have.
		unknownName := strings.Contains(e.Problem, noun[formEnum])
		if json.Valid(data) && e.Code != CodeLimit && !unknownName && options.Unmarshal(data, theirs) == nil && !special(theirs.ProtoReflect()) {
			t.Fatalf("%s\nprotojson reads it, but: %v", data, err)
		}
		return false
	}
	if err := Check(data); err != nil {
		t.Fatalf("%s\nCheck refuses what Unmarshal accepts: %v", data, err)
	}
	if valid, sure := isJSON(data); !valid && sure {
		t.Fatalf("%s\naccepted what is not JSON", data)
	}
	again := typ.New().Interface()
	if _, err := Unmarshal(data, again); err != nil || !proto.Equal(ours, again) {
		t.Fatalf("%s\nthe second time: %v, %v, then %v", data, err, ours, again)
	}
	for _, d := range drifts {
		if d.Path == "" || len(d.Sample) > MaxSample || !bytes.Contains(data, d.Sample) {
			t.Fatalf("%s\ndrift %+v", data, d)
		}
	}
	if options.Unmarshal(data, theirs) != nil || special(ours.ProtoReflect()) || special(theirs.ProtoReflect()) ||
		schemaNames(t, data, typ.Descriptor()) {
		return false
	}
	if !proto.Equal(ours, theirs) {
		t.Fatalf("%s\nours   %v\ntheirs %v", data, ours, theirs)
	}
	return true
}

// checkError checks what is promised of every error.
func checkError(t *testing.T, data []byte, err error) {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok || errors.Is(err, io.EOF) {
		t.Fatalf("error %v of type %T", err, err)
	}
	if e.Offset < 0 || e.Offset > int64(len(data)) || e.Path == "" || e.Path[0] != '$' || e.Problem == "" {
		t.Fatalf("error %+v", e)
	}
}

// special says whether m has a field that protojson is meant to read otherwise.
func special(m protoreflect.Message) bool {
	if m.Descriptor().FullName() == "google.type.Decimal" {
		return true
	}
	found := false
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case tableField(m.Descriptor(), fd).form == formVerbatim:
			found = true
		case fd.Message() != nil && fd.IsList():
			for i := range v.List().Len() {
				found = found || special(v.List().Get(i).Message())
			}
		case fd.Message() != nil:
			found = special(v.Message())
		}
		return !found
	})
	return found
}

// schemaNames says whether data calls a field by its name in the schema, where that is not its JSON name.
func schemaNames(t *testing.T, data []byte, md protoreflect.MessageDescriptor) bool {
	t.Helper()
	var document any
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber() // a number may be more than a float64 holds
	if err := decoder.Decode(&document); err != nil {
		if tooDeep(err) {
			return true // perhaps
		}
		t.Fatal(err)
	}
	return hasSchemaNames(document, md)
}

func hasSchemaNames(v any, md protoreflect.MessageDescriptor) bool {
	switch v := v.(type) {
	case []any:
		return slices.ContainsFunc(v, func(element any) bool { return hasSchemaNames(element, md) })
	case map[string]any:
		for name, member := range v {
			fd := md.Fields().ByJSONName(name)
			if fd == nil && md.Fields().ByName(protoreflect.Name(name)) != nil {
				return true
			}
			if fd != nil && fd.Message() != nil && hasSchemaNames(member, fd.Message()) {
				return true
			}
		}
	}
	return false
}

// Documents composed field by field reach more code than those from a fuzzer's bytes. They are compared in the same way.
func TestRandomDocuments(t *testing.T) {
	types := append(vendorMessages(t), kind(t, "Kinds").ProtoReflect().Type())
	read := 0
	for i := range *documents {
		r := composer{rand.New(rand.NewPCG(uint64(i), 7))}
		typ := types[r.IntN(len(types))]
		if compare(t, typ, r.object(nil, typ.Descriptor(), 3)) {
			read++
		}
	}
	if read < *documents/6 {
		t.Errorf("only %d documents were read by both", read)
	}
}

// composer makes up JSON that mostly fits a message.
type composer struct{ *rand.Rand }

func (r composer) oneOf(words ...string) string { return words[r.IntN(len(words))] }

func (r composer) space(b []byte) []byte {
	return append(b, r.oneOf("", "", "", " ", "\n\t", "  \r\n")...)
}

// object writes some fields of a message, each once, and seldom an unknown one.
func (r composer) object(b []byte, md protoreflect.MessageDescriptor, depth int) []byte {
	b = r.space(append(b, '{'))
	first := true
	member := func(name string) {
		if !first {
			b = r.space(append(b, ','))
		}
		first = false
		b = r.space(append(r.space(append(append(append(b, '"'), name...), '"')), ':'))
	}
	for _, i := range r.Perm(md.Fields().Len())[:r.IntN(min(md.Fields().Len(), 6)+1)] {
		fd := md.Fields().Get(i)
		member(r.oneOf(fd.JSONName(), fd.JSONName(), string(fd.Name())))
		b = r.space(r.value(b, fd, depth))
	}
	if r.IntN(6) == 0 {
		member(r.oneOf("unknown", "\\u0000", "příliš", "", `\ud83d`))
		b = r.space(append(b, r.oneOf(`[1,{"a":[]},"x"]`, `{"a":{"b":null}}`, `-1.5e+3`, `"é"`)...))
	}
	for range r.IntN(8) / 5 { // twice at times, perhaps with one name
		added := readable[r.IntN(len(readable))]
		if added.small() {
			member(added.name)
			b = r.space(append(b, added.value...))
		}
	}
	return append(b, '}')
}

func (r composer) value(b []byte, fd protoreflect.FieldDescriptor, depth int) []byte {
	switch r.IntN(40) {
	case 0:
		return append(b, "null"...)
	case 1:
		return append(b, r.oneOf(`""`, `[]`, `{}`, `[null]`, `{"x":1}`, `tru`, `[1`, `-`, `"\x"`)...)
	}
	if !fd.IsList() {
		return r.single(b, fd, depth)
	}
	b = r.space(append(b, '['))
	for i := range r.IntN(4) {
		if i > 0 {
			b = r.space(append(b, ','))
		}
		b = r.space(r.single(b, fd, depth))
	}
	return append(b, ']')
}

func (r composer) single(b []byte, fd protoreflect.FieldDescriptor, depth int) []byte {
	if r.IntN(20) == 0 {
		return append(b, r.oneOf(`true`, `1`, `"1"`, `"x"`, `1.50`, `{}`, `[]`, `1e2`, `null`)...)
	}
	switch fd.Kind() {
	case protoreflect.StringKind:
		return append(b, r.oneOf(`""`, `"x"`, `"\u00e9\ud83d\ude00\n"`, `"Zásilkovna"`, `"12345678\"90"`, `"`+strings.Repeat("long ", r.IntN(60))+`"`)...)
	case protoreflect.BoolKind:
		return append(b, r.oneOf("true", "false")...)
	case protoreflect.EnumKind:
		return append(b, r.oneOf(`"COLOUR_RED"`, `0`, `1`, `5`)...)
	case protoreflect.BytesKind:
		return append(b, r.oneOf(`""`, `"aGk="`, `"aGk"`, `"-_8"`)...)
	case protoreflect.MessageKind:
		if depth == 0 {
			return append(b, "{}"...)
		}
		return r.object(b, fd.Message(), depth-1)
	default:
		return append(b, r.oneOf("0", "-0", "1", "7", "1.0", "12e1", "-1", "2147483647", "9007199254740993", "1.5", `"3"`)...)
	}
}

// Every kind of field takes every kind of value that protojson takes there, and makes the same of it.
func TestAgainstProtojson(t *testing.T) {
	values := []string{
		`null`, `true`, `false`, `{}`, `[]`, `""`, `"x"`, `" 1"`, `"1"`, `"-1"`, `"1.0"`, `"1e2"`, `"1e"`, `"01"`, `"1.5"`, `"NaN"`,
		`"Infinity"`, `"-Infinity"`, `"COLOUR_RED"`, `"aGk"`, `"aGk="`, `"_-8="`, `"+/8="`, `"true"`, `"\u0031"`, `"\ud83d\ude00"`,
		`0`, `-0`, `0.0`, `-0.0`, `1`, `-1`, `7`, `1.0`, `1.5`, `1e2`, `1E+2`, `1e-2`, `100e-2`, `1.50e1`, `12.0e-1`, `120.0e-1`, `0e999999999999`,
		`2147483647`, `2147483648`, `-2147483648`, `-2147483649`, `4294967295`, `4294967296`, `9007199254740993`,
		`9223372036854775807`, `9223372036854775808`, `-9223372036854775808`, `-9223372036854775809`, `18446744073709551615`,
		`18446744073709551616`, `1844674407370955161.5e1`, `1e18`, `1e19`, `1e20`, `1e38`, `1e39`, `1e308`, `1e309`, `5e-324`, `1e-400`,
		`00000000000000000000001`, `1.00000000000000000000000000000000000000`, `[1]`, `["x"]`, `[{}]`, `[[]]`, `{"int64":1}`, `[null]`,
		`[true,false]`, `["1",2]`, `{"x":1}`, `1.`, `.1`, `1 2`, `tru`,
	}
	fields := kind(t, "Kinds").ProtoReflect().Descriptor().Fields()
	same, accepted := 0, 0
	for i := range fields.Len() {
		fd := fields.Get(i)
		for _, value := range values {
			data := []byte(`{"` + fd.JSONName() + `":` + value + `}`)
			ours, theirs := kind(t, "Kinds"), kind(t, "Kinds")
			drifts, err := Unmarshal(data, ours)
			theirErr := protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(data, theirs)
			switch {
			case special(ours.ProtoReflect()) || special(theirs.ProtoReflect()):
			case theirErr == nil && err != nil:
				// With DiscardUnknown, protojson drops names that the enumeration does not have.
				if fd.Enum() == nil {
					t.Errorf("%s: protojson reads it, but: %v", data, err)
				}
			case theirErr == nil && !proto.Equal(ours, theirs):
				t.Errorf("%s: ours %v, theirs %v, drift %q", data, ours, theirs, driftLines(drifts))
			case theirErr == nil:
				same++
			case err == nil:
				accepted++
			}
		}
	}
	if same < 300 || accepted < 300 {
		t.Errorf("only %d values were read alike, and %d by this package alone", same, accepted)
	}
}

// FuzzField compares Field with encoding/json: on a document that Check accepts, both find the same. If the field is there twice,
// the first one counts.
func FuzzField(f *testing.F) {
	for _, s := range samples(f) {
		f.Add(s.data, "type")
		f.Add(s.data, "_t")
	}
	f.Add([]byte(`{"\u0074ype":"\ud83d\ude00"}`), "type")
	f.Add([]byte(`{"type":12}`), "type")
	f.Add([]byte("\uFEFF{\"type\":\"x\"}"), "type")
	f.Add([]byte(`{"a":1,"a":"\ud83d","\ud83d":{"type":"y"},"type":"x","type":"y"}`), "type")
	f.Add([]byte(`{"type":"\ud83d"}`), "type")
	f.Fuzz(func(t *testing.T, data []byte, name string) {
		got, ok, err := Field(data, name)
		if err != nil {
			checkError(t, data, err)
		}
		if Check(data) != nil {
			return
		}
		want, found, exact := firstField(t, bytes.TrimPrefix(data, byteOrderMark), name)
		if err != nil {
			if exact {
				t.Fatalf("refuses what Check accepts: %v", err)
			}
			return
		}
		if got != want || ok != found {
			t.Fatalf("%q, %v; want %q, %v", got, ok, want, found)
		}
	})
}

// firstField returns the first top-level string field of that name. exact is false if that may have half of a surrogate pair, for
// which encoding/json writes U+FFFD.
func firstField(t *testing.T, data []byte, name string) (value string, found, exact bool) {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber() // a number may be more than a float64 holds
	if _, err := decoder.Token(); err != nil {
		t.Fatal(err)
	}
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			t.Fatal(err)
		}
		var raw json.RawMessage
		if err := decoder.Decode(&raw); err != nil && !tooDeep(err) {
			t.Fatal(err)
		} else if err != nil {
			return "", false, false
		}
		if key != name {
			continue
		}
		found = json.Unmarshal(raw, &value) == nil && raw[0] == '"'
		return value, found, !strings.ContainsRune(value, utf8.RuneError)
	}
	return "", false, true
}
