package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/webhook-bridge/bridge"
)

// runBridge runs a command of the program in this process and returns its output. The command must succeed.
func runBridge(t *testing.T, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	secrets := func(name string) (string, bool) { return "whsec_0123456789abcdef", strings.HasSuffix(name, "_SECRET") }
	code := bridge.Run(t.Context(), plugins(), args, bridge.Environment{
		LookupEnv: secrets, Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr,
	})
	if code != 0 {
		t.Fatalf("bridge %s: exit code %d\n%s%s", strings.Join(args, " "), code, &stdout, &stderr)
	}
	return stdout.String()
}

// TestDescribedSourcesAreGood: the sources that `connectors describe` suggests are a configuration that Bridge takes.
func TestDescribedSourcesAreGood(t *testing.T) {
	suggested := regexp.MustCompile(`(?m)^sources:\n((?: .*\n)+)`)
	var text strings.Builder
	text.WriteString("sources:\n")
	for name := range allConnectors() {
		m := suggested.FindStringSubmatch(runBridge(t, "connectors", "describe", name))
		if m == nil {
			t.Fatalf("%s: no source is suggested", name)
		}
		text.WriteString(m[1])
	}
	path := filepath.Join(t.TempDir(), "bridge.yaml")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	checked := runBridge(t, "check", "-c", path)
	for name := range allConnectors() {
		if !regexp.MustCompile(`(?m)^` + name + ` +` + name + ` `).MatchString(checked) {
			t.Errorf("%s is not among the sources:\n%s", name, checked)
		}
	}
}

// TestEveryConnectorIsShown: the demo sends at least one webhook of each connector, and each becomes an event.
func TestEveryConnectorIsShown(t *testing.T) {
	shown, _, found := strings.Cut(runBridge(t, "demo", "--once"), "The same webhook again")
	if !found {
		t.Fatalf("the demo is not the one that is known here:\n%s", shown)
	}
	for name := range allConnectors() {
		sent := regexp.MustCompile(`(?m)^→ `+name+` .*\n(.*)\n`).FindAllStringSubmatch(shown, -1)
		if len(sent) == 0 {
			t.Errorf("no webhook of %s is shown: name a good sample in its testdata after an event", name)
		}
		for _, m := range sent {
			if strings.HasPrefix(m[1], "→") || strings.TrimSpace(m[1]) == "" {
				t.Errorf("a webhook becomes no event: %s", m[0])
			}
		}
	}
}
