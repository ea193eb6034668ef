package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/kasafik"
	"github.com/webhook-bridge/bridge/connectors/retino"
	"github.com/webhook-bridge/bridge/internal/daemon"
)

// runWith runs a command of a program with these plug-ins, without environment variables.
func runWith(t *testing.T, plugins daemon.Plugins, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	env := Environment{LookupEnv: func(string) (string, bool) { return "", false }, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs}
	code = Run(t.Context(), plugins, args, env)
	return code, out.String(), errs.String()
}

// TestInitWritesAValidConfiguration: for each connector alone, for all, and for vendors whose secrets have other forms; check agrees
// with the file, and no secret is printed or readable by others.
func TestInitWritesAValidConfiguration(t *testing.T) {
	signed := func(h connectors.HMAC) daemon.Plugins {
		c := *retino.New()
		h.Header = "X-Sign"
		c.Verification = connectors.Verification{HMAC: &h}
		return daemon.Plugins{Connectors: []*connectors.Connector{&c}}
	}
	all := vendors()
	all.Connectors = append(all.Connectors, kasafik.New())
	for name, tt := range map[string]struct {
		plugins daemon.Plugins
		args    []string
		sources []string
	}{
		"none named":  {all, nil, []string{"kasafik", "retino"}},
		"one":         {all, []string{"--connector", "retino"}, []string{"retino"}},
		"twice":       {all, []string{"--connector", "retino", "--connector", "retino"}, []string{"retino"}},
		"signed":      {all, []string{"--connector", "openloyalty", "--currency", "EUR"}, []string{"openloyalty"}},
		"needs both":  {all, []string{"--connector", "dealpos", "--currency", "IDR", "--time-zone", "Asia/Jakarta"}, []string{"dealpos"}},
		"every one":   {all, []string{"--connector=linga", "--connector=dealpos", "--connector=openloyalty", "--connector=kasafik", "--connector=retino", "--currency=USD", "--time-zone=America/New_York"}, []string{"linga", "dealpos", "openloyalty", "kasafik", "retino"}},
		"base64":      {signed(connectors.HMAC{SecretEncoding: "base64", SecretPrefix: "whsec_"}), nil, []string{"retino"}},
		"hexadecimal": {signed(connectors.HMAC{SecretEncoding: "hex"}), nil, []string{"retino"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			code, stdout, stderr := runWith(t, tt.plugins, append([]string{"init"}, tt.args...)...)
			if code != exitOK || !strings.Contains(stdout, "bridge check\n") {
				t.Fatalf("exit code %d: %s%s", code, stdout, stderr)
			}
			for _, s := range tt.sources {
				path := filepath.Join("secrets", s)
				text, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if strings.Contains(stdout, strings.TrimSpace(string(text))) || len(text) < 40 {
					t.Errorf("the secret of %s is printed or short", s)
				}
				if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
					t.Errorf("%s: %v, %v", path, info.Mode(), err)
				}
			}
			code, stdout, stderr = runWith(t, tt.plugins, "check")
			if code != exitOK {
				t.Fatalf("check: exit code %d: %s", code, stderr)
			}
			if got := strings.Count(stdout, "/webhooks/"); got != len(tt.sources) {
				t.Errorf("%d sources, not %v:\n%s", got, tt.sources, stdout)
			}
		})
	}
}

// TestInitOverwritesNothing: not the configuration, and no secret.
func TestInitOverwritesNothing(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("bridge.yaml", []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := runWith(t, vendors(), "init")
	if text, err := os.ReadFile("bridge.yaml"); code != exitFailed || !strings.Contains(stderr, "bridge.yaml exists") || string(text) != "mine" {
		t.Errorf("exit code %d, %q, %v: %s", code, text, err, stderr)
	}
	if _, err := os.Stat("secrets"); err == nil {
		t.Error("secrets were made for a configuration that was not written")
	}
	for _, file := range []string{"one.yaml", "two.yaml"} {
		if code, _, stderr := runWith(t, vendors(), "init", "-c", file, "--connector", "retino"); code != exitOK {
			t.Fatalf("exit code %d: %s", code, stderr)
		}
	}
	first, err := os.ReadFile(filepath.Join("secrets", "retino"))
	if err != nil {
		t.Fatal(err)
	}
	if code, stdout, stderr := runWith(t, vendors(), "check", "-c", "two.yaml"); code != exitOK || strings.Contains(stdout, string(first)) {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
	if code, _, _ := runWith(t, vendors(), "init", "-c", "three.yaml", "--connector", "retino"); code != exitOK {
		t.Fatalf("exit code %d", code)
	}
	if again, err := os.ReadFile(filepath.Join("secrets", "retino")); err != nil || !bytes.Equal(first, again) {
		t.Errorf("the secret was replaced: %v", err)
	}
}

// TestInitAsksForWhatOnlyTheUserKnows: a currency or a zone is not guessed, and a wrong one leaves nothing behind.
func TestInitAsksForWhatOnlyTheUserKnows(t *testing.T) {
	t.Chdir(t.TempDir())
	for says, args := range map[string][]string{
		"--currency CODE and --time-zone ZONE": {"--connector", "dealpos"},
		"add --time-zone ZONE":                 {"--connector", "linga", "--currency", "USD"},
		"did you mean retino?":                 {"--connector", "retno"},
		"must be three capital letters":        {"--connector", "openloyalty", "--currency", "euros"},
	} {
		code, _, stderr := runWith(t, vendors(), append([]string{"init"}, args...)...)
		if code == exitOK || !strings.Contains(stderr, says) {
			t.Errorf("%v: exit code %d: %s", args, code, stderr)
		}
		if entries, err := os.ReadDir("."); err != nil || len(entries) > 0 {
			t.Errorf("%v left %v, %v", args, entries, err)
		}
	}
}
