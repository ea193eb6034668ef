package vendorjson

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// undeclared adds fields of these numbers, each several times, to a message.
func undeclared(m protoreflect.Message, numbers ...protowire.Number) {
	var raw []byte
	for _, n := range slices.Concat(numbers, numbers) {
		raw = protowire.AppendTag(raw, n, protowire.BytesType)
		raw = protowire.AppendString(raw, "secret")
	}
	m.SetUnknown(raw)
}

// TestInspectUndeclared: at any depth, each path once, and without the value.
func TestInspectUndeclared(t *testing.T) {
	m := kindsOf(t, `a_string: "x" nested { nested { plain: 1 } } list {} list { list {} } decimal { value: "1" } numbers: [1, 2]`)
	r := m.ProtoReflect()
	field := func(m protoreflect.Message, name protoreflect.Name) protoreflect.Value {
		return m.Mutable(m.Descriptor().Fields().ByName(name))
	}
	undeclared(r, 901, 902)
	undeclared(field(field(r, "nested").Message(), "nested").Message(), 903)
	for i := range 2 {
		undeclared(field(r, "list").List().Get(i).Message(), 904)
	}
	undeclared(field(field(r, "list").List().Get(1).Message(), "list").List().Get(0).Message(), 905)
	undeclared(field(r, "decimal").Message(), 906)
	// Once more as it would arrive.
	wire, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	arrived := kind(t, "Kinds")
	if err := proto.Unmarshal(wire, arrived); err != nil {
		t.Fatal(err)
	}
	for _, m := range []proto.Message{m, arrived} {
		before := proto.Clone(m)
		drifts, err := Inspect(m)
		if err != nil {
			t.Fatal(err)
		}
		lines := driftLines(drifts)
		slices.Sort(lines)
		want := []string{
			"unknown $.decimal.field_906 ", "unknown $.field_901 ", "unknown $.field_902 ", "unknown $.list[].field_904 ", "unknown $.list[].list[].field_905 ",
			"unknown $.nested.nested.field_903 ",
		}
		if diff := cmp.Diff(want, lines); diff != "" {
			t.Errorf("drift (-want +got):\n%s", diff)
		}
		if !proto.Equal(before, m) {
			t.Error("the message was changed")
		}
	}
}

// TestInspectWithoutDrift: what its type declares is none.
func TestInspectWithoutDrift(t *testing.T) {
	for _, m := range []proto.Message{kind(t, "Kinds"), kindsOf(t, `a_string: "" nested {} list {} strings: ["a"] an_enum: 7`)} {
		if drifts, err := Inspect(m); drifts != nil || err != nil {
			t.Errorf("%v: %v, %v", m, drifts, err)
		}
	}
}

// TestInspectLimits: those of a document.
func TestInspectLimits(t *testing.T) {
	nested := func(n int) string { return strings.Repeat("nested { ", n) + strings.Repeat("} ", n) }
	many := func(n int) string { return "numbers: [0" + strings.Repeat(", 0", n-1) + "]" }
	for _, tt := range []struct {
		name, text string
		path       string
	}{
		{"deepest", nested(MaxDepth - 1), ""},
		{"too deep", nested(MaxDepth), "$" + strings.Repeat(".nested", MaxDepth)},
		{"most values", many(MaxValues - 2), ""}, // plus the message and the list
		{"too many values", many(MaxValues - 1), "$.numbers[]"},
		{"most messages", strings.Repeat("list {} ", MaxValues-2), ""},
		{"too many messages", strings.Repeat("list {} ", MaxValues-1), "$.list[]"},
	} {
		_, err := Inspect(kindsOf(t, tt.text))
		var fault *Error
		if tt.path == "" && err != nil || tt.path != "" && (!errors.As(err, &fault) || fault.Code != CodeLimit || fault.Path != tt.path || fault.Offset != -1) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	m := kind(t, "Kinds")
	var numbers []protowire.Number
	for i := range 2 * MaxDrifts {
		numbers = append(numbers, protowire.Number(1000+i))
	}
	undeclared(m.ProtoReflect(), numbers...)
	if drifts, err := Inspect(m); len(drifts) != MaxDrifts || err != nil {
		t.Errorf("%d drifts, %v", len(drifts), err)
	}
}

// Any number of undeclared fields, and any depth of groups in them, is drift and no more.
func TestInspectManyUndeclared(t *testing.T) {
	m := kind(t, "Kinds")
	undeclared(m.ProtoReflect(), slices.Repeat([]protowire.Number{1000, 1001}, MaxValues)...)
	var deep []byte
	for range 5000 {
		deep = protowire.AppendTag(deep, 1002, protowire.StartGroupType)
	}
	for range 5000 {
		deep = protowire.AppendTag(deep, 1002, protowire.EndGroupType)
	}
	r := m.ProtoReflect()
	r.SetUnknown(slices.Concat(r.GetUnknown(), deep))
	drifts, err := Inspect(m)
	want := []string{"unknown $.field_1000 ", "unknown $.field_1001 ", "unknown $.field_1002 "}
	if diff := cmp.Diff(want, driftLines(drifts)); diff != "" || err != nil {
		t.Errorf("%v, drift (-want +got):\n%s", err, diff)
	}
}

func TestValues(t *testing.T) {
	for text, want := range map[string]int{
		``: 1, `a_string: "x"`: 2, `nested { plain: 1 }`: 3, `list {} list {}`: 4, `numbers: [1, 2, 3]`: 5, `decimal { value: "1" }`: 3,
	} {
		if got := Values(kindsOf(t, text), 100); got != want {
			t.Errorf("%q: %d values, want %d", text, got, want)
		}
	}
	if got := Values(kindsOf(t, strings.Repeat("list {} ", 1000)), 100); got != 101 {
		t.Errorf("counted on to %d", got)
	}
}
