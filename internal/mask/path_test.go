package mask

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestPath(t *testing.T) {
	tests := []struct{ in, want string }{
		{``, ``},
		{`$`, `$`},
		{`$.data.items[3].__price._t`, `$.data.items[3].__price._t`},
		{`$[12].items[].sku`, `$[12].items[].sku`},
		{`$.příliš.@type.$ref`, `$.příliš.@type.$ref`},
		{`$["a.b"][0]`, `$["a.b"][0]`},
		{`$["jan@novak.cz"].name`, `$["x@x.x"].name`},
		{`$["eva.novakova2@firma.co.uk"]`, `$["x.x0@x.x.x"]`},
		{`$["Jan Novák"]["a]\"[1"].x`, `$["x x"]["x]\"[0"].x`},
		{`$.777123456.xx`, `$.0.xx`},
		{`$["--..\\\\"]`, `$["--..\\\\"]`},
		{`$[""].x`, `$[""].x`},
		// Text is shaped from the byte at which it is not a path.
		{`Jan 7`, `x 0`},
		{`$["Jan`, `$["x`},
		{`$[Jan]`, `$[x]`},
		{`$["a"Jan]`, `$["x"x]`},
		{`$.a b`, `$.x x`},
	}
	for _, tt := range tests {
		if got := Path(tt.in); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.in, got, tt.want)
		}
	}
}

// FuzzPath: a path never grows, stays UTF-8, and gets no new characters but x and 0.
func FuzzPath(f *testing.F) {
	for _, s := range []string{`$.a[1]["b.c"].7`, `$["x\""]`, `[`, `.`, `$..`, "$.\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		got := Path(path)
		if len(got) > len(path) || utf8.ValidString(path) && !utf8.ValidString(got) {
			t.Fatalf("%q: %q", path, got)
		}
		for _, r := range got {
			if r != 'x' && r != '0' && !strings.ContainsRune(path, r) {
				t.Fatalf("%q: %q has %q", path, got, r)
			}
		}
	})
}
