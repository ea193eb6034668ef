// Package jsonschema describes Bridge's events as JSON Schemas, in the JSON form that protobuf gives them: `bridge tail --json`, and
// the JSON formats of the sinks, print that form.
//
// The schemas come from three places that cannot disagree with the program: the descriptors that are linked (names, types), their
// protovalidate rules (patterns, lengths, required fields), and the comments of the .proto files that are embedded (descriptions). A
// rule without an equivalent in JSON Schema, such as a CEL expression, is left out: so every event of Bridge fits its schema, and
// not every text that fits is an event. A schema has no `additionalProperties`: later versions add fields.
//
// [Event] is a document of draft 2020-12. A [Builder] makes the parts for another document, such as that of package asyncapi.
package jsonschema

import (
	"bytes"
	"encoding/json"
)

// Schema has the keywords that events need. All mean the same in draft 7 and in draft 2020-12, except Defs and Dependent, which only
// the latter has.
type Schema struct {
	Draft       string `json:"$schema,omitempty"`
	Title       string `json:"title,omitempty"`
	Description string `json:"description,omitempty"`
	Ref         string `json:"$ref,omitempty"`
	Type        string `json:"type,omitempty"`

	Const           string   `json:"const,omitempty"`
	Enum            []string `json:"enum,omitempty"`
	Format          string   `json:"format,omitempty"`
	Pattern         string   `json:"pattern,omitempty"`
	MinLength       *uint64  `json:"minLength,omitempty"`
	MaxLength       *uint64  `json:"maxLength,omitempty"`
	ContentEncoding string   `json:"contentEncoding,omitempty"`

	Minimum          *int64 `json:"minimum,omitempty"`
	ExclusiveMinimum *int64 `json:"exclusiveMinimum,omitempty"`
	Maximum          *int64 `json:"maximum,omitempty"`

	Items    *Schema `json:"items,omitempty"`
	MinItems *uint64 `json:"minItems,omitempty"`
	MaxItems *uint64 `json:"maxItems,omitempty"`

	Properties Properties `json:"properties,omitempty"`
	Required   []string   `json:"required,omitempty"`
	// Values is the schema of the values of a map.
	Values    *Schema    `json:"additionalProperties,omitempty"`
	Dependent Properties `json:"dependentSchemas,omitempty"`

	AllOf []*Schema `json:"allOf,omitempty"`
	AnyOf []*Schema `json:"anyOf,omitempty"`
	OneOf []*Schema `json:"oneOf,omitempty"`

	// Personal marks personal data. It is an extension, without a meaning for validators.
	Personal bool `json:"x-personal,omitempty"`

	Defs Properties `json:"$defs,omitempty"`
}

// Property is a schema with its name.
type Property struct {
	Name   string
	Schema *Schema
}

// Properties is a JSON object of schemas, in order.
type Properties []Property

// MarshalJSON implements [json.Marshaler].
func (p Properties) MarshalJSON() ([]byte, error) {
	var out bytes.Buffer
	out.WriteByte('{')
	for i, property := range p {
		if i > 0 {
			out.WriteByte(',')
		}
		name, err := json.Marshal(property.Name)
		if err != nil {
			return nil, err
		}
		value, err := marshal(property.Schema)
		if err != nil {
			return nil, err
		}
		out.Write(name)
		out.WriteByte(':')
		out.Write(value)
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}

// marshal is json.Marshal without the escapes for HTML.
func marshal(v any) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(v)
	return bytes.TrimSpace(out.Bytes()), err
}
