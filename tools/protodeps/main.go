// Command protodeps prints the public protobuf schemas that Bridge's own import, from the descriptors compiled into their
// Go modules. Generation then needs no other source than the Go module proxy, and the schemas match the code that is
// linked.
//
//	go run . DIR
package main

import (
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/jhump/protoreflect/v2/protoprint"
	"google.golang.org/protobuf/reflect/protoreflect"

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

func printAll(dir string) error {
	roots := []protoreflect.FileDescriptor{
		annotations.File_google_api_annotations_proto,
		date.File_google_type_date_proto,
		decimal.File_google_type_decimal_proto,
		money.File_google_type_money_proto,
		validate.File_buf_validate_validate_proto,
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	done := map[string]bool{}
	for _, root := range roots {
		if err := printFile(dir, root, done); err != nil {
			return fmt.Errorf("%s: %w", root.Path(), err)
		}
	}
	return nil
}

// printFile prints file and, first, what it imports; buf brings google/protobuf itself.
func printFile(dir string, file protoreflect.FileDescriptor, done map[string]bool) error {
	if done[file.Path()] || strings.HasPrefix(file.Path(), "google/protobuf/") {
		return nil
	}
	done[file.Path()] = true
	for i := range file.Imports().Len() {
		if err := printFile(dir, file.Imports().Get(i).FileDescriptor, done); err != nil {
			return err
		}
	}
	path := filepath.Join(dir, filepath.FromSlash(file.Path()))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	var printer protoprint.Printer
	if err := printer.PrintProtoFile(file, out); err != nil {
		_ = out.Close()
		return err
	}
	return out.Close()
}
