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

// claim has the facts about the signature that a request's headers state.
type claim struct {
	// signatures has at least one element, each with the size of the digest.
	signatures [][]byte
	// stamp is the time in its written form, which is signed. Empty if the scheme has no time.
	stamp string
}

// claim reads the headers and checks the time.
func (s *Scheme) claim(h http.Header, now time.Time) (claim, error) {
	var c claim
	value, err := singleHeader(h, s.header)
	if err != nil {
		return c, err
	}
	if err := s.parseHeader(value, &c); err != nil {
		return c, fmt.Errorf("%w in header %s", err, s.header)
	}
	if s.stampHeader != "" {
		if c.stamp, err = singleHeader(h, s.stampHeader); err != nil {
			return c, err
		}
	}
	for _, name := range s.message.headers() {
		if _, err := singleHeader(h, name); err != nil {
			return c, err
		}
	}
	return c, s.checkTime(c.stamp, now)
}

// parseHeader parses the signature's header. It ignores parts with neither prefix: vendors add signatures of other schemes.
func (s *Scheme) parseHeader(value string, c *claim) error {
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

// checkTime checks the time of signing.
func (s *Scheme) checkTime(stamp string, now time.Time) error {
	if s.unit == 0 {
		return nil
	}
	// With a leading zero, one time would have two lengths, and the signed bytes two readings.
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
	// The smallest duration has no absolute value.
	if off := now.Sub(at); off > s.tolerance || off < -s.tolerance {
		return fmt.Errorf("%w: the time is off by more than %s", ErrStale, s.tolerance)
	}
	return nil
}

// encoding is the encoding of bytes as text.
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

// standardAlphabet replaces the characters of base64's URL alphabet by those of the standard one.
var standardAlphabet = strings.NewReplacer("-", "+", "_", "/")

// decode decodes hex in either case, or base64 in either alphabet, with or without padding.
func (e encoding) decode(text string) ([]byte, bool) {
	switch e {
	case asHex:
		b, err := hex.DecodeString(text)
		return b, err == nil
	case asBase64:
		text = strings.TrimSuffix(strings.TrimSuffix(text, "="), "=")
		if strings.ContainsAny(text, "\r\n") {
			return nil, false // the decoder would ignore it
		}
		b, err := base64.RawStdEncoding.DecodeString(standardAlphabet.Replace(text))
		return b, err == nil
	default:
		return []byte(text), true
	}
}
