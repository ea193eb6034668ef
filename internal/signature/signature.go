package signature

import (
	"crypto/hmac"
	"crypto/subtle"
	"errors"
	"fmt"
	"hash"
	"net/http"
	"net/textproto"
	"strconv"
	"time"
)

// Reasons for refusing a request. All mean that it must not be trusted. The reason is for the receiver's log, never for the
// sender.
var (
	// ErrMissing means that a required header is missing.
	ErrMissing = errors.New("signature: missing")
	// ErrMalformed means that a header does not follow the scheme, or that another request could have the same signature.
	ErrMalformed = errors.New("signature: malformed")
	// ErrStale means that the time of signing is too far from now, in either direction.
	ErrStale = errors.New("signature: stale")
	// ErrMismatch means that no signature matches the request with any secret.
	ErrMismatch = errors.New("signature: mismatch")
)

// Limits of a request's headers.
const (
	maxHeader     = 8 << 10
	maxSignatures = 16
	maxDigits     = 16
)

// Request has the parts of a request that may be signed. Its memory is neither kept nor changed.
type Request struct {
	// Method is upper case, such as "POST".
	Method string
	// Host and Path are as the sender called them, the path still escaped and without the query.
	Host, Path string
	// URL is the complete URL that the sender called, with scheme and query.
	URL    string
	Header http.Header
	// Body is the body on the wire, before any decompression.
	Body []byte
}

// Scheme checks and makes the signatures of one sender. [Compile] creates it. It is safe for concurrent use.
type Scheme struct {
	// header is the name of the signatures' header, stampHeader that of the time's, both canonical. stampHeader may be empty.
	header, stampHeader string
	prefix, separator   string
	stampPrefix         string
	unit                time.Duration
	tolerance           time.Duration
	hash                func() hash.Hash
	size                int
	encoding            encoding
	message             template
	boundaries          []boundary
	secrets             [][]byte
}

// Precheck checks the headers alone: that the signature is present, well formed and current. A request that passes may still
// come from a stranger.
func (s *Scheme) Precheck(h http.Header, now time.Time) error {
	_, err := s.claim(h, now)
	return err
}

// Verify returns nil if a signature of the request was made with one of the secrets, at a time close to now.
func (s *Scheme) Verify(r Request, now time.Time) error {
	_, err := s.Match(r, now)
	return err
}

// Match is [Scheme.Verify]. It also returns the index of the secret.
func (s *Scheme) Match(r Request, now time.Time) (secret int, err error) {
	claimed, err := s.claim(r.Header, now)
	if err != nil {
		return -1, err
	}
	message := s.message.of(&r, claimed.stamp)
	if !s.isUnambiguous(message) {
		return -1, errAmbiguous
	}
	match := -1
	for i, secret := range s.secrets {
		right := s.sum(secret, message)
		for _, signature := range claimed.signatures {
			match = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(right, signature), i, match)
		}
	}
	if match < 0 {
		return -1, ErrMismatch
	}
	return match, nil
}

// Sign returns the headers that a sender adds to the request: the signature, made with the first secret, and the time if it has
// its own header. Signed headers (see [Scheme.SignedHeaders]) must already be in the request.
func (s *Scheme) Sign(r Request, now time.Time) http.Header {
	added, stamp := http.Header{}, ""
	if s.unit > 0 {
		stamp = strconv.FormatInt(now.UnixNano()/int64(s.unit), 10)
	}
	if s.stampHeader != "" {
		added.Set(s.stampHeader, stamp)
		// It may also be signed as a header.
		r.Header = r.Header.Clone()
		if r.Header == nil {
			r.Header = http.Header{}
		}
		r.Header.Set(s.stampHeader, stamp)
	}
	value := s.prefix + s.encoding.encode(s.sum(s.secrets[0], s.message.of(&r, stamp)))
	if s.stampPrefix != "" {
		value = s.stampPrefix + stamp + s.separator + value
	}
	added.Set(s.header, value)
	return added
}

// SignedHeaders returns the names of the signed headers, without the time's: a sender must set them before it signs. The caller
// owns the slice.
func (s *Scheme) SignedHeaders() []string {
	var names []string
	for _, name := range s.message.headers() {
		if name != s.stampHeader {
			names = append(names, name)
		}
	}
	return names
}

func (s *Scheme) sum(secret []byte, message [][]byte) []byte {
	mac := hmac.New(s.hash, secret)
	for _, part := range message {
		_, _ = mac.Write(part) // a hash never fails
	}
	return mac.Sum(nil)
}

// singleHeader returns the value of a header that must occur once. The name is canonical.
func singleHeader(h http.Header, name string) (string, error) {
	switch values := h[name]; {
	case len(values) == 0:
		return "", fmt.Errorf("%w: header %s", ErrMissing, name)
	case len(values) > 1:
		return "", fmt.Errorf("%w: header %s is there %d times", ErrMalformed, name, len(values))
	case len(values[0]) > maxHeader:
		return "", fmt.Errorf("%w: header %s is longer than %d bytes", ErrMalformed, name, maxHeader)
	default:
		return values[0], nil
	}
}

func canonical(header string) string { return textproto.CanonicalMIMEHeaderKey(header) }
