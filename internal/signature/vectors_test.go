package signature

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/webhook-bridge/bridge/connectors"
)

// vector is one archive of testdata: a scheme, its secrets, and a request that was signed by something else than this package.
type vector struct {
	name    string
	spec    connectors.HMAC
	secrets []string
	request Request
	now     time.Time
}

func readVectors(tb testing.TB) []vector {
	tb.Helper()
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(paths) == 0 {
		tb.Fatalf("no vectors: %v", err)
	}
	vectors := make([]vector, 0, len(paths))
	for _, path := range paths {
		vectors = append(vectors, readVector(tb, path))
	}
	return vectors
}

func readVector(tb testing.TB, path string) vector {
	tb.Helper()
	archive, err := txtar.ParseFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	parts := map[string]string{}
	for _, f := range archive.Files {
		parts[f.Name] = strings.TrimSuffix(string(f.Data), "\n") // which the format adds
	}
	v := vector{name: filepath.Base(path), secrets: strings.Split(parts["secrets"], "\n"), now: time.Unix(1_700_000_000, 0)}
	decoder := json.NewDecoder(strings.NewReader(parts["spec.json"]))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&v.spec); err != nil {
		tb.Fatalf("%s: %v", path, err)
	}
	if now := parts["now"]; now != "" {
		seconds, err := strconv.ParseInt(now, 10, 64)
		if err != nil {
			tb.Fatalf("%s: %v", path, err)
		}
		v.now = time.Unix(seconds, 0)
	}
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(parts["request"] + "\n\r\n")))
	if err != nil {
		tb.Fatalf("%s: %v", path, err)
	}
	v.request = Request{
		Method: r.Method, Host: r.Host, Path: r.URL.EscapedPath(), URL: "https://" + r.Host + r.URL.RequestURI(),
		Header: r.Header, Body: []byte(parts["body"]),
	}
	return v
}

func (v vector) compile(tb testing.TB) *Scheme {
	tb.Helper()
	s, err := Compile(v.spec, v.secrets)
	if err != nil {
		tb.Fatalf("%s: %v", v.name, err)
	}
	return s
}

func (v vector) signatureHeader() string { return canonical(v.spec.Header) }

// with returns a request like the vector's, after a change to a copy of it.
func (v vector) with(change func(*Request)) Request {
	r := v.request
	r.Header, r.Body = r.Header.Clone(), bytes.Clone(r.Body)
	change(&r)
	return r
}

// What others signed is believed, and nothing that differs from it in anything that counts.
func TestVectors(t *testing.T) {
	for _, v := range readVectors(t) {
		t.Run(v.name, func(t *testing.T) {
			s := v.compile(t)
			if err := s.Precheck(v.request.Header, v.now); err != nil {
				t.Errorf("precheck: %v", err)
			}
			if err := s.Verify(v.request, v.now); err != nil {
				t.Errorf("verify: %v", err)
			}
			for _, change := range changes(v) {
				r := v.with(change.make)
				if err := s.Verify(r, v.now); !errors.Is(err, change.want) {
					t.Errorf("%s: got %v, want %v", change.name, err, change.want)
				}
				early := s.Precheck(r.Header, v.now)
				if wantEarly := !errors.Is(change.want, ErrMismatch); wantEarly != (early != nil) {
					t.Errorf("%s: precheck says %v", change.name, early)
				}
			}
			v.checkSecrets(t)
			v.checkTime(t, s)
		})
	}
}

type change struct {
	name string
	make func(*Request)
	want error
}

// changes are what no request survives.
func changes(v vector) []change {
	name := v.signatureHeader()
	all := []change{
		{"another body", func(r *Request) { r.Body[len(r.Body)-1] ^= 1 }, ErrMismatch},
		{"a longer body", func(r *Request) { r.Body = append(r.Body, '\n') }, ErrMismatch},
		{"no body", func(r *Request) { r.Body = nil }, ErrMismatch},
		{"no signature", func(r *Request) { r.Header.Del(name) }, ErrMissing},
		{"an empty signature", func(r *Request) { r.Header.Set(name, "") }, ErrMalformed},
		{"half a signature", func(r *Request) { r.Header.Set(name, r.Header.Get(name)[:len(r.Header.Get(name))/3]) }, ErrMalformed},
		{"the header twice", func(r *Request) { r.Header.Add(name, r.Header.Get(name)) }, ErrMalformed},
		{"a long header", func(r *Request) { r.Header.Set(name, strings.Repeat(" ", maxHeader)+r.Header.Get(name)) }, ErrMalformed},
	}
	if stamp := canonical(v.spec.TimestampHeader); stamp != "" {
		all = append(all,
			change{"another time", func(r *Request) { r.Header.Set(stamp, strconv.FormatInt(v.now.Unix()+1, 10)) }, ErrMismatch},
			change{"no time", func(r *Request) { r.Header.Del(stamp) }, ErrMissing},
			change{"two times", func(r *Request) { r.Header.Add(stamp, r.Header.Get(stamp)) }, ErrMalformed},
			change{"a time in words", func(r *Request) { r.Header.Set(stamp, "now") }, ErrMalformed},
			change{"a negative time", func(r *Request) { r.Header.Set(stamp, "-1") }, ErrMalformed},
			change{"an endless time", func(r *Request) { r.Header.Set(stamp, strings.Repeat("9", 17)) }, ErrMalformed},
			change{"the end of time", func(r *Request) { r.Header.Set(stamp, strings.Repeat("9", 16)) }, ErrStale},
			change{"the beginning of time", func(r *Request) { r.Header.Set(stamp, "0") }, ErrStale},
		)
	}
	for _, signed := range []struct {
		name string
		make func(*Request)
	}{
		{"method", func(r *Request) { r.Method = "PUT" }},
		{"host", func(r *Request) { r.Host = "hooks.example.org" }},
		{"path", func(r *Request) { r.Path += "/" }},
		{"url", func(r *Request) { r.URL += "&y=2" }},
	} {
		if strings.Contains(v.spec.Signed, "{"+signed.name+"}") {
			all = append(all, change{"another " + signed.name, signed.make, ErrMismatch})
		}
	}
	return all
}

func (v vector) checkSecrets(t *testing.T) {
	t.Helper()
	rotated := append([]string{v.spec.SecretPrefix + "bmV3LXNlY3JldA=="}, v.secrets...)
	for _, secrets := range [][]string{rotated, {rotated[0]}} {
		s, err := Compile(v.spec, secrets)
		if err != nil {
			t.Fatal(err)
		}
		known := len(secrets) > 1
		if err := s.Verify(v.request, v.now); known != (err == nil) {
			t.Errorf("known %v, with %d secrets: %v", known, len(secrets), err)
		}
	}
}

// The time may be off by the tolerance, in both directions, and by no more.
func (v vector) checkTime(t *testing.T, s *Scheme) {
	t.Helper()
	for _, test := range []struct {
		off  time.Duration
		good bool
	}{
		{5 * time.Minute, true},
		{-5 * time.Minute, true},
		{5*time.Minute + 1, false},
		{-5*time.Minute - 1, false},
	} {
		good := test.good || s.unit == 0
		err := s.Verify(v.request, v.now.Add(test.off))
		if good != (err == nil) || !good && !errors.Is(err, ErrStale) {
			t.Errorf("off by %v: %v", test.off, err)
		}
	}
}

// What is signed here is believed here, and by the same headers as the vendor's own.
func TestSignIsTheInverse(t *testing.T) {
	for _, v := range readVectors(t) {
		s := v.compile(t)
		now := v.now.Add(1234 * time.Hour)
		r := v.with(func(r *Request) {
			r.Header.Del(v.spec.Header)
			r.Header.Del(v.spec.TimestampHeader)
		})
		for _, name := range s.SignedHeaders() {
			if r.Header.Get(name) == "" {
				t.Errorf("%s: SignedHeaders has %s, which the vendor does not send", v.name, name)
			}
		}
		before := r.Header.Clone()
		for name, values := range s.Sign(r, now) {
			if _, sends := v.request.Header[name]; !sends || len(values) != 1 {
				t.Errorf("%s: adds %s: %q", v.name, name, values)
			}
			before[name] = values
		}
		r.Header = before
		if err := s.Verify(r, now); err != nil {
			t.Errorf("%s: %v", v.name, err)
		}
		if err := s.Verify(r, now.Add(time.Hour)); s.unit > 0 && !errors.Is(err, ErrStale) {
			t.Errorf("%s: an hour later: %v", v.name, err)
		}
	}
}

// More signatures than anybody needs are not tried.
func TestSignaturesAreBounded(t *testing.T) {
	v := readVector(t, "testdata/stripe.txtar")
	s := v.compile(t)
	parts := strings.Split(v.request.Header.Get("Stripe-Signature"), ",")
	for n, want := range map[int]error{maxSignatures: nil, maxSignatures + 1: ErrMalformed} {
		r := v.with(func(r *Request) {
			all := append([]string{parts[0]}, slices.Repeat([]string{parts[1]}, n-1)...)
			r.Header.Set("Stripe-Signature", strings.Join(append(all, parts[2]), ", "))
		})
		if err := s.Verify(r, v.now); !errors.Is(err, want) {
			t.Errorf("%d signatures: %v", n, err)
		}
	}
	for name, value := range map[string]string{
		"no time":   parts[2],
		"two times": parts[0] + "," + parts[0] + "," + parts[2],
	} {
		r := v.with(func(r *Request) { r.Header.Set("Stripe-Signature", value) })
		if err := s.Verify(r, v.now); err == nil || errors.Is(err, ErrMismatch) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Base64 comes with padding and without, in either alphabet, and secrets too.
func TestBase64(t *testing.T) {
	v := readVector(t, "testdata/shopify.txtar")
	s := v.compile(t)
	padded := v.request.Header.Get(v.spec.Header)
	for _, value := range []string{padded, strings.TrimRight(padded, "="), strings.NewReplacer("+", "-", "/", "_").Replace(padded)} {
		r := v.with(func(r *Request) { r.Header.Set(v.spec.Header, value) })
		if err := s.Verify(r, v.now); err != nil {
			t.Errorf("%s: %v", value, err)
		}
	}
	for _, value := range []string{padded + "==", "\n" + padded, padded[1:]} {
		r := v.with(func(r *Request) { r.Header.Set(v.spec.Header, value) })
		if err := s.Verify(r, v.now); err == nil {
			t.Errorf("%q is believed", value)
		}
	}
}

// A time in milliseconds is one.
func TestMilliseconds(t *testing.T) {
	s, err := Compile(connectors.HMAC{
		Header: "X-Signature", TimestampHeader: "X-Time", TimestampUnit: "ms", Tolerance: time.Second, Signed: "{header.x-time}.{body}",
	}, []string{"a-secret"})
	if err != nil {
		t.Fatal(err)
	}
	now := time.UnixMilli(1_700_000_000_123)
	r := Request{Body: []byte("{}")}
	r.Header = s.Sign(r, now)
	if got := r.Header.Get("X-Time"); got != "1700000000123" {
		t.Errorf("the time is %s", got)
	}
	if len(s.SignedHeaders()) != 0 {
		t.Errorf("the sender is to set %v", s.SignedHeaders())
	}
	for off, want := range map[time.Duration]error{time.Second: nil, -time.Second: nil, time.Second + 1: ErrStale} {
		if err := s.Verify(r, now.Add(off)); !errors.Is(err, want) {
			t.Errorf("off by %v: %v", off, err)
		}
	}
}
