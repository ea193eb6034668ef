package vendorjson

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	retinov1 "github.com/webhook-bridge/bridge/gen/webhooks/retino/v1"
)

// receiver is a Retino service in this process that stores its calls.
type receiver struct {
	retinov1.RetinoWebhookServiceClient
	got []*retinov1.ShippingOrdered
}

func (r *receiver) ShippingOrdered(_ context.Context, m *retinov1.ShippingOrdered, _ ...grpc.CallOption) (*retinov1.Receipt, error) {
	r.got = append(r.got, m)
	return &retinov1.Receipt{Status: "accepted"}, nil
}

// gateway is the generated handler over the receiver, with this package as its marshaler.
func gateway(t *testing.T, r *receiver) http.Handler {
	t.Helper()
	mux := runtime.NewServeMux(runtime.WithMarshalerOption(runtime.MIMEWildcard, Marshaler{}))
	if err := retinov1.RegisterRetinoWebhookServiceHandlerClient(t.Context(), mux, r); err != nil {
		t.Fatal(err)
	}
	return mux
}

func post(h http.Handler, body io.Reader) *httptest.ResponseRecorder {
	request := httptest.NewRequest(http.MethodPost, "/webhooks/retino/shipping.ordered", nil)
	if closer, ok := body.(io.ReadCloser); ok {
		request.Body = closer
	} else {
		request.Body = io.NopCloser(body)
	}
	response := httptest.NewRecorder()
	h.ServeHTTP(response, request)
	return response
}

// The generated gateway handler decodes a Body in place, and what the decoder found is in the body.
func TestGatewayDecodesBody(t *testing.T) {
	r := new(receiver)
	body := NewBody([]byte(`{"event_type":"shipping.ordered","shipping":{"id":12,"new":true}}`))
	response := post(gateway(t, r), body)
	if response.Code != http.StatusOK || response.Body.String() != "{}" {
		t.Errorf("answer %d %q", response.Code, response.Body)
	}
	want := []*retinov1.ShippingOrdered{{EventType: proto.String("shipping.ordered"), Shipping: &retinov1.Shipping{Id: proto.String("12")}}}
	if diff := cmp.Diff(want, r.got, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{`type $.shipping.id 12`, `unknown $.shipping.new true`, `missing $.created_at `}, driftLines(body.Drift)); diff != "" {
		t.Error(diff)
	}
	if body.Err != nil {
		t.Error(body.Err)
	}
}

// A refused document does not reach the service, above all not as the empty message that the gateway makes from an io.EOF. The
// error with its place is in the body.
func TestGatewayRefuses(t *testing.T) {
	for _, doc := range []string{``, ` `, `null`, `[]`, `{}{}`, `{"event_type":`, `{"shipping":1}`, `{"event_type":"a","event_type":"b"}`} {
		r := new(receiver)
		body := NewBody([]byte(doc))
		response := post(gateway(t, r), body)
		if response.Code != http.StatusBadRequest || len(r.got) != 0 {
			t.Errorf("%q: answer %d, %d calls", doc, response.Code, len(r.got))
		}
		if _, ok := errors.AsType[*Error](body.Err); !ok {
			t.Errorf("%q: Body.Err = %v", doc, body.Err)
		}
		if strings.Contains(response.Body.String(), "byte") {
			t.Errorf("%q: the cause is in the answer: %s", doc, response.Body)
		}
	}
}

// endless is a reader without an end, like a body without a limit.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	e.read += len(p)
	return len(p), nil
}

func (e *endless) Close() error { return nil }

// Another reader than a Body is refused and not read.
func TestDecoderTakesOnlyBody(t *testing.T) {
	e := new(endless)
	for _, r := range []io.Reader{e, strings.NewReader(`{}`), (*Body)(nil), nil, bytes.NewBuffer(nil)} {
		err := Marshaler{}.NewDecoder(r).Decode(new(retinov1.ShippingOrdered))
		if err == nil || !strings.Contains(err.Error(), "not a *vendorjson.Body") || errors.Is(err, io.EOF) {
			t.Errorf("%T: %v", r, err)
		}
	}
	if e.read != 0 {
		t.Errorf("read %d bytes", e.read)
	}
	if err := (Marshaler{}).NewDecoder(NewBody([]byte(`{}`))).Decode(new(string)); err == nil {
		t.Error("decoded into a string")
	}
}

func TestBodyReads(t *testing.T) {
	const doc = `{"event_type":"shipping.ordered"}`
	body := NewBody([]byte(doc))
	if got, err := io.ReadAll(body); string(got) != doc || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
	if n, err := body.Read(make([]byte, 1)); n != 0 || err != io.EOF { //nolint:errorlint // the io.Reader contract is io.EOF itself
		t.Errorf("read after the end: %d, %v", n, err)
	}

	body = NewBody([]byte(doc))
	head := make([]byte, 5)
	if n, err := body.Read(head); n != 5 || err != nil {
		t.Fatal(n, err)
	}
	var rest bytes.Buffer
	if n, err := io.Copy(&rest, body); n != int64(len(doc)-5) || err != nil || string(head)+rest.String() != doc {
		t.Errorf("copied %d, %v: %q", n, err, rest.String())
	}

	// Decoding does not depend on what was read before, and leaves nothing to read.
	m := new(retinov1.ShippingOrdered)
	if err := (Marshaler{}).NewDecoder(body).Decode(m); err != nil || m.GetEventType() != "shipping.ordered" {
		t.Errorf("decode after reading: %v, %v", m, err)
	}
	body = NewBody([]byte(doc))
	if err := (Marshaler{}).NewDecoder(body).Decode(new(retinov1.ShippingOrdered)); err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, body); n != 0 || err != nil {
		t.Errorf("%d bytes left after decoding, %v", n, err)
	}
	if err := body.Close(); err != nil {
		t.Error(err)
	}
}

// failing refuses every write.
type failing struct{}

var errFull = errors.New("full")

func (failing) Write([]byte) (int, error) { return 0, errFull }

func TestBodyWriteToFails(t *testing.T) {
	if _, err := NewBody([]byte("{}")).WriteTo(failing{}); !errors.Is(err, errFull) {
		t.Errorf("WriteTo: %v", err)
	}
	if err := (Marshaler{}).NewEncoder(failing{}).Encode(new(retinov1.Receipt)); !errors.Is(err, errFull) {
		t.Errorf("Encode: %v", err)
	}
}

func TestMarshaler(t *testing.T) {
	first, err := Marshaler{}.Marshal(&retinov1.Receipt{Status: "accepted"})
	if err != nil || string(first) != "{}" {
		t.Fatalf("%q, %v", first, err)
	}
	var written bytes.Buffer
	if err := (Marshaler{}).NewEncoder(&written).Encode(nil); err != nil || written.String() != "{}" {
		t.Errorf("%q, %v", written.String(), err)
	}
	m := new(retinov1.ShippingOrdered)
	if err := (Marshaler{}).Unmarshal([]byte(`{"event_type":"e"}`), m); err != nil || m.GetEventType() != "e" {
		t.Errorf("%v, %v", m, err)
	}
	if err := (Marshaler{}).Unmarshal(nil, m); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("nothing at all: %v", err)
	}
	if got := (Marshaler{}).ContentType(m); got != "application/json" {
		t.Error(got)
	}
}

func TestField(t *testing.T) {
	tests := []struct {
		doc, want string
		ok        bool
	}{
		{`{"type":"customer.updated","data":{}}`, "customer.updated", true},
		{` { "data" : {"type":"inner","x":[{"type":1}]} , "type" : "outer" } `, "outer", true},
		{`{"\u0074ype":"a\u00e9\n\"b"}`, "aé\n\"b", true},
		{`{"type":""}`, "", true},
		// What follows is not looked at.
		{`{"type":"x","type":"y"`, "x", true},
		{`{"type":"x" nonsense`, "x", true},
		// Undeclared names before it.
		{`{"a":1,"a":2,"\ud83d":3,"x":"\ud83d","type":"x"}`, "x", true},
		{`{}`, "", false},
		{`{"Type":"x","typ":"y","data":{"type":"z"}}`, "", false},
		{`{"type":null}`, "", false},
		{`{"type":12,"x":`, "", false},
		{`{"type":["x"]}`, "", false},
		{`{"type":{"type":"x"}}`, "", false},
	}
	for _, tt := range tests {
		got, ok, err := Field([]byte(tt.doc), "type")
		if got != tt.want || ok != tt.ok || err != nil {
			t.Errorf("%s: %q, %v, %v", tt.doc, got, ok, err)
		}
	}
	for _, tt := range []refusal{
		{`▲`, "$", "is empty"},
		{`▲[{"type":"x"}]`, "$", "is not a JSON object"},
		{`{"a":{"b":[1,▲]},"type":"x"}`, "$.a.b[1]", "has ']' where a value should be"},
		{"{\"type\":\"x▲\xff\"}", "$.type", "has invalid UTF-8"},
		{`{"type":"▲\ud800"}`, "$.type", "has an invalid escape in a string"},
		{`{"type":[1,▲`, "$.type[1]", "ends where a value should be"},
		{`{"a":1▲`, "$.a", "ends where a comma or } should be"},
		{`{"a":1}▲x`, "$", "is followed by more data"},
	} {
		doc, _ := tt.split()
		refused(t, doc, func() error { _, _, err := Field(doc, "type"); return err }, tt.want(CodeMalformed))
	}
}
