package web

import (
	"bytes"
	"encoding/binary"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// deadlines is a response whose read deadlines are recorded, in seconds from now. Zero is none.
type deadlines struct {
	http.ResponseWriter
	reads []int
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	seconds := 0
	if !t.IsZero() {
		seconds = int(time.Until(t).Seconds())
	}
	d.reads = append(d.reads, seconds)
	return nil
}

func bodyFor(content io.Reader, length int64) (*body, *deadlines) {
	d := &deadlines{ResponseWriter: httptest.NewRecorder()}
	r := &http.Request{Body: io.NopCloser(content), ContentLength: length}
	boundBody(&writer{ResponseWriter: d, controller: http.NewResponseController(d)}, r)
	return bodyOf(r), d
}

// messages are messages of so many bytes, each with its envelope.
func messages(sizes ...int) []byte {
	var b []byte
	for _, n := range sizes {
		b = binary.BigEndian.AppendUint32(append(b, 0), uint32(n))
		b = append(b, make([]byte, n)...)
	}
	return b
}

// TestEnvelopes: a message that is too large has a length that no reader accepts, wherever the parts end in which it arrives.
func TestEnvelopes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		sizes []int
		large bool
	}{
		{[]int{10}, false},
		{[]int{0, 10, 0}, false},
		{[]int{11}, true},
		{[]int{10, 70_000}, true},
	} {
		for name, reader := range map[string]func(io.Reader) io.Reader{
			"at once": func(r io.Reader) io.Reader { return r }, "in halves": iotest.HalfReader, "with the end": iotest.DataErrReader,
		} {
			content := messages(tt.sizes...)
			b, _ := bodyFor(reader(bytes.NewReader(content)), -1)
			b.limit, b.enveloped = 10, true
			got, err := io.ReadAll(b)
			switch large := bytes.Contains(got, []byte("\xff\xff\xff\xff")) || status.Code(err) == codes.ResourceExhausted; {
			case large != tt.large:
				t.Errorf("%v %s: too large: %t, want %t (%v)", tt.sizes, name, large, tt.large, err)
			case !large && !bytes.Equal(got, content):
				t.Errorf("%v %s: the content is changed", tt.sizes, name)
			}
		}
		b, _ := bodyFor(iotest.OneByteReader(bytes.NewReader(messages(tt.sizes...))), -1)
		b.limit, b.enveloped = 10, true
		if _, err := io.ReadAll(b); (status.Code(err) == codes.ResourceExhausted) != tt.large {
			t.Errorf("%v in bytes: %v", tt.sizes, err)
		}
	}
	b, _ := bodyFor(strings.NewReader("12345678901"), -1)
	b.limit = 10
	if _, err := io.ReadAll(b); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a body of 11 bytes: %v", err)
	}
}

// TestBodyDeadlines: a message has time as it arrives, and between two there is no deadline.
func TestBodyDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		content := messages(8<<10, 20)
		b, d := bodyFor(bytes.NewReader(content), -1)
		b.enveloped = true
		for _, n := range []int{4 << 10, 4<<10 + 5, 3, 22, 1} {
			_, _ = io.ReadFull(b, make([]byte, n))
		}
		if want := []int{10, 10, 0, 10, 0}; !slices.Equal(d.reads, want) {
			t.Errorf("messages: deadlines %v, want %v", d.reads, want)
		}
		b, d = bodyFor(bytes.NewReader(make([]byte, 16<<10)), 16<<10)
		for range 3 {
			_, _ = io.ReadFull(b, make([]byte, 8<<10))
		}
		if want := []int{10, 11, 12, 0}; !slices.Equal(d.reads, want) {
			t.Errorf("a body: deadlines %v, want %v", d.reads, want)
		}
		if _, d := bodyFor(http.NoBody, 0); len(d.reads) > 0 {
			t.Errorf("no body: deadlines %v", d.reads)
		}
	})
}

// TestWriteDeadlines: what is written must be read in time, and between two messages there is no deadline.
func TestWriteDeadlines(t *testing.T) {
	t.Parallel()
	d := &writes{ResponseRecorder: httptest.NewRecorder()}
	w := &writer{ResponseWriter: d, controller: http.NewResponseController(d)}
	for range 2 {
		_, _ = w.Write(nil)
		_, _ = w.Write(nil)
		w.Flush()
	}
	large := make([]byte, 2*maxPart+1)
	if n, err := w.Write(large); n != len(large) || err != nil || d.Body.Len() != n {
		t.Errorf("wrote %d of %d bytes: %v", n, len(large), err)
	}
	w.Flush()
	w.expire()
	_, _ = w.Write(large)
	w.Flush()
	// A large message has the time for each part: a slow client that reads gets it all.
	if want := []string{"later", "none", "later", "none", "later", "later", "later", "none", "now"}; !slices.Equal(d.set, want) {
		t.Errorf("deadlines %v, want %v", d.set, want)
	}
}

type writes struct {
	*httptest.ResponseRecorder
	set []string
}

func (w *writes) SetWriteDeadline(t time.Time) error {
	switch {
	case t.IsZero():
		w.set = append(w.set, "none")
	case t.After(time.Now()):
		w.set = append(w.set, "later")
	default:
		w.set = append(w.set, "now")
	}
	return nil
}
