package kafka

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks/schemaregistry"
)

// SchemaRegistry has the schemas of the values, with Confluent's API. With it, a value of FormatProtobuf or FormatJSON begins with the
// id of its schema. The schema of a topic's values has the subject "<topic>-value". Its String leaves the secrets out.
type SchemaRegistry struct {
	// URL is the address of the API, without a user.
	URL string
	// Username and Password, or Token, or none of them, authenticate requests: HTTP's Basic or Bearer.
	Username, Password, Token string
	// Current, if set, returns the password or the token for a request, which may have changed since.
	Current func() string
	// TLS configures connections to an https address. nil trusts the system's authorities.
	TLS *TLS
	// LookUpOnly means that the schemas are registered by somebody else.
	LookUpOnly bool
	// JSONSchema returns the JSON Schema of events, as `bridge schema` prints it. It is needed for FormatJSON.
	JSONSchema func() (string, error)
}

// String leaves password and token out.
func (s SchemaRegistry) String() string { return s.URL }

// GoString leaves password and token out.
func (s SchemaRegistry) GoString() string { return "kafka.SchemaRegistry{" + s.URL + "}" }

// authorization returns the value of the header Authorization.
func (s *SchemaRegistry) authorization() string {
	secret := s.Password + s.Token
	if s.Current != nil {
		secret = s.Current()
	}
	switch {
	case s.Token != "":
		return "Bearer " + secret
	case s.Username != "":
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(s.Username+":"+secret))
	default:
		return ""
	}
}

// framer frames values with the id of their schema.
type framer struct {
	client *schemaregistry.Client
	schema *schemaregistry.Schema
}

// frame returns the content as a value for a topic. Its errors are about the registry, not about the event.
func (f *framer) frame(ctx context.Context, topic string, content []byte) ([]byte, error) {
	id, err := f.client.ID(ctx, topic+"-value", f.schema)
	if err != nil {
		return nil, err
	}
	return f.schema.Frame(id, content), nil
}

func (r *resolver) registry(s *SchemaRegistry, format Format, timeout time.Duration) *framer {
	if s == nil {
		return nil
	}
	const key = "schema_registry"
	if err := schemaregistry.CheckURL(s.URL); err != nil {
		r.addf(key+".url", "%w", err)
	}
	switch {
	case s.Token != "" && s.Username+s.Password != "":
		r.addf(key+".token", "excludes username and password")
	case s.Username == "" && s.Password != "":
		r.addf(key+".username", "is missing, with password given")
	case strings.Contains(s.Username, ":"):
		r.addf(key+".username", "must not have a colon: HTTP's Basic authentication does not allow it")
	}
	schema, err := s.schema(format)
	if err != nil {
		r.addf(key, "%w", err)
	}
	config := schemaregistry.Config{URL: s.URL, Authorization: s.authorization, Timeout: timeout, LookUpOnly: s.LookUpOnly}
	config.TLS = r.tls(key+".tls", s.TLS)
	return &framer{schemaregistry.New(config), schema}
}

// schema returns the schema of the values.
func (s *SchemaRegistry) schema(format Format) (*schemaregistry.Schema, error) {
	switch {
	case format == FormatJSON && s.JSONSchema != nil:
		text, err := s.JSONSchema()
		return schemaregistry.JSON(text), err
	case format == FormatProtobuf || format == "":
		return schemaregistry.Protobuf((*eventv1.Event)(nil).ProtoReflect().Descriptor())
	case format == FormatCloudEvents:
		return nil, errors.New("needs the format protobuf or json: a CloudEvent names its schema itself, in dataschema")
	default:
		return nil, fmt.Errorf("has no schemas for the format %q", format)
	}
}
