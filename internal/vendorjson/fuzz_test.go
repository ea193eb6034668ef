package vendorjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// FuzzUnmarshalAgainstProtojson holds the decoder against protojson: where both accept and there is no drift, both make
// the same message. Where they are meant to differ, the input is left out:
//
//   - google.type.Decimal, which protojson reads from an object, and fields marked verbatim: messages that have one of them
//     set in either result;
//   - alternates that the schema expects: protojson refuses them;
//   - duplicates, escaped spellings of them included: protojson lets them be in what it skips;
//   - null in a list, and unknown fields: drift.
//
// What protojson accepts is accepted, but for duplicates, for what is past the limits, and for decimals.
//
// Whatever the input: nothing that encoding/json refuses is accepted, an error is an *Error within the document, and
// decoding again gives the same.
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
	f.Add(byName["webhooks.retino.v1.Shipping"], []byte(`{"id":"\ud83d\ude00\u0000","option_name":"\ud800"}`))
	f.Fuzz(func(t *testing.T, index int, data []byte) {
		typ := types[uint(index)%uint(len(types))]
		ours, theirs := typ.New().Interface(), typ.New().Interface()
		drifts, err := Unmarshal(data, ours)
		if (err == nil) != (Check(data) == nil) && err == nil {
			t.Fatalf("Check refuses what Unmarshal accepts: %v", Check(data))
		}
		options := protojson.UnmarshalOptions{DiscardUnknown: true}
		if err != nil {
			checkError(t, data, err)
			e, _ := errors.AsType[*Error](err)
			if e.Code != CodeLimit && e.Problem != duplicated && options.Unmarshal(data, theirs) == nil && !special(theirs.ProtoReflect()) {
				t.Fatalf("protojson reads it, but: %v", err)
			}
			return
		}
		if !json.Valid(data) {
			t.Fatal("accepted what is not JSON")
		}
		again := typ.New().Interface()
		if _, err := Unmarshal(data, again); err != nil || !proto.Equal(ours, again) {
			t.Fatalf("the second time: %v, %v, then %v", err, ours, again)
		}
		for _, d := range drifts {
			if d.Path == "" || len(d.Sample) > MaxSample || !bytes.Contains(data, d.Sample) {
				t.Fatalf("drift %+v", d)
			}
		}
		if len(drifts) != 0 || options.Unmarshal(data, theirs) != nil || special(ours.ProtoReflect()) || special(theirs.ProtoReflect()) {
			return
		}
		if !proto.Equal(ours, theirs) {
			t.Fatalf("ours   %v\ntheirs %v", ours, theirs)
		}
	})
}

// duplicated is the problem with a name that is there twice.
const duplicated = "is there twice"

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

// FuzzField holds Field against encoding/json: on a document that Check accepts, both find the same.
func FuzzField(f *testing.F) {
	for _, s := range samples(f) {
		f.Add(s.data, "type")
		f.Add(s.data, "_t")
	}
	f.Add([]byte(`{"\u0074ype":"\ud83d\ude00"}`), "type")
	f.Add([]byte(`{"type":12}`), "type")
	f.Fuzz(func(t *testing.T, data []byte, name string) {
		got, ok, err := Field(data, name)
		if err != nil {
			checkError(t, data, err)
		}
		if Check(data) != nil {
			return
		}
		if err != nil {
			t.Fatalf("refuses what Check accepts: %v", err)
		}
		var all map[string]any
		if err := json.Unmarshal(data, &all); err != nil {
			t.Fatal(err)
		}
		want, found := all[name].(string)
		if got != want || ok != found {
			t.Fatalf("%q, %v; want %q, %v", got, ok, want, found)
		}
	})
}
