package openapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	optionsv1 "github.com/webhook-bridge/bridge/gen/bridge/options/v1"
)

// decimalName is the message that stands for money and quantities.
const decimalName = "google.type.Decimal"

// anyDecimal describes what is read as a decimal: a schema of this version names one type, and vendors send two.
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

// object is the part of a schema that the generator uses for a message. Fields keep the order of the message.
type object struct {
	Type        string `json:"type"`
	Properties  fields `json:"properties,omitempty"`
	Title       string `json:"title,omitempty"`
	Description string `json:"description,omitempty"`
}

type fields []field

type field struct {
	name   string
	schema schema
}

// MarshalJSON implements [json.Marshaler].
func (f fields) MarshalJSON() ([]byte, error) {
	var out bytes.Buffer
	out.WriteByte('{')
	for i := range f {
		name, err := marshal(f[i].name)
		if err != nil {
			return nil, err
		}
		value, err := marshal(f[i].schema)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			out.WriteByte(',')
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

// messages returns what is posted to each path, by the services that are linked into the program.
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

// bodies takes over the definitions of what vendors send. The generator writes them as protobuf's own JSON has it, which no
// vendor sends: 64-bit integers as strings, decimals as objects. What the intake reads follows from the messages.
type bodies struct {
	all, kept map[string]json.RawMessage
}

// keepOf takes over what the operation's body refers to; md is the body's message.
func (b bodies) keepOf(op operation, md protoreflect.MessageDescriptor) error {
	for _, p := range op.Parameters {
		if p.In != "body" {
			continue
		}
		var of schema
		if err := strictly(p.Schema, &of); err != nil {
			return err
		}
		if err := b.keep(of.Ref, md); err != nil {
			return err
		}
	}
	return nil
}

// keep takes over the definition of md that ref refers to, and those that it refers to.
func (b bodies) keep(ref string, md protoreflect.MessageDescriptor) error {
	name, ok := strings.CutPrefix(ref, definition)
	if !ok {
		return fmt.Errorf("%s has no definition", md.FullName())
	}
	if _, kept := b.kept[name]; kept {
		return nil
	}
	if md.FullName() == decimalName {
		b.kept[name] = anyDecimal
		return nil
	}
	var generated struct {
		object
		Properties map[string]*schema `json:"properties"`
	}
	if err := strictly(b.all[name], &generated); err != nil {
		return fmt.Errorf("definition %s: %w", name, err)
	}
	b.kept[name] = nil // Against messages that hold themselves.
	o := generated.object
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		s := generated.Properties[fd.JSONName()]
		if s == nil {
			return fmt.Errorf("definition %s lacks %s", name, fd.FullName())
		}
		sent := asSent(*s, fd)
		o.Properties = append(o.Properties, field{fd.JSONName(), sent})
		if err := b.keepField(sent, fd); err != nil {
			return err
		}
	}
	kept, err := marshal(o)
	b.kept[name] = kept
	return err
}

func (b bodies) keepField(s schema, fd protoreflect.FieldDescriptor) error {
	if s.Items != nil {
		s = *s.Items
	}
	if s.Ref == "" {
		return nil
	}
	if fd.Message() == nil {
		return fmt.Errorf("%s is no message", fd.FullName())
	}
	return b.keep(s.Ref, fd.Message())
}

func strictly(data []byte, v any) error {
	if len(data) == 0 {
		return errors.New("is not there")
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	return decoder.Decode(v)
}

// asSent turns the generator's schema of a field into one of what vendors send. A schema of this version names one type:
// where there are several, it names none and says in words which.
func asSent(s schema, fd protoreflect.FieldDescriptor) schema {
	options, _ := proto.GetExtension(fd.Options(), optionsv1.E_Field).(*optionsv1.Field)
	switch {
	case options.GetVerbatim():
		return anything(s, "Any JSON.")
	case len(options.GetAccepts()) > 0:
		forms := []string{noun(fd)}
		for _, form := range options.GetAccepts() {
			forms = append(forms, alternate(form))
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

// numeric has 64-bit integers as numbers.
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
	if fd.IsList() {
		return "a list"
	}
	switch fd.Kind() {
	case protoreflect.StringKind:
		return "a string"
	case protoreflect.BoolKind:
		return "true or false"
	case protoreflect.MessageKind:
		if fd.Message().FullName() == decimalName {
			return "a decimal number"
		}
		return "an object"
	default:
		return "a number"
	}
}

// alternate names a form besides the field's own.
func alternate(form optionsv1.JsonForm) string {
	switch form {
	case optionsv1.JsonForm_JSON_FORM_NUMBER:
		return "a number"
	case optionsv1.JsonForm_JSON_FORM_STRING:
		return "a string that stands for it"
	case optionsv1.JsonForm_JSON_FORM_BOOL:
		return "true or false"
	case optionsv1.JsonForm_JSON_FORM_SINGLE:
		return "its one element by itself"
	case optionsv1.JsonForm_JSON_FORM_EMPTY:
		return "an empty string or list in its place"
	default:
		return "another form"
	}
}
