package ingress

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/webhook-bridge/bridge/internal/intake"
	"github.com/webhook-bridge/bridge/internal/source"
)

func TestParsePath(t *testing.T) {
	for _, tt := range []struct {
		path string
		want route
		ok   bool
	}{
		{"/webhooks/a", route{source: "a"}, true},
		{"/webhooks/a/", route{source: "a"}, true},
		{"/webhooks/a/e", route{source: "a", event: "e"}, true},
		{"/webhooks/a/e/", route{source: "a", event: "e"}, true},
		{"/webhooks/a/shipping.ordered", route{source: "a", event: "shipping.ordered"}, true},
		{"/webhooks/a/t", route{source: "a", event: "t"}, true},
		{"/webhooks/a/t/", route{source: "a", event: "t"}, true},
		{"/webhooks/a/t/k", route{source: "a", tokened: true, token: "k"}, true},
		{"/webhooks/a/t/k/", route{source: "a", tokened: true, token: "k"}, true},
		{"/webhooks/a/t/k/e", route{source: "a", tokened: true, token: "k", event: "e"}, true},
		{"/webhooks/a/t/k/e/", route{source: "a", tokened: true, token: "k", event: "e"}, true},
		{"/webhooks/a/t/k/t", route{source: "a", tokened: true, token: "k", event: "t"}, true},
		{"/webhooks/a/x%2Fy", route{source: "a", event: "x/y"}, true},
		{"/webhooks/a/x%20y", route{source: "a", event: "x y"}, true},
		{"/webhooks/a/t/k%2Fl/e%2Ff", route{source: "a", tokened: true, token: "k/l", event: "e/f"}, true},
		{"/webhooks/a%2Fb", route{source: "a/b"}, true},
		{"/webhooks/a/t%2Fk", route{source: "a", event: "t/k"}, true},
		{"/webhooks/a/%2e%2e", route{source: "a", event: ".."}, true},
		{"/webhooks", route{}, false},
		{"/webhooks/", route{}, false},
		{"/webhooks//", route{}, false},
		{"/webhooks//e", route{}, false},
		{"/webhooks/a//", route{}, false},
		{"/webhooks/a//e", route{}, false},
		{"/webhooks/a/e//", route{}, false},
		{"/webhooks/a/e/f", route{}, false},
		{"/webhooks/a/t//", route{}, false},
		{"/webhooks/a/t//e", route{}, false},
		{"/webhooks/a/t/k/e/f", route{}, false},
		{"/webhooks/a/t/k//", route{}, false},
		{"/Webhooks/a", route{}, false},
		{"/x/webhooks/a", route{}, false},
		{"", route{}, false},
	} {
		u, err := url.Parse("http://host" + tt.path)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := parsePath(u)
		if ok != tt.ok || (ok && got != tt.want) {
			t.Errorf("%s: %+v, %v; want %+v, %v", tt.path, got, ok, tt.want, tt.ok)
		}
	}
}

// FuzzParsePath: what is parsed can be built again.
func FuzzParsePath(f *testing.F) {
	for _, path := range []string{"/webhooks/a", "/webhooks/a/t/k/e/", "/webhooks/a/x%2Fy", "/webhooks/%zz", "//", "/webhooks/a/t//"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		u, err := url.ParseRequestURI(path)
		if err != nil {
			return
		}
		r, ok := parsePath(u)
		if !ok {
			return
		}
		if r.source == "" || (r.tokened && r.token == "") {
			t.Fatalf("%q: %+v", path, r)
		}
		built := prefix + url.PathEscape(r.source)
		if r.tokened {
			built += "/t/" + url.PathEscape(r.token)
		}
		if r.event != "" {
			built += "/" + url.PathEscape(r.event)
		}
		again, err := url.ParseRequestURI(built)
		if err != nil {
			t.Fatal(err)
		}
		if r2, ok := parsePath(again); !ok || r2 != r {
			t.Fatalf("%q is %+v; built again, %q is %+v", path, r, built, r2)
		}
	})
}

// FuzzServeHTTP: each request of a verified sender is either answered with the vendor's success and stored once, or refused and
// not stored. A stored webhook is valid UTF-8 in each field where protobuf requires it.
func FuzzServeHTTP(f *testing.F) {
	for _, seed := range []struct{ connector, sample string }{
		{"retino", "shipping_ordered"},
		{"openloyalty", "unknown_fields"},
		{"kasafik", "orders_as_printed"},
	} {
		f.Add("", "", sample(f, seed.connector, seed.sample))
	}
	f.Add("shipping.ordered", "gzip", zipped(f, []byte(`{"event_type":"shipping.ordered"}`)))
	f.Add("a\xff", "br", []byte("{}"))
	sources := testSources()
	for i := range sources {
		sources[i].Auth, sources[i].Limits = source.Auth{Scheme: source.SchemeNone}, source.Limits{Body: 4 << 10, Rate: 1 << 30, Daily: 1 << 40}
	}
	e := newEdge(f, func(c *Config) { c.Sources = sources })
	f.Fuzz(func(t *testing.T, event, encoding string, body []byte) {
		for _, s := range sources {
			e.book.Reset()
			path := prefix + s.Name
			if event != "" {
				path += "/" + url.PathEscape(event)
			}
			u, err := url.ParseRequestURI(path)
			if err != nil {
				return
			}
			r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(string(body)))
			r.URL = u
			if encoding != "" {
				r.Header["Content-Encoding"] = []string{encoding}
			}
			w := httptest.NewRecorder()
			e.ServeHTTP(w, r)
			stored := e.book.all()
			switch w.Code {
			case http.StatusOK:
				if len(stored) != 1 {
					t.Fatalf("%d webhooks stored", len(stored))
				}
			case http.StatusNotFound, http.StatusRequestEntityTooLarge, http.StatusBadRequest:
				if len(stored) != 0 {
					t.Fatalf("answer %d, and stored", w.Code)
				}
				continue
			default:
				t.Fatalf("answer %d", w.Code)
			}
			hook := stored[0].Webhook
			q := hook.GetQuarantine()
			if none := q != nil || hook.GetPing() != ""; none != (len(stored[0].Events) == 0) || q != nil && hook.GetPing() != "" {
				t.Fatalf("quarantine %v and ping %q with %d events", q, hook.GetPing(), len(stored[0].Events))
			}
			if q != nil && q.GetReason() == string(intake.Panicked) {
				t.Fatalf("panic: %s", q.GetDetail())
			}
			for _, text := range []string{hook.GetVendorEvent(), q.GetReason(), q.GetDetail(), q.GetPath()} {
				if !utf8.ValidString(text) {
					t.Fatalf("stored %q", text)
				}
			}
			for _, d := range hook.GetDrift() {
				if !utf8.ValidString(d.GetPath()) {
					t.Fatalf("stored drift at %q", d.GetPath())
				}
			}
		}
	})
}
