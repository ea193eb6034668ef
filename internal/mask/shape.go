package mask

import (
	"unicode"
	"unicode/utf8"
)

// maxShape is the length of the longest Shape, in bytes.
const maxShape = 200

// Shape returns b with letters as x and digits as 0, cut to 200 bytes. ASCII punctuation and white space stay. All other bytes,
// also invalid UTF-8, count as letters, so the result is always UTF-8.
func Shape(b []byte) string {
	out := appendShape(nil, b[:min(len(b), maxShape*utf8.UTFMax)])
	end := min(len(out), maxShape)
	for end < len(out) && !utf8.RuneStart(out[end]) {
		end--
	}
	return string(out[:end])
}

// appendShape appends the shape of b, which is not longer than b.
func appendShape(dst, b []byte) []byte {
	for i := 0; i < len(b); {
		c := b[i]
		if c < utf8.RuneSelf {
			dst = append(dst, shapeOfASCII(c))
			i++
			continue
		}
		r, size := utf8.DecodeRune(b[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			dst = append(dst, 'x')
		case unicode.IsNumber(r):
			dst = append(dst, '0')
		case unicode.IsPunct(r) || unicode.IsSpace(r):
			dst = append(dst, b[i:i+size]...)
		default:
			dst = append(dst, 'x')
		}
		i += size
	}
	return dst
}

func shapeOfASCII(c byte) byte {
	switch {
	case 'a' <= c|0x20 && c|0x20 <= 'z':
		return 'x'
	case '0' <= c && c <= '9':
		return '0'
	default:
		return c
	}
}
