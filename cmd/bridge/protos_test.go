package main

import (
	"io"
	"io/fs"
	"strings"
	"testing"

	"github.com/bufbuild/protocompile"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/descriptorpb"

	protofiles "github.com/webhook-bridge/bridge/proto"
)

// TestProtosAreLinked: the files that `bridge protos` writes compile without others, and describe exactly the messages and services that the program is linked with. Those
// of other projects are from the modules that are linked, not from other versions.
func TestProtosAreLinked(t *testing.T) {
	var paths []string
	err := fs.WalkDir(protofiles.Files, ".", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	compiler := protocompile.Compiler{
		Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{
			Accessor: func(path string) (io.ReadCloser, error) { return protofiles.Files.Open(path) },
		}),
	}
	files, err := compiler.Compile(t.Context(), paths...)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 30 {
		t.Errorf("only %d files", len(files))
	}
	for _, file := range files {
		if strings.HasPrefix(file.Path(), "bridge/journal/") || strings.HasPrefix(file.Path(), "bridge/config/") {
			t.Errorf("%s is not for other programs", file.Path())
		}
		linked, err := protoregistry.GlobalFiles.FindFileByPath(file.Path())
		if err != nil {
			t.Errorf("%s: %v", file.Path(), err)
			continue
		}
		if diff := cmp.Diff(describedFile(t, linked), describedFile(t, file), protocmp.Transform()); diff != "" {
			t.Errorf("%s (-linked +file):\n%s", file.Path(), diff)
		}
	}
}

// describedFile returns the descriptor without the options of the file, which say where generated code is.
func describedFile(t *testing.T, file protoreflect.FileDescriptor) *descriptorpb.FileDescriptorProto {
	t.Helper()
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(protodesc.ToFileDescriptorProto(file))
	if err != nil {
		t.Fatal(err)
	}
	// Read again, so that options have the types that are linked.
	var d descriptorpb.FileDescriptorProto
	if err := proto.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	d.Options = nil
	return &d
}
