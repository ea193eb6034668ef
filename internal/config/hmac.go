package config

import (
	"net/url"
	"slices"
	"strings"
	"time"

	configv1 "github.com/webhook-bridge/bridge/gen/bridge/config/v1"
)

// mostShared bounds the shared secrets, each of which costs a digest of every body.
const mostShared = 16

// defaultTolerance is how far the time of signing may be off.
const defaultTolerance = 5 * time.Minute

// secretKey is the key under which a check reports a secret.
const secretKey = "secret"

// HMAC is how a sender signs. Empty texts and zeros are the scheme's own defaults.
type HMAC struct {
	// Header is the header with the signature.
	Header string
	// Algorithm and Encoding are those of the signature; Prefix and Separator are how the header is written.
	Algorithm, Encoding, Prefix, Separator string
	// SecretPrefix is taken off a secret; SecretEncoding is what it then is.
	SecretPrefix, SecretEncoding string
	// TimestampHeader or TimestampPrefix say where the time of signing is.
	TimestampHeader, TimestampPrefix, TimestampUnit string
	// Tolerance is how far the time may be off.
	Tolerance time.Duration
	// Signed is the template of what is signed.
	Signed string
}

// hmac resolves a signature: what is set takes the place of what the connector knows of its vendor. A header that is set is
// that of another signature, of which the connector knows nothing.
func (r resolver) hmac(path, connector string, file *configv1.HMACAuth, needs Needs) Auth {
	var h HMAC
	if needs.HMAC != nil && file.GetHeader() == "" {
		h = *needs.HMAC
	}
	r.override(path, &h, file)
	auth := Auth{Scheme: SchemeHMAC, Header: canonical(h.Header), HMAC: &h, PublicURL: r.publicURL(path+".public_url", file.GetPublicUrl())}
	switch {
	case h.Header == "":
		r.unknownTo(connector, path+".header", "is missing: connector %s does not know how its vendor signs")
	case slices.Contains(unusableHeaders, auth.Header):
		r.addf(path+".header", "this header cannot carry a signature")
	case needs.keeps(auth.Header):
		r.addf(path+".header", keptHeader, connector)
	default:
		for _, fault := range r.checks.hmac(h, NewSecret("")) {
			if fault.Key != secretKey {
				r.addf(path+"."+fault.Key, "%s", fault.Reason)
			}
		}
	}
	auth.Values = r.secrets(path+".secrets", file.GetSecrets(), func(secret string) string { return r.checkShared(h, secret) })
	if len(auth.Values) > mostShared {
		r.addf(path+".secrets", "must be at most %d", mostShared)
	}
	return auth
}

// override puts what is set in the file into h. A place for the time is one thing: the header, or the part of the
// signature's.
func (r resolver) override(path string, h *HMAC, file *configv1.HMACAuth) {
	at := file.GetTimestamp()
	if at.GetHeader() != "" || at.GetPrefix() != "" {
		h.TimestampHeader, h.TimestampPrefix = at.GetHeader(), at.GetPrefix()
	}
	for _, field := range []struct {
		to    *string
		value string
	}{
		{&h.Header, file.GetHeader()},
		{&h.Algorithm, file.GetAlgorithm()},
		{&h.Encoding, file.GetEncoding()},
		{&h.Prefix, file.GetPrefix()},
		{&h.Separator, file.GetSeparator()},
		{&h.SecretPrefix, file.GetSecretPrefix()},
		{&h.SecretEncoding, file.GetSecretEncoding()},
		{&h.TimestampUnit, at.GetUnit()},
		{&h.Signed, file.GetSigned()},
	} {
		*field.to = orDefault(field.value, *field.to)
	}
	if h.Tolerance == 0 && h.timed() {
		h.Tolerance = defaultTolerance
	}
	h.Tolerance = r.duration(path+".timestamp.tolerance", at.GetTolerance(), h.Tolerance, time.Second, day)
	if at != nil && !h.timed() {
		r.addf(path+".timestamp", "needs header or prefix, to say where the time is")
	}
}

// timed reports whether a request says when it was signed.
func (h *HMAC) timed() bool { return h.TimestampHeader != "" || h.TimestampPrefix != "" }

// replayable is how long a request that was captured can be sent again at most: a sender's clock may be ahead by the tolerance.
// 0 is for ever.
func (a Auth) replayable() time.Duration {
	if a.HMAC == nil || !a.HMAC.timed() {
		return 0
	}
	return 2 * a.HMAC.Tolerance
}

// checkShared says what is wrong with a secret.
func (r resolver) checkShared(h HMAC, secret string) string {
	for _, fault := range r.checks.hmac(h, NewSecret(secret)) {
		if fault.Key == secretKey {
			return fault.Reason
		}
	}
	return ""
}

// publicURL resolves the base of the URL that a sender calls.
func (r resolver) publicURL(path, text string) string {
	if text == "" {
		return ""
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || strings.ContainsAny(text, "?#") {
		r.addf(path, `must be a URL of scheme, host and perhaps a path, such as "https://hooks.example.com"`)
	}
	return strings.TrimRight(text, "/")
}
