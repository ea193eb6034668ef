package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/webhook-bridge/bridge/internal/config"
)

// TestEventsAreDocumented holds docs/events.md against the descriptors and against what the connectors' testdata become.
func TestEventsAreDocumented(t *testing.T) {
	doc := readText(t, "../../docs/events.md")
	for name, c := range allConnectors() {
		events, err := c.Events()
		if err != nil {
			t.Fatal(err)
		}
		for event := range events {
			if !strings.Contains(doc, "`"+event+"`") {
				t.Errorf("docs/events.md lacks %s's event %s", name, event)
			}
		}
		if !strings.Contains(doc, "`"+name+"/<") {
			t.Errorf("docs/events.md does not say what becomes of %s's other events", name)
		}
		if _, err := os.Stat(filepath.Join("../../docs/vendors", name+".md")); err != nil {
			t.Errorf("no page about %s: %v", name, err)
		}
	}
	types := regexp.MustCompile(`"type": "([a-z_]+\.[a-z_]+)"`)
	archives, err := filepath.Glob("../../connectors/*/testdata/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatalf("no testdata: %v", err)
	}
	for _, path := range archives {
		_, expected, found := strings.Cut(readText(t, path), "-- events.json --")
		if !found {
			continue
		}
		for _, m := range types.FindAllStringSubmatch(expected, -1) {
			if !strings.Contains(doc, "`"+m[1]+"`") {
				t.Errorf("docs/events.md lacks the type %s of %s", m[1], path)
			}
		}
	}
}

// TestDocsLinkToFiles follows every relative link of the documentation.
func TestDocsLinkToFiles(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	vendors, err := filepath.Glob("../../docs/vendors/*.md")
	if err != nil {
		t.Fatal(err)
	}
	pages = append(append(pages, vendors...), "../../README.md", "../../CONTRIBUTING.md")
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
	cfg, err := config.Load("../../bridge.example.yaml", nothing, connectorNeeds(allConnectors()))
	if err != nil {
		t.Fatal(err)
	}
	src, err := findSource(cfg, "returns")
	if err != nil {
		t.Fatal(err)
	}
	if src.Auth.Header != m[1] || src.Auth.Values[0].Reveal() != m[2] {
		t.Errorf("the README sends %s: %s, which bridge.example.yaml does not take", m[1], m[2])
	}
}

// TestMetricsAreDocumented compares the metrics of a running server with docs/operating.md, both ways. Metrics that have
// labels show once something was counted, hence the webhooks.
func TestMetricsAreDocumented(t *testing.T) {
	p := startBridge(t, retinoConfig(t.TempDir())+fmt.Sprintf("sinks: [{name: archive, file: {path: %q}}]\n", filepath.Join(t.TempDir(), "events.jsonl")))
	good := strings.Replace(readText(t, "samples/retino.shipping.ordered.json"), "{", `{"new_field": 1,`, 1)
	post := func(body string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
			"http://"+p.addr("webhooks")+"/webhooks/returns/shipping.ordered", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Retino-Secret", testSecret)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			t.Fatalf("answered %s", answer.Status)
		}
	}
	for _, body := range []string{good, good, strings.Replace(good, "Z3824826667", "Z1", 1), "{"} {
		post(body)
	}
	text, err := fetch(t.Context(), "http://"+p.addr("ops")+"/metrics", "", "")
	if err != nil {
		t.Fatal(err)
	}
	served := names(`(?m)^# HELP (bridge_[a-z_]+) `, text)
	documented := names("`(bridge_[a-z_]+)", readText(t, "../../docs/operating.md"))
	if diff := cmp.Diff(served, documented); diff != "" {
		t.Errorf("docs/operating.md (-served +documented):\n%s", diff)
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
