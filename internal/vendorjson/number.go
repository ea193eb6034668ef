package vendorjson

import (
	"bytes"
	"strconv"
	"strings"
)

// maxDigits is the number of digits of the largest 64-bit integer.
const maxDigits = 20

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// digits returns the end of the digits that start at i.
func digits(b []byte, i int) int {
	for i < len(b) && isDigit(b[i]) {
		i++
	}
	return i
}

// numberEnd returns the end of the JSON number that starts at i, or the place of its error. A zero before other digits ends
// there.
func numberEnd(b []byte, i int) (end int, ok bool) {
	if i < len(b) && b[i] == '-' {
		i++
	}
	switch {
	case i < len(b) && b[i] == '0':
		i++
	case i < len(b) && isDigit(b[i]):
		i = digits(b, i+1)
	default:
		return i, false
	}
	if i < len(b) && b[i] == '.' {
		start := i + 1
		if i = digits(b, start); i == start {
			return i, false
		}
	}
	return exponentEnd(b, i)
}

// exponentEnd returns where the exponent that may start at i ends.
func exponentEnd(b []byte, i int) (end int, ok bool) {
	if i >= len(b) || b[i]|0x20 != 'e' {
		return i, true
	}
	i++
	if i < len(b) && (b[i] == '+' || b[i] == '-') {
		i++
	}
	start := i
	i = digits(b, start)
	return i, i > start
}

// isNumber reports whether all of b is a JSON number.
func isNumber(b []byte) bool {
	end, ok := numberEnd(b, 0)
	return ok && end == len(b)
}

// isDecimal reports whether all of b is a number in the form of google.type.Decimal, which allows more than JSON: "+1", "007",
// ".5".
func isDecimal(b []byte) bool {
	i := 0
	if i < len(b) && (b[i] == '+' || b[i] == '-') {
		i++
	}
	start := i
	i = digits(b, i)
	n := i - start
	if i < len(b) && b[i] == '.' {
		start = i + 1
		i = digits(b, start)
		n += i - start
	}
	end, ok := exponentEnd(b, i)
	return ok && n > 0 && end == len(b)
}

// maxPrinted bounds a printed number, in bytes.
const maxPrinted = 64

// isPrinted reports whether b may be a number as people print it, such as "$1,234.00" or "5,00 Kč": it has a digit, and is short.
// Only the connector knows whether it has one meaning, and which.
func isPrinted(b []byte) bool { return len(b) <= maxPrinted && bytes.ContainsAny(b, "0123456789") }

// integer parses a JSON number with a whole value, also "1e3" and "10.0": its sign and its 64-bit magnitude. ok is false for a
// fraction and for a number that does not fit. b must be a JSON number.
func integer(b []byte) (negative bool, magnitude uint64, ok bool) {
	if b[0] == '-' {
		negative, b = true, b[1:]
	}
	if len(b) > 19 {
		magnitude, ok = wideInteger(b)
		return negative, magnitude, ok
	}
	for _, c := range b {
		if !isDigit(c) {
			magnitude, ok = wideInteger(b)
			return negative, magnitude, ok
		}
		magnitude = magnitude*10 + uint64(c-'0')
	}
	return negative, magnitude, true
}

// wideInteger is integer for what has a point, an exponent or many digits.
func wideInteger(b []byte) (uint64, bool) {
	mantissa, exponent := b, []byte(nil)
	if i := bytes.IndexAny(b, "eE"); i >= 0 {
		mantissa, exponent = b[:i], b[i+1:]
	}
	whole, fraction, _ := bytes.Cut(mantissa, []byte("."))
	all := append(bytes.Clone(whole), fraction...)
	significant := bytes.TrimRight(all, "0")
	zeros := len(all) - len(significant) - len(fraction)
	significant = bytes.TrimLeft(significant, "0")
	if len(significant) == 0 {
		return 0, true
	}
	if exponent != nil {
		n, err := strconv.ParseInt(string(exponent), 10, 32)
		if err != nil {
			return 0, false
		}
		zeros += int(n)
	}
	if zeros < 0 || len(significant)+zeros > maxDigits {
		return 0, false
	}
	n, err := strconv.ParseUint(string(significant)+strings.Repeat("0", zeros), 10, 64)
	return n, err == nil
}
