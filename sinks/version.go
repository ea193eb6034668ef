package sinks

import (
	"cmp"
	"math"
	"strconv"
	"strings"
)

// CompareVersions returns a negative number if a is older than b, a positive one if it is newer, and 0 if they are equal. Two
// numbers compare by their exact values: 9 is older than 10, and 1.0 equals 1. Everything else compares as text, byte by byte.
// A number is an optional sign, digits with an optional point between them, and an optional exponent.
func CompareVersions(a, b string) int {
	x, ok := parseNumber(a)
	if !ok {
		return strings.Compare(a, b)
	}
	y, ok := parseNumber(b)
	if !ok {
		return strings.Compare(a, b)
	}
	return x.compare(y)
}

// number is a decimal number: ±0.digits · 10^exponent.
type number struct {
	negative bool
	// whole and fraction are the digits in front of the point and behind it, without the zeros at both ends. Both are empty for zero.
	whole, fraction string
	exponent        int64
}

// maxExponent is the longest exponent of a number, in digits.
const maxExponent = 17

func parseNumber(s string) (n number, ok bool) {
	if s != "" && (s[0] == '-' || s[0] == '+') {
		n.negative = s[0] == '-'
		s = s[1:]
	}
	n.whole, s = cutDigits(s)
	if n.whole == "" {
		return n, false
	}
	if strings.HasPrefix(s, ".") {
		if n.fraction, s = cutDigits(s[1:]); n.fraction == "" {
			return n, false
		}
	}
	if s != "" {
		if n.exponent, ok = parseExponent(s); !ok {
			return n, false
		}
	}
	n.normalize()
	return n, true
}

func cutDigits(s string) (digits, rest string) {
	i := 0
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	return s[:i], s[i:]
}

func parseExponent(s string) (int64, bool) {
	if s[0] != 'e' && s[0] != 'E' {
		return 0, false
	}
	digits := s[1:]
	if digits != "" && (digits[0] == '-' || digits[0] == '+') {
		digits = digits[1:]
	}
	if all, rest := cutDigits(digits); all == "" || rest != "" {
		return 0, false
	}
	if len(strings.TrimLeft(digits, "0")) > maxExponent {
		return 0, false
	}
	e, err := strconv.ParseInt(s[1:], 10, 64)
	return e, err == nil
}

// normalize removes the zeros at both ends, so that equal numbers have equal digits and exponents.
func (n *number) normalize() {
	n.whole = strings.TrimLeft(n.whole, "0")
	n.exponent += int64(len(n.whole))
	if n.whole == "" {
		all := len(n.fraction)
		n.fraction = strings.TrimLeft(n.fraction, "0")
		n.exponent -= int64(all - len(n.fraction))
	}
	if n.fraction = strings.TrimRight(n.fraction, "0"); n.fraction == "" {
		n.whole = strings.TrimRight(n.whole, "0")
	}
	if n.whole == "" && n.fraction == "" {
		*n = number{exponent: math.MinInt64} // less than every other, with either sign
	}
}

func (n number) compare(o number) int {
	switch {
	case n.negative != o.negative:
		return cmp.Compare(n.sign(), o.sign())
	case n.negative:
		return o.compareSize(n)
	default:
		return n.compareSize(o)
	}
}

func (n number) sign() int {
	switch {
	case n.negative:
		return -1
	case n.whole == "" && n.fraction == "":
		return 0
	default:
		return 1
	}
}

// compareSize compares without the sign.
func (n number) compareSize(o number) int {
	if c := cmp.Compare(n.exponent, o.exponent); c != 0 {
		return c
	}
	for i := range max(n.len(), o.len()) {
		if c := cmp.Compare(n.digit(i), o.digit(i)); c != 0 {
			return c
		}
	}
	return 0
}

func (n number) len() int { return len(n.whole) + len(n.fraction) }

// digit is the i-th digit. Behind the last there are zeros.
func (n number) digit(i int) byte {
	switch {
	case i < len(n.whole):
		return n.whole[i]
	case i < n.len():
		return n.fraction[i-len(n.whole)]
	default:
		return '0'
	}
}
