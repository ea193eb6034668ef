// Command site gathers the project's pages for the generator of its web site, and checks what that has made.
//
//	go run ./tools/site gather DIR
//	go run ./tools/site check DIR
//
// Gather begins with the pages that site.yml names, follows their links, and writes what it finds to DIR/pages as a tree of Markdown files in which
// every link works: a file that is no Markdown becomes a page that shows it, and a folder becomes a page that lists its files. It writes the
// generator's configuration beside it. A link to what the repository does not have is an error.
//
// Check follows each link of the pages in DIR/html. A link to no page, or to no place on its page, is an error, and so is anything that a
// browser would load from another host.
package main

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// settings is the generator's configuration, which names the pages in their order.
const settings = "tools/site/site.yml"

var (
	// link finds the target of a link or of a picture in Markdown.
	link = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	// named finds the pages in the configuration.
	named = regexp.MustCompile(`(?m): (\S+\.md)$`)
	// fence finds blocks of code. What looks like a link in them is none.
	fence = regexp.MustCompile("(?ms)^[ \t]*```.*?^[ \t]*```")
	// binary are the files that pages show as they are.
	binary = []string{".png", ".svg", ".webp"}
)

func main() {
	do := map[string]func(string) error{
		"gather": func(dir string) error { return gather(".", dir) },
		"check":  func(dir string) error { return check(filepath.Join(dir, "html")) },
	}
	if len(os.Args) != 3 || do[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: go run ./tools/site gather|check DIR")
		os.Exit(2)
	}
	if err := do[os.Args[1]](os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "site:", err)
		os.Exit(1)
	}
}

// gather writes the pages of the repository at root to dir.
func gather(root, dir string) error {
	config, err := os.ReadFile(filepath.Join(root, settings))
	if err != nil {
		return err
	}
	s := &site{root: root, dir: filepath.Join(dir, "pages"), known: make(map[string]bool)}
	if err := errors.Join(os.RemoveAll(s.dir), os.MkdirAll(s.dir, 0o750)); err != nil {
		return err
	}
	for _, m := range named.FindAllStringSubmatch(string(config), -1) {
		s.add(m[1])
	}
	for len(s.queue) > 0 {
		next := s.queue[0]
		s.queue = s.queue[1:]
		if err := s.write(next); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "mkdocs.yml"), config, 0o600)
}

type site struct {
	root, dir string
	known     map[string]bool
	// queue has the files that are linked to and not written yet, by their path in the repository.
	queue []string
}

func (s *site) add(name string) {
	if !s.known[name] {
		s.known[name] = true
		s.queue = append(s.queue, name)
	}
}

// write writes the page of a file or folder.
func (s *site) write(name string) error {
	from := filepath.Join(s.root, filepath.FromSlash(name))
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return s.folder(name)
	}
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	switch {
	case path.Ext(name) == ".md":
		rewritten, err := s.follow(name, string(text))
		if err != nil {
			return err
		}
		return s.save(name, rewritten)
	case slices.Contains(binary, path.Ext(name)):
		return s.save(name, string(text))
	}
	return s.save(name+".md", fmt.Sprintf("# %s\n\n`````%s\n%s\n`````\n", path.Base(name), language(name), text))
}

// language is what the generator calls the language of a file.
func language(name string) string {
	if ext := strings.TrimPrefix(path.Ext(name), "."); ext != "" {
		return ext
	}
	return "text"
}

// folder writes a page with a folder's files.
func (s *site) folder(name string) error {
	if _, err := os.Stat(filepath.Join(s.root, name, "README.md")); err == nil {
		s.add(path.Join(name, "README.md"))
		return nil
	}
	entries, err := os.ReadDir(filepath.Join(s.root, name))
	if err != nil {
		return err
	}
	var text strings.Builder
	fmt.Fprintf(&text, "# %s\n\n", name)
	for _, e := range entries {
		if e.Type().IsRegular() && !strings.HasSuffix(e.Name(), "_test.go") {
			fmt.Fprintf(&text, "- [%s](%s)\n", e.Name(), s.page(path.Join(name, e.Name()), name))
			s.add(path.Join(name, e.Name()))
		}
	}
	return s.save(path.Join(name, "README.md"), text.String())
}

// follow adds what a page links to, and returns the page with links to the pages of those.
func (s *site) follow(name, text string) (string, error) {
	var missing []error
	blocks := fence.FindAllStringIndex(text, -1)
	var out strings.Builder
	at := 0
	for _, m := range link.FindAllStringSubmatchIndex(text, -1) {
		inCode := slices.ContainsFunc(blocks, func(b []int) bool { return b[0] <= m[0] && m[0] < b[1] })
		target, anchor, _ := strings.Cut(text[m[2]:m[3]], "#")
		if inCode || target == "" || strings.Contains(target, ":") {
			continue
		}
		linked := path.Join(path.Dir(name), target)
		if _, err := os.Stat(filepath.Join(s.root, filepath.FromSlash(linked))); err != nil {
			missing = append(missing, fmt.Errorf("%s links to %s, which is missing", name, target))
			continue
		}
		s.add(linked)
		out.WriteString(text[at:m[2]])
		out.WriteString(s.page(linked, path.Dir(name)))
		if anchor != "" {
			out.WriteString("#" + anchor)
		}
		at = m[3]
	}
	out.WriteString(text[at:])
	return out.String(), errors.Join(missing...)
}

// page is the link from a page in the folder to the page of a file or folder.
func (s *site) page(name, folder string) string {
	info, err := os.Stat(filepath.Join(s.root, filepath.FromSlash(name)))
	switch {
	case err == nil && info.IsDir():
		name = path.Join(name, "README.md")
	case path.Ext(name) != ".md" && !slices.Contains(binary, path.Ext(name)):
		name += ".md"
	}
	relative, err := filepath.Rel(filepath.FromSlash(folder), filepath.FromSlash(name))
	if err != nil {
		return name
	}
	return filepath.ToSlash(relative)
}

func (s *site) save(name, text string) error {
	to := filepath.Join(s.dir, filepath.FromSlash(name))
	return errors.Join(os.MkdirAll(filepath.Dir(to), 0o750), os.WriteFile(to, []byte(text), 0o600))
}
