package signature

import (
	"crypto/sha1" //nolint:gosec // an HMAC does not lean on what SHA-1 has lost, and vendors still use it
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/webhook-bridge/bridge/connectors"
)

// Limits of the secrets: a short one can be guessed, and each one costs a digest of the body.
const (
	maxSecrets = 16
	maxSecret  = 4 << 10
	minKey     = 8
)

// consumed are headers of the connection. A server does not always pass them on.
var consumed = []string{
	"Connection", "Content-Length", "Expect", "Host", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// FieldError is one problem of a scheme. It quotes no value.
type FieldError struct {
	// Field is the name of the field of [connectors.HMAC], or "Secrets".
	Field string
	// Index is the index of the secret, or -1 if the problem is not about a secret.
	Index int
	// Reason is a text for people that follows the field's name.
	Reason string
}

// Error is "signature: FIELD REASON".
func (p *FieldError) Error() string {
	field := p.Field
	if p.Index >= 0 {
		field += "[" + strconv.Itoa(p.Index) + "]"
	}
	return "signature: " + field + " " + p.Reason
}

// Compile prepares a scheme. It needs at least one secret. It returns all problems joined, each a [*FieldError].
func Compile(spec connectors.HMAC, secrets []string) (*Scheme, error) {
	c := compiler{spec: spec.WithDefaults()}
	c.scheme.encoding = choose(&c, "Encoding", c.spec.Encoding, map[string]encoding{"hex": asHex, "base64": asBase64}, "hex or base64")
	c.header()
	c.time()
	c.digest()
	c.signed()
	c.secrets(secrets)
	if len(c.problems) > 0 {
		return nil, errors.Join(c.problems...)
	}
	return &c.scheme, nil
}

// compiler collects the problems while it builds a Scheme.
type compiler struct {
	spec     connectors.HMAC
	scheme   Scheme
	problems []error
}

func (c *compiler) addf(field, format string, args ...any) {
	c.problems = append(c.problems, &FieldError{Field: field, Index: -1, Reason: fmt.Sprintf(format, args...)})
}

// choose looks up a word, with a fallback for the empty one. It reports an unknown word.
func choose[T any](c *compiler, field, word string, from map[string]T, words string) T {
	chosen, ok := from[word]
	if !ok {
		c.addf(field, "must be %s", words)
	}
	return chosen
}

func (c *compiler) header() {
	s, spec := &c.scheme, &c.spec
	s.header, s.prefix, s.separator = canonical(spec.Header), spec.Prefix, spec.Separator
	switch {
	case spec.Header == "":
		c.addf("Header", "is missing")
	case !isToken(spec.Header):
		c.addf("Header", "is not a header name")
	case slices.Contains(consumed, s.header):
		c.addf("Header", "must not be a header that HTTP itself uses up")
	}
	switch {
	case s.separator == "":
	case strings.Contains(s.prefix, s.separator):
		c.addf("Separator", "must not be part of the prefix, which would be torn apart")
	case strings.Contains(spec.TimestampPrefix, s.separator):
		c.addf("Separator", "must not be part of the time's prefix, which would be torn apart")
	case strings.IndexFunc(s.separator, inSignature) >= 0:
		c.addf("Separator", "must not be of characters that signatures are written with")
	}
	if s.prefix != strings.TrimLeft(s.prefix, " \t") {
		c.addf("Prefix", "must not begin with a blank")
	}
}

// inSignature reports whether the character occurs in hex or base64.
func inSignature(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("+/-_=", r)
}

func (c *compiler) time() {
	s, spec := &c.scheme, &c.spec
	s.stampPrefix, s.tolerance = spec.TimestampPrefix, spec.Tolerance
	if spec.TimestampUnit != "" {
		unit := choose(c, "TimestampUnit", spec.TimestampUnit, map[string]time.Duration{"s": time.Second, "ms": time.Millisecond}, "s or ms")
		if spec.Timed() {
			s.unit = unit
		}
	}
	if s.tolerance < 0 {
		c.addf("Tolerance", "must not be negative")
	}
	if name := spec.TimestampHeader; name != "" {
		s.stampHeader = canonical(name)
		switch {
		case !isToken(name):
			c.addf("TimestampHeader", "is not a header name")
		case slices.Contains(consumed, s.stampHeader):
			c.addf("TimestampHeader", "must not be a header that HTTP itself uses up")
		case s.stampHeader == s.header:
			c.addf("TimestampHeader", "must not be the signature's header; its parts are told by their prefix")
		}
	}
	switch {
	case s.stampPrefix == "":
	case spec.TimestampHeader != "":
		c.addf("TimestampPrefix", "must not be set beside the time's header")
	case s.separator == "":
		c.addf("TimestampPrefix", "needs a separator: the header has more than one part")
	case strings.HasPrefix(s.prefix, s.stampPrefix):
		c.addf("TimestampPrefix", "must tell the time from a signature, whose prefix begins with it")
	case s.stampPrefix != strings.TrimLeft(s.stampPrefix, " \t"):
		c.addf("TimestampPrefix", "must not begin with a blank")
	}
}

func (c *compiler) digest() {
	c.scheme.hash = choose(c, "Algorithm", c.spec.Algorithm,
		map[string]func() hash.Hash{"sha1": sha1.New, "sha256": sha256.New, "sha512": sha512.New}, "sha1, sha256 or sha512")
	if c.scheme.hash != nil {
		c.scheme.size = c.scheme.hash().Size()
	}
}

// signed parses the template, and refuses one without the required values.
func (c *compiler) signed() {
	s := &c.scheme
	message, problem := parseTemplate(c.spec.Signed)
	if problem != "" {
		c.addf("Signed", "%s", problem)
		return
	}
	s.message = message
	switch {
	case !message.proves("body"):
		c.addf("Signed", "must have {body} or {sha256(body)}: else any body would be accepted")
	case s.unit == 0 && message.has("timestamp"):
		c.addf("Signed", "has {timestamp}, and nothing says where the time is")
	case s.unit > 0 && !message.proves("timestamp") && !message.provesHeader(s.stampHeader):
		c.addf("Signed", "must have {timestamp}: else any time would be accepted")
	}
	boundaries, ok := message.boundaries()
	if !ok {
		c.addf("Signed", "has a header's value beside another value, and nothing tells where it ends: a text between them would, or {len(…)} before")
	}
	s.boundaries = boundaries
	for _, name := range message.headers() {
		switch {
		case name == s.header:
			c.addf("Signed", "has the signature's own header")
		case name == "Host":
			c.addf("Signed", "has the header Host, which is written {host}")
		case slices.Contains(consumed, name):
			c.addf("Signed", "has a header that HTTP itself uses up")
		}
	}
}

func (c *compiler) secrets(secrets []string) {
	written := choose(c, "SecretEncoding", c.spec.SecretEncoding,
		map[string]encoding{"text": asText, "hex": asHex, "base64": asBase64}, "text, hex or base64")
	switch {
	case len(secrets) == 0:
		c.addf("Secrets", "are missing: give at least one")
	case len(secrets) > maxSecrets:
		c.addf("Secrets", "must be at most %d", maxSecrets)
	}
	for i, text := range secrets {
		secret, ok := written.decode(strings.TrimPrefix(text, c.spec.SecretPrefix))
		reason := ""
		switch {
		case len(text) > maxSecret:
			reason = "is longer than " + strconv.Itoa(maxSecret) + " bytes"
		case !ok:
			reason = "is not " + c.spec.SecretEncoding
		case len(secret) == 0:
			reason = "is empty"
		case len(secret) < minKey:
			reason = "is shorter than " + strconv.Itoa(minKey) + " bytes, without its prefix and once decoded"
		}
		if reason != "" {
			c.problems = append(c.problems, &FieldError{Field: "Secrets", Index: i, Reason: reason})
			continue
		}
		c.scheme.secrets = append(c.scheme.secrets, secret)
	}
}
