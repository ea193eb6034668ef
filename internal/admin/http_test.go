package admin

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestHandler: the service as JSON.
func TestHandler(t *testing.T) {
	r := newRig(t)
	received(t, r)
	r.post("retino/shipping.ordered", "{")
	h, err := Handler(r.server)
	if err != nil {
		t.Fatal(err)
	}
	held := r.list(quarantined)[0].GetId()
	accepted := r.list(nil)[1].GetId()
	const typeJSON = "application/json"
	for _, test := range []struct {
		method, path, contentType, body string

		status int
		want   string
	}{
		{"GET", "/v1/webhooks", "", "", 200, `"vendorEvent":"shipping.ordered"`},
		{"GET", "/v1/webhooks?filter.source=missing", "", "", 404, "there is no source"},
		{"GET", "/v1/webhooks?filter.source=retino&filter.vendor_event=none", "", "", 200, `"webhooks":[]`},
		{"GET", "/v1/webhooks?filter.outcome=OUTCOME_QUARANTINED", "", "", 200, held},
		{"GET", "/v1/webhooks/" + held, "", "", 200, `"reason":"malformed_json"`},
		{"GET", "/v1/webhooks?filter.source=retino&page_size=1&pageToken=", "", "", 200, `"nextPageToken"`},
		{"GET", "/v1/webhooks?source=returns", "", "", 400, `no parameter "source"`},
		{"GET", "/v1/webhooks?filter.sauce=returns", "", "", 400, `no parameter "filter.sauce"`},
		{"GET", "/v1/drift?connector=retino&kind=unknown", "", "", 200, `"fields"`},
		{"GET", "/v1/drift?connector=retina", "", "", 400, "no source has the connector"},
		{"GET", "/v1/webhooks/7", "", "", 400, "must be a valid UUID"},
		{"GET", "/v1/drift", "", "", 200, `"fields"`},
		{"GET", "/v1/nothing", "", "", 404, ""},
		{"DELETE", "/v1/webhooks", typeJSON, "", 501, ""},
		{"POST", "/v1/quarantine:retry", typeJSON, `{"dryRun":true}`, 200, `"OUTCOME_QUARANTINED"`},
		{"POST", "/v1/quarantine:retry", "application/json; charset=utf-8", `{"dry_run":true}`, 200, held},
		// What a page elsewhere could have a browser send.
		{"POST", "/v1/quarantine:discard", "text/plain", `{"filter":{"outcome":"OUTCOME_QUARANTINED"}}`, 415, ""},
		{"POST", "/v1/quarantine:discard", "", `{"filter":{"outcome":"OUTCOME_QUARANTINED"}}`, 415, ""},
		{"POST", "/v1/quarantine:discard", "application/x-www-form-urlencoded", "filter.source=retino", 415, ""},
		// A slip of the pen must not select more.
		{"POST", "/v1/quarantine:discard", typeJSON, `{"filter":{"outcome":"OUTCOME_QUARANTINED","sorce":"x"}}`, 400, "sorce"},
		{"POST", "/v1/quarantine:discard", typeJSON, `{}`, 400, "neither ids nor a filter"},
		{"POST", "/v1/quarantine:discard", typeJSON, `{"ids":["` + strings.Repeat("x", maxRequest) + `"]}`, 413, ""},
		{"POST", "/v1/webhooks:retranslate", typeJSON, `{"dryRun":true}`, 200, `"unchanged":"3"`},
		{"POST", "/v1/quarantine:discard", typeJSON, `{"ids":["` + held + `"]}`, 200, `"discarded":"1"`},
		{"GET", "/v1/webhooks/" + held, "", "", 404, "no such webhook"},
		{"GET", "/v1/webhooks/" + accepted + "?reveal=true", "", "", 200, "rawBody"},
	} {
		req := httptest.NewRequest(test.method, test.path, strings.NewReader(test.body))
		if test.contentType != "" {
			req.Header.Set("Content-Type", test.contentType)
		}
		// What a header says of where it comes from is not believed.
		req.Header.Set("X-Forwarded-For", "10.1.1.1")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		text := strings.ReplaceAll(w.Body.String(), `": `, `":`)
		if w.Code != test.status || !strings.Contains(text, test.want) {
			t.Errorf("%s %s as %q: %d %s", test.method, test.path, test.contentType, w.Code, w.Body)
		}
	}
	r.wantLog(t, "by=192.0.2.1:1234", "10.1.1.1")
}

// TestHandlerBoundsWhatHasNoLength: a body of unknown length is bounded too.
func TestHandlerBoundsWhatHasNoLength(t *testing.T) {
	r := newRig(t)
	h, err := Handler(r.server)
	if err != nil {
		t.Fatal(err)
	}
	body := io.MultiReader(strings.NewReader(`{"ids":["`), strings.NewReader(strings.Repeat("x", 2*maxRequest)))
	req := httptest.NewRequest(http.MethodPost, "/v1/quarantine:retry", body)
	req.ContentLength = -1
	req.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	if w.Code != http.StatusBadRequest || strings.Contains(w.Body.String(), "xxx") {
		t.Errorf("%d %.200s", w.Code, w.Body)
	}
}

func TestOpenAPI(t *testing.T) {
	var document struct{ Paths map[string]any }
	if err := json.Unmarshal(OpenAPI, &document); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/v1/webhooks", "/v1/webhooks/{id}", "/v1/quarantine:retry", "/v1/quarantine:discard", "/v1/webhooks:retranslate", "/v1/drift", "/v1/replays", "/v1/replicas"} {
		if document.Paths[path] == nil {
			t.Errorf("the document lacks %s", path)
		}
	}
	if len(document.Paths) != 24 {
		t.Errorf("the document has %d paths", len(document.Paths))
	}
}
