package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/net/html"
)

// generated is what a page has that others, or a browser, refer to.
type generated struct {
	ids   map[string]bool
	links []string
	// loads are what a browser loads with the page.
	loads []string
}

// check returns all links in the pages of a folder that lead nowhere, and all that is loaded from elsewhere.
func check(dir string) error {
	pages := make(map[string]*generated)
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(name) != ".html" {
			return err
		}
		text, err := root.ReadFile(name)
		if err != nil {
			return err
		}
		pages[filepath.Join(dir, name)], err = parse(text)
		return err
	})
	if err != nil {
		return err
	}
	var problems []error
	for name, page := range pages {
		for _, l := range page.links {
			if err := reach(pages, name, l); err != nil {
				problems = append(problems, fmt.Errorf("%s: %w", name, err))
			}
		}
		for _, l := range page.loads {
			if u, err := url.Parse(l); err != nil || u.Host != "" {
				problems = append(problems, fmt.Errorf("%s: loads %q from elsewhere", name, l))
			}
		}
	}
	if len(pages) == 0 {
		problems = append(problems, fmt.Errorf("%s has no pages", dir))
	}
	slices.SortFunc(problems, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(problems...)
}

func parse(text []byte) (*generated, error) {
	root, err := html.Parse(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	page := &generated{ids: make(map[string]bool)}
	for n := range root.Descendants() {
		for _, a := range n.Attr {
			switch {
			case a.Key == "id" || a.Key == "name" && n.Data == "a":
				page.ids[a.Val] = true
			case a.Key == "href" && n.Data == "a":
				page.links = append(page.links, a.Val)
			case a.Key == "src", a.Key == "href" && n.Data == "link" && !isName(n):
				page.loads = append(page.loads, a.Val)
			}
		}
	}
	return page, nil
}

// isName reports whether a link element only names an address: a browser does not load it.
func isName(n *html.Node) bool {
	for _, a := range n.Attr {
		if a.Key == "rel" && (a.Val == "canonical" || a.Val == "prev" || a.Val == "next") {
			return true
		}
	}
	return false
}

// reach returns an error unless a link of a page leads to a file, and to a place on it. Links to other hosts are not followed.
func reach(pages map[string]*generated, from, link string) error {
	u, err := url.Parse(link)
	if err != nil {
		return err
	}
	if u.Scheme != "" || u.Host != "" || strings.HasPrefix(u.Path, "/") {
		return nil
	}
	to := from
	if u.Path != "" {
		to = filepath.Join(filepath.Dir(from), filepath.FromSlash(u.Path))
	}
	if info, err := os.Stat(to); err == nil && info.IsDir() {
		to = filepath.Join(to, "index.html")
	}
	page := pages[to]
	if page == nil {
		if _, err := os.Stat(to); err != nil {
			return fmt.Errorf("%q leads to no page", link)
		}
		return nil
	}
	if u.Fragment != "" && !page.ids[u.Fragment] {
		return fmt.Errorf("%q leads to no place on its page", link)
	}
	return nil
}
