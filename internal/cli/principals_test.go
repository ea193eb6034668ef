package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/internal/certs/certstest"
)

// told answers each Tail with the credential that it was shown.
type told struct {
	streamv1.UnimplementedEventStreamServiceServer
}

func (told) Tail(_ *streamv1.TailRequest, stream grpc.ServerStreamingServer[streamv1.TailResponse]) error {
	md, _ := metadata.FromIncomingContext(stream.Context())
	return status.Errorf(codes.NotFound, "shown %q", md.Get("authorization"))
}

func (told) ListGroups(ctx context.Context, _ *streamv1.ListGroupsRequest) (*streamv1.ListGroupsResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	return nil, status.Errorf(codes.NotFound, "shown %q", md.Get("authorization"))
}

// TestTokenOfAPrincipal: which token of a configuration is sent is never a guess.
func TestTokenOfAPrincipal(t *testing.T) {
	addr := serveGRPC(t, func(s *grpc.Server) { streamv1.RegisterEventStreamServiceServer(s, told{}) })
	dir := t.TempDir()
	authority := certstest.New(t, "authority")
	cert, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	authority.WriteServer(t, cert, key)
	write := func(name, access string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		text := access + "\nsources: [{name: returns, connector: retino, auth: {none: {}}}]\n"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	one := write("one.yaml", "access: {principals: [{name: orders, tokens: [token-of-orders-01]}]}")
	two := write("two.yaml", "access: {principals: [{name: orders, tokens: [token-of-orders-01]}, {name: billing, tokens: [token-of-billing-1]}]}")
	operated := write("operated.yaml", "access: {admin_tokens: [token-of-operators], principals: [{name: orders, tokens: [token-of-orders-01]}]}")
	certified := write("certified.yaml", fmt.Sprintf("access: {client_ca_file: %[1]q, principals: [{name: billing, certificates: [\"CN:billing\"]}]}\n"+
		"listen: {tls: {grpc: {cert_file: %[1]q, key_file: %[2]q}}}", cert, key))
	plain := write("plain.yaml", "access: {tokens: [token-of-everyone-1]}")
	tail, groups := []string{"tail", "--no-follow"}, []string{"groups", "list"}
	for _, c := range []struct {
		command, args []string
		env           string
		says          string
	}{
		{groups, []string{"-c", operated}, "", `shown ["Bearer token-of-operators"]`},
		{groups, []string{"-c", operated, "--principal", "orders"}, "", `shown ["Bearer token-of-orders-01"]`},
		{groups, []string{"-c", one}, "", `shown ["Bearer token-of-orders-01"]`},
		{groups, []string{"-c", plain}, "", `shown ["Bearer token-of-everyone-1"]`},
		{tail, []string{"-c", operated}, "", `shown ["Bearer token-of-orders-01"]`},
		{tail, []string{"-c", one}, "", `shown ["Bearer token-of-orders-01"]`},
		{tail, []string{"-c", two, "--principal", "billing"}, "", `shown ["Bearer token-of-billing-1"]`},
		{tail, []string{"-c", two, "--principal", "billing"}, "a-token-of-mine-01", `shown ["Bearer token-of-billing-1"]`},
		{tail, []string{"-c", two}, "", "shown []"},
		{tail, []string{"-c", two}, "a-token-of-mine-01", `shown ["Bearer a-token-of-mine-01"]`},
		{tail, []string{"-c", plain}, "", `shown ["Bearer token-of-everyone-1"]`},
		{tail, []string{"-c", two, "--principal", "biling"}, "", `the configuration has no principal "biling"`},
		{tail, []string{"-c", certified, "--principal", "billing"}, "", `the principal "billing" has no token, only certificates: show one with --cert and --key`},
		{tail, []string{"--principal", "orders"}, "", "--principal takes a token from the configuration: name that with -c"},
		{tail, []string{"--cert", cert}, "", "--cert and --key belong together"},
		{tail, []string{"--cert", key, "--key", cert}, "", "--cert and --key: "},
	} {
		var stderr bytes.Buffer
		env := Environment{
			LookupEnv: func(k string) (string, bool) { return c.env, k == "BRIDGE_TOKEN" && c.env != "" },
			Stdin:     strings.NewReader(""), Stdout: &stderr, Stderr: &stderr,
		}
		code := Run(t.Context(), vendors(), slices.Concat(c.command, []string{"--addr", addr}, c.args), env)
		if code != exitFailed || !strings.Contains(stderr.String(), c.says) {
			t.Errorf("%v %v with %q: exit code %d, want %q:\n%s", c.command, c.args, c.env, code, c.says, &stderr)
		}
	}
}

// TestCheckPrintsPrincipals: what each of them may see, and no token.
func TestCheckPrintsPrincipals(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "bridge.yaml")
	text := fmt.Sprintf(`
listen: {webhooks: "127.0.0.1:0", ops: "127.0.0.1:0", grpc: "127.0.0.1:0", admin: "127.0.0.1:0"}
journal: {dir: %q}
access:
  principals:
    - {name: orders, tokens: [token-of-orders-01, token-of-orders-02], sources: ["*"], types: ["order.*", "**.deleted"], personal: true, raw: true}
    - {name: sender, tokens: [token-of-a-sender-1], groups: [billing]}
sources: [{name: returns, connector: retino, auth: {header: {name: X-S, values: [s]}}}]
`, dir)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var printed, errs bytes.Buffer
	env := Environment{LookupEnv: func(string) (string, bool) { return "", false }, Stdin: strings.NewReader(""), Stdout: &printed, Stderr: &errs}
	if exit := Run(t.Context(), vendors(), []string{"check", "--offline", "-c", path}, env); exit != 0 {
		t.Fatalf("exit code %d:\n%s", exit, &errs)
	}
	out := printed.String()
	for _, want := range []string{
		"PRINCIPAL KNOWN BY SOURCES TYPES GROUPS PERSONAL DATA RAW",
		"orders token, 2 accepted * order.*, **.deleted none shown shown",
		"sender token, 1 accepted none none billing masked no",
	} {
		if !strings.Contains(strings.Join(strings.Fields(out), " "), want) {
			t.Errorf("want %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, "token-of-") {
		t.Errorf("a token is printed:\n%s", out)
	}
}
