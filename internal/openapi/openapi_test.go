package openapi

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var routes = []Route{
	{Source: "returns", Connector: "retino", Scheme: "header", Header: "X-Retino-Secret", EventInBody: true},
	{Source: "till-prague", Connector: "kasafik", Scheme: "path_token", EventInBody: true},
	{Source: "till-brno", Connector: "kasafik", Scheme: "path_token", EventInBody: true},
	{Source: "diner", Connector: "linga", Scheme: "none"},
}

func build(t *testing.T, routes []Route) document {
	t.Helper()
	data, err := Document(routes)
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
	doc := build(t, routes)
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(doc.Paths))); diff != "" {
		t.Errorf("paths (-want +got):\n%s", diff)
	}
	if doc.Info.Title != "Bridge webhooks" {
		t.Errorf("title is %q", doc.Info.Title)
	}
}

// A sender proves who it is as the source says, and the document shows no more than how.
func TestSecurity(t *testing.T) {
	doc := build(t, append(slices.Clone(routes), Route{
		Source: "signed", Connector: "linga", Scheme: "hmac", Header: "X-Signature", Signature: "HMAC of the body",
	}))
	want := map[string]security{
		"returns": {
			Type: "apiKey", In: "header", Name: "X-Retino-Secret", Description: "The secret configured for source returns.",
		},
		"signed": {
			Type: "apiKey", In: "header", Name: "X-Signature",
			Description: "A signature, made with the secret configured for source signed: HMAC of the body.",
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
	doc := build(t, routes)
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

// What a client generator stumbles over: ids that are not unique, references to nothing, tags that are not declared.
func TestReferences(t *testing.T) {
	doc := build(t, routes)
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
	data, err := Document(routes)
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
	want, err := Document(routes)
	if err != nil {
		t.Fatal(err)
	}
	turned := slices.Clone(routes)
	slices.Reverse(turned)
	got, err := Document(turned)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, got) || !json.Valid(got) {
		t.Errorf("documents differ (-want +got):\n%s", cmp.Diff(string(want), string(got)))
	}
	if turned[0].Source != "diner" {
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
		doc := build(t, []Route{{Source: "a", Connector: connector, Scheme: "none"}})
		if want := len(eventsOf(connector, all.Paths)); want == 0 || len(doc.Paths) != want {
			t.Errorf("%s: %d paths, want %d", connector, len(doc.Paths), want)
		}
	}
	if doc := build(t, nil); len(doc.Paths) != 0 || len(doc.Definitions) != 0 {
		t.Errorf("without sources: %d paths, %d definitions", len(doc.Paths), len(doc.Definitions))
	}
}

func TestErrors(t *testing.T) {
	for _, test := range []struct {
		routes []Route
		want   string
	}{
		{[]Route{{Source: "a", Connector: "nobody", Scheme: "none"}}, "openapi: source a: connector nobody has no service"},
		{[]Route{{Source: "a", Connector: "linga", Scheme: "signed"}}, `openapi: source a: unknown scheme "signed"`},
		{
			[]Route{{Source: "a", Connector: "linga", Scheme: "none"}, {Source: "a", Connector: "retino", Scheme: "none"}},
			"openapi: source a: is there twice",
		},
	} {
		if _, err := Document(test.routes); err == nil || err.Error() != test.want {
			t.Errorf("got %v, want %s", err, test.want)
		}
	}
}
