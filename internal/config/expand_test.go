package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestExpand(t *testing.T) {
	env := map[string]string{"A": "a", "EMPTY": "", "_b2": "b", "DOLLAR": "$A ${A}", "LATIN": "\xe9"}
	x := expander{
		env: func(name string) (string, bool) { value, ok := env[name]; return value, ok },
		readFile: func(path string) ([]byte, error) {
			switch path {
			case "/token":
				return []byte("token\r\n"), nil
			case "/lines":
				return []byte("\none\ntwo\n\n"), nil
			case "/forbidden":
				return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrPermission}
			case "/broken":
				return nil, &fs.PathError{Op: "read", Path: path, Err: errors.New("input/output error")}
			}
			return nil, fs.ErrNotExist
		},
	}
	for _, test := range []struct{ in, want, err string }{
		{in: ""},
		{in: "plain", want: "plain"},
		{in: "${A}", want: "a"},
		{in: "x${A}y${_b2}z", want: "xaybz"},
		{in: "${EMPTY}"},
		{in: "${EMPTY:-default}", want: "default"},
		{in: "${UNSET:-default}", want: "default"},
		{in: "${UNSET:-}"},
		{in: "${A:-default}", want: "a"},
		{in: "${UNSET:-:-$x}", want: ":-$x"},
		{in: "${file:/token}", want: "token"},
		{in: "Bearer ${file:/token}", want: "Bearer token"},
		{in: "${file:/lines}", want: "\none\ntwo"},
		// The value of a reference is not expanded again.
		{in: "${DOLLAR}", want: "$A ${A}"},
		{in: "$$", want: "$"},
		{in: "$${A}", want: "${A}"},
		{in: "$$$${A}", want: "$${A}"},
		{in: "$$${A}", want: "$a"},
		{in: "$A costs $5 or 5$", want: "$A costs $5 or 5$"},
		{in: "${UNSET}", err: "environment variable UNSET is not set"},
		{in: "${A}${UNSET}", err: "environment variable UNSET is not set"},
		{in: "${LATIN}", err: "environment variable LATIN is not UTF-8 text"},
		{in: "${A", err: `a reference has no closing brace; write "$$" for a dollar sign`},
		{in: "${}", err: "a reference must be ${NAME}, ${NAME:-default} or ${file:/path}"},
		{in: "${2}", err: "a reference must be ${NAME}, ${NAME:-default} or ${file:/path}"},
		{in: "${A-b}", err: "a reference must be ${NAME}, ${NAME:-default} or ${file:/path}"},
		{in: "${ A }", err: "a reference must be ${NAME}, ${NAME:-default} or ${file:/path}"},
		{in: "${UNSET:-${A}}", err: "a reference's default cannot hold another reference"},
		{in: "${file:}", err: "a file reference has no path"},
		{in: "${file:/absent}", err: "the file it refers to does not exist"},
		{in: "${file:/forbidden}", err: "the file it refers to may not be read"},
		{in: "${file:/broken}", err: "the file it refers to cannot be read: input/output error"},
	} {
		got, err := x.expand(test.in)
		if got != test.want || (err != nil || test.err != "") && fmt.Sprint(err) != test.err {
			t.Errorf("expand(%q) = %q, %v; want %q, %s", test.in, got, err, test.want, test.err)
		}
	}
}

func TestReadBounded(t *testing.T) {
	dir := t.TempDir()
	full, over := filepath.Join(dir, "full"), filepath.Join(dir, "over")
	write(t, full, strings.Repeat("x", maxReferenced))
	write(t, over, strings.Repeat("x", maxReferenced+1))
	link := filepath.Join(dir, "link")
	if err := os.Symlink(full, link); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		path string
		size int
		err  error
	}{
		{path: full, size: maxReferenced},
		{path: link, size: maxReferenced}, // as Kubernetes mounts secrets
		{path: over, err: errTooLarge},
		{path: dir, err: errNotRegular},
		{path: os.DevNull, err: errNotRegular},
		{path: filepath.Join(dir, "absent"), err: fs.ErrNotExist},
	} {
		data, err := readBounded(test.path)
		if len(data) != test.size || !errors.Is(err, test.err) {
			t.Errorf("%s: %d bytes, %v; want %d, %v", test.path, len(data), err, test.size, test.err)
		}
	}
}
