package openapi

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/internal/source"
)

var sources = []source.Source{
	{
		Name: "returns", Connector: &connectors.Connector{Name: "retino", EventField: "event_type"},
		Auth: source.Auth{Scheme: source.SchemeHeader, Header: "X-Retino-Secret"},
	},
	at("till-prague", "kasafik", source.SchemePathToken),
	at("till-brno", "kasafik", source.SchemePathToken),
	at("diner", "linga", source.SchemeNone),
}

// at returns a source. Only Kasa Fik's body names the event.
func at(name, connector string, scheme source.Scheme) source.Source {
	c := &connectors.Connector{Name: connector}
	if connector == "kasafik" {
		c.EventField = "_t"
	}
	return source.Source{Name: name, Connector: c, Auth: source.Auth{Scheme: scheme}}
}

func build(t *testing.T, sources []source.Source) document {
	t.Helper()
	data, err := Document(sources)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestPaths(t *testing.T) {
	want := []string{
		"/webhooks/diner/close", "/webhooks/diner/open", "/webhooks/diner/update",
		"/webhooks/returns", "/webhooks/returns/retino_credit_note.created", "/webhooks/returns/shipping.ordered",
		"/webhooks/returns/ticket.created",
	}
	for _, till := range []string{"/webhooks/till-brno/t/{token}", "/webhooks/till-prague/t/{token}"} {
		want = append(want, till, till+"/categories", till+"/customers", till+"/order_details", till+"/orders", till+"/products")
	}
	doc := build(t, sources)
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(doc.Paths))); diff != "" {
		t.Errorf("paths (-want +got):\n%s", diff)
	}
	if doc.Info.Title != "Bridge webhooks" {
		t.Errorf("title is %q", doc.Info.Title)
	}
}

// The document describes how a sender authenticates at the source. It shows no secret.
func TestSecurity(t *testing.T) {
	doc := build(t, append(slices.Clone(sources), source.Source{
		Name: "signed", Connector: &connectors.Connector{Name: "linga"},
		Auth: source.Auth{Scheme: source.SchemeHMAC, Header: "X-Signature", HMAC: &connectors.HMAC{
			Algorithm: "sha256", Encoding: "hex", Prefix: "v1=", TimestampHeader: "X-Time", Signed: "{body}",
		}},
	}))
	want := map[string]security{
		"returns": {
			Type: "apiKey", In: "header", Name: "X-Retino-Secret", Description: "The secret configured for source returns.",
		},
		"signed": {
			Type: "apiKey", In: "header", Name: "X-Signature",
			Description: "A signature, made with the secret configured for source signed: HMAC of \"{body}\" with sha256, in hex after \"v1=\"; the timestamp is in header X-Time.",
		},
	}
	if diff := cmp.Diff(want, doc.SecurityDefinitions); diff != "" {
		t.Errorf("security definitions (-want +got):\n%s", diff)
	}
	for path, at := range doc.Paths {
		header := strings.HasPrefix(path, "/webhooks/returns") || strings.HasPrefix(path, "/webhooks/signed")
		if got := at.Post.Security != nil; got != header {
			t.Errorf("%s: security is %v", path, at.Post.Security)
		}
		token := slices.ContainsFunc(at.Post.Parameters, func(p parameter) bool {
			return p.Name == "token" && p.In == "path" && p.Required
		})
		if token != strings.Contains(path, "{token}") {
			t.Errorf("%s: has the parameter token: %t", path, token)
		}
	}
}

func TestAnswers(t *testing.T) {
	doc := build(t, sources)
	for path, want := range map[string][]string{
		"/webhooks/returns":                  {"200", "400", "401", "404", "408", "413", "429", "503"},
		"/webhooks/diner/close":              {"200", "400", "404", "408", "413", "429", "503"},
		"/webhooks/returns/shipping.ordered": {"200", "400", "401", "404", "408", "413", "429", "503"},
	} {
		answers := doc.Paths[path].Post.Responses
		if diff := cmp.Diff(want, slices.Sorted(maps.Keys(answers))); diff != "" {
			t.Errorf("%s: answers (-want +got):\n%s", path, diff)
		}
		if !bytes.Contains(answers["200"].Schema, []byte("Receipt")) {
			t.Errorf("%s: success is %s", path, answers["200"].Schema)
		}
		if _, ok := answers["503"].Headers["Retry-After"]; !ok {
			t.Errorf("%s: 503 without Retry-After", path)
		}
	}
}

// Client generators fail on ids that are not unique, on references to nothing and on tags that are not declared.
func TestReferences(t *testing.T) {
	doc := build(t, sources)
	ids := map[string]string{}
	for path, at := range doc.Paths {
		if other, taken := ids[at.Post.OperationID]; taken || at.Post.OperationID == "" {
			t.Errorf("%s and %s are both %q", path, other, at.Post.OperationID)
		}
		ids[at.Post.OperationID] = path
		if len(at.Post.Tags) != 1 || !slices.ContainsFunc(doc.Tags, func(d tag) bool { return d.Name == at.Post.Tags[0] }) {
			t.Errorf("%s has tags %q", path, at.Post.Tags)
		}
	}
	data, err := Document(sources)
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for _, match := range reference.FindAllSubmatch(data, -1) {
		used[string(match[1])] = true
		if len(doc.Definitions[string(match[1])]) == 0 {
			t.Errorf("%s refers to nothing", match[0])
		}
	}
	for name := range doc.Definitions {
		if !used[name] {
			t.Errorf("nothing refers to %s", name)
		}
		if strings.Contains(strings.ToLower(name), "dealpos") {
			t.Errorf("%s belongs to no source", name)
		}
	}
}

func TestSameBytesInAnyOrder(t *testing.T) {
	want, err := Document(sources)
	if err != nil {
		t.Fatal(err)
	}
	turned := slices.Clone(sources)
	slices.Reverse(turned)
	got, err := Document(turned)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, got) || !json.Valid(got) {
		t.Errorf("documents differ (-want +got):\n%s", cmp.Diff(string(want), string(got)))
	}
	if turned[0].Name != "diner" {
		t.Error("Document sorted its argument")
	}
}

// Every connector's service has its paths in the generated document.
func TestEveryConnector(t *testing.T) {
	for _, connector := range []string{"kasafik", "openloyalty", "retino", "dealpos", "linga"} {
		all, err := parse(generated)
		if err != nil {
			t.Fatal(err)
		}
		doc := build(t, []source.Source{{Name: "a", Connector: &connectors.Connector{Name: connector}, Auth: source.Auth{Scheme: source.SchemeNone}}})
		if want := len(eventsOf(connector, all.Paths)); want == 0 || len(doc.Paths) != want {
			t.Errorf("%s: %d paths, want %d", connector, len(doc.Paths), want)
		}
	}
	if doc := build(t, nil); len(doc.Paths) != 0 || len(doc.Definitions) != 0 {
		t.Errorf("without sources: %d paths, %d definitions", len(doc.Paths), len(doc.Definitions))
	}
}

// TestForeign: a connector of another module has a path, and no schemas.
func TestForeign(t *testing.T) {
	for path, field := range map[string]string{"/webhooks/a": "event", "/webhooks/a/{event}": ""} {
		src := at("a", "foreign", source.SchemeNone)
		src.Connector.EventField = field
		doc := build(t, []source.Source{src})
		at, ok := doc.Paths[path]
		if !ok || len(doc.Paths) != 1 || len(doc.Definitions) != 0 {
			t.Fatalf("%d paths, %d definitions, and %s is there: %t", len(doc.Paths), len(doc.Definitions), path, ok)
		}
		if _, ok := at.Post.Responses["200"]; !ok || len(at.Post.Parameters) == 0 {
			t.Errorf("%s lacks an answer or its body: %+v", path, at.Post)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, test := range []struct {
		sources []source.Source
		want    string
	}{
		{[]source.Source{at("a", "linga", "signed")}, `openapi: source a: unknown scheme "signed"`},
		{
			[]source.Source{at("a", "linga", source.SchemeNone), at("a", "retino", source.SchemeNone)},
			"openapi: source a: is there twice",
		},
	} {
		if _, err := Document(test.sources); err == nil || err.Error() != test.want {
			t.Errorf("got %v, want %s", err, test.want)
		}
	}
}
