// Package openapi describes the webhooks that one instance of Bridge receives, as an OpenAPI 2.0 document.
//
// The generator writes bridge.swagger.json from the vendors' services. Its paths name connectors. But senders call sources,
// which only the configuration knows. [Document] converts the paths, and leaves out connectors that no source uses. It never
// sees a secret.
package openapi

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/internal/source"
)

//go:embed bridge.swagger.json
var generated []byte

const (
	prefix     = "/webhooks/"
	definition = "#/definitions/"
)

// document is the part of OpenAPI 2.0 that the generator and Document use.
type document struct {
	Swagger             string                     `json:"swagger"`
	Info                info                       `json:"info"`
	Tags                []tag                      `json:"tags"`
	Consumes            []string                   `json:"consumes"`
	Produces            []string                   `json:"produces"`
	Paths               map[string]item            `json:"paths"`
	SecurityDefinitions map[string]security        `json:"securityDefinitions,omitempty"`
	Definitions         map[string]json.RawMessage `json:"definitions"`
}

type info struct {
	Title       string `json:"title"`
	Description string `json:"description,omitempty"`
	Version     string `json:"version"`
}

type tag struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
}

type item struct {
	Post operation `json:"post"`
}

type operation struct {
	Summary     string                `json:"summary,omitempty"`
	Description string                `json:"description,omitempty"`
	OperationID string                `json:"operationId"`
	Responses   map[string]response   `json:"responses"`
	Parameters  []parameter           `json:"parameters"`
	Tags        []string              `json:"tags"`
	Security    []map[string][]string `json:"security,omitempty"`
}

type response struct {
	Description string            `json:"description"`
	Schema      json.RawMessage   `json:"schema,omitempty"`
	Headers     map[string]header `json:"headers,omitempty"`
}

type header struct {
	Type        string `json:"type"`
	Description string `json:"description,omitempty"`
}

type parameter struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	In          string          `json:"in"`
	Required    bool            `json:"required"`
	Type        string          `json:"type,omitempty"`
	Format      string          `json:"format,omitempty"`
	Schema      json.RawMessage `json:"schema,omitempty"`
}

type security struct {
	Type        string `json:"type"`
	Description string `json:"description,omitempty"`
	Name        string `json:"name"`
	In          string `json:"in"`
}

// Document returns the document for an instance with these resolved sources: the same bytes for the same sources in any order.
func Document(sources []source.Source) ([]byte, error) {
	all, err := parse(generated)
	if err != nil {
		return nil, fmt.Errorf("openapi: generated document: %w", err)
	}
	doc := document{
		Swagger: all.Swagger,
		Info: info{
			Title: "Bridge webhooks",
			Description: "The webhooks that this instance receives, one tag a source. Unknown fields and events are accepted too, " +
				"and null stands for an absent field.",
			Version: "1",
		},
		Tags:                []tag{},
		Consumes:            all.Consumes,
		Produces:            all.Produces,
		Paths:               map[string]item{},
		SecurityDefinitions: map[string]security{},
		Definitions:         map[string]json.RawMessage{},
	}
	sorted := slices.SortedFunc(slices.Values(sources), func(a, b source.Source) int { return strings.Compare(a.Name, b.Name) })
	posted := messages()
	for i := range sorted {
		if err := doc.add(&sorted[i], all, posted); err != nil {
			return nil, fmt.Errorf("openapi: source %s: %w", sorted[i].Name, err)
		}
	}
	for _, at := range doc.Paths {
		doc.keepAnswers(at, all.Definitions)
	}
	return encode(doc)
}

// parse reads a document. It refuses unknown fields, so that a new field of the generator cannot get lost without notice.
func parse(data []byte) (document, error) {
	var doc document
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&doc)
	return doc, err
}

func encode(doc document) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(doc); err != nil {
		return nil, fmt.Errorf("openapi: encode: %w", err)
	}
	return out.Bytes(), nil
}

// add describes one source by the generated operations of its connector.
func (d *document) add(src *source.Source, all document, posted map[string]protoreflect.MessageDescriptor) error {
	paths := all.Paths
	events := eventsOf(src.Connector.Name, paths)
	if slices.ContainsFunc(d.Tags, func(t tag) bool { return t.Name == src.Name }) {
		return errors.New("is there twice")
	}
	d.Tags = append(d.Tags, tag{Name: src.Name, Description: "Source of connector " + src.Connector.Name + "."})
	base, auth, err := d.secure(src)
	if err != nil {
		return err
	}
	if len(events) == 0 {
		d.addForeign(src, base, auth)
		return nil
	}
	for _, event := range events {
		path := prefix + src.Connector.Name + "/" + event
		op := paths[path].Post
		if posted[path] == nil {
			return fmt.Errorf("connector %s is not linked into the program", src.Connector.Name)
		}
		if err := (bodies{all.Definitions, d.Definitions}).keepOf(op, posted[path]); err != nil {
			return err
		}
		d.Paths[base+"/"+event] = item{auth.apply(src, op, op.OperationID)}
	}
	if src.Connector.EventField != "" || src.Connector.EventHeader != "" {
		d.Paths[base] = item{auth.apply(src, anyEvent(events, paths[prefix+src.Connector.Name+"/"+events[0]].Post), "receive")}
	}
	return nil
}

// addForeign describes a source whose connector is of another module: the generated document does not have its messages.
func (d *document) addForeign(src *source.Source, base string, auth guard) {
	body := parameter{
		Name: "body", Description: "The event, as the vendor sends it.", In: "body", Required: true,
		Schema: json.RawMessage(`{"type":"object"}`),
	}
	op := operation{
		Summary:     "Any event of connector " + src.Connector.Name + ".",
		Description: "This document does not have the schemas of connector " + src.Connector.Name + ".",
		Responses:   map[string]response{},
		Parameters:  []parameter{body},
	}
	if src.Connector.EventField != "" || src.Connector.EventHeader != "" {
		d.Paths[base] = item{auth.apply(src, op, "receive")}
		return
	}
	event := parameter{Name: "event", Description: "The vendor's name for the event.", In: "path", Required: true, Type: "string"}
	op.Parameters = []parameter{event, body}
	d.Paths[base+"/{event}"] = item{auth.apply(src, op, "receive")}
}

// eventsOf returns the connector's events in order.
func eventsOf(connector string, paths map[string]item) []string {
	var events []string
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		if event, ok := strings.CutPrefix(path, prefix+connector+"/"); ok {
			events = append(events, event)
		}
	}
	return events
}

// anyEvent describes the URL that does not name an event. op is an operation of a URL that does.
func anyEvent(events []string, like operation) operation {
	return operation{
		Summary:     "Any event, named in the request.",
		Description: "Known events are " + strings.Join(events, ", ") + ".",
		Responses:   like.Responses,
		Parameters: []parameter{{
			Name: "body", Description: "The event, as the vendor sends it.", In: "body", Required: true,
			Schema: json.RawMessage(`{"type":"object"}`),
		}},
	}
}

// guard is the part of an operation that depends on the source's scheme of authentication.
type guard struct {
	parameters []parameter
	security   []map[string][]string
	open       bool
}

// secure declares the source's scheme and returns the start of its paths.
func (d *document) secure(src *source.Source) (base string, g guard, err error) {
	base = prefix + src.Name
	switch src.Auth.Scheme {
	case source.SchemeHeader:
		d.SecurityDefinitions[src.Name] = security{
			Type: "apiKey", In: "header", Name: src.Auth.Header, Description: "The secret configured for source " + src.Name + ".",
		}
		return base, guard{security: []map[string][]string{{src.Name: {}}}}, nil
	case source.SchemeHMAC:
		// OpenAPI 2.0 has no scheme for signatures. This one is the nearest.
		d.SecurityDefinitions[src.Name] = security{
			Type: "apiKey", In: "header", Name: src.Auth.Header,
			Description: "A signature, made with the secret configured for source " + src.Name + ": " + signatureOf(src.Auth.HMAC) + ".",
		}
		return base, guard{security: []map[string][]string{{src.Name: {}}}}, nil
	case source.SchemePathToken:
		token := parameter{
			Name: "token", Description: "The secret configured for source " + src.Name + ".", In: "path", Required: true,
			Type: "string", Format: "password",
		}
		return base + "/t/{token}", guard{parameters: []parameter{token}}, nil
	case source.SchemeNone:
		return base, guard{open: true}, nil
	}
	return "", guard{}, fmt.Errorf("unknown scheme %q", src.Auth.Scheme)
}

// apply returns op as the source's own. Source names have no underscore and calls no dash, so that the id is unique.
func (g guard) apply(src *source.Source, op operation, call string) operation {
	op.OperationID = strings.ReplaceAll(src.Name, "-", "_") + "_" + call
	op.Tags = []string{src.Name}
	op.Parameters = append(slices.Clone(g.parameters), op.Parameters...)
	op.Security = g.security
	later := map[string]header{"Retry-After": {Type: "integer", Description: "Seconds to wait."}}
	answers := map[string]response{
		"400": {Description: "The body ended early; or it cannot be decoded, and the source is set to refuse what cannot."},
		"404": {Description: "No such source."},
		"408": {Description: "The body arrived too slowly."},
		"413": {Description: "The body is larger than the source's limit."},
		"429": {Description: "More than the source's limits. Try again later.", Headers: later},
		"503": {Description: "It could not be stored now. Try again later.", Headers: later},
	}
	if !g.open {
		answers["401"] = response{Description: "The secret or signature is missing or wrong."}
	}
	success := op.Responses["200"]
	success.Description = "The webhook is stored, or was stored before."
	answers["200"] = success
	op.Responses = answers
	return op
}

var reference = regexp.MustCompile(`"\$ref":\s*"` + definition + `([^"]+)"`)

// keepAnswers copies the definitions that the operation's answers refer to, also through other definitions.
func (d *document) keepAnswers(at item, all map[string]json.RawMessage) {
	var keep func(json.RawMessage)
	keep = func(schema json.RawMessage) {
		for _, match := range reference.FindAllSubmatch(schema, -1) {
			name := string(match[1])
			if _, kept := d.Definitions[name]; kept {
				continue
			}
			d.Definitions[name] = all[name]
			keep(all[name])
		}
	}
	for _, answer := range at.Post.Responses {
		keep(answer.Schema)
	}
}

// signatureOf describes for people how a request is signed.
func signatureOf(h *connectors.HMAC) string {
	text := fmt.Sprintf("HMAC of %q with %s, in %s", h.Signed, h.Algorithm, h.Encoding)
	if h.Prefix != "" {
		text += fmt.Sprintf(" after %q", h.Prefix)
	}
	switch {
	case h.TimestampHeader != "":
		text += "; the timestamp is in header " + h.TimestampHeader
	case h.TimestampPrefix != "":
		text += fmt.Sprintf("; the timestamp stands in the same header after %q", h.TimestampPrefix)
	}
	return text
}
