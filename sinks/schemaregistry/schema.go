package schemaregistry

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Schema is a schema of values, with the schemas that it imports.
type Schema struct {
	// Type is "PROTOBUF" or "JSON".
	Type string
	// Text is the descriptor of a .proto file in Base64, or a JSON Schema.
	Text    string
	Imports []Import
	// indexes is the place of the message in the .proto file, in the prefix's encoding.
	indexes []byte
}

// Import is a schema that another one imports under a path.
type Import struct {
	Path   string
	Schema *Schema
}

// JSON returns a JSON Schema.
func JSON(text string) *Schema { return &Schema{Type: "JSON", Text: text} }

// Protobuf returns the schema of a message: the file that declares it, and the files that it imports. The files below google/protobuf are
// left out, since every registry has them.
//
// A file is sent as its descriptor in Base64, as Confluent's clients for Python, Go and .NET send it. A registry of Confluent makes a
// .proto file of it. Others return the text that they got, and those clients can read only this one.
func Protobuf(md protoreflect.MessageDescriptor) (*Schema, error) {
	s, err := protobufFile(md.ParentFile(), map[string]*Schema{})
	if err != nil {
		return nil, fmt.Errorf("schemaregistry: %w", err)
	}
	s.indexes = indexesOf(md)
	return s, nil
}

// protobufFile returns the schema of a file. done has the schemas of files so far.
func protobufFile(fd protoreflect.FileDescriptor, done map[string]*Schema) (*Schema, error) {
	if s, ok := done[fd.Path()]; ok {
		return s, nil
	}
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(protodesc.ToFileDescriptorProto(fd))
	if err != nil {
		return nil, err
	}
	s := &Schema{Type: "PROTOBUF", Text: base64.StdEncoding.EncodeToString(encoded)}
	done[fd.Path()] = s
	for i := range fd.Imports().Len() {
		imported := fd.Imports().Get(i).FileDescriptor
		if strings.HasPrefix(imported.Path(), "google/protobuf/") {
			continue
		}
		schema, err := protobufFile(imported, done)
		if err != nil {
			return nil, err
		}
		s.Imports = append(s.Imports, Import{imported.Path(), schema})
	}
	return s, nil
}

// indexesOf returns the indexes of a message and of the messages that it is in, from the outermost one: their number and each of them,
// as zigzag varints. The first message of a file is short: 0.
func indexesOf(md protoreflect.MessageDescriptor) []byte {
	var indexes []int64
	for d := protoreflect.Descriptor(md); ; d = d.Parent() {
		if _, ok := d.(protoreflect.MessageDescriptor); !ok {
			break
		}
		indexes = append(indexes, int64(d.Index()))
	}
	if len(indexes) == 1 && indexes[0] == 0 {
		return []byte{0}
	}
	slices.Reverse(indexes)
	encoded := binary.AppendVarint(nil, int64(len(indexes)))
	for _, i := range indexes {
		encoded = binary.AppendVarint(encoded, i)
	}
	return encoded
}

// Frame returns a value in Confluent's wire format: a zero byte, the id of its schema, for protobuf the indexes of the message, and the
// content.
func (s *Schema) Frame(id uint32, content []byte) []byte {
	framed := make([]byte, 0, 5+len(s.indexes)+len(content))
	framed = binary.BigEndian.AppendUint32(append(framed, 0), id)
	framed = append(framed, s.indexes...)
	return append(framed, content...)
}
