package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tree writes files below a new folder.
func tree(t *testing.T, files map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range files {
		to := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestGather(t *testing.T) {
	files := map[string]string{
		settings:           "nav:\n  - First: README.md\n",
		"README.md":        "[page](docs/a.md#part), [file](x.yaml), [folder](proto), [elsewhere](https://example.com)\n```\n[code](missing.md)\n```\n",
		"docs/a.md":        "# A\n[back](../README.md) ![picture](a.svg)\n",
		"docs/a.svg":       "<svg/>",
		"x.yaml":           "a: 1\n",
		"proto/one.proto":  "message One {}\n",
		"proto/in/two.txt": "two",
		"unlinked.md":      "nobody links here",
	}
	root, to := tree(t, files), t.TempDir()
	if err := gather(root, to); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"pages/README.md":          "[page](docs/a.md#part), [file](x.yaml.md), [folder](proto/README.md), [elsewhere](https://example.com)\n```\n[code](missing.md)",
		"pages/docs/a.md":          "[back](../README.md) ![picture](a.svg)",
		"pages/docs/a.svg":         "<svg/>",
		"pages/x.yaml.md":          "`````yaml\na: 1\n",
		"pages/proto/README.md":    "- [one.proto](one.proto.md)\n",
		"pages/proto/one.proto.md": "message One {}",
		"mkdocs.yml":               "First: README.md",
	} {
		got, err := os.ReadFile(filepath.Join(to, name))
		if err != nil || !strings.Contains(string(got), want) {
			t.Errorf("%s: %v\n%s\nwant in it:\n%s", name, err, got, want)
		}
	}
	if _, err := os.Stat(filepath.Join(to, "pages/unlinked.md")); err == nil {
		t.Error("there is a page that nothing links to")
	}
	files["docs/a.md"] = "[gone](gone.md)"
	if err := gather(tree(t, files), to); err == nil || !strings.Contains(err.Error(), "docs/a.md links to gone.md") {
		t.Errorf("a link to a missing page: %v", err)
	}
}

// The pages that the site's settings name are there, and so is all that they link to.
func TestPagesOfTheSite(t *testing.T) {
	if err := gather(filepath.Join("..", ".."), t.TempDir()); err != nil {
		t.Error(err)
	}
}

func TestCheck(t *testing.T) {
	good := map[string]string{
		"index.html":  `<link rel="canonical" href="https://example.com/"><a href="b/c.html#there"></a><a href="https://example.com"></a><script src="s.js"></script>`,
		"b/c.html":    `<h1 id="there"></h1><a href="../index.html"></a><a href="#there"></a><a href="../f.txt"></a>`,
		"f.txt":       "",
		"s.js":        "",
		"d/other.css": "",
	}
	if err := check(tree(t, good)); err != nil {
		t.Errorf("good pages: %v", err)
	}
	for fault, part := range map[string]string{
		`leads to no page`:     `<a href="missing.html"></a>`,
		`leads to no place on`: `<a href="b/c.html#nowhere"></a>`,
		`from elsewhere`:       `<script src="https://example.com/x.js"></script>`,
		`loads "//example`:     `<link rel="stylesheet" href="//example.com/x.css">`,
	} {
		bad := map[string]string{"index.html": part, "b/c.html": "<p>"}
		if err := check(tree(t, bad)); err == nil || !strings.Contains(err.Error(), fault) {
			t.Errorf("%s: %v, want %q", part, err, fault)
		}
	}
	if err := check(t.TempDir()); err == nil {
		t.Error("a folder without pages is no site")
	}
}
