package access

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/webhook-bridge/bridge/internal/certs/certstest"
	"github.com/webhook-bridge/bridge/internal/secret"
)

// pools is a set of authorities that changes.
type pools struct{ atomic.Pointer[x509.CertPool] }

func poolOf(authorities ...*certstest.Authority) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, a := range authorities {
		pool.AddCert(a.Cert)
	}
	return pool
}

func newPools(authorities ...*certstest.Authority) *pools {
	p := new(pools)
	p.Store(poolOf(authorities...))
	return p
}

// shown is a call over TLS with client certificates.
func shown(chain ...*x509.Certificate) Call {
	return Call{Method: tail, TLS: &tls.ConnectionState{PeerCertificates: chain}}
}

func uri(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// TestCertificates: a certificate is a credential if an authority vouches for it, and if a principal has a pattern for it.
func TestCertificates(t *testing.T) {
	authority, stranger := certstest.New(t, "authority"), certstest.New(t, "stranger")
	between := authority.Intermediate(t, "between")
	a := New(Config{
		Authorities: newPools(authority).Load,
		Principals: []Rules{
			{Name: "first", Certificates: []string{"DNS:*.first.example", "CN:robot-*"}},
			{Name: "second", Certificates: []string{"URI:spiffe://example.org/ns/*/sa/second", "DNS:**.example"}, Tokens: secret.List("token")},
		},
	})
	leaf := func(by *certstest.Authority, template x509.Certificate) *x509.Certificate {
		t.Helper()
		return by.Issue(t, template).Leaf
	}
	named := func(name string) x509.Certificate { return x509.Certificate{DNSNames: []string{name}} }
	for _, c := range []struct {
		name string
		call Call
		want string // the principal, or a part of the error
	}{
		{"by a DNS name", shown(leaf(authority, named("a.first.example"))), "first"},
		{"in capitals", shown(leaf(authority, named("A.First.Example"))), "first"},
		{"by a DNS name of more parts", shown(leaf(authority, named("a.b.first.example"))), "second"},
		{"by a common name", shown(leaf(authority, x509.Certificate{Subject: pkix.Name{CommonName: "robot-7"}})), "first"},
		{"a DNS name as the common name", shown(leaf(authority, x509.Certificate{Subject: pkix.Name{CommonName: "a.first.example"}})), "no principal"},
		{"by a URI", shown(leaf(authority, x509.Certificate{URIs: []*url.URL{uri(t, "spiffe://example.org/ns/prod/sa/second")}})), "second"},
		{"by a URI of more parts", shown(leaf(authority, x509.Certificate{URIs: []*url.URL{uri(t, "spiffe://example.org/ns/prod/x/sa/second")}})), "no principal"},
		{"without a name", shown(leaf(authority, x509.Certificate{})), "no principal"},
		{"by an intermediate authority", shown(leaf(between, named("a.first.example")), between.Cert), "first"},
		{"by an intermediate authority that is missing", shown(leaf(between, named("a.first.example"))), "no authority"},
		{"by a stranger", shown(leaf(stranger, named("a.first.example"))), "no authority"},
		{"by a stranger, with the authority beside it", shown(leaf(stranger, named("a.first.example")), authority.Cert), "no authority"},
		{"for servers alone", shown(leaf(authority, x509.Certificate{
			DNSNames: []string{"a.first.example"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		})), "extended key usage clientAuth"},
		{"of a stranger, for servers alone", shown(leaf(stranger, x509.Certificate{
			DNSNames: []string{"a.first.example"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		})), "no authority"},
		{"expired", shown(leaf(authority, x509.Certificate{DNSNames: []string{"a.first.example"}, NotAfter: time.Now().Add(-time.Second)})), "expired"},
		{"too many", shown(append([]*x509.Certificate{leaf(authority, named("a.first.example"))}, make([]*x509.Certificate, maxChain)...)...), "too many"},
		{"none", Call{Method: tail, TLS: &tls.ConnectionState{}}, "a bearer token or a client certificate is needed"},
		{"plain text", Call{Method: tail}, "a bearer token or a client certificate is needed"},
		{"with a token of another principal", Call{
			Method: tail, TLS: shown(leaf(authority, named("a.first.example"))).TLS, Authorization: []string{"Bearer token"},
		}, "second"},
		{"with a wrong token", Call{
			Method: tail, TLS: shown(leaf(authority, named("a.first.example"))).TLS, Authorization: []string{"Bearer wrong"},
		}, "token is not valid"},
	} {
		for range 2 { // The second time from memory.
			ctx, err := a.Admit(t.Context(), c.call)
			switch {
			case err == nil && From(ctx).Name() != c.want:
				t.Errorf("%s: %q, want %q", c.name, From(ctx).Name(), c.want)
			case err != nil && (status.Code(err) != codes.Unauthenticated || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%s: %v, want %q", c.name, err, c.want)
			}
		}
	}
}

// TestCertificatesWithoutAuthorities: nobody vouches for them, so they count for nothing.
func TestCertificatesWithoutAuthorities(t *testing.T) {
	leaf := certstest.New(t, "authority").Issue(t, x509.Certificate{DNSNames: []string{"a.example"}}).Leaf
	a := New(Config{Principals: []Rules{{Name: "a", Certificates: []string{"DNS:a.example"}}}})
	if _, err := a.Admit(t.Context(), shown(leaf)); status.Code(err) != codes.Unauthenticated {
		t.Errorf("admitted: %v", err)
	}
}

// TestRecheck: an open call ends once its credential does not count any more, and no other call does.
func TestRecheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		authority, next := certstest.New(t, "authority"), certstest.New(t, "next")
		token, other := secret.New("old-token"), secret.New("other-token")
		trusted := newPools(authority)
		short := authority.Issue(t, x509.Certificate{
			DNSNames: []string{"short.example"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Minute),
		}).Leaf
		a := New(Config{
			Authorities: trusted.Load,
			Principals: []Rules{
				{Name: "tokens", Tokens: []secret.Value{token, other}}, {Name: "certificates", Certificates: []string{"DNS:**"}},
			},
		})
		open := func(c Call) context.Context {
			t.Helper()
			ctx, err := a.Admit(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			ctx, release := a.Follow(ctx)
			t.Cleanup(release)
			return ctx
		}
		want := func(what string, ctx context.Context, ended bool) {
			t.Helper()
			a.Recheck()
			if err := Ended(ctx); (err != nil) != ended || (ctx.Err() != nil) != ended || ended && status.Code(err) != codes.Unauthenticated {
				t.Errorf("%s: ended with %v, want %v", what, err, ended)
			}
		}
		byToken, byOther, byCertificate := open(call(tail, "old-token")), open(call(tail, "other-token")), open(shown(short))
		want("token", byToken, false)
		token.Replace("new-token")
		want("token that changed", byToken, true)
		want("token that stayed", byOther, false)
		want("certificate", byCertificate, false)
		<-time.After(2 * time.Minute)
		want("certificate that expired", byCertificate, true)
		want("token that stayed", byOther, false)

		token.Replace("old-token")
		byToken = open(call(tail, "old-token"))
		other.Replace("old-token") // of the same principal
		token.Replace("new-token")
		want("token that stands elsewhere now", byToken, false)

		second := authority.Issue(t, x509.Certificate{DNSNames: []string{"second.example"}}).Leaf
		byCertificate = open(shown(second))
		want("certificate", byCertificate, false)
		trusted.Store(poolOf(authority, next))
		want("certificate, with a second authority", byCertificate, false)
		trusted.Store(poolOf(next))
		want("certificate whose authority is gone", byCertificate, true)
		if _, err := a.Admit(t.Context(), shown(second)); status.Code(err) != codes.Unauthenticated {
			t.Errorf("an authority that is gone vouches: %v", err)
		}
		if n := len(a.openCalls()); n != 1 {
			t.Errorf("%d principals have open calls", n)
		}
	})
}

// TestRefusedChain: a chain that was refused is not verified again for a while, unless the authorities change.
func TestRefusedChain(t *testing.T) {
	authority := certstest.New(t, "authority")
	chain := []*x509.Certificate{authority.Issue(t, x509.Certificate{}).Leaf}
	pool, now := poolOf(), time.Now()
	v := &verifier{authorities: func() *x509.CertPool { return pool }}
	if err := v.verify(chain, now); !errors.Is(err, errForeign) {
		t.Fatal(err)
	}
	pool.AddCert(authority.Cert) // The same pool: only a new verification would see it.
	if err := v.verify(chain, now.Add(refusedFor-1)); !errors.Is(err, errForeign) {
		t.Errorf("it was verified again at once: %v", err)
	}
	if err := v.verify(chain, now.Add(refusedFor)); err != nil {
		t.Errorf("it is refused for longer: %v", err)
	}
	pool = poolOf()
	if err := v.verify(chain, now); !errors.Is(err, errForeign) {
		t.Error("what other authorities vouched for counts")
	}
	pool = poolOf(authority)
	if err := v.verify(chain, now); err != nil {
		t.Errorf("what other authorities refused is refused: %v", err)
	}
}
