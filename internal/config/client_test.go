package config

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/webhook-bridge/bridge/internal/secret"
)

// TestLoadClient: a client finds the server and its token in a file with mistakes, unless the address itself is in doubt.
func TestLoadClient(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bridge.yaml")
	none := func(string) (string, bool) { return "", false }
	const tail = `
journal: {dir: "${NOT_SET}", sice: 1}
sources: [{name: a, connector: nothing, auth: {header: {values: ["${file:no/such/file}"]}}}]
sinks: [{name: broken}, 7]
access: {admin_tokens: ["${NOT_SET}", a-token-of-operators], tokens: ["${file:no/such/file}"]}
`
	for _, start := range []string{
		"listen: {grpc: 127.0.0.1:1, webhooks: '${NOT_SET}'}", "listen: {grpc: 127.0.0.1:1}\nlog: {format: 3}", "listen: {grpc: 127.0.0.1:1}\nsoures: []",
	} {
		write(t, path, start+tail)
		cfg, problems, err := LoadClient(path, "grpc", none)
		if err != nil {
			t.Errorf("%s: %v", start, err)
			continue
		}
		if got := secret.Reveal(cfg.Access.AdminTokens); cfg.Listen.GRPC.Addr != "127.0.0.1:1" || strings.Join(got, " ") != "a-token-of-operators" {
			t.Errorf("%s: address %s, tokens %q", start, cfg.Listen.GRPC.Addr, got)
		}
		if len(problems) != 2 || problems[0].Path != "access.admin_tokens[0]" || problems[1].Path != "access.tokens[0]" {
			t.Errorf("%s: problems %v", start, problems)
		}
	}
	for start, key := range map[string]string{
		"listen: {grpc: '${NOT_SET}'}": "listen.grpc", "listen: {grcp: 127.0.0.1:1}": "listen.grcp", "listn: {grpc: 127.0.0.1:1}": "listn", "listen: 7": "listen",
		"listen: {grpc: 127.0.0.1:1, grpc: 127.0.0.1:2}": "listen.grpc", "listen: {tls: {grpc: {cert: x}}}": "listen.tls.grpc.cert",
	} {
		write(t, path, start+tail)
		_, _, err := LoadClient(path, "grpc", none)
		var e *Error
		if !errors.As(err, &e) || len(e.Problems) != 1 || e.Problems[0].Path != key {
			t.Errorf("%s: %v", start, err)
		}
	}
	// The ops listener is another one: what hides one address does not hide the other.
	write(t, path, "listen: {grpc: '${NOT_SET}', ops: 127.0.0.1:2}"+tail)
	if cfg, _, err := LoadClient(path, "ops", none); err != nil || cfg.Listen.Ops.Addr != "127.0.0.1:2" {
		t.Errorf("ops: %v", err)
	}
	write(t, path, "listen: {ops: '${NOT_SET}', grpc: 127.0.0.1:2}"+tail)
	if _, _, err := LoadClient(path, "ops", none); err == nil {
		t.Error("the address of ops is not known")
	}
}
