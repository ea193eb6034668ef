package ingress

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"net/textproto"
	"strings"

	"google.golang.org/grpc/metadata"
)

// verifier checks a source's secret. How long that takes tells nothing of the secrets but their number.
type verifier struct {
	none bool
	// tokens: the secret is in the path.
	tokens bool
	// header is canonical, lower its name in gRPC metadata.
	header, lower string
	// digests of all secrets: comparing digests of one length gives away neither a secret's length nor its beginning.
	digests [][sha256.Size]byte
}

// tokenMetadata carries a path token in a typed call.
const tokenMetadata = "bridge-token"

func newVerifier(a Auth) verifier {
	v := verifier{none: a.None, tokens: len(a.Tokens) > 0}
	secrets := a.Tokens
	if a.Header != "" {
		v.header, v.lower = textproto.CanonicalMIMEHeaderKey(a.Header), strings.ToLower(a.Header)
		secrets = a.Values
	}
	for _, s := range secrets {
		v.digests = append(v.digests, sha256.Sum256([]byte(s)))
	}
	return v
}

// verifyHTTP checks a request by its headers and the token in its path.
func (v *verifier) verifyHTTP(h http.Header, token string) bool {
	switch {
	case v.none:
		return true
	case v.tokens:
		return v.verify(token)
	}
	values := h[v.header]
	return len(values) == 1 && v.verify(values[0])
}

// verifyGRPC checks a typed call by its metadata.
func (v *verifier) verifyGRPC(md metadata.MD) bool {
	name := v.lower
	switch {
	case v.none:
		return true
	case v.tokens:
		name = tokenMetadata
	}
	values := md.Get(name)
	return len(values) == 1 && v.verify(values[0])
}

func (v *verifier) verify(candidate string) bool {
	digest := sha256.Sum256([]byte(candidate))
	match := 0
	for i := range v.digests {
		match |= subtle.ConstantTimeCompare(digest[:], v.digests[i][:])
	}
	return match == 1
}
