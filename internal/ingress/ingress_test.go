package ingress

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/source"
	"github.com/webhook-bridge/bridge/sinks"
)

const tillPath = "/webhooks/till/t/" + tillToken

func zipped(tb testing.TB, data []byte) []byte {
	tb.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(data); err != nil {
		tb.Fatal(err)
	}
	if err := z.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// TestKept sends what a verified sender may send. All of it is answered with the vendor's success and stored.
func TestKept(t *testing.T) {
	shipment := sample(t, "retino", "shipping_ordered")
	for _, tt := range []struct {
		name    string
		source  string
		path    string
		headers http.Header
		body    []byte
		// Of what is stored:
		event  string
		types  string
		reason string
		at     string
		raw    bool
	}{
		{name: "shipment", source: "returns", body: shipment, event: "shipping.ordered", types: "shipment.ordered"},
		{
			name: "older secret", source: "returns", headers: http.Header{"X-Retino-Secret": {retinoOld}},
			body: shipment, event: "shipping.ordered", types: "shipment.ordered",
		},
		{
			name: "trailing slash", source: "returns", path: "/webhooks/returns/", body: shipment,
			event: "shipping.ordered", types: "shipment.ordered",
		},
		{
			name: "event in URL and body", source: "returns", path: "/webhooks/returns/shipping.ordered/", body: shipment,
			event: "shipping.ordered", types: "shipment.ordered",
		},
		{
			name: "event in URL alone", source: "loyalty", path: "/webhooks/loyalty/customer.updated",
			body: []byte(`{"data":{"customerId":"c1"}}`), event: "customer.updated", types: "customer.updated",
		},
		{
			name: "path token", source: "till", path: tillPath, body: sample(t, "kasafik", "orders"),
			event: "orders", types: "order.changed",
		},
		{
			name: "path token and event", source: "till", path: tillPath + "/orders", body: sample(t, "kasafik", "orders"),
			event: "orders", types: "order.changed",
		},
		{
			name: "gzip", source: "returns", headers: http.Header{"Content-Encoding": {"gzip"}}, body: zipped(t, shipment),
			event: "shipping.ordered", types: "shipment.ordered",
		},
		{
			name: "identity", source: "returns", headers: http.Header{"Content-Encoding": {"identity"}}, body: shipment,
			event: "shipping.ordered", types: "shipment.ordered",
		},
		{
			name: "unmodelled event", source: "loyalty", body: []byte(`{"type":"campaign.paused","data":{"id":1}}`),
			event: "campaign.paused", types: "unmapped",
		},
		{
			name: "unmodelled event in an escaped URL", source: "erp", path: "/webhooks/erp/a%2Fb%20c", body: []byte(`{"ID":"1"}`),
			event: "a/b c", types: "unmapped",
		},
		{
			name: "unknown fields", source: "loyalty", body: sample(t, "openloyalty", "unknown_fields"),
			event: "transaction.registered", types: "purchase.registered",
		},
		{
			name: "malformed, KASA FIK's own page", source: "till", path: tillPath, body: sample(t, "kasafik", "orders_as_printed"),
			reason: "malformed_json", at: "$", event: "orders",
		},
		{
			name: "malformed, Open Loyalty's own page", source: "loyalty",
			body:   sample(t, "openloyalty", "printed_customer_level_changed"),
			reason: "malformed_json", at: "$.data", event: "customer.level_changed",
		},
		{name: "unmodelled and malformed", source: "erp", path: "/webhooks/erp/x", body: []byte(`{"a":}`), reason: "malformed_json", at: "$.a", event: "x"},
		{name: "number", source: "erp", path: "/webhooks/erp/paymentCreated", body: []byte("7"), reason: "malformed_json", at: "$", event: "paymentCreated"},
		{name: "list", source: "erp", path: "/webhooks/erp/paymentCreated", body: []byte("[1]"), reason: "malformed_json", at: "$", event: "paymentCreated"},
		{name: "two documents", source: "erp", path: "/webhooks/erp/paymentCreated", body: []byte("{}{}"), reason: "malformed_json", at: "$", event: "paymentCreated"},
		{name: "no event", source: "erp", body: []byte(`{"ID":"1"}`), reason: "no_event"},
		{
			name: "body and URL disagree", source: "returns", path: "/webhooks/returns/shipping.lost", body: shipment,
			reason: "event_mismatch", event: "shipping.ordered",
		},
		{
			name: "wrong shape", source: "returns", body: []byte(`{"event_type":"shipping.ordered","shipping":7}`),
			reason: "wrong_shape", at: "$.shipping", event: "shipping.ordered",
		},
		{
			name: "missing fact", source: "returns", body: sample(t, "retino", "no_shipping"),
			reason: "untranslatable", at: "$.shipping.id", event: "shipping.ordered",
		},
		{
			name: "corrupt gzip", source: "returns", headers: http.Header{"Content-Encoding": {"gzip"}}, body: []byte("\x1f\x8b\x08 not gzip"),
			reason: "corrupt_encoding", raw: true,
		},
		{
			name: "gzip cut off", source: "returns", path: "/webhooks/returns/shipping.ordered",
			headers: http.Header{"Content-Encoding": {"gzip"}}, body: zipped(t, shipment)[:60],
			reason: "corrupt_encoding", raw: true, event: "shipping.ordered",
		},
		{
			name: "unknown encoding", source: "returns", headers: http.Header{"Content-Encoding": {"compress"}}, body: []byte("\x1f\x9d{}\x03"),
			reason: "unknown_encoding", raw: true,
		},
		{name: "unprintable name", source: "erp", path: "/webhooks/erp/a%00b", body: []byte(`{"v":1}`), reason: "bad_event_name", event: "a\x00b"},
		{name: "name of no characters", source: "erp", path: "/webhooks/erp/%ff", body: []byte(`{"v":1}`), reason: "bad_event_name", event: "\uFFFD"},
		{
			name: "long name", source: "erp", path: "/webhooks/erp/" + strings.Repeat("x", 300), body: []byte(`{"v":1}`),
			reason: "bad_event_name", event: strings.Repeat("x", 256),
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newEdge(t)
			h := secretOf(tt.source)
			if h == nil {
				h = http.Header{}
			}
			maps.Copy(h, tt.headers)
			if tt.path == "" {
				tt.path = "/webhooks/" + tt.source
			}
			w := e.post(tt.path, h, tt.body)
			wantSuccess(t, e, tt.source, w)
			entry := e.book.last(t)
			var types []string
			for _, ev := range entry.Events {
				types = append(types, ev.GetType())
				if ev.GetId() == "" || ev.GetWebhookId() != entry.Webhook.GetId() || ev.GetSource() != tt.source || ev.GetReceivedAt() == nil {
					t.Errorf("event is not filled in: %v", ev)
				}
			}
			stored := entry.Webhook
			got := []any{stored.GetVendorEvent(), strings.Join(types, " "), reasonOf(stored), stored.GetQuarantine().GetPath()}
			if diff := cmp.Diff([]any{tt.event, tt.types, tt.reason, tt.at}, got); diff != "" {
				t.Errorf("stored (-want +got):\n%s", diff)
			}
			if raw := stored.GetEncoding() == journalv1.Encoding_ENCODING_RAW; raw != tt.raw {
				t.Errorf("stored as %v", stored.GetEncoding())
			}
			if tt.raw && !bytes.Equal(stored.GetBody(), tt.body) {
				t.Error("the body is not stored as it came")
			}
			if got := e.value(t, "bridge_quarantined_total", tt.source); (got == 1) != (tt.reason != "") {
				t.Errorf("bridge_quarantined_total = %v", got)
			}
			for _, name := range []string{"bridge_webhooks_received_total", "bridge_webhooks_taken_total"} {
				if got := e.value(t, name, tt.source); got != 1 {
					t.Errorf("%s = %v", name, got)
				}
			}
		})
	}
}

// wantSuccess checks that the answer is exactly the vendor's success.
func wantSuccess(t *testing.T, e *edge, source string, w *httptest.ResponseRecorder) {
	t.Helper()
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("answer is %d, %q", w.Code, w.Header().Get("Content-Type"))
	}
	if got, want := w.Body.String(), e.endpoint(source).Connector.Answer; got != want {
		t.Errorf("answer %q, the vendor needs %q", got, want)
	}
}

// TestRefused sends what is not taken in. Nothing of it is stored, and no answer has a body.
func TestRefused(t *testing.T) {
	shipment := sample(t, "retino", "shipping_ordered")
	large := append([]byte(`{"event_type":"`), make([]byte, 1<<20)...)
	for _, tt := range []struct {
		name    string
		method  string
		path    string
		headers http.Header
		body    []byte
		chunked bool
		status  int
		answer  http.Header
		// source and reason it is counted under
		source, reason string
	}{
		{name: "wrong secret", path: "/webhooks/returns", headers: http.Header{"X-Retino-Secret": {"wrong"}}, status: 401, source: "returns", reason: "unauthorized"},
		{name: "no secret", path: "/webhooks/returns", status: 401, source: "returns", reason: "unauthorized"},
		{name: "two secrets", path: "/webhooks/returns", headers: http.Header{"X-Retino-Secret": {retinoSecret, "x"}}, status: 401, source: "returns", reason: "unauthorized"},
		{name: "secret and more", path: "/webhooks/returns", headers: http.Header{"X-Retino-Secret": {retinoSecret + "x"}}, status: 401, source: "returns", reason: "unauthorized"},
		{name: "no token", path: "/webhooks/till", status: 401, source: "till", reason: "unauthorized"},
		{name: "no token but an event", path: "/webhooks/till/orders", status: 401, source: "till", reason: "unauthorized"},
		{name: "wrong token", path: "/webhooks/till/t/wrong", status: 401, source: "till", reason: "unauthorized"},
		{name: "unknown source", path: "/webhooks/missing", status: 404, source: "unknown", reason: "unknown"},
		{name: "no source", path: "/webhooks/", status: 404, source: "unknown", reason: "unknown"},
		{name: "elsewhere", path: "/", status: 404, source: "unknown", reason: "unknown"},
		{name: "deeper", path: "/webhooks/returns/a/b", headers: secretOf("returns"), status: 404, source: "unknown", reason: "unknown"},
		{name: "double slash", path: "//webhooks/returns", headers: secretOf("returns"), status: 404, source: "unknown", reason: "unknown"},
		{name: "token for a source of another auth", path: "/webhooks/returns/t/x", headers: secretOf("returns"), status: 404, source: "returns", reason: "unknown"},
		{name: "method", method: http.MethodGet, path: "/webhooks/returns", headers: secretOf("returns"), status: 405, answer: http.Header{"Allow": {"POST"}}, source: "returns", reason: "method"},
		{name: "too large", path: "/webhooks/returns", headers: secretOf("returns"), body: large, status: 413, source: "returns", reason: "too_large"},
		{name: "too large, chunked", path: "/webhooks/returns", headers: secretOf("returns"), body: large, chunked: true, status: 413, source: "returns", reason: "too_large"},
		{name: "undecodable where refused", path: "/webhooks/public", body: []byte("{"), status: 400, source: "public", reason: "undecodable"},
		{name: "untranslatable where refused", path: "/webhooks/public", body: sample(t, "retino", "no_shipping"), status: 400, source: "public", reason: "undecodable"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newEdge(t)
			var body io.Reader = explosive{t}
			if tt.body != nil {
				body = bytes.NewReader(tt.body)
			}
			r := httptest.NewRequest(max(tt.method, http.MethodPost), tt.path, body)
			if tt.method != "" {
				r.Method = tt.method
			}
			if tt.body == nil {
				r.ContentLength = int64(len(shipment))
			}
			if tt.chunked {
				r.ContentLength = -1
			}
			maps.Copy(r.Header, tt.headers)
			w := httptest.NewRecorder()
			e.ServeHTTP(w, r)
			if w.Code != tt.status || w.Body.Len() != 0 {
				t.Errorf("answer %d with %d bytes, want %d and none", w.Code, w.Body.Len(), tt.status)
			}
			for k, v := range tt.answer {
				if diff := cmp.Diff(v, w.Header()[k]); diff != "" {
					t.Errorf("header %s (-want +got):\n%s", k, diff)
				}
			}
			if n := len(e.book.all()); n != 0 {
				t.Errorf("%d webhooks were stored", n)
			}
			if got := e.value(t, "bridge_webhooks_refused_total", tt.reason, tt.source); got != 1 {
				t.Errorf("refused{%s,%s} = %v", tt.source, tt.reason, got)
			}
			if got := e.value(t, "bridge_webhooks_taken_total", tt.source); got != 0 {
				t.Errorf("bridge_webhooks_taken_total = %v", got)
			}
		})
	}
}

// TestGzipBomb: the limit holds for what comes out, too.
func TestGzipBomb(t *testing.T) {
	e := newEdge(t)
	h := secretOf("returns")
	h.Set("Content-Encoding", "gzip")
	bomb := zipped(t, make([]byte, 64<<20))
	if w := e.post("/webhooks/returns", h, bomb); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("answer %d", w.Code)
	}
	if n := len(e.book.all()); n != 0 {
		t.Errorf("%d webhooks were stored", n)
	}
}

// TestLimitIsInclusive: a body of exactly the limit is taken.
func TestLimitIsInclusive(t *testing.T) {
	shipment := sample(t, "retino", "shipping_ordered")
	for _, n := range []int64{int64(len(shipment)), int64(len(shipment)) - 1} {
		e := newEdge(t, only("returns", func(s *source.Source) { s.Limits.Body = n }))
		want := http.StatusOK
		if n < int64(len(shipment)) {
			want = http.StatusRequestEntityTooLarge
		}
		if w := e.post("/webhooks/returns", secretOf("returns"), shipment); w.Code != want {
			t.Errorf("limit %d of %d: %d", n, len(shipment), w.Code)
		}
	}
}

func TestSameWebhookTwiceAtOnce(t *testing.T) {
	e := newEdge(t)
	body := sample(t, "retino", "shipping_ordered")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if w := e.post("/webhooks/returns", secretOf("returns"), body); w.Code != http.StatusOK {
				t.Errorf("answer %d", w.Code)
			}
		})
	}
	wg.Wait()
	if n := len(e.book.all()); n != 1 {
		t.Errorf("%d webhooks were stored", n)
	}
	if got := e.value(t, "bridge_duplicates_total", "returns"); got != 7 {
		t.Errorf("bridge_duplicates_total = %v", got)
	}
}

// TestForgedHeaders: headers that mean something to a gateway mean nothing here.
func TestForgedHeaders(t *testing.T) {
	body := sample(t, "retino", "shipping_ordered")
	for _, forged := range []http.Header{
		{"Grpc-Timeout": {"nonsense"}},
		{"Grpc-Timeout": {"1n"}},
		{"Grpc-Metadata-X-Bin": {"!!"}},
		{"Grpc-Metadata-Bridge-Source": {"erp"}},
		{"Bridge-Source": {"erp"}},
		{"X-Http-Method-Override": {"GET"}, "Content-Type": {"application/x-www-form-urlencoded"}},
		{"Te": {"trailers"}},
		{"Accept": {"text/html"}},
		{"Content-Type": {"text/html; charset"}},
		{"X-Forwarded-Host": {"elsewhere"}, "X-Forwarded-For": {"\x00"}},
	} {
		e := newEdge(t)
		h := secretOf("returns")
		maps.Copy(h, forged)
		w := e.post("/webhooks/returns", h, body)
		wantSuccess(t, e, "returns", w)
		if diff := cmp.Diff(http.Header{"Content-Type": {"application/json"}, "Content-Length": {"21"}}, w.Header()); diff != "" {
			t.Errorf("%v changed the answer's headers (-want +got):\n%s", forged, diff)
		}
		if ev := e.book.last(t).Events; len(ev) != 1 || ev[0].GetSource() != "returns" || ev[0].GetType() != "shipment.ordered" {
			t.Errorf("%v made %v", forged, ev)
		}
	}
}

// TestSenderHangsUp: once the body is read, the sender may go, and its webhook is committed.
func TestSenderHangsUp(t *testing.T) {
	e := newEdge(t)
	ctx, hangUp := context.WithCancel(t.Context())
	e.book.Before = func(commit context.Context) error {
		hangUp()
		if _, ok := commit.Deadline(); !ok {
			t.Error("the commit has no deadline")
		}
		return commit.Err()
	}
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/webhooks/returns", bytes.NewReader(sample(t, "retino", "shipping_ordered")))
	r.Header = secretOf("returns")
	e.ServeHTTP(httptest.NewRecorder(), r)
	if n := len(e.book.last(t).Events); n != 1 {
		t.Errorf("%d events", n)
	}
}

// TestSenderHangsUpBeforeGunzip: decompressing is our work, too.
func TestSenderHangsUpBeforeGunzip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEdge(t)
		ctx, hangUp := context.WithCancel(t.Context())
		compressed := zipped(t, sample(t, "retino", "shipping_ordered"))
		// The budget has bytes only for the compressed body: there will be more once the webhook has begun to wait.
		budget := e.endpoint("returns").bodies.bytes
		const all = 64 * mebi
		if !budget.TryAcquire(all - smallBody) {
			t.Fatal("bytes are held")
		}
		body := io.MultiReader(bytes.NewReader(compressed), onRead(func() {
			hangUp()
			time.AfterFunc(reserveTimeout/2, func() { budget.Release(all - smallBody) })
		}))
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/webhooks/returns", body)
		r.Header = secretOf("returns")
		r.Header.Set("Content-Encoding", "gzip")
		e.ServeHTTP(httptest.NewRecorder(), r)
		if n := len(e.book.last(t).Events); n != 1 {
			t.Errorf("%d events", n)
		}
	})
}

// onRead is the end of a body, and is told when that is read.
type onRead func()

func (f onRead) Read([]byte) (int, error) {
	f()
	return 0, io.EOF
}

// TestJournalUnavailable: an internal error is 503, says when to come again, and leaves nothing behind. The retry is accepted.
func TestJournalUnavailable(t *testing.T) {
	surprise := errors.New("the entry breaks a rule")
	for _, cause := range []error{journal.ErrUnavailable, sinks.ErrClosed, context.DeadlineExceeded, surprise} {
		e := newEdge(t)
		e.book.Before = func(context.Context) error { return cause }
		for _, body := range [][]byte{sample(t, "retino", "shipping_ordered"), []byte("{"), []byte(`{"event_type":"new"}`)} {
			w := e.post("/webhooks/returns", secretOf("returns"), body)
			if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "5" || w.Body.Len() != 0 {
				t.Errorf("%v: answer %d, Retry-After %q, %q", cause, w.Code, w.Header().Get("Retry-After"), w.Body)
			}
		}
		if n := len(e.book.all()); n != 0 {
			t.Errorf("%v: %d webhooks were stored", cause, n)
		}
		reason := "unavailable"
		if errors.Is(cause, surprise) {
			reason = "internal"
		}
		if got := e.value(t, "bridge_webhooks_refused_total", reason, "returns"); got != 3 || !strings.Contains(e.log.String(), cause.Error()) {
			t.Errorf("refused{returns,%s} = %v, log: %s", reason, got, e.log)
		}
		e.book.Before = nil
		wantSuccess(t, e, "returns", e.post("/webhooks/returns", secretOf("returns"), sample(t, "retino", "shipping_ordered")))
		if n := len(e.book.all()); n != 1 {
			t.Errorf("%v: %d webhooks after the retry", cause, n)
		}
	}
}

// TestHeadersKept: those on the list and no others, and never the secret.
func TestHeadersKept(t *testing.T) {
	e := newEdge(t)
	h := secretOf("returns")
	maps.Copy(h, http.Header{"User-Agent": {"Retino/1"}, "X-Request-Id": {"a", "b\xff"}, "X-Other": {"x"}, "Cookie": {"c"}})
	e.post("/webhooks/returns", h, sample(t, "retino", "shipping_ordered"))
	var got []string
	for _, kept := range e.book.last(t).Webhook.GetHeaders() {
		got = append(got, kept.GetName()+": "+kept.GetValue())
	}
	want := []string{"content-type: application/json", "user-agent: Retino/1", "x-request-id: a", "x-request-id: b\uFFFD"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
}

// TestHeadersOfEachWebhook: a webhook is stored with its own headers, and never with headers of an earlier one.
func TestHeadersOfEachWebhook(t *testing.T) {
	e := newEdge(t)
	for i, agents := range [][]string{{"a"}, {"a"}, {"b"}, {"a"}, nil, {"a", "b"}, {"a"}} {
		h := secretOf("loyalty")
		h["User-Agent"] = agents
		e.post("/webhooks/loyalty", h, []byte(`{"type":"n`+strconv.Itoa(i)+`"}`))
		var got []string
		for _, kept := range e.book.last(t).Webhook.GetHeaders() {
			if kept.GetName() == "user-agent" {
				got = append(got, kept.GetValue())
			}
		}
		if diff := cmp.Diff(agents, got); diff != "" {
			t.Errorf("webhook %d (-want +got):\n%s", i, diff)
		}
	}
}

// TestStuckCommit: a commit that does not end is given up, and the sender asked to come again.
func TestStuckCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEdge(t)
		e.book.Before = func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}
		for range 3 {
			start := time.Now()
			w := e.post("/webhooks/returns", secretOf("returns"), sample(t, "retino", "shipping_ordered"))
			if took := time.Since(start); w.Code != http.StatusServiceUnavailable || took < commitTimeout || took > commitTimeout+time.Second {
				t.Errorf("answer %d after %v", w.Code, took)
			}
		}
	})
}

// TestLogsKeepSecrets: no request gets a secret, a token or a body into the log.
func TestLogsKeepSecrets(t *testing.T) {
	e := newEdge(t)
	const private = "Jan Novak"
	h := secretOf("returns")
	e.post("/webhooks/returns", h, []byte(`{"event_type":"shipping.ordered","shipping":"`+private+`"}`))
	e.post("/webhooks/returns", http.Header{"X-Retino-Secret": {retinoSecret + "-typo"}}, nil)
	e.post(tillPath+"/a/b/c", nil, nil)
	e.post(tillPath+"typo", nil, nil)
	e.post(tillPath, nil, []byte(`{"_t":"orders","id":"`+private+`"}`))
	e.post("/webhooks/"+tillToken, nil, nil)
	e.book.Before = func(context.Context) error { return journal.ErrUnavailable }
	e.post(tillPath, nil, sample(t, "kasafik", "orders"))
	e.post("/webhooks/public", nil, []byte(`{"event_type":"`+private+`"`))
	log := e.log.String()
	if strings.Contains(log, "trace_id") {
		t.Errorf("nothing is traced, but the log has traces:\n%s", log)
	}
	for _, secret := range []string{retinoSecret, tillToken, private, "shipping\":"} {
		if strings.Contains(log, secret) {
			t.Errorf("the log shows %q:\n%s", secret, log)
		}
	}
	for _, message := range []string{"quarantined webhook", "refused webhook"} {
		if !strings.Contains(log, message) {
			t.Errorf("the log does not say %q:\n%s", message, log)
		}
	}
}

// TestBuffersAreNotShared: webhooks at the same time, of many sizes, each stored as it was sent.
func TestBuffersAreNotShared(t *testing.T) {
	e := newEdge(t)
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := range 40 {
				filler := strings.Repeat(string(rune('a'+worker)), 1+i*i*7)
				body := []byte(`{"type":"custom.` + string(rune('a'+worker)) + `","data":"` + filler + `"}`)
				h := secretOf("loyalty")
				if i%3 == 0 {
					h.Set("Content-Encoding", "gzip")
					body = zipped(t, body)
				}
				if w := e.post("/webhooks/loyalty", h, body); w.Code != http.StatusOK {
					t.Errorf("answer %d", w.Code)
				}
			}
		})
	}
	wg.Wait()
	all := e.book.all()
	if len(all) != 8*40 {
		t.Fatalf("%d webhooks", len(all))
	}
	for _, entry := range all {
		letter := strings.TrimPrefix(entry.Webhook.GetVendorEvent(), "custom.")
		body := string(entry.Webhook.GetBody())
		_, filler, _ := strings.Cut(body, `"data":"`)
		if strings.Trim(strings.TrimSuffix(filler, `"}`), letter) != "" || entry.Events[0].GetUnmapped().GetJson() != body {
			t.Fatalf("webhook of %q is %.80q", letter, body)
		}
	}
}
