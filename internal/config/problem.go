package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// maxProblems is the largest number of problems in a report. People do not read more, and a hostile file cannot make the
// report larger.
const maxProblems = 100

// Problem is one problem of a configuration. It never shows a value.
type Problem struct {
	// File is the name of the file.
	File string
	// Line and Column count from 1. Column is 0 when only the line is known. Both are 0 when the place is not known.
	Line, Column int
	// Path is the field, such as "sources[3].time_zone". It is empty when the problem is about the whole file.
	Path string
	// Reason is text for people.
	Reason string
}

// Compare orders problems as they stand in the file.
func (p Problem) Compare(other Problem) int {
	return cmp.Or(cmp.Compare(p.Line, other.Line), cmp.Compare(p.Column, other.Column), cmp.Compare(p.Path, other.Path))
}

// String returns file:line:column: path: reason.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	for _, n := range []int{p.Line, p.Column} {
		if n > 0 {
			fmt.Fprintf(&b, ":%d", n)
		}
	}
	b.WriteString(": ")
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	return b.String() + p.Reason
}

// Error has all problems of a configuration, in the file's order.
type Error struct {
	Problems []Problem
}

// Error returns one problem a line.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// place is a place in the file.
type place struct{ line, column int }

// report collects problems, and has the places of the fields.
type report struct {
	file     string
	places   map[string]place
	problems []Problem
	// files are the files that values refer to, by the value's path.
	files map[string][]string
	// texts are the scalars that stand in the file as they are, by their paths, for places within them.
	texts map[string]scalarSource
	// contents are digests of the files that were read.
	contents contents
	// source is the text of the file.
	source []byte
}

func newReport(file string) *report {
	return &report{file: file, places: map[string]place{"": {1, 1}}, files: map[string][]string{}, texts: map[string]scalarSource{}, contents: contents{}}
}

// addf reports a problem with the field at path. It reports nothing when this field, a field around it or a field inside it
// already has a problem: the second problem is usually a result of the first. Arguments must not be values of the
// configuration.
func (r *report) addf(path, format string, args ...any) {
	r.addAtf(r.place(path), path, format, args...)
}

// addAtf is like addf, with a place that is not the field's.
func (r *report) addAtf(at place, path, format string, args ...any) {
	if len(r.problems) >= maxProblems || r.known(path) {
		return
	}
	r.problems = append(r.problems, Problem{
		File: r.file, Line: at.line, Column: at.column, Path: path, Reason: fmt.Sprintf(format, args...),
	})
}

func (r *report) known(path string) bool {
	return slices.ContainsFunc(r.problems, func(p Problem) bool {
		return p.Path == path || within(p.Path, path) || within(path, p.Path)
	})
}

// within reports whether the field at inner is inside the field at outer. It reports false when outer is the file itself.
func within(inner, outer string) bool {
	rest, ok := strings.CutPrefix(inner, outer)
	return ok && outer != "" && rest != "" && (rest[0] == '.' || rest[0] == '[')
}

// place returns the place of the field at path or, when it is not in the file, of the nearest field around it.
func (r *report) place(path string) place {
	for {
		if at, ok := r.places[path]; ok {
			return at
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
}

// err returns the reported problems as [*Error], or nil.
func (r *report) err() error {
	if len(r.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(r.problems, Problem.Compare)
	return &Error{Problems: r.problems}
}
