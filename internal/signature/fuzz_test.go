package signature

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/webhook-bridge/bridge/connectors"
)

// Every text as a scheme is either refused or works: the scheme accepts its own signature, and refuses it for another body.
func FuzzCompile(f *testing.F) {
	for _, v := range readVectors(f) {
		s := v.spec
		f.Add(s.Header, s.Algorithm, s.Encoding, s.Prefix, s.Separator, s.TimestampHeader, s.TimestampPrefix, s.TimestampUnit, s.Signed, v.secrets[0])
	}
	now := time.Unix(1_700_000_000, 0)
	f.Fuzz(func(t *testing.T, header, algorithm, encoding, prefix, separator, stampHeader, stampPrefix, unit, signed, secret string) {
		s, err := Compile(connectors.HMAC{
			Header: header, Algorithm: algorithm, Encoding: encoding, Prefix: prefix, Separator: separator,
			TimestampHeader: stampHeader, TimestampPrefix: stampPrefix, TimestampUnit: unit, Signed: signed,
		}, []string{secret})
		if err != nil {
			return
		}
		r := Request{Method: "POST", Host: "h", Path: "/p", URL: "https://h/p", Header: http.Header{}, Body: []byte(`{"a":1}`)}
		for _, name := range s.SignedHeaders() {
			r.Header.Set(name, "v")
		}
		for name, values := range s.Sign(r, now) {
			if len(values[0]) > maxHeader {
				t.Skip() // because of its prefix
			}
			r.Header[name] = values
		}
		err = s.Verify(r, now)
		if errors.Is(err, errAmbiguous) {
			t.Skip() // because of its literals
		}
		if err != nil {
			t.Fatalf("%+v: %v", r.Header, err)
		}
		r.Body = []byte(`{"a":2}`)
		if err := s.Verify(r, now); err == nil {
			t.Fatal("another body is believed")
		}
	})
}

// A header is accepted only if it contains the right signature.
func FuzzVerify(f *testing.F) {
	vectors := readVectors(f)
	for i, v := range vectors {
		f.Add(i, v.request.Header.Get(v.spec.Header), v.request.Header.Get(v.spec.TimestampHeader), v.request.Body)
	}
	f.Fuzz(func(t *testing.T, which int, value, stamp string, body []byte) {
		v := vectors[uint(which)%uint(len(vectors))]
		s := v.compile(t)
		r := v.with(func(r *Request) {
			r.Body = body
			r.Header.Set(v.spec.Header, value)
			if v.spec.TimestampHeader != "" {
				r.Header.Set(v.spec.TimestampHeader, stamp)
			}
		})
		err := s.Verify(r, v.now)
		if early := s.Precheck(r.Header, v.now); early != nil && err == nil {
			t.Fatalf("verified, and yet: %v", early)
		}
		if err != nil {
			if len(value) > 8 && strings.Contains(err.Error(), value) {
				t.Fatalf("the error quotes the header: %v", err)
			}
			return
		}
		if !holdsSignature(s, r, value, stamp) {
			t.Fatal("believed without a right signature")
		}
	})
}

// holdsSignature searches the header for the right bytes independently: in every substring that could be them.
func holdsSignature(s *Scheme, r Request, value, stamp string) bool {
	if s.stampPrefix != "" {
		_, after, _ := strings.Cut(value, s.stampPrefix)
		stamp, _, _ = strings.Cut(after, s.separator)
		stamp = strings.TrimSpace(stamp)
	}
	for _, secret := range s.secrets {
		right := s.sum(secret, [][]byte{bytes.Join(s.message.of(&r, stamp), nil)})
		if strings.Contains(strings.ToLower(value), hex.EncodeToString(right)) {
			return true
		}
		plain := strings.NewReplacer("-", "+", "_", "/").Replace(value)
		// The last character has bits that are not part of the signature.
		if text := base64.RawStdEncoding.EncodeToString(right); strings.Contains(plain, text[:len(text)-1]) {
			return true
		}
	}
	return false
}

func BenchmarkVerify(b *testing.B) {
	for _, v := range readVectors(b) {
		s := v.compile(b)
		b.Run(strings.TrimSuffix(v.name, ".txtar"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Verify(v.request, v.now); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
