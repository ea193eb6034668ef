package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/webhook-bridge/bridge/internal/schema"
)

// maxReferenced is the largest size, in bytes, of a file that a reference or a TLS setting names.
const maxReferenced = 1 << 20

var (
	errNotRegular = errors.New("is not a regular file")
	errTooLarge   = errors.New("is larger than " + schema.FormatSize(maxReferenced))
)

// expander replaces references in scalars. Its errors name variables, never values.
type expander struct {
	env      func(string) (string, bool)
	readFile func(string) ([]byte, error)
	// referred, if set, is called with the path of each file that a reference names.
	referred func(string)
}

// expand replaces ${NAME}, ${NAME:-default} and ${file:PATH}. $$ becomes a dollar sign; any other $ stays as it is.
func (x expander) expand(text string) (string, error) {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "$")
		b.WriteString(before)
		switch {
		case !found:
			return b.String(), nil
		case strings.HasPrefix(rest, "$"):
			b.WriteByte('$')
			text = rest[1:]
		case strings.HasPrefix(rest, "{"):
			reference, after, closed := strings.Cut(rest[1:], "}")
			if !closed {
				return "", errors.New(`a reference has no closing brace; write "$$" for a dollar sign`)
			}
			value, err := x.lookUp(reference)
			if err != nil {
				return "", err
			}
			b.WriteString(value)
			text = after
		default:
			b.WriteByte('$')
			text = rest
		}
	}
}

// lookUp returns the value of a reference, given without its braces.
func (x expander) lookUp(reference string) (string, error) {
	if path, ok := strings.CutPrefix(reference, "file:"); ok {
		return x.file(path)
	}
	name, fallback, hasFallback := strings.Cut(reference, ":-")
	if !validVariable(name) {
		return "", errors.New("a reference must be ${NAME}, ${NAME:-default} or ${file:/path}")
	}
	if strings.Contains(fallback, "${") {
		return "", errors.New("a reference's default cannot hold another reference")
	}
	value, ok := x.env(name)
	switch {
	case hasFallback && value == "":
		return fallback, nil
	case !ok:
		return "", fmt.Errorf("environment variable %s is not set", name)
	case !utf8.ValidString(value):
		return "", fmt.Errorf("environment variable %s is not UTF-8 text", name)
	}
	return value, nil
}

func (x expander) file(path string) (string, error) {
	if path == "" {
		return "", errors.New("a file reference has no path")
	}
	if x.referred != nil {
		x.referred(path)
	}
	data, err := x.readFile(path)
	if err != nil {
		return "", fmt.Errorf("the file it refers to %w", fileReason(err))
	}
	if !utf8.Valid(data) {
		return "", errors.New("the file it refers to is not UTF-8 text")
	}
	// Editors and echo end a file with a newline that is not part of the secret.
	return strings.TrimRight(string(data), "\r\n"), nil
}

func validVariable(name string) bool {
	for i, c := range []byte(name) {
		letter := c == '_' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}

// readBounded reads a regular file of at most maxReferenced bytes. It refuses other files: to read them could block or never
// end.
func readBounded(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errNotRegular
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxReferenced+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxReferenced {
		return nil, errTooLarge
	}
	return data, nil
}

// fileReason returns the reason why a file could not be read, as words that follow "the file". It leaves out the path, which
// is a value of the configuration.
func fileReason(err error) error {
	var pathErr *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("does not exist")
	case errors.Is(err, fs.ErrPermission):
		return errors.New("may not be read")
	case errors.As(err, &pathErr):
		return fmt.Errorf("cannot be read: %w", pathErr.Err)
	}
	return err
}

// Expand replaces the references in a text as in a configuration: ${NAME}, ${NAME:-default} and ${file:PATH}. Its errors name variables and
// files, never values.
func Expand(text string, env func(string) (string, bool)) (string, error) {
	return expander{env: env, readFile: readBounded}.expand(text)
}
