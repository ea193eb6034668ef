package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/sample"
	"github.com/webhook-bridge/bridge/internal/daemon"
	"github.com/webhook-bridge/bridge/internal/source"
)

// TestEventsAreDocumented: every connector's page names its events and those they become, and docs/events.md every kind of
// canonical event.
func TestEventsAreDocumented(t *testing.T) {
	doc := readText(t, "../../docs/events.md")
	for name, c := range allConnectors() {
		page := filepath.Join("../../connectors", name, "README.md")
		text := readText(t, page)
		events, err := c.Events()
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if !strings.Contains(text, "`"+e.Name+"`") {
				t.Errorf("%s lacks the event %s", page, e.Name)
			}
		}
		if !strings.Contains(text, "`"+name+"/<") {
			t.Errorf("%s does not say what becomes of other events: `unmapped`, under the subject `%s/<event>`", page, name)
		}
		for canonical, in := range canonicalTypes(t, c) {
			if !strings.Contains(text, "`"+canonical+"`") {
				t.Errorf("%s lacks the type %s of sample %s", page, canonical, in)
			}
			if kind, _, _ := strings.Cut(canonical, "."); !strings.Contains(doc, "`"+kind+".") && !strings.Contains(doc, "`"+kind+"`") {
				t.Errorf("docs/events.md lacks the kind of the type %s of %s's sample %s", canonical, name, in)
			}
		}
	}
}

// canonicalTypes returns the types that the connector's samples become, each with one of those.
func canonicalTypes(t *testing.T, c *connectors.Connector) map[string]string {
	t.Helper()
	webhooks, err := sample.Read(c.Samples)
	if err != nil {
		t.Fatal(err)
	}
	types := make(map[string]string)
	for _, w := range webhooks {
		for _, expected := range w.Expected {
			if expected.Name != sample.Events {
				continue
			}
			for _, typ := range names(`(?m)^ +"type": "([a-z_]+(?:\.[a-z_]+)?)",\n +"subject":`, string(expected.Data)) {
				types[typ] = w.Name
			}
		}
	}
	if len(types) == 0 {
		t.Errorf("no sample of %s becomes an event", c.Name)
	}
	return types
}

// TestDocsLinkToFiles follows every relative link of the documentation.
func TestDocsLinkToFiles(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	pages := []string{"../../README.md", "../../CONTRIBUTING.md"}
	for _, pattern := range []string{"../../docs/*.md", "../../docs/*/*.md", "../../connectors/*/README.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("no pages %s: %v", pattern, err)
		}
		pages = append(pages, found...)
	}
	for _, page := range pages {
		for _, m := range link.FindAllStringSubmatch(readText(t, page), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", page, m[1])
			}
		}
	}
}

func readText(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestReadmeSendsWhatTheExampleTakes compares the secret in the README's curl with the example configuration.
func TestReadmeSendsWhatTheExampleTakes(t *testing.T) {
	m := regexp.MustCompile(`curl -H '([^:]+): ([^']+)'`).FindStringSubmatch(readText(t, "../../README.md"))
	if m == nil {
		t.Fatal("the README sends no webhook")
	}
	nothing := func(string) (string, bool) { return "", false }
	cfg, err := daemon.Plugins{Connectors: plugins().Connectors}.LoadConfig("../../bridge.example.yaml", nothing)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(cfg.Sources, func(s source.Source) bool { return s.Name == "returns" })
	if i < 0 {
		t.Fatal("bridge.example.yaml has no source returns")
	}
	src := &cfg.Sources[i]
	if src.Auth.Header != m[1] || src.Auth.Values[0].Reveal() != m[2] {
		t.Errorf("the README sends %s: %s, which bridge.example.yaml does not take", m[1], m[2])
	}
}

// names returns what the pattern's group matches in text, each once and in order.
func names(pattern, text string) []string {
	var all []string
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	slices.Sort(all)
	return slices.Compact(all)
}
