package grpcstream

import (
	"os"
	"strings"
	"testing"
)

// The client in the documentation is the one that the example runs.
func TestDocumentedClientIsTheExample(t *testing.T) {
	page, err := os.ReadFile("../../docs/subscribing.md")
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, shown, _ := strings.Cut(string(page), "```go\n")
	shown, _, _ = strings.Cut(shown, "```\n")
	if !strings.Contains(shown, "func ") || !strings.Contains(string(example), shown) {
		t.Errorf("docs/subscribing.md shows what is not in example_test.go:\n%s", shown)
	}
}
