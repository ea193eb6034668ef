// Command protodeps prints the public protobuf schemas that Bridge's own import, from the descriptors compiled into their
// Go modules. Generation then needs no other source than the Go module proxy, and the schemas match the code that is
// linked. `make generate` prints them into proto, where they are committed: so protoc and buf work on a plain clone.
//
//	go run . DIR
//
// It replaces the folders buf and google in DIR.
package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/jhump/protoreflect/v2/protoprint"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/genproto/googleapis/type/date"
	"google.golang.org/genproto/googleapis/type/decimal"
	"google.golang.org/genproto/googleapis/type/money"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("protodeps: ")
	if len(os.Args) != 2 {
		log.Fatal("usage: protodeps DIR")
	}
	if err := printAll(os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

// owners has the owner of the copyright of the schemas below each folder. All are under the Apache License 2.0.
var owners = map[string]string{
	"buf":    "Buf Technologies, Inc.",
	"google": "Google LLC",
}

func printAll(dir string) error {
	roots := []protoreflect.FileDescriptor{
		annotations.File_google_api_annotations_proto,
		date.File_google_type_date_proto,
		decimal.File_google_type_decimal_proto,
		money.File_google_type_money_proto,
		validate.File_buf_validate_validate_proto,
	}
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return errors.New("the program does not know the versions of its modules")
	}
	for folder := range owners {
		if err := os.RemoveAll(filepath.Join(dir, folder)); err != nil {
			return err
		}
	}
	p := printing{dir: dir, modules: build.Deps, done: map[string]bool{}}
	for _, root := range roots {
		if err := p.print(root); err != nil {
			return fmt.Errorf("%s: %w", root.Path(), err)
		}
	}
	return nil
}

type printing struct {
	dir     string
	modules []*debug.Module
	done    map[string]bool
}

// print prints file and, first, the files that it imports. Every compiler brings google/protobuf itself.
func (p *printing) print(file protoreflect.FileDescriptor) error {
	if p.done[file.Path()] || strings.HasPrefix(file.Path(), "google/protobuf/") {
		return nil
	}
	p.done[file.Path()] = true
	for i := range file.Imports().Len() {
		if err := p.print(file.Imports().Get(i).FileDescriptor); err != nil {
			return err
		}
	}
	head, err := p.header(file)
	if err != nil {
		return err
	}
	out := bytes.NewBufferString(head)
	var printer protoprint.Printer
	if err := printer.PrintProtoFile(file, out); err != nil {
		return err
	}
	path := filepath.Join(p.dir, filepath.FromSlash(file.Path()))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, out.Bytes(), 0o644)
}

// header says where the file comes from. Descriptors have no comments, so the file's own notice is not in them.
func (p *printing) header(file protoreflect.FileDescriptor) (string, error) {
	folder, _, _ := strings.Cut(file.Path(), "/")
	owner, ok := owners[folder]
	if !ok {
		return "", errors.New("the owner of its copyright is not known")
	}
	options, _ := file.Options().(*descriptorpb.FileOptions)
	module := p.moduleOf(options.GetGoPackage())
	if module == nil {
		return "", fmt.Errorf("no module has its Go package, %q", options.GetGoPackage())
	}
	return fmt.Sprintf(`// Copyright %s
// Licensed under the Apache License, Version 2.0.
//
// Printed without comments by tools/protodeps, from the descriptor in the Go module
// %s %s. Do not edit.

`, owner, module.Path, module.Version), nil
}

// moduleOf returns the module that a Go package is in: the one with the longest path.
func (p *printing) moduleOf(pkg string) *debug.Module {
	var found *debug.Module
	for _, m := range p.modules {
		if strings.HasPrefix(pkg, m.Path+"/") && (found == nil || len(m.Path) > len(found.Path)) {
			found = m
		}
	}
	if found == nil {
		return nil
	}
	return cmp.Or(found.Replace, found)
}
