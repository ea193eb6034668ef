package vendorjson

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	optionsv1 "github.com/webhook-bridge/bridge/gen/bridge/options/v1"
)

// A field marked `always` is reported if its message exists without it, or has it as null.
func TestMissing(t *testing.T) {
	const whole = `"anId":"a","n":1,"items":[{"sku":"s"}]`
	tests := []struct {
		json  string
		drift []string
	}{
		{`{` + whole + `}`, nil},
		{`{` + whole + `,"note":null,"one":{"sku":""}}`, nil},
		{`{}`, []string{`missing $.anId `, `missing $.n `, `missing $.items `}},
		{`{"anId":null,"n":1,"items":null}`, []string{`missing $.anId `, `missing $.items `}},
		{`{"items":[],"n":1}`, []string{`missing $.anId `}},
		{`{` + whole + `,"one":{}}`, []string{`missing $.one.sku `}},
		{`{` + whole + `,"one":null}`, nil},
		{`{` + whole + `,"one":{"sku":null,"x":1}}`, []string{`missing $.one.sku `, `unknown $.one.x 1`}},
		// A value that stands for nothing is there all the same.
		{`{"anId":"","n":"","items":""}`, []string{`type $.items ""`}},
		// Of a list's elements the first is enough, and a null among them is no element.
		{`{"anId":"a","n":1,"items":[{"sku":"s"},{},{"sku":null},null]}`, []string{`missing $.items[].sku `, `type $.items[] null`}},
		{`{"anId":"a","n":1,"items":{"name":"x"}}`, []string{`missing $.items.sku `, `type $.items {"name":"x"}`}},
		// The same path may differ in more ways than one.
		{`{"anId":"a","n":1,"items":[{"sku":1},{}]}`, []string{`type $.items[].sku 1`, `missing $.items[].sku `}},
	}
	for _, tt := range tests {
		drifts, err := Unmarshal([]byte(tt.json), kind(t, "Always"))
		if err != nil {
			t.Errorf("%s: %v", tt.json, err)
			continue
		}
		if diff := cmp.Diff(tt.drift, driftLines(drifts)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", tt.json, diff)
		}
		for _, d := range drifts {
			if d.Kind == Missing && d.Sample != nil {
				t.Errorf("%s: %s has the sample %q", tt.json, d.Path, d.Sample)
			}
		}
	}
}

// A null that counts as missing is a field that was there, as far as duplicates go.
func TestMissingIsNoWayAroundDuplicates(t *testing.T) {
	for _, doc := range []string{`{"anId":null,"anId":"a"}`, `{"anId":"a","anId":null}`, `{"anId":null,"anId":null}`} {
		_, err := Unmarshal([]byte(doc), kind(t, "Always"))
		if err == nil || !strings.Contains(err.Error(), "$.anId is there twice") {
			t.Errorf("%s: %v", doc, err)
		}
	}
}

// Fields are told apart beyond the first 64, and reports of what is missing are bounded like all others.
func TestManyMissing(t *testing.T) {
	const fields = 150
	options := new(descriptorpb.FieldOptions)
	proto.SetExtension(options, optionsv1.E_Field, &optionsv1.Field{Always: true})
	message := &descriptorpb.DescriptorProto{Name: proto.String("Wide")}
	for i := range int32(fields) {
		message.Field = append(message.Field, &descriptorpb.FieldDescriptorProto{
			Name: proto.String(fmt.Sprintf("f%d", i)), Number: proto.Int32(i + 1), JsonName: proto.String(fmt.Sprintf("f%d", i)),
			Type: descriptorpb.FieldDescriptorProto_TYPE_INT64.Enum(), Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(), Options: options,
		})
	}
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("wide.proto"), Syntax: proto.String("proto3"), MessageType: []*descriptorpb.DescriptorProto{message},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	wide := file.Messages().ByName("Wide")
	unmarshal := func(leaveOut func(int) bool) []Drift {
		var names []string
		for i := range fields {
			if !leaveOut(i) {
				names = append(names, fmt.Sprintf(`"f%d":1`, i))
			}
		}
		drifts, err := Unmarshal([]byte("{"+strings.Join(names, ",")+"}"), dynamicpb.NewMessage(wide))
		if err != nil {
			t.Fatal(err)
		}
		return drifts
	}
	for i := range fields {
		drifts := unmarshal(func(n int) bool { return n == i })
		if want := []string{fmt.Sprintf("missing $.f%d ", i)}; !cmp.Equal(want, driftLines(drifts)) {
			t.Fatalf("without f%d: %q", i, driftLines(drifts))
		}
	}
	if n := len(unmarshal(func(int) bool { return true })); n != MaxDrifts {
		t.Errorf("%d drifts of an empty document, want %d", n, MaxDrifts)
	}
}
