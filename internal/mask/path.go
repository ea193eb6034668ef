package mask

import (
	"slices"
	"strconv"
	"strings"
)

// Path returns a JSON path, as the decoder writes it. It shapes the names that [JSON] would not show, with each run of letters
// or digits as one character: `$.phones["x@x.x"].kind`. So paths with data as names become few, for any length of the data.
// Paths of declared fields stay.
func Path(path string) string {
	var out strings.Builder
	for rest := path; rest != ""; {
		step := stepOf(rest)
		rest = rest[len(step):]
		out.WriteString(maskedStep(step))
	}
	return out.String()
}

// stepOf returns the first step of a path: "$", ".name", `["na.me"]`, "[3]" or "[]".
func stepOf(path string) string {
	if name, ok := strings.CutPrefix(path, "["); ok {
		if quoted, err := strconv.QuotedPrefix(name); err == nil && strings.HasPrefix(name[len(quoted):], "]") {
			return path[:1+len(quoted)+1]
		}
	}
	if end := strings.IndexAny(path[1:], ".["); end >= 0 {
		return path[:1+end]
	}
	return path
}

func maskedStep(step string) string {
	if step == "$" {
		return step
	}
	if name, ok := strings.CutPrefix(step, "."); ok {
		if isName([]byte(name)) {
			return step
		}
		return "." + shapeOfName([]byte(name))
	}
	if quoted := strings.TrimSuffix(strings.TrimPrefix(step, "["), "]"); quoted != "" && quoted[0] == '"' {
		if name, err := strconv.Unquote(quoted); err == nil && isName([]byte(name)) {
			return step
		}
	}
	if _, err := strconv.ParseUint(strings.Trim(step, "[]"), 10, 32); err == nil || step == "[]" {
		return step
	}
	return shapeOfName([]byte(step))
}

func shapeOfName(name []byte) string {
	same := func(a, b byte) bool { return a == b && (a == 'x' || a == '0') }
	return string(slices.CompactFunc([]byte(Shape(name)), same))
}
