package main

import (
	"os"
	"strings"
	"testing"
)

// The page on subscribing shows the programs that .ci/clients runs.
func TestPageShowsThePrograms(t *testing.T) {
	page, err := os.ReadFile("../../subscribing.md")
	if err != nil {
		t.Fatal(err)
	}
	for language, file := range map[string]string{"go": "main.go", "python": "../python/subscribe.py", "ts": "../typescript/subscribe.ts"} {
		program, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(page), "```"+language+"\n"+string(program)+"```\n") {
			t.Errorf("docs/subscribing.md does not show %s as it is", file)
		}
	}
}
