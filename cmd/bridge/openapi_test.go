package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/sample"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/intake"
	"github.com/webhook-bridge/bridge/internal/openapi"
	"github.com/webhook-bridge/bridge/internal/source"
)

// described is the part of an OpenAPI document that says what bodies look like.
type described struct {
	Paths map[string]struct {
		Post struct {
			Parameters []struct{ Schema json.RawMessage }
		}
	}
	Definitions map[string]json.RawMessage
}

// TestSamplesFitTheirSchemas: the vendors' samples match the schemas of the OpenAPI document.
func TestSamplesFitTheirSchemas(t *testing.T) {
	for name, c := range allConnectors() {
		data, err := openapi.Document([]source.Source{{Name: "a", Connector: c, Auth: source.Auth{Scheme: source.SchemeNone}}})
		if err != nil {
			t.Fatal(err)
		}
		var doc described
		unmarshal(t, data, &doc)
		samples, err := sample.Read(c.Samples)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range samples {
			if s.Ping {
				continue
			}
			event := eventOf(t, c, s)
			if s.Broken || s.Name != sample.NameFor(event) {
				continue
			}
			at, ok := doc.Paths["/webhooks/a/"+event]
			if !ok {
				t.Errorf("%s: no path of %s", name, event)
				continue
			}
			if s.ContentType == sample.Form || len(at.Post.Parameters) == 0 {
				continue // A form's JSON has no schema of its own.
			}
			for _, misfit := range doc.misfits(t, at.Post.Parameters[0].Schema, s.Body, "$") {
				t.Errorf("%s: sample %s: %s", name, s.Name, misfit)
			}
		}
	}
}

// eventOf returns the event's name of a good sample, and nothing for a broken one.
func eventOf(t *testing.T, c *connectors.Connector, s sample.Webhook) string {
	t.Helper()
	if s.Broken {
		return ""
	}
	encoding := journalv1.Encoding_ENCODING_JSON
	if s.ContentType == sample.Form {
		encoding = journalv1.Encoding_ENCODING_FORM
	}
	document, fault := intake.Document(c, encoding, s.Body)
	if fault != nil {
		t.Fatalf("%s: %v", s.Name, fault)
	}
	event, fault := intake.EventName(c, intake.Names{Path: s.Event, Header: http.Header(s.Header).Get(c.EventHeader)}, document)
	if fault != nil {
		t.Fatalf("%s: %v", s.Name, fault)
	}
	return event
}

// misfits names the places of value that are of another type than their schema says. Null stands for an absent field.
func (d described) misfits(t *testing.T, schema, value json.RawMessage, at string) []string {
	t.Helper()
	var s struct {
		Ref        string                     `json:"$ref"`
		Type       string                     `json:"type"`
		Items      json.RawMessage            `json:"items"`
		Properties map[string]json.RawMessage `json:"properties"`
	}
	unmarshal(t, schema, &s)
	if s.Ref != "" {
		return d.misfits(t, d.Definitions[strings.TrimPrefix(s.Ref, "#/definitions/")], value, at)
	}
	got := kindOf(value)
	if got == "null" {
		return nil
	}
	if s.Type != "" && got != s.Type && (got != "integer" || s.Type != "number") {
		return []string{at + " is " + got + ", the schema says " + s.Type}
	}
	var all []string
	switch s.Type {
	case "object":
		var members map[string]json.RawMessage
		unmarshal(t, value, &members)
		for name, member := range members {
			if declared, ok := s.Properties[name]; ok {
				all = append(all, d.misfits(t, declared, member, at+"."+name)...)
			}
		}
	case "array":
		var elements []json.RawMessage
		unmarshal(t, value, &elements)
		for _, element := range elements {
			all = append(all, d.misfits(t, s.Items, element, at+"[]")...)
		}
	}
	return all
}

func kindOf(value json.RawMessage) string {
	switch value = bytes.TrimLeft(value, " \t\r\n"); value[0] {
	case '{':
		return "object"
	case '[':
		return "array"
	case '"':
		return "string"
	case 't', 'f':
		return "boolean"
	case 'n':
		return "null"
	}
	if bytes.ContainsAny(value, ".eE") {
		return "number"
	}
	return "integer"
}

func unmarshal(t *testing.T, data []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatalf("%v: %s", err, data)
	}
}
