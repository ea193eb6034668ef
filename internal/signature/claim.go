package signature

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// claim is what a request's headers say of its signature.
type claim struct {
	// signatures, at least one, each of the digest's size.
	signatures [][]byte
	// stamp is the time as it was written, which is what is signed. Empty if the scheme has none.
	stamp string
}

// claim reads the headers, and judges the time.
func (s *Scheme) claim(h http.Header, now time.Time) (claim, error) {
	var c claim
	value, err := one(h, s.header)
	if err != nil {
		return c, err
	}
	if err := s.read(value, &c); err != nil {
		return c, fmt.Errorf("%w in header %s", err, s.header)
	}
	if s.stampHeader != "" {
		if c.stamp, err = one(h, s.stampHeader); err != nil {
			return c, err
		}
	}
	for _, name := range s.message.headers() {
		if _, err := one(h, name); err != nil {
			return c, err
		}
	}
	return c, s.fresh(c.stamp, now)
}

// read takes the signature's header apart. Parts with neither prefix are passed over: vendors add signatures of other
// schemes beside the one that is looked for.
func (s *Scheme) read(value string, c *claim) error {
	stamps := 0
	for part := range s.parts(value) {
		part = strings.Trim(part, " \t")
		if s.stampPrefix != "" {
			if stamp, ok := strings.CutPrefix(part, s.stampPrefix); ok {
				c.stamp = stamp
				stamps++
				continue
			}
		}
		encoded, ok := strings.CutPrefix(part, s.prefix)
		if !ok {
			continue
		}
		signature, ok := s.encoding.decode(encoded)
		if !ok || len(signature) != s.size {
			continue
		}
		if len(c.signatures) == maxSignatures {
			return fmt.Errorf("%w: more than %d signatures", ErrMalformed, maxSignatures)
		}
		c.signatures = append(c.signatures, signature)
	}
	switch {
	case len(c.signatures) == 0:
		return fmt.Errorf("%w: no signature", ErrMalformed)
	case s.stampPrefix != "" && stamps == 0:
		return fmt.Errorf("%w: no time", ErrMissing)
	case stamps > 1:
		return fmt.Errorf("%w: more than one time", ErrMalformed)
	}
	return nil
}

// parts yields the parts of the signature's header.
func (s *Scheme) parts(value string) func(yield func(string) bool) {
	if s.separator == "" {
		return func(yield func(string) bool) { yield(value) }
	}
	return strings.SplitSeq(value, s.separator)
}

// fresh judges the time of signing.
func (s *Scheme) fresh(stamp string, now time.Time) error {
	if s.unit == 0 {
		return nil
	}
	// A leading zero would give one time two lengths, and what is signed two readings.
	if stamp == "" || len(stamp) > maxDigits || strings.Trim(stamp, "0123456789") != "" || stamp[0] == '0' && stamp != "0" {
		return fmt.Errorf("%w: the time is not a whole number", ErrMalformed)
	}
	n, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return fmt.Errorf("%w: the time is not a whole number", ErrMalformed)
	}
	at := time.Unix(n, 0)
	if s.unit == time.Millisecond {
		at = time.UnixMilli(n)
	}
	// Not by the absolute value, which the smallest duration has none of.
	if off := now.Sub(at); off > s.tolerance || off < -s.tolerance {
		return fmt.Errorf("%w: the time is off by more than %s", ErrStale, s.tolerance)
	}
	return nil
}

// encoding is how bytes are written.
type encoding uint8

const (
	asText encoding = iota
	asHex
	asBase64
)

func (e encoding) encode(b []byte) string {
	switch e {
	case asHex:
		return hex.EncodeToString(b)
	case asBase64:
		return base64.StdEncoding.EncodeToString(b)
	default:
		return string(b)
	}
}

// standardAlphabet turns base64 of the URL alphabet into that of the standard one.
var standardAlphabet = strings.NewReplacer("-", "+", "_", "/")

// decode reads hex of either case, or base64 of either alphabet, with padding or without.
func (e encoding) decode(text string) ([]byte, bool) {
	switch e {
	case asHex:
		b, err := hex.DecodeString(text)
		return b, err == nil
	case asBase64:
		text = strings.TrimSuffix(strings.TrimSuffix(text, "="), "=")
		if strings.ContainsAny(text, "\r\n") {
			return nil, false // which the decoder would pass over
		}
		b, err := base64.RawStdEncoding.DecodeString(standardAlphabet.Replace(text))
		return b, err == nil
	default:
		return []byte(text), true
	}
}
