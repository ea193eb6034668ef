package jsonschema

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/linker"
	"google.golang.org/protobuf/reflect/protoreflect"

	protofiles "github.com/webhook-bridge/bridge/proto"
)

// comments finds the comments of the schemas. Generated code has none, so they are read from the .proto files.
type comments struct{ files linker.Files }

// readComments compiles the schemas of the events.
func readComments() (*comments, error) {
	paths, err := fs.Glob(protofiles.Files, "bridge/event/v1/*.proto")
	if err != nil {
		return nil, fmt.Errorf("jsonschema: list the schemas: %w", err)
	}
	compiler := protocompile.Compiler{
		SourceInfoMode: protocompile.SourceInfoStandard,
		Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{
			Accessor: func(path string) (io.ReadCloser, error) { return protofiles.Files.Open(path) },
		}),
	}
	files, err := compiler.Compile(context.Background(), paths...)
	if err != nil {
		return nil, fmt.Errorf("jsonschema: read the schemas: %w", err)
	}
	return &comments{files}, nil
}

// of returns the comment above d, one line a paragraph, or the text in external, for schemas that are printed without comments.
func (c *comments) of(d protoreflect.Descriptor) string {
	if text, ok := external[d.FullName()]; ok {
		return text
	}
	file := c.files.FindFileByPath(d.ParentFile().Path())
	if file == nil {
		return ""
	}
	found := file.FindDescriptorByName(d.FullName())
	if found == nil {
		return ""
	}
	paragraphs := strings.Split(file.SourceLocations().ByDescriptor(found).LeadingComments, "\n\n")
	for i, p := range paragraphs {
		paragraphs[i] = strings.Join(strings.Fields(p), " ")
	}
	return strings.TrimSpace(strings.Join(paragraphs, "\n"))
}

// external describes the messages of google.type that events use.
var external = map[protoreflect.FullName]string{
	"google.type.Money":               "An amount of money: units and nanos together, which have the same sign.",
	"google.type.Money.currency_code": "The currency's code in ISO 4217, such as EUR.",
	"google.type.Money.units":         "Whole units of the currency.",
	"google.type.Money.nanos":         "Billionths of a unit.",
	"google.type.Decimal":             "A decimal number that keeps all digits.",
	"google.type.Decimal.value":       "Digits, at most 19 before the point and at most 38 after it, and a minus if it is negative.",
	"google.type.Date":                "A date without a time of day and without a zone.",
	"google.type.Date.year":           "The year, from 1 to 9999.",
	"google.type.Date.month":          "The month, from 1 to 12.",
	"google.type.Date.day":            "The day of the month, from 1 to 31.",
}
