package source

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/internal/secret"
	"github.com/webhook-bridge/bridge/internal/signature"
)

// mostSecret bounds the value of a header, in bytes.
const mostSecret = 4 << 10

// unusableHeaders cannot carry a secret: net/http removes them or gives them a meaning, or they are kept with every webhook.
var unusableHeaders = []string{
	"Accept-Encoding", "Connection", "Content-Encoding", "Content-Length", "Content-Type", "Expect", "Host", "Keep-Alive",
	"Te", "Trailer", "Transfer-Encoding", "Upgrade", "User-Agent",
}

// credentialHeaders carry credentials by their nature.
var credentialHeaders = []string{"Authorization", "Cookie", "Proxy-Authorization", "Set-Cookie"}

// storedHeader is the reason against a secret in one of [Source.VendorHeaders].
const storedHeader = "connector %s needs this header and has it stored with every webhook: it cannot carry a secret"

func (r *resolver) auth() {
	a := &r.Auth
	switch a.Scheme {
	case SchemeHeader:
		r.header()
	case SchemePathToken:
		a.Values = r.secrets("auth.path_token.values", secret.CheckPathToken)
	case SchemeHMAC:
		r.hmac()
	case SchemeNone:
		if len(a.Values) > 0 {
			r.addf("auth.none", "has no secrets")
		}
	default:
		r.addf("auth", "must have exactly one of header, path_token, hmac and none")
	}
}

func (r *resolver) header() {
	const key = "auth.header.name"
	a := &r.Auth
	if r.Connector != nil {
		a.Header = cmp.Or(a.Header, r.Connector.Verification.Header)
		if a.Header == "" {
			r.addf(key, "is missing: the vendor of connector %s has no header of its own", r.Connector.Name)
		}
	}
	a.Header = canonical(a.Header)
	r.secretHeader(key, "this header cannot carry a secret")
	a.Values = r.secrets("auth.header.values", checkHeaderValue)
}

// secretHeader reports a header that cannot carry a secret or a signature, and whether there is nothing to report.
func (r *resolver) secretHeader(key, unusable string) bool {
	switch {
	case slices.Contains(unusableHeaders, r.Auth.Header):
		r.addf(key, "%s", unusable)
		return false
	case slices.ContainsFunc(r.VendorHeaders(), func(h string) bool { return canonical(h) == r.Auth.Header }):
		r.addf(key, storedHeader, r.Connector.Name)
		return false
	}
	return true
}

// hmac completes a signature with the fields of the connector's signature. If a header is set, it is the header of another
// signature, and the connector's fields do not apply.
func (r *resolver) hmac() {
	const key = "auth.hmac"
	a := &r.Auth
	var h connectors.HMAC
	if a.HMAC != nil {
		h = *a.HMAC
	}
	if h.Header == "" && r.Connector != nil && r.Connector.Verification.HMAC != nil {
		h = h.Over(*r.Connector.Verification.HMAC)
	}
	h = h.WithDefaults()
	a.HMAC, a.Header = &h, canonical(h.Header)
	a.PublicURL = strings.TrimRight(a.PublicURL, "/")
	if !IsBase(a.PublicURL) {
		r.addf(key+".public_url", "%s", BadBase)
	}
	usable := true
	if h.Header == "" {
		usable = false
		if r.Connector != nil {
			r.addf(key+".header", "is missing: connector %s does not know how its vendor signs", r.Connector.Name)
		}
	}
	usable = usable && r.secretHeader(key+".header", "this header cannot carry a signature")
	values := a.Values
	a.Values = r.secrets(key+".secrets", func(string) string { return "" })
	if r.compile(h, values, usable) && usable {
		r.covered()
	}
}

// compile reports what package signature finds wrong, and whether the template is valid. Unless the header is usable, it reports
// problems of secrets only.
func (r *resolver) compile(h connectors.HMAC, values []secret.Value, usable bool) (signed bool) {
	none := len(secret.Reveal(r.Auth.Values)) == 0
	if none {
		// Reported already. What is wrong with the rest does not depend on the secret.
		values = secret.List("a secret in place of one")
	}
	texts, at := make([]string, 0, len(values)), make([]int, 0, len(values))
	for i, v := range values {
		if text := v.Reveal(); text != "" {
			texts, at = append(texts, text), append(at, i)
		}
	}
	_, err := signature.Compile(h, texts)
	signed = true
	for _, problem := range unjoin(err) {
		f, ok := errors.AsType[*signature.FieldError](problem)
		signed = signed && ok && f.Field != "Signed"
		switch {
		case !ok:
			r.addf("auth.hmac", "%s", problem)
		case f.Index >= 0 && !none:
			r.addf(fmt.Sprintf("auth.hmac.secrets[%d]", at[f.Index]), "%s", f.Reason)
		case f.Index < 0 && (usable || f.Field == "Secrets"):
			r.addf("auth.hmac."+hmacKeys[f.Field], "%s", f.Reason)
		}
	}
	return signed
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
	"Secrets":         "secrets",
}

// unjoin returns the errors that [errors.Join] has joined.
func unjoin(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return nil
}

// BadBase is the reason against a text that is not [IsBase].
const BadBase = `must be a URL of scheme, host and perhaps a path, such as "https://hooks.example.com"`

// IsBase reports whether text is empty, or a URL that others are made of by appending a path.
func IsBase(text string) bool {
	u, err := url.Parse(text)
	return text == "" ||
		err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil && !strings.ContainsAny(text, "?#")
}

// secrets returns the values that are not empty: the old one of two becomes empty when it is retired. An empty file may be filled
// later, so its value stays. secrets reports values that check refuses, and reports when every value is empty.
func (r *resolver) secrets(key string, check func(string) string) []secret.Value {
	left := make([]secret.Value, 0, len(r.Auth.Values))
	for i, v := range r.Auth.Values {
		text := v.Reveal()
		if text == "" && !v.FromFile() {
			continue
		}
		left = append(left, v)
		if text == "" {
			continue
		}
		if reason := check(text); reason != "" {
			r.addf(fmt.Sprintf("%s[%d]", key, i), "%s", reason)
		}
	}
	switch {
	case len(r.Auth.Values) == 0:
		r.addf(key, "is missing: give at least one")
	case len(secret.Reveal(left)) == 0:
		r.addf(key, "every value is empty; one must be left")
	}
	return left
}

func checkHeaderValue(value string) string {
	switch {
	case len(value) > mostSecret:
		return fmt.Sprintf("must be at most %d bytes", mostSecret)
	case !httpguts.ValidHeaderFieldValue(value):
		return "holds a line break or another character that no header can carry"
	case value[0] == ' ' || value[0] == '\t' || value[len(value)-1] == ' ' || value[len(value)-1] == '\t':
		return "begins or ends with a blank, which no header can carry"
	}
	return ""
}
