package schemaregistry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/schemaregistry"
)

// answers serves the same status and body for each request with a prefix, and notes the requests. It stands for a registry in error
// cases only: TestRealRegistry of package kafka has a real one.
func answers(t *testing.T, by map[string]string, header ...string) (url string, requests *[]string) {
	t.Helper()
	requests = &[]string{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		*requests = append(*requests, strings.TrimSpace(r.Method+" "+r.URL.EscapedPath()+" "+r.Header.Get("Authorization")))
		if !bytes.Contains(text, []byte(`"schemaType"`)) {
			t.Errorf("no schema: %s", text)
		}
		answer := by[r.URL.EscapedPath()]
		if answer == "" {
			answer = by[""]
		}
		status, body, _ := strings.Cut(answer, " ")
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		var code int
		if _, err := fmt.Sscan(status, &code); err != nil {
			t.Error(err)
		}
		w.WriteHeader(code)
		if _, err := io.WriteString(w, body); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL, requests
}

func id(t *testing.T, c schemaregistry.Config, subjects ...string) (uint32, error) {
	t.Helper()
	client := schemaregistry.New(c)
	defer client.Close()
	var last uint32
	for _, s := range subjects {
		var err error
		if last, err = client.ID(t.Context(), s, schemaregistry.JSON("{}")); err != nil {
			return 0, err
		}
	}
	return last, nil
}

// TestRequests: a schema is looked up first, and registered once. The subject is one segment of the path.
func TestRequests(t *testing.T) {
	url, requests := answers(t, map[string]string{
		"/subjects/a%2Fb-value":          `404 {"error_code":40401,"message":"no such subject"}`,
		"/subjects/a%2Fb-value/versions": `200 {"id":7}`,
		"/subjects/c-value":              `200 {"id":8,"version":3}`,
	})
	config := schemaregistry.Config{URL: url + "/", Authorization: func() string { return "Bearer x" }}
	if got, err := id(t, config, "a/b-value", "a/b-value", "c-value"); err != nil || got != 8 {
		t.Errorf("id %d, %v", got, err)
	}
	want := []string{"POST /subjects/a%2Fb-value Bearer x", "POST /subjects/a%2Fb-value/versions Bearer x", "POST /subjects/c-value Bearer x"}
	if diff := cmp.Diff(want, *requests); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

// TestErrors: each error says what to do, is about no event, and shows no secret.
func TestErrors(t *testing.T) {
	for name, c := range map[string]struct{ answer, want string }{
		"credentials":  {`401 {"error_code":401,"message":"Unauthorized"}`, "refuses the credentials (401): Unauthorized"},
		"permission":   {`403 no`, "refuses the credentials (403)"},
		"incompatible": {`409 {"error_code":409,"message":"field 1\n changed"}`, "lower the subject's compatibility in the registry (NONE allows every change), or use another topic: field 1 changed"},
		"away":         {`503 `, "answers 503"},
		"redirect":     {`302 `, "answers 302"},
		"long":         {`500 {"message":"` + strings.Repeat("é", 1000) + `"}`, "answers 500: éé"},
		"another API":  {`200 <html>`, "not that of a registry"},
		"no id":        {`200 {}`, "not that of a registry"},
	} {
		t.Run(name, func(t *testing.T) {
			url, _ := answers(t, map[string]string{"": c.answer}, "Location", "/elsewhere")
			_, err := id(t, schemaregistry.Config{URL: url, Authorization: func() string { return "Basic hunter2" }}, "s")
			if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, sinks.ErrPermanent) {
				t.Fatalf("%v, want %s", err, c.want)
			}
			if strings.Contains(err.Error(), "hunter2") || len(err.Error()) > 600 {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestPause(t *testing.T) {
	url, _ := answers(t, map[string]string{"": "429 "}, "Retry-After", "17")
	_, err := id(t, schemaregistry.Config{URL: url}, "s")
	pause, ok := errors.AsType[*sinks.RetryAfterError](err)
	if !ok || pause.After != 17*time.Second {
		t.Errorf("%v", err)
	}
}

func TestLookUpOnly(t *testing.T) {
	url, requests := answers(t, map[string]string{"": "404 {}"})
	if _, err := id(t, schemaregistry.Config{URL: url, LookUpOnly: true}, "s"); err == nil || !strings.Contains(err.Error(), "register the schema") {
		t.Errorf("%v", err)
	}
	if len(*requests) != 1 {
		t.Errorf("%v", *requests)
	}
}

// TestSilence: a registry that does not answer costs no longer than the timeout, and no longer than the caller waits.
func TestSilence(t *testing.T) {
	stop := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-stop }))
	defer server.Close()
	defer close(stop)
	if _, err := id(t, schemaregistry.Config{URL: server.URL, Timeout: time.Millisecond}, "s"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	client := schemaregistry.New(schemaregistry.Config{URL: server.URL})
	defer client.Close()
	if _, err := client.ID(ctx, "s", schemaregistry.JSON("{}")); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestCheckURL(t *testing.T) {
	for text, ok := range map[string]bool{
		"http://127.0.0.1:8081": true, "https://apicurio.example/apis/ccompat/v7": true,
		"": false, "registry:8081": false, "ftp://a": false, "http://u:p@a": false, "http://a?b": false, "http://a#b": false, "http://": false,
	} {
		if err := schemaregistry.CheckURL(text); (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestFrame has the bytes of the wire format.
func TestFrame(t *testing.T) {
	event, err := schemaregistry.Protobuf((*eventv1.Event)(nil).ProtoReflect().Descriptor())
	if err != nil {
		t.Fatal(err)
	}
	line, err := schemaregistry.Protobuf((*eventv1.OrderLine)(nil).ProtoReflect().Descriptor())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		schema *schemaregistry.Schema
		want   string
	}{
		"JSON":                      {schemaregistry.JSON("{}"), "\x00\x00\x00\x01\x02{}"},
		"first message of a file":   {event, "\x00\x00\x00\x01\x02\x00{}"},
		"another message of a file": {line, "\x00\x00\x00\x01\x02\x02\x02{}"},
	} {
		if got := string(c.schema.Frame(258, []byte("{}"))); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	if len(event.Imports) == 0 {
		t.Error("the schema of events imports nothing")
	}
}
