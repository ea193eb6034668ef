package daemon

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/internal/access"
	"github.com/webhook-bridge/bridge/internal/config"
)

// TestSecretsFollowTheirFiles: a change is taken within a minute, and at once when it is asked for. A bad content is logged once.
func TestSecretsFollowTheirFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first-token-0123456789")
	vendor := &connectors.Connector{Name: "acme", EventField: "type"}
	cfg, err := config.Parse("bridge.yaml", []byte("access: {tokens: ['${file:"+path+"}']}\nsources: [{name: a, connector: acme, auth: {none: {}}}]\n"),
		os.LookupEnv, map[string]*connectors.Connector{"acme": vendor})
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		a := &Server{reloads: newReloads(cfg, slog.New(slog.NewTextHandler(&log, nil)))}
		admission := newAccess(cfg.Access, nil, nil)
		wantAdmitted := func(token string, want bool) {
			t.Helper()
			_, err := admission.Admit(t.Context(), access.Call{
				Method: "/bridge.stream.v1.EventStreamService/Tail", Authorization: []string{"Bearer " + token},
			})
			if got := err == nil; got != want {
				t.Errorf("%s: admitted %v", token, got)
			}
		}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go a.reloads.run(ctx)
		synctest.Wait()
		wantAdmitted("first-token-0123456789", true)

		write("second-token-0123456789")
		<-time.After(time.Minute)
		synctest.Wait()
		wantAdmitted("second-token-0123456789", true)
		wantAdmitted("first-token-0123456789", false)

		for _, bad := range []string{"", "short"} {
			write(bad)
			<-time.After(10 * time.Minute)
			synctest.Wait()
			wantAdmitted("second-token-0123456789", true)
			wantAdmitted(bad, false)
			if !cfg.Access.Tokens[0].Refused() {
				t.Error("the refused content is not marked")
			}
		}
		if n := strings.Count(log.String(), "the old one stays"); n != 2 {
			t.Errorf("two bad contents are logged %d times:\n%s", n, &log)
		}

		write("third-token-0123456789")
		a.Reload()
		a.Reload()
		synctest.Wait()
		wantAdmitted("third-token-0123456789", true)
		if cfg.Access.Tokens[0].Refused() {
			t.Error("the good content is marked as refused")
		}
		if strings.Contains(log.String(), "token-0123") {
			t.Errorf("a secret is logged:\n%s", &log)
		}
	})
}
