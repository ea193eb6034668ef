package access

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"
)

// Kinds of names in a certificate, as openssl writes them.
const (
	commonName = "CN:"
	dnsName    = "DNS:"
	uriName    = "URI:"
)

// namePattern is a pattern of the names of one kind.
type namePattern struct {
	kind string
	name glob
}

// newNamePattern reads a pattern. The text says why it is malformed; it is empty for a pattern.
func newNamePattern(text string) (namePattern, string) {
	for kind, separator := range map[string]byte{commonName: 0, dnsName: '.', uriName: '/'} {
		name, ok := strings.CutPrefix(text, kind)
		switch {
		case !ok:
			continue
		case name == "":
			return namePattern{}, "has no name after " + kind
		case kind == dnsName:
			name = strings.ToLower(name)
		}
		return namePattern{kind, newGlob(name, separator)}, ""
	}
	return namePattern{}, "must begin with CN:, DNS: or URI:, as in DNS:orders.example.com"
}

// names returns the names of a certificate that patterns may match, by kind.
func names(leaf *x509.Certificate) map[string][]string {
	all := map[string][]string{}
	if name := leaf.Subject.CommonName; name != "" {
		all[commonName] = []string{name}
	}
	for _, name := range leaf.DNSNames {
		all[dnsName] = append(all[dnsName], strings.ToLower(name))
	}
	for _, uri := range leaf.URIs {
		all[uriName] = append(all[uriName], uri.String())
	}
	return all
}

// owns reports whether one of the principal's patterns matches a name.
func (p *Principal) owns(names map[string][]string) bool {
	return slices.ContainsFunc(p.certificates, func(n namePattern) bool {
		return slices.ContainsFunc(names[n.kind], n.name.matches)
	})
}

// Bounds of what a client may send as its certificate.
const (
	// maxChain is the number of certificates.
	maxChain = 8
	// maxRemembered is how many verified certificates are remembered, and how many refused chains.
	maxRemembered = 1024
	// refusedFor is how long a refused chain is not verified again. Verifying a chain that was made for it takes many milliseconds, and
	// one connection can make many calls.
	refusedFor = 10 * time.Second
)

var (
	errChain   = errors.New("the client certificate has too many intermediate certificates")
	errExpired = errors.New("the client certificate has expired or is not valid yet")
	errUsage   = errors.New("the client certificate, or an authority above it, is not for clients: it needs the extended key usage clientAuth")
	errForeign = errors.New("no authority in access.client_ca_file vouches for the client certificate")
)

// verifier verifies certificates of clients, and remembers what it found. It is safe for concurrent use.
type verifier struct {
	// authorities returns the authorities of now. Another pointer means that they have changed.
	authorities func() *x509.CertPool

	mu       sync.Mutex
	pool     *x509.CertPool
	verified map[[sha256.Size]byte]time.Time // until when, by certificate
	refused  map[[sha256.Size]byte]refusal   // by chain
}

type refusal struct {
	err   error
	until time.Time
}

// verify reports why a chain is not valid now. Its first certificate is the client's own.
func (v *verifier) verify(chain []*x509.Certificate, now time.Time) error {
	if len(chain) > maxChain {
		return errChain
	}
	pool := v.authorities()
	key := sha256.Sum256(chain[0].Raw)
	if v.remembers(pool, key, now) {
		return nil
	}
	whole := sum(chain)
	if err := v.remembersRefusal(pool, whole, now); err != nil {
		return err
	}
	until, err := verifyChain(chain, pool, now)
	if err != nil {
		v.refuse(pool, whole, refusal{err, now.Add(refusedFor)})
		return err
	}
	v.remember(pool, key, until)
	return nil
}

func sum(chain []*x509.Certificate) [sha256.Size]byte {
	h := sha256.New()
	for _, c := range chain {
		h.Write(c.Raw) // a certificate says where it ends
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// verifyChain returns until when a chain is valid, or why it is not.
func verifyChain(chain []*x509.Certificate, pool *x509.CertPool, now time.Time) (until time.Time, err error) {
	intermediates := x509.NewCertPool()
	for _, c := range chain[1:] {
		intermediates.AddCert(c)
	}
	chains, err := chain[0].Verify(x509.VerifyOptions{
		Roots: pool, Intermediates: intermediates, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return time.Time{}, errExpired
	case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
		return time.Time{}, errUsage
	case err != nil:
		return time.Time{}, errForeign
	}
	return expiry(chains[0]), nil
}

// expiry is when the first certificate of a chain expires.
func expiry(chain []*x509.Certificate) time.Time {
	first := chain[0].NotAfter
	for _, c := range chain[1:] {
		if c.NotAfter.Before(first) {
			first = c.NotAfter
		}
	}
	return first
}

func (v *verifier) remembers(pool *x509.CertPool, key [sha256.Size]byte, now time.Time) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.pool != pool {
		return false
	}
	until, ok := v.verified[key]
	return ok && !now.After(until)
}

func (v *verifier) remember(pool *x509.CertPool, key [sha256.Size]byte, until time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.use(pool)
	if len(v.verified) >= maxRemembered {
		clear(v.verified)
	}
	v.verified[key] = until
}

// remembersRefusal returns why a chain was refused a short time ago.
func (v *verifier) remembersRefusal(pool *x509.CertPool, whole [sha256.Size]byte, now time.Time) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if r, ok := v.refused[whole]; ok && v.pool == pool && now.Before(r.until) {
		return r.err
	}
	return nil
}

func (v *verifier) refuse(pool *x509.CertPool, whole [sha256.Size]byte, r refusal) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.use(pool)
	if len(v.refused) >= maxRemembered {
		clear(v.refused)
	}
	v.refused[whole] = r
}

// use forgets everything that was found with other authorities. The caller holds mu.
func (v *verifier) use(pool *x509.CertPool) {
	if v.pool != pool {
		v.pool, v.verified, v.refused = pool, make(map[[sha256.Size]byte]time.Time), make(map[[sha256.Size]byte]refusal)
	}
}
