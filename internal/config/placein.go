package config

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// scalarSource is a scalar's text, and how it stands in the file.
type scalarSource struct {
	text  string
	style yaml.Style
}

// placeIn returns the place of a line and a column of the text of the field at path. It is the field's own place where the text does not
// stand in the file as it is: folded, with escapes, or with references.
func (r *report) placeIn(path string, line, column int) place {
	at := r.place(path)
	scalar, known := r.texts[path]
	lines := strings.Split(scalar.text, "\n")
	if !known || line < 1 || line > len(lines) || column < 1 {
		return at
	}
	first := at.line
	if scalar.style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		first++ // behind the line of the indicator
	}
	source := r.line(first + line - 1)
	start := strings.Index(source, lines[line-1])
	if start < 0 || lines[line-1] == "" {
		return at
	}
	return place{first + line - 1, len([]rune(source[:start])) + column}
}

// line returns a line of the file, counted from 1.
func (r *report) line(n int) string {
	for text := range strings.Lines(string(r.source)) {
		if n--; n == 0 {
			return text
		}
	}
	return ""
}
