package encoding

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// MaxLayers is how many encodings a body may have.
const MaxLayers = 4

// ErrUnknown means that a body is encoded in a way that cannot be undone.
var ErrUnknown = errors.New("the content encoding is unknown")

// coding is a way to encode bytes.
type coding uint8

const (
	// flated is gzip, zlib or raw deflate, as the data show. Raw deflate has no sign, so only rawFlated allows it.
	flated coding = iota + 1
	rawFlated
	brotlied
	zstded
)

var codings = map[string]coding{
	"gzip": flated, "x-gzip": flated, "gz": flated,
	"deflate": rawFlated, "x-deflate": rawFlated, "zlib": rawFlated, "x-zlib": rawFlated,
	"br": brotlied, "x-br": brotlied, "brotli": brotlied,
	"zstd": zstded, "x-zstd": zstded, "zstandard": zstded,
}

// Chain has the encodings that a Content-Encoding header names. The zero value has none.
type Chain struct {
	// layers in the order in which they were applied.
	layers [MaxLayers]coding
	n      int
	// framed: the body may have the frames of aws-chunked. They are the outermost, wherever the header names them.
	framed bool
	// ignored: the header has a name that encodes no bytes, except identity.
	ignored bool
	// shown: the data show their encodings, see [Shown].
	shown bool
}

// Parse reads the values of a request's Content-Encoding headers, in their order. The error is [ErrUnknown].
func Parse(values []string) (c Chain, err error) {
	for _, value := range values {
		for name := range strings.SplitSeq(value, ",") {
			if err := c.add(name); err != nil {
				return Chain{}, err
			}
		}
	}
	return c, nil
}

func (c *Chain) add(element string) error {
	name, _, _ := strings.Cut(element, ";")
	name = strings.ToLower(strings.Trim(name, " \t\""))
	layer, known := codings[name]
	switch {
	case known && c.n == MaxLayers:
		return fmt.Errorf("%w: it has more than %d layers", ErrUnknown, MaxLayers)
	case known:
		c.layers[c.n] = layer
		c.n++
	case name == "", name == "identity":
	case name == "aws-chunked", name == "chunked":
		c.framed = true
	case encodesNothing(name):
		c.ignored = true
	default:
		return fmt.Errorf("%w: %.64q", ErrUnknown, name)
	}
	return nil
}

// words are what senders write where there is no encoding.
var words = []string{
	"none", "null", "nil", "no", "off", "false", "0", "yes", "on", "true", "1", "undefined", "default", "auto", "plain", "raw", "text", "string", "utf", "unicode",
	"json", "xml", "html", "form", "binary", "7bit", "8bit", "amz-1.0", "*",
}

// charset matches names of charsets, by family.
var charset = regexp.MustCompile(`^(?:x-)?(?:utf|ucs|us-?ascii|ascii|ansi|iso[-_]?(?:8859|10646|2022|646)|latin|windows|cp|ibm|koi8|mac|` +
	`gbk|gb[-_]?(?:2312|18030)|big5|euc|shift[-_]?jis|sjis|tis-?620)[-_:]?[a-z0-9:_-]*$`)

// encodesNothing reports whether a name is known to be no encoding of bytes.
func encodesNothing(name string) bool {
	return slices.Contains(words, name) || strings.ContainsAny(name, "/=") || charset.MatchString(name)
}
