package signature

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/webhook-bridge/bridge/connectors"
)

// A webhook that contains a stranger's text cannot be turned into another webhook with another time: the text that would move
// into a header contains the separator.
func TestShifted(t *testing.T) {
	s, err := Compile(connectors.HMAC{
		Header: "webhook-signature", Encoding: "base64", Prefix: "v1,", Separator: " ", TimestampHeader: "webhook-timestamp",
		Signed: "{header.webhook-id}.{timestamp}.{body}",
	}, []string{"0123456789"})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1_700_000_000, 0)
	later := now.AddDate(1, 0, 0)
	r := Request{Method: "POST", Header: http.Header{"Webhook-Id": {"msg_1"}}, Body: fmt.Appendf(nil, `{"note":"hello.%d.[1]"}`, later.Unix())}
	for name, values := range s.Sign(r, now) {
		r.Header[name] = values
	}
	if err := s.Verify(r, now); err != nil {
		t.Fatal(err)
	}
	r.Body = []byte(`[1]"}`)
	r.Header.Set("webhook-id", fmt.Sprintf(`msg_1.%d.{"note":"hello`, now.Unix()))
	r.Header.Set("webhook-timestamp", strconv.FormatInt(later.Unix(), 10))
	if err := s.Verify(r, later); !errors.Is(err, ErrMalformed) || !errors.Is(err, errAmbiguous) {
		t.Errorf("got %v", err)
	}
}

// A body that ends with the URL is not shortened.
func TestShiftedURL(t *testing.T) {
	v := readVector(t, "testdata/trello.txtar")
	s := v.compile(t)
	at := v.request.URL
	r := v.with(func(r *Request) { r.Body = []byte("a=1" + at + "&b=2") })
	r.Header.Set(v.spec.Header, s.Sign(r, v.now).Get(v.spec.Header))
	if err := s.Verify(r, v.now); err != nil {
		t.Fatal(err)
	}
	r.Body, r.URL = []byte("a=1"), at+"&b=2"+at
	if err := s.Verify(r, v.now); !errors.Is(err, errAmbiguous) {
		t.Errorf("got %v", err)
	}
}

// Addresses contain dots and are adjacent to other signed values, as in Square's and HubSpot's schemes. So may times.
func TestAddressAndTimeBesideBody(t *testing.T) {
	for _, signed := range []string{"{method}.{url}.{host}.{path}.{body}", "{url}{body}", "{method}{url}{body}{timestamp}", "{timestamp}{body}"} {
		spec := connectors.HMAC{Header: "S", Signed: signed}
		if strings.Contains(signed, "{timestamp}") {
			spec.TimestampHeader = "T"
		}
		s, err := Compile(spec, []string{"a-secret"})
		if err != nil {
			t.Fatal(err)
		}
		now := time.Unix(1_700_000_000, 0)
		r := Request{Method: "POST", Host: "h.example", Path: "/order.paid", URL: "https://h.example/order.paid", Body: []byte("{}")}
		r.Header = s.Sign(r, now)
		if err := s.Verify(r, now); err != nil {
			t.Errorf("%s: %v", signed, err)
		}
	}
}

// A time has one written form: with a leading zero, a digit of the body could pass for a digit of the time.
func TestTimeHasOneLength(t *testing.T) {
	s, err := Compile(connectors.HMAC{Header: "S", TimestampHeader: "T", Signed: "{timestamp}{body}"}, []string{"a-secret"})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1_700_000_000, 0)
	r := Request{Method: "POST", Header: http.Header{"T": {"01700000000"}}, Body: []byte("{}")}
	if err := s.Verify(r, now); !errors.Is(err, ErrMissing) && !errors.Is(err, ErrMalformed) {
		t.Errorf("got %v", err)
	}
	r.Header = s.Sign(r, now)
	r.Header.Set("T", "0"+r.Header.Get("T"))
	if err := s.Verify(r, now); !errors.Is(err, ErrMalformed) {
		t.Errorf("got %v", err)
	}
}

// Every template is either refused, or no two accepted requests sign the same bytes.
func TestNoTwoSignAlike(t *testing.T) {
	tokens := []string{".", "1", "{header.a}", "{header.b}", "{body}", "{len(header.a)}", "{len(body)}", "{sha256(header.b)}"}
	compiled, refused := 0, 0
	var try func(template string, depth int)
	try = func(template string, depth int) {
		if s, err := Compile(connectors.HMAC{Header: "S", Signed: template}, []string{"a-secret"}); err == nil {
			compiled++
			signApart(t, s, template)
		} else {
			refused++
		}
		if depth > 0 {
			for _, token := range tokens {
				try(template+token, depth-1)
			}
		}
	}
	for _, token := range tokens {
		try(token, 3)
	}
	for _, template := range []string{
		"{body}.{len(header.a)}1{header.a}", "{len(header.a)}.{header.a}{header.b}.{body}", "{header.a}..{header.b}..{body}",
		"{body}..{header.a}..{header.b}", "{header.a}.{body}.{header.b}", "{len(body)}.{body}{header.a}", "{body}.{header.a}.{header.a}",
	} {
		try(template, 0)
	}
	if compiled < 100 || refused < 100 {
		t.Errorf("%d templates were compiled, %d refused", compiled, refused)
	}
}

func signApart(t *testing.T, s *Scheme, template string) {
	t.Helper()
	values := []string{"", "1", ".", "1.", ".1", "..", "11", "1.1", ".1.1"}
	used := func(name string) []string {
		if strings.Contains(template, name) {
			return values
		}
		return values[:1]
	}
	seen := map[string]string{}
	for _, a := range used("header.a") {
		for _, b := range used("header.b") {
			for _, body := range values {
				message := s.message.of(&Request{Header: http.Header{"A": {a}, "B": {b}}, Body: []byte(body)}, "")
				if !s.isUnambiguous(message) {
					continue
				}
				text, parts := string(bytes.Join(message, nil)), fmt.Sprintf("%q", message)
				if other, ok := seen[text]; ok && other != parts {
					t.Fatalf("%s: %s and %s are both %q", template, other, parts, text)
				}
				seen[text] = parts
			}
		}
	}
	if len(seen) == 0 {
		t.Errorf("%s: nothing is believed", template)
	}
}
