package openapi

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	// The services that Document describes. The program links them by way of its connectors.

	_ "github.com/webhook-bridge/bridge/gen/webhooks/dealpos/v1"
	_ "github.com/webhook-bridge/bridge/gen/webhooks/kasafik/v1"
	_ "github.com/webhook-bridge/bridge/gen/webhooks/linga/v1"
	_ "github.com/webhook-bridge/bridge/gen/webhooks/openloyalty/v1"
	_ "github.com/webhook-bridge/bridge/gen/webhooks/retino/v1"
	"github.com/webhook-bridge/bridge/internal/source"
)

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
	doc := build(t, []source.Source{
		at("pos", "dealpos", source.SchemeNone),
		at("diner", "linga", source.SchemeNone),
		at("points", "openloyalty", source.SchemeNone),
		at("till", "kasafik", source.SchemeNone),
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
	doc := build(t, []source.Source{at("pos", "dealpos", source.SchemeNone)})
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
