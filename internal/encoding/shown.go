package encoding

import (
	"bytes"
	"fmt"
)

// Shown returns the encodings that data show by their first bytes, for a body whose Content-Encoding headers, values, a
// stranger may have changed. A signature covers the bytes of a body and seldom its headers: a body that is JSON and also a
// stream of raw deflate would become another webhook. gzip, zlib and zstd show themselves; JSON and forms never begin as they
// do. The error is [ErrUnknown] if the headers name an encoding, and the data are neither text nor show an encoding.
func Shown(values []string, data []byte) (Chain, error) {
	if _, ok := shownCoding(data); ok {
		return Chain{shown: true}, nil
	}
	if len(values) == 0 {
		return Chain{}, nil
	}
	named, err := Parse(values)
	isNamed := err != nil || named.n > 0 || named.framed
	if isNamed && !looksLikeText(data) {
		return Chain{}, fmt.Errorf("%w: the signature does not cover its name, and the body does not show it", ErrUnknown)
	}
	return Chain{ignored: isNamed || named.ignored}, nil
}

// shownCoding returns the encoding that the first bytes show.
func shownCoding(head []byte) (coding, bool) {
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b, 8}):
		return flated, true
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return zstded, true
	// The header of zlib with the usual window and no dictionary. At some levels it is the text "x^".
	case len(head) > 1 && head[0] == 0x78 && (int(head[0])<<8+int(head[1]))%31 == 0 && head[1]&0x20 == 0 && !isPrintable(head):
		return flated, true
	}
	return 0, false
}

// looksLikeText reports whether data may be JSON or a form.
func looksLikeText(data []byte) bool {
	if !isEncoded(data[:min(len(data), headSize)]) {
		return true
	}
	return isPrintable(data)
}

// isPrintable reports whether the first bytes are printable ASCII or white space.
func isPrintable(data []byte) bool {
	for _, c := range data[:min(len(data), 16)] {
		if c < ' ' && c != '\t' && c != '\n' && c != '\r' || c > '~' {
			return false
		}
	}
	return true
}

// openShown opens a layer for each encoding that the data show. Only the outermost may have a large window.
func (d *decoder) openShown(src source, head []byte, limit int64, result *Result) error {
	for i := range MaxLayers {
		coding, ok := shownCoding(head)
		if !ok || i > 0 && coding == zstded {
			return nil
		}
		if err := d.push().open(coding, src, head); err != nil {
			return corrupt(err)
		}
		result.Decoded = true
		var err error
		if src, head, err = d.next(limit); err != nil {
			return err
		}
	}
	return nil
}
