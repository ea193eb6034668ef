package daemon

import (
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
)

// reloadWith writes the configuration with a change, and reloads.
func (l *listened) reloadWith(t *testing.T, old, changed string) *adminv1.ReloadConfigResponse {
	t.Helper()
	text := strings.Replace(principalsConfig, old, changed, 1)
	if text == principalsConfig && old != changed {
		t.Fatalf("the configuration lacks %s", old)
	}
	l.write(t, "bridge.yaml", strings.ReplaceAll(text, "DIR", l.dir))
	a, err := instance{l.Server}.Reload(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestReloadWithdrawsRights: the stream of a principal that lost a right ends at once, and another goes on. The next call has the new rights.
func TestReloadWithdrawsRights(t *testing.T) {
	l := startListened(t)
	l.send(t, "returns", "shipping_ordered")
	masked, all := l.as(t, "token-of-masked-0123"), l.as(t, "token-of-all-0123456")
	ending, lasting := masked.tail(t, nil), all.tail(t, nil)
	read(t, ending, 1)
	read(t, lasting, 1)

	a := l.reloadWith(t, `name: masked, tokens: ["${file:DIR/masked}"], sources: ["*"]`, `name: masked, tokens: ["${file:DIR/masked}"], sources: [other]`)
	if !a.GetApplied() || a.GetSecretsChanged() != 0 || strings.Join(a.GetChanges().GetPrincipals().GetChanged(), " ") != "masked" {
		t.Errorf("the answer is %v", a)
	}
	if _, err := ending.Recv(); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "rights") {
		t.Errorf("the stream that lost a right ended with %v", err)
	}
	if err := masked.refusal(t, &streamv1.Filter{Sources: []string{"returns"}}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("the right that was withdrawn: %v", err)
	}
	l.send(t, "other", "shipping_ordered")
	if got := places(read(t, lasting, 1)); got != "other shipment.ordered" && !strings.HasPrefix(got, "other ") {
		t.Errorf("the other stream got %s", got)
	}
	if got := l.metric(t, "bridge_grpc_revoked_total", "masked"); got != 1 {
		t.Errorf("%v streams were ended", got)
	}
}

// TestReloadRefused: what the running listeners were not made for, and a hand-over.
func TestReloadRefused(t *testing.T) {
	l := startListened(t)
	before := l.fingerprint()
	a := l.reloadWith(t, "grpc: true}", "limits: {body: 2Mi}, grpc: true}")
	if a.GetApplied() || len(a.GetProblems()) != 1 || a.GetProblems()[0].GetKey() != "sources[0].limits.body" || a.GetProblems()[0].GetLine() == 0 {
		t.Errorf("a larger typed call: %v", a)
	}
	a = l.reloadWith(t, "  client_ca_file: DIR/ca.crt\n", "  client_ca_file: DIR/ca.crt\n  origins: [nonsense]\n")
	if a.GetApplied() || len(a.GetProblems()) == 0 {
		t.Errorf("an origin that is none: %v", a)
	}
	l.handing.Store(true)
	if a := l.reloadWith(t, "", ""); a.GetApplied() {
		t.Error("reloaded during a hand-over")
	}
	l.handing.Store(false)
	if l.fingerprint() != before {
		t.Error("a refused file changed the fingerprint")
	}
	if a := l.reloadWith(t, "", ""); !a.GetApplied() || a.GetFingerprint() != before {
		t.Errorf("the first file again: %v", a)
	}
}
