package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// maxProblems bounds a report: nobody reads further, and a hostile file cannot make it large.
const maxProblems = 100

// Problem is one thing that is wrong with a configuration. It never holds a value.
type Problem struct {
	// File is the name of the file.
	File string
	// Line and Column count from 1. Column is 0 where only the line is known, both are where neither is.
	Line, Column int
	// Path is the field, such as "sources[3].time_zone". Empty when it is about the file.
	Path string
	// Reason is for people.
	Reason string
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

// Error is everything that is wrong with a configuration, in the file's order.
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

// place is where something stands in the file.
type place struct{ line, column int }

// report collects problems and knows where fields are.
type report struct {
	file     string
	places   map[string]place
	problems []Problem
}

func newReport(file string) *report {
	return &report{file: file, places: map[string]place{"": {1, 1}}}
}

// addf reports a problem with the field at path, unless the field, one above or one below already has one: what is wrong
// first makes the rest wrong. Arguments must not be values of the configuration.
func (r *report) addf(path, format string, args ...any) {
	r.addAtf(r.place(path), path, format, args...)
}

// addAtf is addf for a place that is not the field's.
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

// within reports whether the field at inner lies in the one at outer. The file itself does not count.
func within(inner, outer string) bool {
	rest, ok := strings.CutPrefix(inner, outer)
	return ok && outer != "" && rest != "" && (rest[0] == '.' || rest[0] == '[')
}

// place is where the field at path stands or, when it is not in the file, the nearest field around it.
func (r *report) place(path string) place {
	for {
		if at, ok := r.places[path]; ok {
			return at
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
}

// err returns what was reported, or nil.
func (r *report) err() error {
	if len(r.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(r.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Path, b.Path))
	})
	return &Error{Problems: r.problems}
}
