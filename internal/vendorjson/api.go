package vendorjson

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
)

// Drift is one difference between a document and its message. A document reports each pair of kind and path once.
type Drift struct {
	Kind Kind
	// Path in the vendor's JSON names, list indexes left out: "$.items[].sku.size".
	Path string
	// Sample is the first such value, cut to MaxSample bytes.
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

// The package's functions, as their callers see them:
//
//	Unmarshal(data []byte, m proto.Message) ([]Drift, error)
//	  decodes one document; errors are *Error. m must be empty.
//	Check(data []byte) error
//	  says whether data is one JSON object within the limits, as Unmarshal would of a message without fields.
//	Field(data []byte, name string) (value string, ok bool, err error)
//	  reads a top-level string field without decoding the rest; ok is false when the document has none, or has another
//	  kind of value there. It stops at the field: what follows is not looked at.
//	NewBody(data []byte) *Body
//	  is the request body handed to the generated gateway. After the call, Body.Drift and Body.Err say what the decoder
//	  found: the gateway itself loses them.
//	Marshaler
//	  is the runtime.Marshaler that decodes a *Body in place, without reading it.
