package ingress

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/webhook-bridge/bridge/internal/secret"
	"github.com/webhook-bridge/bridge/internal/signature"
	"github.com/webhook-bridge/bridge/internal/source"
)

// verifier checks a source's secret. How long that takes tells nothing of the secrets but their number.
type verifier struct {
	none bool
	// signed, if set, verifies the sender's signature. public is the base of the URL that the sender calls. It is nil if that is
	// the URL that arrives here.
	signed *secret.Derived[signer]
	public *url.URL
	// tokens: the secret is in the path.
	tokens bool
	// header is canonical, lower its name in gRPC metadata.
	header, lower string
	// digests of all secrets.
	digests secret.Digests
}

// signer verifies signatures made with the current secrets, which have the order of the scheme's.
type signer struct {
	scheme  *signature.Scheme
	secrets []secret.Entry
}

// tokenMetadata carries a path token in a typed call.
const tokenMetadata = "bridge-token"

// newVerifier returns the verifier of a resolved source.
func newVerifier(a *source.Auth) (v verifier, err error) {
	v.none, v.tokens = a.Scheme == source.SchemeNone, a.Scheme == source.SchemePathToken
	if a.Scheme == source.SchemeHMAC {
		v.signed, err = secret.Derive(a.Values, func(secrets []secret.Entry) (signer, error) {
			texts := make([]string, len(secrets))
			for i, s := range secrets {
				texts[i] = s.Text
			}
			scheme, err := signature.Compile(*a.HMAC, texts)
			return signer{scheme, secrets}, err
		})
		if err == nil && a.PublicURL != "" {
			v.public, err = url.Parse(a.PublicURL)
		}
		return v, err
	}
	v.header, v.lower = a.Header, strings.ToLower(a.Header)
	v.digests = secret.NewDigests(a.Values)
	return v, nil
}

// unverified is errUnauthorized with what was wrong with a signature: for the debug log, since it tells a forger how close
// it is.
type unverified struct{ cause error }

func (e *unverified) Error() string { return errUnauthorized.Error() }
func (e *unverified) Unwrap() error { return errUnauthorized }

// verifyHTTP checks all of a request that can be checked before its body: the secret, in its headers or path, or that it
// has a signature which may yet be right. The error is errUnauthorized.
func (v *verifier) verifyHTTP(h http.Header, token string, now time.Time) error {
	ok := v.none
	switch {
	case v.none:
	case v.signed != nil:
		if err := v.signed.Get().scheme.Precheck(h, now); err != nil {
			return &unverified{err}
		}
		ok = true
	case v.tokens:
		ok = v.digests.Match(token, now)
	default:
		values := h[v.header]
		ok = len(values) == 1 && v.digests.Match(values[0], now)
	}
	if !ok {
		return errUnauthorized
	}
	return nil
}

// verifySigned checks the signature of a request whose body, as it came over the wire, has been read. The error is
// errUnauthorized.
func (v *verifier) verifySigned(r *http.Request, body []byte, now time.Time) error {
	signed := signature.Request{Method: r.Method, Host: r.Host, Path: r.URL.EscapedPath(), Header: r.Header, Body: body}
	base := "http://" + r.Host
	switch {
	case v.public != nil:
		signed.Host, signed.Path = v.public.Host, v.public.EscapedPath()+signed.Path
		base = v.public.Scheme + "://" + v.public.Host
	case r.TLS != nil:
		base = "https://" + r.Host
	}
	signed.URL = base + signed.Path
	if r.URL.RawQuery != "" || r.URL.ForceQuery {
		signed.URL += "?" + r.URL.RawQuery
	}
	with := v.signed.Get()
	match, err := with.scheme.Match(signed, now)
	if err != nil {
		return &unverified{err}
	}
	with.secrets[match].Value.Use(now)
	return nil
}

// verifyGRPC checks a typed call by its metadata.
func (v *verifier) verifyGRPC(md metadata.MD, now time.Time) bool {
	name := v.lower
	switch {
	case v.none:
		return true
	case v.tokens:
		name = tokenMetadata
	}
	values := md.Get(name)
	return len(values) == 1 && v.digests.Match(values[0], now)
}
