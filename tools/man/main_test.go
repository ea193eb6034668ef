package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestManualPages: each command has a page, with its flags.
func TestManualPages(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "man")
	if err := run([]string{dir}); err != nil {
		t.Fatal(err)
	}
	for page, want := range map[string]string{
		"bridge.1": "Exit codes", "bridge-tail.1": "no-follow", "bridge-quarantine-retry.1": "dry-run", "bridge-completion-bash.1": "bash",
	} {
		text, err := os.ReadFile(filepath.Join(dir, page))
		if err != nil || !strings.Contains(strings.ReplaceAll(string(text), `\-`, "-"), want) {
			t.Errorf("%s lacks %q: %v", page, want, err)
		}
	}
	if err := run(nil); err == nil {
		t.Error("it needs a folder")
	}
}
