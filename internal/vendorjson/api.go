package vendorjson

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Limits of one document. The first two are of declared values: an undeclared one, with all that it holds, does not count.
const (
	// MaxDepth is the largest nesting of declared objects and lists; the outermost object is at depth 1.
	MaxDepth = 64
	// MaxValues is the largest number of declared JSON values in a document: every object, list and scalar counts.
	MaxValues = 100_000
	// MaxDrifts is the largest number of drifts that one document reports; later ones are dropped.
	MaxDrifts = 100
	// MaxSample is the largest size of a sample, in bytes.
	MaxSample = 64
)

// Kind is the kind of a drift.
type Kind uint8

const (
	// Unknown is a field that the message does not declare.
	Unknown Kind = iota + 1
	// Type is a declared field in an unexpected JSON form that could still be read.
	Type
	// Missing is a field marked `always` that a message in the document does not have, or has as null.
	Missing
	// Value is a declared field whose value was decoded, and that the connector did not understand. The decoder never reports it.
	Value
)

// Drift is one difference between a document and its message. A document reports each pair of kind and path once.
type Drift struct {
	Kind Kind
	// Path has the vendor's JSON names without list indexes: "$.items[].sku.size". A name with special characters is quoted,
	// `$["a.b"]`, and a long one is cut.
	Path string
	// Sample is the first such value, cut to MaxSample bytes. Nil for a missing field.
	Sample []byte
}

// Error is the reason for refusing a document, and the place.
type Error struct {
	// Code is one of the Code constants, a closed set of words for metrics and quarantine.
	Code string
	// Path is the path of the value, with list indexes: "$.items[3].quantity". "$" is the whole document. It has at most MaxDepth
	// steps, so that of a deeper value is the path of the object or list that holds it.
	Path string
	// Offset is in bytes from the start of the document.
	Offset int64
	// Problem is a text for people; it never quotes more than a few bytes of the document.
	Problem string
}

// Codes of an [Error].
const (
	// CodeMalformed is text that is not one JSON object; also invalid UTF-8, a declared name that is there twice, and half of a
	// surrogate pair in a declared string.
	CodeMalformed = "malformed_json"
	// CodeLimit is a document that exceeds MaxDepth or MaxValues, or is longer than 128 MiB.
	CodeLimit = "limit_exceeded"
	// CodeShape is a value that its field cannot have: another kind of value, or a number that does not fit.
	CodeShape = "wrong_shape"
)

// Unmarshal decodes one document into m, which must be empty, and returns its drifts from m's type. It does not keep data. It
// may be called concurrently.
//
// Errors are of type [*Error]; m is then in an unspecified state. If [Prepare] refuses the message type, every document has
// that error.
func Unmarshal(data []byte, m proto.Message) ([]Drift, error) {
	r := m.ProtoReflect()
	t, err := tableOf(r.Descriptor())
	if err != nil {
		return nil, &Error{Code: CodeShape, Path: "$", Problem: err.Error()}
	}
	d := acquireDecoder(data)
	defer d.release()
	if fault := d.readDocument(t); fault != nil {
		return nil, d.locate(fault)
	}
	if err := intoMessage.Unmarshal(d.out, m); err != nil {
		return nil, &Error{Code: CodeShape, Path: "$", Problem: "does not fit its message: " + err.Error()}
	}
	return d.drifts, nil
}

// intoMessage parses the wire form that the decoder writes. Merging saves a reset of a message that is already empty.
var intoMessage = proto.UnmarshalOptions{Merge: true, AllowPartial: true}

// Prepare returns an error unless messages of this type can be decoded. It builds their tables, which are kept permanently.
// Call it at start-up; otherwise the first document builds them. It refuses maps, oneofs, groups, the messages of
// google.protobuf, and the option verbatim on anything but a string: no vendor has needed them.
func Prepare(md protoreflect.MessageDescriptor) error {
	_, err := tableOf(md)
	return err
}

// Check returns an error unless data is one JSON object by RFC 8259's grammar, as for a message without fields. A name of once is
// declared: it may be there once at most, at the top level. Errors are of type [*Error].
func Check(data []byte, once ...string) error {
	d := acquireDecoder(data)
	defer d.release()
	if fault := d.readUndeclared(once); fault != nil {
		return d.locate(fault)
	}
	return nil
}

// Field reads a top-level string field without decoding the rest. ok is false if the document has no such field, or another
// kind of value there. It stops at the field and does not check the text after it. Errors are of type [*Error].
func Field(data []byte, name string) (value string, ok bool, err error) {
	d := acquireDecoder(data)
	defer d.release()
	value, ok, fault := d.findField(name)
	if fault != nil {
		return "", false, d.locate(fault)
	}
	return value, ok, nil
}
