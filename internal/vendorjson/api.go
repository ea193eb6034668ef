package vendorjson

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Limits of one document.
const (
	// MaxDepth is how deep objects and lists may be nested; the outermost object is at depth 1.
	MaxDepth = 64
	// MaxValues is how many JSON values a document may hold, counting each object, list and scalar.
	MaxValues = 100_000
	// MaxDrifts is how many differences one document reports; later ones are dropped.
	MaxDrifts = 100
	// MaxSample is how many bytes of a value are kept as a sample.
	MaxSample = 64
)

// Kind is how a value differed from what its field declares.
type Kind uint8

const (
	// Unknown is a field that the message does not declare.
	Unknown Kind = iota + 1
	// Type is a declared field in another JSON form than expected, which could be read all the same.
	Type
	// Missing is a field marked `always` that a message in the document lacks, or has as null.
	Missing
)

// Drift is one difference between a document and its message. A document reports each pair of kind and path once.
type Drift struct {
	Kind Kind
	// Path in the vendor's JSON names, list indexes left out: "$.items[].sku.size". A name that would not stand by itself is
	// quoted, `$["a.b"]`, and a long one is cut.
	Path string
	// Sample is the first such value, cut to MaxSample bytes. Nil for what is missing.
	Sample []byte
}

// Error says why a document was refused, and where.
type Error struct {
	// Code is one of a closed set of words for metrics and quarantine: see the Code constants.
	Code string
	// Path of the value at fault, with list indexes: "$.items[3].quantity". "$" is the whole document.
	Path string
	// Offset in bytes from the start of the document.
	Offset int64
	// Problem for people; it never quotes more than a few bytes of the document.
	Problem string
}

// Codes of an [Error].
const (
	// CodeMalformed is text that is not one JSON object, invalid UTF-8 and duplicate keys included.
	CodeMalformed = "malformed_json"
	// CodeLimit is a document past MaxDepth or MaxValues.
	CodeLimit = "limit_exceeded"
	// CodeShape is a value that its field cannot take: another kind of value, or a number that does not fit.
	CodeShape = "wrong_shape"
)

// Unmarshal decodes one document into m, which must be empty, and returns how it differed from m's type. Nothing of data
// is kept. It may be called concurrently.
//
// Errors are of type [*Error]; m is then in an unspecified state. A message type that [Prepare] refuses is such an error
// for every document.
func Unmarshal(data []byte, m proto.Message) ([]Drift, error) {
	r := m.ProtoReflect()
	t, err := tableOf(r.Descriptor())
	if err != nil {
		return nil, &Error{Code: CodeShape, Path: "$", Problem: err.Error()}
	}
	d := take(data)
	defer d.release()
	if fault := d.document(t); fault != nil {
		return nil, d.locate(fault)
	}
	if err := intoMessage.Unmarshal(d.out, m); err != nil {
		return nil, &Error{Code: CodeShape, Path: "$", Problem: "does not fit its message: " + err.Error()}
	}
	return d.drifts, nil
}

// intoMessage reads the wire form that the decoder makes. Merging spares a reset of a message that is empty anyway.
var intoMessage = proto.UnmarshalOptions{Merge: true, AllowPartial: true}

// Prepare says whether messages of this type can be decoded, and builds the tables for it, which are kept for good. It is
// for start-up, since the first document would do the same. Maps, oneofs, groups, the messages of google.protobuf, and
// the option verbatim on anything but a string are refused: no vendor has needed them.
func Prepare(md protoreflect.MessageDescriptor) error {
	_, err := tableOf(md)
	return err
}

// Check says whether data is one JSON object within the limits, as Unmarshal would of a message without fields. Errors are
// of type [*Error].
func Check(data []byte) error {
	d := take(data)
	defer d.release()
	if fault := d.document(nil); fault != nil {
		return d.locate(fault)
	}
	return nil
}

// Field reads a top-level string field without decoding the rest. ok is false when the document has none, or has another
// kind of value there. It stops at the field: what follows is not looked at. Errors are of type [*Error].
func Field(data []byte, name string) (value string, ok bool, err error) {
	d := take(data)
	defer d.release()
	value, ok, fault := d.find(name)
	if fault != nil {
		return "", false, d.locate(fault)
	}
	return value, ok, nil
}
