package schema

import (
	"math"
	"strconv"
	"strings"
)

const (
	kibi = 1 << 10
	mebi = 1 << 20
	gibi = 1 << 30
)

var sizeUnits = map[string]float64{
	"": 1, "B": 1,
	"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12,
	"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40,
}

// ParseSize reads a number of bytes such as "512", "64Ki", "1.5Gi" or "2M". It reports false for anything else, for
// less than zero and for more than an int64 holds.
func ParseSize(text string) (int64, bool) {
	end := strings.IndexFunc(text, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	if end < 0 {
		end = len(text)
	}
	unit, ok := sizeUnits[text[end:]]
	if !ok {
		return 0, false
	}
	number, err := strconv.ParseFloat(text[:end], 64)
	if err != nil {
		return 0, false
	}
	// Floats are exact up to 8 PiB, far above any disk's room; a whole number of bytes is all that counts beyond.
	bytes := math.Floor(number * unit)
	if bytes >= math.MaxInt64 {
		return 0, false
	}
	return int64(bytes), true
}

// FormatSize returns the shortest text that a configuration may give for n bytes, such as "8Gi".
func FormatSize(n int64) string {
	for _, unit := range []struct {
		name string
		size int64
	}{{"Gi", gibi}, {"Mi", mebi}, {"Ki", kibi}} {
		if n >= unit.size && n%unit.size == 0 {
			return strconv.FormatInt(n/unit.size, 10) + unit.name
		}
	}
	return strconv.FormatInt(n, 10)
}
