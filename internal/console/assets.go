package console

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"
	"path"
	"strings"
)

//go:embed static/console.css static/console.js static/htmx.min.js static/icon.svg
var staticFiles embed.FS

// assets serves the embedded files. Their names have a hash of their content, so that browsers keep them for good.
type assets struct {
	byName map[string]asset
	// urls are the hashed URLs, by the files' own names.
	urls map[string]string
}

type asset struct {
	kind            string
	content, packed []byte
}

var kinds = map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}

func newAssets() *assets {
	a := &assets{byName: map[string]asset{}, urls: map[string]string{}}
	entries, _ := staticFiles.ReadDir("static") // an embedded folder can be read
	for _, e := range entries {
		content, _ := staticFiles.ReadFile("static/" + e.Name())
		sum := sha256.Sum256(content)
		ext := path.Ext(e.Name())
		hashed := strings.TrimSuffix(e.Name(), ext) + "." + hex.EncodeToString(sum[:6]) + ext
		a.byName[hashed] = asset{kinds[ext], content, pack(content)}
		a.urls[e.Name()] = Path + "static/" + hashed
	}
	return a
}

func pack(content []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(content) // to memory
	_ = w.Close()
	return b.Bytes()
}

// url returns the URL of an embedded file.
func (a *assets) url(name string) string { return a.urls[name] }

// ServeHTTP implements [http.Handler].
func (a *assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	file, ok := a.byName[r.PathValue("name")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", file.kind)
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	w.Header().Set("Vary", "Accept-Encoding")
	content := file.content
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.Header().Set("Content-Encoding", "gzip")
		content = file.packed
	}
	_, _ = w.Write(content)
}
