package vendorjson

import (
	"fmt"
	"os"
	"sync"
	"testing"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// kindsFile is the schema in testdata/kinds.txtpb, which has what the vendors' schemas happen not to use.
var kindsFile = sync.OnceValues(func() (protoreflect.FileDescriptor, error) {
	text, err := os.ReadFile("testdata/kinds.txtpb")
	if err != nil {
		return nil, err
	}
	file := new(descriptorpb.FileDescriptorProto)
	if err := prototext.Unmarshal(text, file); err != nil {
		return nil, err
	}
	return protodesc.NewFile(file, protoregistry.GlobalFiles)
})

// kind returns an empty message of that schema.
func kind(tb testing.TB, name protoreflect.Name) proto.Message {
	tb.Helper()
	file, err := kindsFile()
	if err != nil {
		tb.Fatal(err)
	}
	return dynamicpb.NewMessage(file.Messages().ByName(name))
}

// kindsOf reads a Kinds from protobuf's text form.
func kindsOf(tb testing.TB, text string) proto.Message {
	tb.Helper()
	m := kind(tb, "Kinds")
	if err := prototext.Unmarshal([]byte(text), m); err != nil {
		tb.Fatalf("%s: %v", text, err)
	}
	return m
}

// driftLines writes drifts as "type $.path sample".
func driftLines(drifts []Drift) []string {
	var lines []string
	for _, d := range drifts {
		lines = append(lines, fmt.Sprintf("%s %s %s", map[Kind]string{Unknown: "unknown", Type: "type", Missing: "missing"}[d.Kind], d.Path, d.Sample))
	}
	return lines
}
