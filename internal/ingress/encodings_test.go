package ingress

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"strconv"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/source"
)

// encoders compress a body as the encoding with the name does. Some senders call raw deflate deflate.
var encoders = map[string]func(io.Writer) (io.WriteCloser, error){
	"deflate":     func(w io.Writer) (io.WriteCloser, error) { return zlib.NewWriter(w), nil },
	"raw deflate": func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestSpeed) },
	"br":          func(w io.Writer) (io.WriteCloser, error) { return brotli.NewWriter(w), nil },
	"zstd":        func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) },
}

func encoded(tb testing.TB, encoder string, data []byte) []byte {
	tb.Helper()
	if encoder == "gzip" {
		return zipped(tb, data)
	}
	var b bytes.Buffer
	w, err := encoders[encoder](&b)
	if err == nil {
		_, err = w.Write(data)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// TestContentEncodings: what can be decoded becomes events, and a name that encodes no bytes changes nothing. What cannot be
// decoded is kept as it was received.
func TestContentEncodings(t *testing.T) {
	plain := []byte(shipment("s1"))
	gz := zipped(t, plain)
	good := "shipping.ordered shipment/s1"
	for _, tt := range []struct {
		name    string
		headers []string
		body    []byte
		want    string
		ignored float64
	}{
		{"deflate", []string{"deflate"}, encoded(t, "deflate", plain), good, 0},
		{"raw deflate", []string{"Deflate"}, encoded(t, "raw deflate", plain), good, 0},
		{"br", []string{"br"}, encoded(t, "br", plain), good, 0},
		{"zstd", []string{"ZSTD"}, encoded(t, "zstd", plain), good, 0},
		{"x-gzip", []string{"X-GZip"}, gz, good, 0},
		{"gzip twice", []string{"gzip, gzip"}, zipped(t, gz), good, 0},
		{"two headers", []string{"gzip", "br"}, encoded(t, "br", gz), good, 0},
		{"identity and empty elements", []string{"identity,, gzip ,"}, gz, good, 0},
		{"utf-8", []string{"utf-8"}, plain, good, 1},
		{"UTF8 and gzip", []string{"UTF8", "gzip"}, gz, good, 1},
		{"a media type", []string{"application/json"}, plain, good, 1},
		{"aws-chunked without frames", []string{"aws-chunked"}, plain, good, 1},
		{"aws-chunked", []string{"aws-chunked"}, frame(plain), good, 0},
		{"aws-chunked and gzip", []string{"aws-chunked,gzip"}, frame(gz), good, 0},
		{"gzip, but a proxy has decoded it", []string{"gzip"}, plain, good, 1},
		{"gzip twice, but once", []string{"gzip, gzip"}, gz, good, 1},
		{"a form", []string{"br"}, encoded(t, "br", []byte("payload="+url.QueryEscape(string(plain)))), good, 0},
		{"unknown", []string{"compress"}, plain, " unknown_encoding", 0},
		{"unknown among others", []string{"gzip, lzma"}, gz, " unknown_encoding", 0},
		{"too many", []string{"gzip,gzip,gzip,gzip,gzip"}, gz, " unknown_encoding", 0},
		{"cut off", []string{"br"}, encoded(t, "br", plain)[:20], " corrupt_encoding", 0},
		{"more after the end", []string{"zstd"}, append(encoded(t, "zstd", plain), "more"...), " corrupt_encoding", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newShop(t)
			h := http.Header{"Content-Encoding": tt.headers}
			if tt.name == "a form" {
				h.Set("Content-Type", "application/x-www-form-urlencoded")
			}
			wantSuccess(t, e, "shop", e.post("/webhooks/shop", h, tt.body))
			wantStored(t, e, tt.want)
			if got := e.value(t, "bridge_content_encoding_ignored_total", "shop"); got != tt.ignored {
				t.Errorf("%v were ignored", got)
			}
			w := e.book.last(t).Webhook
			if tt.want == good {
				return
			}
			if w.GetEncoding() != journalv1.Encoding_ENCODING_RAW || !bytes.Equal(w.GetBody(), tt.body) {
				t.Errorf("%v %q is not what was received", w.GetEncoding(), w.GetBody())
			}
		})
	}
}

// frame puts a body into one chunk, as Amazon S3 does.
func frame(data []byte) []byte {
	const signature = ";chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n"
	var b bytes.Buffer
	b.WriteString(strconv.FormatInt(int64(len(data)), 16) + signature)
	b.Write(data)
	b.WriteString("\r\n0" + signature + "\r\n")
	return b.Bytes()
}

// TestBombs: the source's limit holds for what comes out of each encoding, not only for the last one. The memory is little
// more than the limit.
func TestBombs(t *testing.T) {
	zeros := make([]byte, 64*mebi)
	for name, bomb := range map[string][]byte{
		"gzip":       encoded(t, "gzip", zeros),
		"deflate":    encoded(t, "deflate", zeros),
		"x-deflate":  encoded(t, "raw deflate", zeros),
		"br":         encoded(t, "br", zeros),
		"zstd":       encoded(t, "zstd", zeros),
		"gzip, gzip": zipped(t, zipped(t, zeros)),
		"gzip, br":   encoded(t, "br", zipped(t, zeros)),
	} {
		t.Run(name, func(t *testing.T) {
			e := newShop(t, func(s *source.Source) { s.Limits.Body = mebi })
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			w := e.post("/webhooks/shop", http.Header{"Content-Encoding": {name}}, bomb)
			runtime.ReadMemStats(&after)
			if w.Code != http.StatusRequestEntityTooLarge {
				t.Errorf("answer %d", w.Code)
			}
			if n := len(e.book.all()); n != 0 {
				t.Errorf("%d webhooks were stored", n)
			}
			made := (after.TotalAlloc - before.TotalAlloc) / kibi
			t.Logf("%d KiB would become 64 MiB, and %d KiB were allocated", len(bomb)/kibi, made)
			if made > 32*kibi {
				t.Errorf("%d KiB were allocated", made)
			}
			budget := e.endpoint("shop").bodies.bytes
			if !budget.TryAcquire(bodiesBudget(&e.endpoint("shop").Source)) {
				t.Error("not all bytes were released")
			}
		})
	}
}
