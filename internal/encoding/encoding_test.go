package encoding

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// written returns what a compressing writer makes of the data.
func written(tb testing.TB, data []byte, open func(io.Writer) (io.WriteCloser, error)) []byte {
	tb.Helper()
	var b bytes.Buffer
	w, err := open(&b)
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

func gzipped(tb testing.TB, data []byte) []byte {
	return written(tb, data, func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil })
}

func zlibbed(tb testing.TB, data []byte) []byte {
	return written(tb, data, func(w io.Writer) (io.WriteCloser, error) { return zlib.NewWriter(w), nil })
}

func deflated(tb testing.TB, data []byte) []byte {
	return written(tb, data, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.DefaultCompression) })
}

func brotlify(tb testing.TB, data []byte) []byte {
	return written(tb, data, func(w io.Writer) (io.WriteCloser, error) { return brotli.NewWriter(w), nil })
}

func zstdded(tb testing.TB, data []byte) []byte {
	return written(tb, data, func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) })
}

// chunked frames data as Amazon S3 does.
func chunked(data []byte, extension, trailer string) []byte {
	var b bytes.Buffer
	for chunk := range bytesOf(data, 20) {
		fmt.Fprintf(&b, "%x%s\r\n%s\r\n", len(chunk), extension, chunk)
	}
	fmt.Fprintf(&b, "0%s\r\n%s\r\n", extension, trailer)
	return b.Bytes()
}

func bytesOf(data []byte, size int) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(data) > 0 {
			n := min(size, len(data))
			if !yield(data[:n]) {
				return
			}
			data = data[n:]
		}
	}
}

// decode parses and decodes.
func decode(tb testing.TB, limit int64, data []byte, values ...string) ([]byte, Result, error) {
	tb.Helper()
	c, err := Parse(values)
	if err != nil {
		return nil, Result{}, err
	}
	body := data
	result, err := c.Decode(data, limit, time.Minute, func(r io.Reader) (err error) {
		if body, err = io.ReadAll(io.LimitReader(r, limit+1)); int64(len(body)) > limit {
			return ErrTooLarge
		}
		return err
	})
	return body, result, err
}

const signature = ";chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"

// TestDecode: each encoding, each spelling, and what senders and proxies confuse.
func TestDecode(t *testing.T) {
	t.Parallel()
	text := []byte(`{"event_type":"shipping.ordered","shipping":{"id":"` + strings.Repeat("š1", 700) + `"}}`)
	gz, zl, fl, br, zs := gzipped(t, text), zlibbed(t, text), deflated(t, text), brotlify(t, text), zstdded(t, text)
	skippable := []byte("\x53\x2a\x4d\x18\x03\x00\x00\x00abc")
	for _, tt := range []struct {
		name    string
		data    []byte
		ignored bool
		values  []string
	}{
		{name: "none", data: text},
		{name: "identity", data: text, values: []string{"identity"}},
		{name: "empty elements", data: gz, values: []string{" , ,identity", "", ",gzip,"}},
		{name: "gzip", data: gz, values: []string{"gzip"}},
		{name: "x-gzip in upper case", data: gz, values: []string{" X-GZip\t"}},
		{name: "with a weight, and quoted", data: gz, values: []string{`"gzip";q=1.0`}},
		{name: "gzip of two members", data: append(gzipped(t, text[:9]), gzipped(t, text[9:])...), values: []string{"gzip"}},
		{name: "deflate", data: zl, values: []string{"deflate"}},
		{name: "deflate, raw", data: fl, values: []string{"DEFLATE"}},
		{name: "x-deflate", data: zl, values: []string{"x-deflate"}},
		{name: "deflate that is gzip", data: gz, values: []string{"deflate"}},
		{name: "gzip that is zlib", data: zl, values: []string{"gzip"}},
		{name: "br", data: br, values: []string{"br"}},
		{
			name: "br with the largest window", values: []string{"BR"},
			data: written(t, text, func(w io.Writer) (io.WriteCloser, error) {
				return brotli.NewWriterOptions(w, brotli.WriterOptions{Quality: 9, LGWin: 24}), nil
			}),
		},
		{name: "zstd", data: zs, values: []string{"zstd"}},
		{name: "zstd of two frames", data: append(zstdded(t, text[:9]), zstdded(t, text[9:])...), values: []string{"zstd"}},
		{name: "zstd with frames to skip", data: bytes.Join([][]byte{skippable, zs, skippable}, nil), values: []string{"zstd"}},
		{name: "gzip twice", data: gzipped(t, gz), values: []string{"gzip, gzip"}},
		{name: "gzip twice, in two headers", data: gzipped(t, gz), values: []string{"gzip", "gzip"}},
		{name: "reverse order", data: gzipped(t, brotlify(t, zs)), values: []string{"zstd, br", "identity, gzip"}},
		{name: "four", data: zstdded(t, deflated(t, gzipped(t, brotlify(t, text)))), values: []string{"br,gzip,deflate,zstd"}},
		{name: "aws-chunked", data: chunked(text, signature, ""), values: []string{"aws-chunked"}},
		{name: "aws-chunked, unsigned, with a trailer", data: chunked(text, "", "x-amz-checksum-crc32c:sOO8/Q==\r\n"), values: []string{"aws-chunked"}},
		{name: "aws-chunked without the last line", data: bytes.TrimSuffix(chunked(text, signature, ""), []byte("\r\n")), values: []string{"aws-chunked"}},
		{name: "aws-chunked, gzip", data: chunked(gz, signature, ""), values: []string{"aws-chunked,gzip"}},
		{name: "gzip, aws-chunked", data: chunked(gz, signature, ""), values: []string{"gzip,aws-chunked"}},

		{name: "aws-chunked without frames", data: text, ignored: true, values: []string{"aws-chunked"}},
		{name: "aws-chunked without frames, gzip", data: gz, ignored: true, values: []string{"aws-chunked,gzip"}},
		{name: "gzip decoded by a proxy", data: text, ignored: true, values: []string{"gzip"}},
		{name: "br decoded by a proxy", data: append([]byte("\uFEFF \r\n"), text...), ignored: true, values: []string{"br"}},
		{name: "deflate decoded by a proxy", data: text, ignored: true, values: []string{"deflate"}},
		{name: "zstd decoded by a proxy", data: text, ignored: true, values: []string{"zstd"}},
		{name: "the header doubled by a proxy", data: gz, ignored: true, values: []string{"gzip, gzip"}},
		{name: "nothing, as gzip", data: nil, ignored: true, values: []string{"gzip"}},
		{name: "charset and gzip", data: gz, ignored: true, values: []string{"utf-8, gzip"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			want := text
			if tt.ignored && !bytes.Contains(tt.data, []byte{0x1f, 0x8b}) {
				want = tt.data
			}
			got, result, err := decode(t, int64(len(text)+64), tt.data, tt.values...)
			if err != nil || !bytes.Equal(got, want) || result.Ignored != tt.ignored {
				t.Errorf("%.80q, %+v, %v", got, result, err)
			}
		})
	}
}

// TestNames: what encodes no bytes is ignored, and what may encode bytes is unknown.
func TestNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"utf-8", "UTF8", "utf_8", "x-utf8", "x-mac-roman", "true", "1", "UTF-16LE", "us-ascii", "ISO-8859-1", "iso8859-2", "windows-1250", "cp1252", "latin1", "Shift_JIS", "EUC-JP",
		"gb2312", "koi8-r", "none", "NULL", "undefined", "application/json", "text/plain", "charset=utf-8", "json", "binary", "8bit", "7bit",
		"chunked", "aws-chunked", "amz-1.0",
	} {
		if body, result, err := decode(t, 100, []byte("payload=1"), name); err != nil || !result.Ignored || result.Decoded || string(body) != "payload=1" {
			t.Errorf("%s: %q, %+v, %v", name, body, result, err)
		}
	}
	for _, name := range []string{
		"compress", "x-compress", "exi", "pack200-gzip", "dcb", "dcz", "aes128gcm", "snappy", "lz4", "xz", "lzma", "bzip2", "zip", "base64",
		"gzip\x00", "gzippy", "utf-8 gzip", "br,unknown", "macro-x!", "gzip,gzip,gzip,gzip,gzip",
	} {
		if _, _, err := decode(t, 100, []byte("{}"), name); !errors.Is(err, ErrUnknown) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestCorrupt: data that end early, go on after their end, or are damaged.
func TestCorrupt(t *testing.T) {
	t.Parallel()
	text := []byte(`{"event_type":"shipping.ordered"}` + strings.Repeat(" ", 40_000))
	for name, make := range map[string]func(testing.TB, []byte) []byte{
		"gzip": gzipped, "deflate": zlibbed, "x-deflate": deflated, "br": brotlify, "zstd": zstdded,
		"aws-chunked": func(_ testing.TB, data []byte) []byte { return chunked(data, signature, "") },
	} {
		whole := make(t, text)
		begin, end := 1, len(whole)
		if name == "aws-chunked" { // the first line shows that there are frames, and the last one is not needed
			begin, end = 100, end-len("\r\n")
		}
		for i := begin; i < end; i += 1 + i/50 {
			if body, _, err := decode(t, 1<<20, whole[:i], name); !errors.Is(err, ErrCorrupt) || errors.Is(err, io.EOF) {
				t.Fatalf("%s cut to %d of %d bytes: %.20q, %v", name, i, len(whole), body, err)
			}
		}
		for _, more := range []string{"x", "\x00", "{}", strings.Repeat("\x00", 70_000), "\x1f\x8b"} {
			if body, _, err := decode(t, 1<<20, append(bytes.Clone(whole), more...), name); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s and %.10q: %.20q, %v", name, more, body, err)
			}
		}
		// A chain checks each of its parts to the end.
		inner := gzipped(t, text)
		outer := make(t, append(bytes.Clone(inner), 'x'))
		if _, _, err := decode(t, 1<<20, outer, "gzip,"+name); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s of gzip and more: %v", name, err)
		}
		outer = make(t, inner)
		if _, _, err := decode(t, 1<<20, outer[:len(outer)-3], "gzip,"+name); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s of gzip, cut off: %v", name, err)
		}
	}
	for name, data := range map[string]string{
		"gzip": "payload=1", "br": "\xff\xff\xff\xff", "zstd": "payload", "deflate": "payload=%7B%7D", "aws-chunked": "5\r\nabc", "chunked": "5\r\nabcdeX\r\n0\r\n\r\n",
	} {
		if body, _, err := decode(t, 100, []byte(data), name); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %q, %v", name, body, err)
		}
	}
	if _, _, err := decode(t, 1<<20, zstdFrame(0x70), "zstd"); !errors.Is(err, ErrCorrupt) {
		t.Errorf("zstd with a window of 16 MiB: %v", err)
	}
}

// TestBombs: the limit holds for each encoding, and for what lies between two. Little more than the limit is made of a bomb.
func TestBombs(t *testing.T) {
	const limit = 1 << 20
	zeros := make([]byte, 64<<20)
	// Empty members: they make nothing, but reading them takes time.
	members := bytes.Repeat(gzipped(t, nil), 200_000)
	bombs := map[string][]byte{
		"gzip": gzipped(t, zeros), "deflate": zlibbed(t, zeros), "x-deflate": deflated(t, zeros), "br": brotlify(t, zeros), "zstd": zstdded(t, zeros),
		"gzip,gzip": gzipped(t, gzipped(t, zeros)), "gzip,br": brotlify(t, members), "gzip,zstd": zstdded(t, members),
		"br,br,br,br": brotlify(t, brotlify(t, brotlify(t, brotlify(t, zeros)))),
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for name, bomb := range bombs {
		if _, _, err := decode(t, limit, bomb, name); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s of %d bytes: %v", name, len(bomb), err)
		}
	}
	runtime.ReadMemStats(&after)
	made := (after.TotalAlloc - before.TotalAlloc) >> 20
	t.Logf("%d MiB were allocated for %d bombs", made, len(bombs))
	if made > 200 {
		t.Errorf("%d MiB were allocated", made)
	}
}

// zstdFrame is a frame of one block of one byte. It asks for a window of 8 MiB (0x68) or 16 MiB (0x70).
func zstdFrame(window byte) []byte { return []byte{0x28, 0xb5, 0x2f, 0xfd, 0, window, 9, 0, 0, '{'} }

// TestWindows: however many bodies ask for a large window at the same time, only some get it.
func TestWindows(t *testing.T) {
	small := zstdFrame(0x68)
	if body, _, err := decode(t, 100, small, "zstd"); err != nil || string(body) != "{" {
		t.Fatalf("%q, %v", body, err)
	}
	c, err := Parse([]string{"zstd"})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	inside, most := 0, 0
	hold := make(chan struct{})
	release := sync.OnceFunc(func() { close(hold) })
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			_, _ = c.Decode(small, 100, time.Minute, func(io.Reader) error {
				mu.Lock()
				inside++
				most = max(most, inside)
				full := inside == max(4, runtime.GOMAXPROCS(0))
				mu.Unlock()
				if full {
					release()
				}
				<-hold
				mu.Lock()
				inside--
				mu.Unlock()
				return nil
			})
		})
	}
	wg.Wait()
	if most > max(4, runtime.GOMAXPROCS(0)) {
		t.Errorf("%d at the same time", most)
	}
	if !large.TryAcquire(int64(max(4, runtime.GOMAXPROCS(0)))) {
		t.Fatal("a turn was lost")
	}
	defer large.Release(int64(max(4, runtime.GOMAXPROCS(0))))
	if _, err := c.Decode(small, 100, time.Millisecond, nil); !errors.Is(err, ErrBusy) {
		t.Errorf("without a turn: %v", err)
	}
}

// TestErrorsOfFill: they come back as they are, and the pooled memory works for the next body.
func TestErrorsOfFill(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"gzip", "br", "zstd", "deflate"} {
		c, err := Parse([]string{name})
		if err != nil {
			t.Fatal(err)
		}
		data := map[string][]byte{"gzip": gzipped(t, []byte("{}")), "br": brotlify(t, []byte("{}")), "zstd": zstdded(t, []byte("{}")), "deflate": zlibbed(t, []byte("{}"))}[name]
		for range 3 {
			if _, err := c.Decode(data, 10, time.Minute, func(io.Reader) error { return iotest.ErrTimeout }); !errors.Is(err, iotest.ErrTimeout) {
				t.Errorf("%s: %v", name, err)
			}
			if body, _, err := decode(t, 10, data, name); err != nil || string(body) != "{}" {
				t.Errorf("%s: %q, %v", name, body, err)
			}
		}
	}
}

// TestLetsGo: a decoder that is ready for the pool keeps no body alive.
func TestLetsGo(t *testing.T) {
	t.Parallel()
	for _, data := range [][]byte{gzipped(t, []byte("{}")), gzipped(t, []byte("{}"))[:12], []byte("not gzip")} {
		var d decoder
		_ = d.open(Chain{layers: [MaxLayers]coding{flated}, n: 1}, data, 100, new(Result))
		d.reset()
		if d.data.Size() != 0 || d.body != nil || d.layers[0].r != nil {
			t.Errorf("%d bytes are kept", d.data.Size())
		}
	}
}

// FuzzDecode: no data under any encodings cause a panic, or more than the limit.
func FuzzDecode(f *testing.F) {
	text := []byte(`{"a":[1,2,3]}`)
	f.Add("gzip,br", brotlify(f, gzipped(f, text)))
	f.Add("deflate", zlibbed(f, text))
	f.Add("deflate", deflated(f, text))
	f.Add("zstd", zstdded(f, text))
	f.Add("aws-chunked,br", chunked(brotlify(f, text), signature, ""))
	f.Add("utf-8, gzip", text)
	f.Fuzz(func(t *testing.T, names string, data []byte) {
		before := bytes.Clone(data)
		body, result, err := decode(t, 4<<10, data, names)
		switch {
		case !bytes.Equal(data, before):
			t.Fatal("the data were changed")
		case err != nil && !errors.Is(err, ErrUnknown) && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrTooLarge):
			t.Fatal(err)
		case err == nil && !result.Decoded && !bytes.Equal(body, data):
			t.Fatal("data without an encoding were changed")
		}
	})
}

// BenchmarkGzip is the edge's usual case.
func BenchmarkGzip(b *testing.B) {
	text := []byte(`{"event_type":"shipping.ordered","shipping":{"id":"` + strings.Repeat("x1", 700) + `"}}`)
	data, into := gzipped(b, text), make([]byte, 4<<10)
	values := []string{"gzip"}
	b.ReportAllocs()
	for b.Loop() {
		c, _ := Parse(values)
		if _, err := c.Decode(data, 4<<10, time.Minute, func(r io.Reader) error {
			for {
				if _, err := r.Read(into); err != nil {
					if err == io.EOF {
						return nil
					}
					return err
				}
			}
		}); err != nil {
			b.Fatal(err)
		}
	}
}

// zlibbedAt is zlibbed at a level, which decides the second byte of the header.
func zlibbedAt(tb testing.TB, data []byte, level int) []byte {
	return written(tb, data, func(w io.Writer) (io.WriteCloser, error) { return zlib.NewWriterLevel(w, level) })
}

// TestShown: without headers that can be trusted, only what the data show is undone.
func TestShown(t *testing.T) {
	text := []byte(`{"jméno":"` + strings.Repeat("x", 2000) + `"}`)
	for _, tt := range []struct {
		name   string
		data   []byte
		values []string
		want   []byte
		err    error
	}{
		{"text", text, nil, text, nil},
		{"text, called gzip", text, []string{"gzip"}, text, nil},
		{"text, called something", text, []string{"rot13"}, text, nil},
		{"a form, called br", []byte("payload=%7B%7D"), []string{"br"}, []byte("payload=%7B%7D"), nil},
		{"a form that begins like zlib", []byte("x^=1&payload=%7B%7D"), []string{"deflate"}, []byte("x^=1&payload=%7B%7D"), nil},
		{"nothing", nil, []string{"gzip"}, nil, nil},
		{"gzip", gzipped(t, text), nil, text, nil},
		{"gzip, called br", gzipped(t, text), []string{"br"}, text, nil},
		{"zlib", zlibbed(t, text), nil, text, nil},
		{"zlib without compression", zlibbedAt(t, text, zlib.NoCompression), []string{"deflate"}, text, nil},
		{"zlib, fastest", zlibbedAt(t, text, zlib.BestSpeed), []string{"deflate"}, text, nil},
		{"zlib of low level", zlibbedAt(t, text, 4), []string{"deflate"}, text, nil},
		{"zlib, smallest", zlibbedAt(t, text, zlib.BestCompression), []string{"deflate"}, text, nil},
		{"zstd", zstdded(t, text), []string{"identity"}, text, nil},
		{"gzip in zlib in zstd", zstdded(t, zlibbed(t, gzipped(t, text))), nil, text, nil},
		{"zstd in gzip is left", gzipped(t, zstdded(t, text)), nil, zstdded(t, text), nil},
		{"raw deflate", deflated(t, text), []string{"deflate"}, nil, ErrUnknown},
		{"brotli", brotlify(t, text), []string{"br"}, nil, ErrUnknown},
		{"half a gzip", gzipped(t, text)[:30], []string{"gzip"}, nil, ErrCorrupt},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Shown(tt.values, tt.data)
			got := tt.data
			if err == nil {
				_, err = c.Decode(tt.data, 1<<20, time.Second, func(r io.Reader) (err error) {
					got, err = io.ReadAll(r)
					return err
				})
			}
			if !errors.Is(err, tt.err) || tt.err == nil && !bytes.Equal(got, tt.want) {
				t.Errorf("%q, %v; want %v", got[:min(len(got), 40)], err, tt.err)
			}
		})
	}
	c, err := Shown(nil, gzipped(t, text))
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Decode(gzipped(t, text), 1000, time.Second, func(r io.Reader) error { _, err := io.Copy(io.Discard, r); return err })
	if !errors.Is(err, ErrTooLarge) {
		t.Errorf("above the limit: %v", err)
	}
}
