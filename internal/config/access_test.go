package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/webhook-bridge/bridge/internal/access"
	"github.com/webhook-bridge/bridge/internal/secret"
)

// TestPrincipals: each key of a principal reaches the result.
func TestPrincipals(t *testing.T) {
	got, err := readStory(t, "testdata/good/principals.txtar").parse()
	if err != nil {
		t.Fatal(err)
	}
	want := Access{
		AdminTokens: secret.List("operators-0123456789"),
		Principals: []access.Rules{
			{
				Name: "orders", Tokens: secret.List("0123456789abcdef"), Sources: []string{"a", "erp-*"}, Types: []string{"order.*", "**.deleted"},
				Groups: []string{"billing-*"}, Personal: true, Raw: true,
			},
			{Name: "sender", Tokens: secret.List("sender-0123456789")},
		},
	}
	if diff := cmp.Diff(want, got.Access); diff != "" {
		t.Errorf("access (-want +got):\n%s", diff)
	}
}

// TestAuthorities: client certificates need TLS, authorities and a principal, and each that is missing is named.
func TestAuthorities(t *testing.T) {
	dir := t.TempDir()
	cert, key := makePair(t, dir)
	broken := filepath.Join(dir, "broken")
	if err := os.WriteFile(broken, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	tls := fmt.Sprintf("listen: {tls: {grpc: {cert_file: %q, key_file: %q}}}\n", cert, key)
	const named, unnamed = `{name: a, certificates: ["DNS:a.example"]}`, `{name: a, tokens: [0123456789abcdef]}`
	for _, c := range []struct{ tls, file, principal, want string }{
		{tls, cert, named, ""},
		{"", cert, named, "needs listen.tls.grpc: without TLS no client shows a certificate"},
		{tls, cert, unnamed, "no principal has certificates, so it would change nothing"},
		{tls, broken, named, "the file has no certificate in PEM"},
		{tls, filepath.Join(dir, "none"), named, "the file does not exist"},
	} {
		text := fmt.Sprintf("%saccess: {client_ca_file: %q, principals: [%s]}\n", c.tls, c.file, c.principal) +
			"sources: [{name: a, connector: retino, auth: {none: {}}}]\n"
		cfg, err := Parse("x.yaml", []byte(text), os.LookupEnv, known)
		switch {
		case c.want == "" && err == nil && cfg.Access.ClientCAFile == c.file:
		case c.want == "" || err == nil || !strings.HasSuffix(err.Error(), ": access.client_ca_file: "+c.want):
			t.Errorf("%s: %v, want %q", text, err, c.want)
		}
	}
}

// TestReloadPrincipals: the tokens of principals follow their files. A token that another principal has is refused, as at the start.
func TestReloadPrincipals(t *testing.T) {
	v := newVault(t, map[string]string{"a": "token-of-a-012345", "b": "token-of-b-012345"}, `
access:
  principals:
    - {name: a, tokens: ["${file:DIR/a}"]}
    - {name: b, tokens: ["${file:DIR/b}"]}
sources: [{name: a, connector: retino, auth: {none: {}}}]
`)
	wantTokens := func(a, b string) {
		t.Helper()
		want := map[string]string{"access.principals[0].tokens[0]": a, "access.principals[1].tokens[0]": b}
		if diff := cmp.Diff(want, v.texts()); diff != "" {
			t.Errorf("tokens (-want +got):\n%s", diff)
		}
	}
	v.write(t, "b", "token-of-a-012345")
	if done := v.Reload(); len(done.Changed) != 0 || len(done.Refused) != 1 || !strings.Contains(done.Refused[0].Reason, "is the same token as") {
		t.Errorf("%+v", done)
	}
	wantTokens("token-of-a-012345", "token-of-b-012345")
	v.write(t, "a", "token-of-b-012345")
	if done := v.Reload(); len(done.Changed) != 2 || len(done.Refused) != 0 {
		t.Errorf("an exchange: %+v", done)
	}
	wantTokens("token-of-b-012345", "token-of-a-012345")
}
