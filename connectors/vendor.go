package connectors

import (
	"cmp"
	"time"
)

// Verification is how a vendor authenticates its webhooks. A source uses it unless its configuration says otherwise, and the
// connector's documentation shows it. It is empty for a vendor without authentication: its sources use a secret path, or
// nothing.
type Verification struct {
	// Header is the name of the header with a constant secret, such as "X-Acme-Secret". If the user
	// chooses the name in the vendor's settings, this is the name that the vendor suggests. Empty if there is none.
	Header string
	// HMAC is how the vendor signs. nil if it does not.
	HMAC *HMAC
}

// HMAC is a signature over the request with a shared secret, as RFC 2104 has it. The zero values of the optional fields are
// good.
type HMAC struct {
	// Header is the header with the signature.
	Header string
	// Algorithm is "sha1", "sha256" or "sha512". Empty is "sha256".
	Algorithm string
	// Encoding is how the signature is written: "hex" or "base64", the latter with or without padding. Empty is "hex".
	Encoding string
	// Prefix stands before the signature, such as "sha256=" or "v1,".
	Prefix string
	// Separator stands between the parts of the header, such as "," or " ". Every part that begins with the prefix is a signature,
	// and one of them must be right. Empty: the header has one part.
	Separator string
	// SecretPrefix is removed from a secret before use, such as "whsec_".
	SecretPrefix string
	// SecretEncoding is the encoding of the secret without its prefix: "text", "hex" or "base64". Empty is "text".
	SecretEncoding string
	// TimestampHeader is the header with the time of signing, since 1970; TimestampPrefix is the prefix of the part of the
	// signature's own header that has it, such as "t=". At most one is set. If none is set, there is no time, and only the
	// dedupe key limits how long a captured request may be sent again.
	TimestampHeader, TimestampPrefix string
	// TimestampUnit is "s" or "ms". Empty is "s".
	TimestampUnit string
	// Tolerance is the largest difference between the time and Bridge's clock. 0 is five minutes.
	Tolerance time.Duration
	// Signed is a template of the signed text: {body}, {timestamp}, {method}, {host}, {path}, {url}, {header.NAME}, and
	// {len(X)}, the length in bytes, and {sha256(X)}, in hex, of any of them. {{ and }} are braces. Empty is "{body}". The body
	// is as received, before any decompression.
	Signed string
}

// Timed reports whether a request says when it was signed.
func (h HMAC) Timed() bool { return h.TimestampHeader != "" || h.TimestampPrefix != "" }

// WithDefaults returns the signature with its defaults filled in: the unit and the tolerance where there is a time.
func (h HMAC) WithDefaults() HMAC {
	h = h.Over(HMAC{Algorithm: "sha256", Encoding: "hex", SecretEncoding: "text", Signed: "{body}"})
	if h.Timed() {
		h = h.Over(HMAC{TimestampUnit: "s", Tolerance: 5 * time.Minute})
	}
	return h
}

// Over returns the signature with the fields that are not set taken from base. The place of the time is one field: a header, or
// a part of the signature's header.
func (h HMAC) Over(base HMAC) HMAC {
	if !h.Timed() {
		h.TimestampHeader, h.TimestampPrefix = base.TimestampHeader, base.TimestampPrefix
	}
	h.Header = cmp.Or(h.Header, base.Header)
	h.Algorithm = cmp.Or(h.Algorithm, base.Algorithm)
	h.Encoding = cmp.Or(h.Encoding, base.Encoding)
	h.Prefix = cmp.Or(h.Prefix, base.Prefix)
	h.Separator = cmp.Or(h.Separator, base.Separator)
	h.SecretPrefix = cmp.Or(h.SecretPrefix, base.SecretPrefix)
	h.SecretEncoding = cmp.Or(h.SecretEncoding, base.SecretEncoding)
	h.TimestampUnit = cmp.Or(h.TimestampUnit, base.TimestampUnit)
	h.Tolerance = cmp.Or(h.Tolerance, base.Tolerance)
	h.Signed = cmp.Or(h.Signed, base.Signed)
	return h
}

// DeliveryPolicy is how a vendor delivers: how long it waits, and what it sends again.
type DeliveryPolicy struct {
	// Timeout is how long it waits for an answer. 0: not known.
	Timeout time.Duration
	// Retries are the waits before each further attempt. Empty: there is one attempt.
	Retries []time.Duration
	// RetryOn reports whether it retries after a status; 0 is no answer in time. nil: after all but 2xx.
	RetryOn func(status int) bool
	// Success reports whether a status is success. nil: 2xx is.
	Success func(status int) bool
	// Repeats says that it may send an answered webhook again, Disorder that a later webhook may arrive before an earlier one.
	Repeats, Disorder bool
}

// Succeeded reports whether a status is success to the vendor. 0 is no answer in time, which never is.
func (p DeliveryPolicy) Succeeded(status int) bool {
	if p.Success != nil {
		return p.Success(status)
	}
	return status >= 200 && status <= 299
}

// Again reports whether the vendor retries after a status. 0 is no answer in time.
func (p DeliveryPolicy) Again(status int) bool {
	if p.RetryOn != nil {
		return p.RetryOn(status)
	}
	return !p.Succeeded(status)
}
