package journaltest

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// sentences returns the sentences under Promises in the documentation of package journal.
func sentences(t *testing.T) (all []string) {
	t.Helper()
	doc, err := os.ReadFile("../doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(doc), "# Promises")
	promises, _, end := strings.Cut(rest, "# Not promised")
	if !ok || !end {
		t.Fatal("the documentation has no promises")
	}
	for _, bullet := range regexp.MustCompile(`(?m)^//   - .*(\n//     .*)*`).FindAllString(promises, -1) {
		words := strings.Fields(strings.ReplaceAll(bullet, "//", ""))
		for _, s := range strings.SplitAfter(strings.Join(words[1:], " "), ". ") {
			all = append(all, strings.TrimSpace(s))
		}
	}
	return all
}

// TestEverySentence: each sentence of the specification has a case, and no case has a rule that the specification does not have.
func TestEverySentence(t *testing.T) {
	promised := sentences(t)
	if len(promised) < 50 {
		t.Fatalf("%d sentences", len(promised))
	}
	var rules []string
	names := make(map[string]bool)
	for _, c := range cases() {
		rules = append(rules, c.rule)
		if names[c.name] {
			t.Errorf("two cases are named %q", c.name)
		}
		names[c.name] = true
	}
	all := strings.Join(rules, "\n")
	for _, s := range promised {
		if !strings.Contains(all, s) {
			t.Errorf("no case checks: %s", s)
		}
	}
	specification := strings.Join(promised, " ")
	for _, rule := range rules {
		if !strings.Contains(specification, strings.TrimSpace(rule)) {
			t.Errorf("the specification does not say: %s", rule)
		}
	}
}
