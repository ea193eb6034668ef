package daemon

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/internal/config"
)

// All problems of a webhook sink are told with their places. Its secrets are not shown, and follow their files.
func TestWebhookSettings(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	secret := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")
	plugins := Plugins{Connectors: []*connectors.Connector{{Name: "acme", EventField: "type"}}, Sinks: []SinkKind{WebhookSink()}}
	parse := func(settings string) (*config.Config, error) {
		return plugins.ParseConfig("bridge.yaml", []byte(`sources: [{name: a, connector: acme, auth: {none: {}}}]
sinks:
  - name: out
    webhook:
`+settings), os.LookupEnv)
	}

	_, err := parse(`      url: http://10.0.0.1/CANARY
      secrets: ["${file:` + file + `}", CANARY]
      headers: [{name: Host, value: CANARY}]
      allow: [CANARY/8]
      timeout: 1h
      tls: {cert_file: /nowhere.pem}
`)
	bad, _ := errors.AsType[*config.Error](err)
	if bad == nil {
		t.Fatal(err)
	}
	var paths []string
	for _, p := range bad.Problems {
		paths = append(paths, strings.TrimPrefix(p.Path, "sinks[0].webhook."))
		if strings.HasSuffix(p.Path, ".url") && (!strings.Contains(p.Reason, "allow_http") || !strings.Contains(p.Reason, "webhook.allow")) {
			t.Errorf("not both problems of the URL: %s", p.Reason)
		}
		if strings.Contains(strings.ReplaceAll(p.Reason, `"CANARY/8"`, ""), "CANARY") || p.Line < 4 {
			t.Errorf("line %d: %s", p.Line, p.Reason)
		}
	}
	if diff := cmp.Diff([]string{"url", "secrets[1]", "headers[0].name", "allow[0]", "timeout", "tls.key_file"}, paths); diff != "" {
		t.Errorf("problems (-want +got):\n%s\n%v", diff, err)
	}

	cfg, err := parse("      url: https://user.example.com/CANARY?key=CANARY\n      secrets: ['${file:" + file + "}']\n")
	if err != nil {
		t.Fatal(err)
	}
	if got := plugins.DescribeSink(cfg.Sinks[0]); got != "requests to https://user.example.com" {
		t.Error(got)
	}
	if got := cfg.Sinks[0].Batch.Count; got != 100 {
		t.Errorf("batch of %d", got)
	}
	secret("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
	if done := config.NewReloader(cfg).Reload(); len(done.Refused) > 0 {
		t.Fatal(done.Refused)
	}
	current := webhookConfig(cfg.Sinks[0].Webhook).Current()
	if current.Secrets[0] != "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" {
		t.Error("the secret does not follow its file")
	}
}
