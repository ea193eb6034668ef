package openapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	optionsv1 "github.com/webhook-bridge/bridge/gen/bridge/options/v1"
)

// decimalName is the message for money and quantities.
const decimalName = "google.type.Decimal"

// anyDecimal has no type: a schema of OpenAPI 2.0 has one type, and vendors send two.
var anyDecimal = json.RawMessage(`{"description":"A decimal number: a JSON number, or a string that holds one."}`)

// schema is the part of a schema that the generator uses for a field.
type schema struct {
	Type        string  `json:"type,omitempty"`
	Format      string  `json:"format,omitempty"`
	Title       string  `json:"title,omitempty"`
	Description string  `json:"description,omitempty"`
	Ref         string  `json:"$ref,omitempty"`
	Items       *schema `json:"items,omitempty"`
}

// object is the part of a schema that the generator uses for a message.
type object struct {
	Type        string          `json:"type"`
	Properties  json.RawMessage `json:"properties,omitempty"`
	Title       string          `json:"title,omitempty"`
	Description string          `json:"description,omitempty"`
}

// marshal is json.Marshal without the escapes for HTML.
func marshal(v any) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(v)
	return bytes.TrimSpace(out.Bytes()), err
}

// messages returns the message of each path's body, from the services that are linked into the program.
func messages() map[string]protoreflect.MessageDescriptor {
	all := map[string]protoreflect.MessageDescriptor{}
	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			methods := file.Services().Get(i).Methods()
			for k := range methods.Len() {
				rule, _ := proto.GetExtension(methods.Get(k).Options(), annotations.E_Http).(*annotations.HttpRule)
				if path := rule.GetPost(); strings.HasPrefix(path, prefix) {
					all[path] = methods.Get(k).Input()
				}
			}
		}
		return true
	})
	return all
}

// bodies copies definitions of request bodies from all to kept. The generator writes protobuf's own JSON, which no vendor sends:
// 64-bit integers as strings, decimals as objects. bodies changes them to the JSON that Bridge reads.
type bodies struct {
	all, kept map[string]json.RawMessage
}

// keepOf copies the definitions of the operation's body; md is the body's message.
func (b bodies) keepOf(op operation, md protoreflect.MessageDescriptor) error {
	i := slices.IndexFunc(op.Parameters, func(p parameter) bool { return p.In == "body" })
	if i < 0 {
		return nil
	}
	var of schema
	if err := strictly(op.Parameters[i].Schema, &of); err != nil {
		return err
	}
	return b.keep(of.Ref, md)
}

// keep copies the definition of md at ref, and the definitions that it refers to.
func (b bodies) keep(ref string, md protoreflect.MessageDescriptor) error {
	name, ok := strings.CutPrefix(ref, definition)
	if !ok || md == nil {
		return fmt.Errorf("%q is not the definition of a message", ref)
	}
	if _, kept := b.kept[name]; kept {
		return nil
	}
	if md.FullName() == decimalName {
		b.kept[name] = anyDecimal
		return nil
	}
	b.kept[name] = nil // a message may contain itself
	var o object
	var generated map[string]schema
	err := strictly(b.all[name], &o)
	if err == nil && o.Properties != nil {
		err = strictly(o.Properties, &generated)
	}
	if err != nil {
		return fmt.Errorf("definition %s: %w", name, err)
	}
	var properties []string // in the order of the message
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		s, ok := generated[fd.JSONName()]
		if !ok {
			return fmt.Errorf("definition %s lacks %s", name, fd.FullName())
		}
		sent := asSent(s, fd)
		text, err := marshal(sent)
		if err != nil {
			return err
		}
		properties = append(properties, strconv.Quote(fd.JSONName())+":"+string(text))
		if sent.Items != nil {
			sent = *sent.Items
		}
		if sent.Ref == "" {
			continue
		}
		if err := b.keep(sent.Ref, fd.Message()); err != nil {
			return err
		}
	}
	if properties == nil {
		b.kept[name] = b.all[name]
		return nil
	}
	o.Properties = json.RawMessage("{" + strings.Join(properties, ",") + "}")
	kept, err := marshal(o)
	b.kept[name] = kept
	return err
}

func strictly(data []byte, v any) error {
	if len(data) == 0 {
		return errors.New("is not there")
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	return decoder.Decode(v)
}

// asSent changes the generator's schema of a field to the JSON that vendors send. A schema of OpenAPI 2.0 has one type: a field
// with several JSON forms has none, and its description lists them.
func asSent(s schema, fd protoreflect.FieldDescriptor) schema {
	options, _ := proto.GetExtension(fd.Options(), optionsv1.E_Field).(*optionsv1.Field)
	switch {
	case options.GetVerbatim():
		return anything(s, "Any JSON.")
	case len(options.GetAccepts()) > 0:
		forms := []string{noun(fd)}
		for _, form := range options.GetAccepts() {
			forms = append(forms, alternates[form])
		}
		text := strings.Join(forms, ", or ")
		return anything(s, strings.ToUpper(text[:1])+text[1:]+".")
	}
	if s.Items != nil {
		items := numeric(*s.Items)
		s.Items = &items
	}
	return numeric(s)
}

// numeric makes 64-bit integers numbers.
func numeric(s schema) schema {
	if s.Type == "string" && (s.Format == "int64" || s.Format == "uint64") {
		s.Type = "integer"
	}
	return s
}

func anything(s schema, forms string) schema {
	return schema{Title: s.Title, Description: strings.TrimSpace(s.Description + " " + forms)}
}

// noun names a field's own form.
func noun(fd protoreflect.FieldDescriptor) string {
	switch {
	case fd.IsList():
		return "a list"
	case fd.Kind() == protoreflect.StringKind:
		return "a string"
	case fd.Kind() == protoreflect.BoolKind:
		return "true or false"
	case fd.Kind() != protoreflect.MessageKind:
		return "a number"
	case fd.Message().FullName() == decimalName:
		return "a decimal number"
	}
	return "an object"
}

// alternates names the JSON forms that a field may have in addition to its own form.
var alternates = map[optionsv1.JsonForm]string{
	optionsv1.JsonForm_JSON_FORM_NUMBER: "a number",
	optionsv1.JsonForm_JSON_FORM_STRING: "a string that stands for it",
	optionsv1.JsonForm_JSON_FORM_BOOL:   "true or false",
	optionsv1.JsonForm_JSON_FORM_SINGLE: "its one element by itself",
	optionsv1.JsonForm_JSON_FORM_EMPTY:  "an empty string or list in its place",
}
