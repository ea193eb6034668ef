package openapi

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	// The services that Document describes. The program links them by way of its connectors.
	_ "github.com/webhook-bridge/bridge/gen/webhooks/dealpos/v1"
	_ "github.com/webhook-bridge/bridge/gen/webhooks/kasafik/v1"
	_ "github.com/webhook-bridge/bridge/gen/webhooks/linga/v1"
	_ "github.com/webhook-bridge/bridge/gen/webhooks/openloyalty/v1"
	_ "github.com/webhook-bridge/bridge/gen/webhooks/retino/v1"
)

const samples = "../../cmd/bridge/samples"

// What vendors send is what the document says that they send.
func TestSamplesFitTheirSchemas(t *testing.T) {
	files, err := filepath.Glob(samples + "/*.json")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, path := range files {
		name := strings.TrimSuffix(filepath.Base(path), ".json")
		if strings.HasPrefix(name, "broken.") || strings.HasPrefix(name, "unmodelled.") {
			continue // No JSON, and no schema: that is what they show.
		}
		connector, event, _ := strings.Cut(name, ".")
		doc := build(t, []Route{{Source: "a", Connector: connector, Scheme: "none"}})
		at, ok := doc.Paths["/webhooks/a/"+event]
		if !ok {
			t.Errorf("%s: no such path", name)
			continue
		}
		body, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		seen[connector] = true
		for _, misfit := range misfits(t, doc, at.Post.Parameters[0].Schema, body, "$") {
			t.Errorf("%s: %s", name, misfit)
		}
	}
	for connector := range described(t) {
		if !seen[connector] {
			t.Errorf("%s has no sample of %s's", samples, connector)
		}
	}
}

// described returns the connectors that the generated document has a service of.
func described(t *testing.T) map[string]bool {
	t.Helper()
	all, err := parse(generated)
	if err != nil {
		t.Fatal(err)
	}
	connectors := map[string]bool{}
	for path := range all.Paths {
		connector, _, _ := strings.Cut(strings.TrimPrefix(path, prefix), "/")
		connectors[connector] = true
	}
	if len(connectors) == 0 {
		t.Fatal("the generated document describes nothing")
	}
	return connectors
}

// misfits names the places of value that are of another type than their schema says.
func misfits(t *testing.T, doc document, schema, value json.RawMessage, at string) []string {
	t.Helper()
	var s struct {
		Ref        string                     `json:"$ref"`
		Type       string                     `json:"type"`
		Items      json.RawMessage            `json:"items"`
		Properties map[string]json.RawMessage `json:"properties"`
	}
	unmarshal(t, schema, &s)
	if s.Ref != "" {
		return misfits(t, doc, doc.Definitions[strings.TrimPrefix(s.Ref, definition)], value, at)
	}
	if got := typeOf(value); s.Type != "" && got != s.Type && (got != "integer" || s.Type != "number") {
		return []string{at + " is " + got + ", the schema says " + s.Type}
	}
	var all []string
	switch s.Type {
	case "object":
		var members map[string]json.RawMessage
		unmarshal(t, value, &members)
		for name, member := range members {
			if declared, ok := s.Properties[name]; ok {
				all = append(all, misfits(t, doc, declared, member, at+"."+name)...)
			}
		}
	case "array":
		var elements []json.RawMessage
		unmarshal(t, value, &elements)
		for _, element := range elements {
			all = append(all, misfits(t, doc, s.Items, element, at+"[]")...)
		}
	}
	return all
}

func typeOf(value json.RawMessage) string {
	switch value[0] {
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

func TestFieldsAsSent(t *testing.T) {
	doc := build(t, []Route{
		{Source: "pos", Connector: "dealpos", Scheme: "none"},
		{Source: "diner", Connector: "linga", Scheme: "none"},
		{Source: "points", Connector: "openloyalty", Scheme: "none"},
		{Source: "till", Connector: "kasafik", Scheme: "none"},
	})
	for _, test := range []struct {
		about, path, field string
		want               schema
	}{
		{"a 64-bit id", "/webhooks/till/orders", "id", schema{Type: "integer", Format: "int64"}},
		{"verbatim", "/webhooks/pos/productCreated", "Storage", schema{Description: "Fields not known. Any JSON."}},
		{"a bool in words", "/webhooks/pos/invoiceCreated", "Void", schema{
			Description: `"Yes" or "No". True or false, or a string that stands for it.`,
		}},
		{"a phone", "/webhooks/pos/customerCreated", "Phone", schema{Description: "A string, or a number."}},
		{"one instead of a list", "/webhooks/points/account.expiring_points_notification", "data", schema{
			Description: "The page prints one object, the vendor's source sends lists of up to 1000. A list, or its one element by itself.",
		}},
		{"a plain string", "/webhooks/pos/customerCreated", "Email", schema{Type: "string"}},
		{"a decimal", "/webhooks/pos/paymentCreated", "Amount", schema{Ref: "#/definitions/typeDecimal"}},
	} {
		var body schema
		unmarshal(t, doc.Paths[test.path].Post.Parameters[0].Schema, &body)
		var of struct {
			Properties map[string]schema `json:"properties"`
		}
		unmarshal(t, doc.Definitions[strings.TrimPrefix(body.Ref, definition)], &of)
		if diff := cmp.Diff(test.want, of.Properties[test.field]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.about, diff)
		}
	}
	if got := typeOf(doc.Definitions["typeDecimal"]); got != "object" || bytes.Contains(doc.Definitions["typeDecimal"], []byte("type")) {
		t.Errorf("a decimal is %s, want no type", doc.Definitions["typeDecimal"])
	}
}

// Fields stay in the order of the message, which is the order of the vendor's page.
func TestFieldsInOrder(t *testing.T) {
	doc := build(t, []Route{{Source: "pos", Connector: "dealpos", Scheme: "none"}})
	payment := doc.Definitions["webhooksDealposV1Payment"]
	last := 0
	for _, name := range []string{"ID", "InvoiceID", "Outlet", "Number", "Amount", "Method", "Date", "Created", "Creator", "CreatorID"} {
		at := bytes.Index(payment, []byte(`"`+name+`":`))
		if at < last {
			t.Errorf("%s is at %d, before its predecessor", name, at)
		}
		last = at
	}
}
