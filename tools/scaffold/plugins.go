package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

var (
	imported = regexp.MustCompile(`^\t"` + regexp.QuoteMeta(module) + `/connectors/([a-z0-9]+)"$`)
	listed   = regexp.MustCompile(`^\t\t([a-z0-9]+)\.New\(\),$`)
)

// plug adds a connector to the source of cmd/bridge/plugins.go: its import and its New, each in its place among the others.
func plug(source []byte, name string) ([]byte, error) {
	lines := strings.Split(string(source), "\n")
	for _, add := range []struct {
		among *regexp.Regexp
		line  string
	}{
		{imported, "\t\"" + module + "/connectors/" + name + "\""},
		{listed, "\t\t" + name + ".New(),"},
	} {
		before, after := -1, -1
		for i, line := range lines {
			m := add.among.FindStringSubmatch(line)
			switch {
			case m == nil:
				continue
			case m[1] == name:
				return nil, fmt.Errorf("has a connector %s already", name)
			case m[1] > name && before < 0:
				before = i
			}
			after = i + 1
		}
		at := before
		if at < 0 {
			at = after
		}
		if at < 0 {
			return nil, errors.New("has no list of connectors to add to")
		}
		lines = slices.Insert(lines, at, add.line)
	}
	return format.Source([]byte(strings.Join(lines, "\n")))
}

// isDeclared reports whether the program's package, in folder, declares or imports name, or its list of connectors uses it.
func isDeclared(folder, name string) (bool, error) {
	paths, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		return false, err
	}
	for _, path := range paths {
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return false, err
		}
		for _, spec := range f.Imports {
			if strings.HasSuffix(strings.Trim(spec.Path.Value, `"`), "/"+name) || spec.Path.Value == `"`+name+`"` {
				return true, nil
			}
		}
		if slices.ContainsFunc(f.Decls, func(d ast.Decl) bool { return slices.Contains(declared(d), name) }) {
			return true, nil
		}
		if filepath.Base(path) == "plugins.go" && uses(f, name) {
			return true, nil
		}
	}
	return false, nil
}

// uses reports whether a file uses a name.
func uses(f *ast.File, name string) bool {
	found := false
	ast.Inspect(f, func(n ast.Node) bool {
		id, ok := n.(*ast.Ident)
		found = found || ok && id.Name == name
		return !found
	})
	return found
}

// declared returns the names that a declaration adds to its package.
func declared(d ast.Decl) []string {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			return []string{d.Name.Name}
		}
	case *ast.GenDecl:
		var names []string
		for _, spec := range d.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				names = append(names, spec.Name.Name)
			case *ast.ValueSpec:
				for _, name := range spec.Names {
					names = append(names, name.Name)
				}
			}
		}
		return names
	}
	return nil
}
