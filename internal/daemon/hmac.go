package daemon

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/internal/signature"
)

// configHMAC says in the configuration's terms how a vendor signs. nil stays nil.
func configHMAC(h *connectors.HMAC) *config.HMAC {
	if h == nil {
		return nil
	}
	c := config.HMAC(*h)
	return &c
}

func hmacSpec(h config.HMAC) connectors.HMAC { return connectors.HMAC(h) }

// signatureText says for people how a request is signed. Empty for nil.
func signatureText(h *config.HMAC) string {
	if h == nil {
		return ""
	}
	text := fmt.Sprintf("HMAC of %q with %s, in %s", cmp.Or(h.Signed, "{body}"), cmp.Or(h.Algorithm, "sha256"), cmp.Or(h.Encoding, "hex"))
	if h.Prefix != "" {
		text += fmt.Sprintf(" after %q", h.Prefix)
	}
	switch {
	case h.TimestampHeader != "":
		text += "; the timestamp is in header " + h.TimestampHeader
	case h.TimestampPrefix != "":
		text += fmt.Sprintf("; the timestamp stands in the same header after %q", h.TimestampPrefix)
	}
	return text
}

// hmacKeys are the configuration's keys for the fields of [connectors.HMAC].
var hmacKeys = map[string]string{
	"Header":          "header",
	"Algorithm":       "algorithm",
	"Encoding":        "encoding",
	"Prefix":          "prefix",
	"Separator":       "separator",
	"SecretPrefix":    "secret_prefix",
	"SecretEncoding":  "secret_encoding",
	"TimestampHeader": "timestamp.header",
	"TimestampPrefix": "timestamp.prefix",
	"TimestampUnit":   "timestamp.unit",
	"Tolerance":       "timestamp.tolerance",
	"Signed":          "signed",
	"Secrets":         "secret",
}

// checkHMAC says what the package that checks signatures finds wrong with how a source's sender signs.
func checkHMAC(h config.HMAC, secret config.Secret) []config.Fault {
	_, err := signature.Compile(hmacSpec(h), []string{secret.Reveal()})
	var faults []config.Fault
	for _, problem := range unjoin(err) {
		if f, ok := errors.AsType[*signature.FieldError](problem); ok {
			faults = append(faults, config.Fault{Key: hmacKeys[f.Field], Reason: f.Reason})
		}
	}
	return faults
}

// unjoin takes apart what [errors.Join] put together.
func unjoin(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return nil
}
