package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/google/uuid"

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

// sign adds to a request what the source's vendor would: a signature, and those headers that are signed and not there yet.
func sign(req *http.Request, a *config.Auth, body []byte, now time.Time) error {
	scheme, err := signature.Compile(hmacSpec(*a.HMAC), revealAll(a.Values[:1]))
	if err != nil {
		return err
	}
	for _, name := range scheme.SignedHeaders() {
		if req.Header.Get(name) == "" {
			req.Header.Set(name, uuid.NewString())
		}
	}
	called := req.URL
	if a.PublicURL != "" {
		// It was checked when it was read.
		if called, err = url.Parse(a.PublicURL + req.URL.RequestURI()); err != nil {
			return errors.New("the public URL is no URL")
		}
	}
	added := scheme.Sign(signature.Request{
		Method: req.Method, Host: called.Host, Path: called.EscapedPath(), URL: called.String(), Header: req.Header, Body: body,
	}, now)
	for name, values := range added {
		req.Header[name] = values
	}
	return nil
}
