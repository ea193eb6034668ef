package s3_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
	"google.golang.org/protobuf/encoding/protojson"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/cloudevents"
	"github.com/webhook-bridge/bridge/sinks/cloudevents/cloudeventstest"
	"github.com/webhook-bridge/bridge/sinks/s3"
	"github.com/webhook-bridge/bridge/sinks/sinktest"
)

// bucket is a simulation of the part of S3 that the sink uses: one bucket with conditional writes. It checks no signatures.
type bucket struct {
	ignoresConditions bool

	mu      sync.Mutex
	objects map[string]stored
}

type stored struct {
	content []byte
	given   string
}

func (s stored) etag() string {
	sum := md5.Sum(s.content) // S3's versions of objects are MD5.
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

func (b *bucket) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // The connection broke.
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	key := strings.TrimPrefix(r.URL.Path, "/events/")
	old, found := b.objects[key]
	if r.Method != http.MethodPut {
		if !found {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("ETag", old.etag())
		if old.given != "" {
			w.Header().Set("X-Amz-Meta-Bridge-Given-Up", old.given)
		}
		_, _ = w.Write(old.content)
		return
	}
	version := r.Header.Get("If-Match")
	if !b.ignoresConditions && (r.Header.Get("If-None-Match") == "*" && found || version != "" && (!found || version != old.etag())) {
		w.WriteHeader(http.StatusPreconditionFailed)
		return
	}
	next := stored{body, r.Header.Get("X-Amz-Meta-Bridge-Given-Up")}
	b.objects[key] = next
	w.Header().Set("ETag", next.etag())
}

// front stands before storage, injects faults, and notes the names of the objects that were made, in their order.
type front struct {
	server *httptest.Server
	next   http.Handler

	mu     sync.Mutex
	made   []string
	left   int // Requests that are still answered; negative: all.
	lost   int // Number of the request, from 1, that is carried out and whose answer is lost; 0: none.
	pause  time.Duration
	change chan struct{} // Requests wait until it is closed; nil: they do not wait.
}

func newFront(tb testing.TB, next http.Handler) *front {
	tb.Helper()
	f := &front{next: next, left: -1}
	f.server = httptest.NewServer(f)
	tb.Cleanup(func() {
		f.repair()
		f.server.Close()
	})
	return f
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	change := f.change
	f.mu.Unlock()
	if change != nil {
		<-change
		panic(http.ErrAbortHandler)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // The connection broke.
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lost--
	switch {
	case f.left == 0:
		panic(http.ErrAbortHandler)
	case f.pause > 0:
		w.Header().Set("Retry-After", strconv.Itoa(int(f.pause.Seconds())))
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	f.left = max(f.left-1, -1)
	r = r.WithContext(context.WithoutCancel(r.Context())) // What has arrived is carried out, also when its sender has gone away.
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.Header.Del("Expect") // The body is here already.
	answer := httptest.NewRecorder()
	f.next.ServeHTTP(answer, r)
	_, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if r.Method == http.MethodPut && answer.Code == http.StatusOK && !strings.Contains(key, "_bridge/") {
		f.made = append(f.made, key)
	}
	if f.lost == 0 {
		panic(http.ErrAbortHandler)
	}
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
}

// fail has the next requests succeed, and all after them fail. A negative number ends that.
func (f *front) fail(after int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left = after
}

// lose carries out the nth request from now on, and loses its answer.
func (f *front) lose(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lost = n
}

func (f *front) stall() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.change = make(chan struct{})
}

func (f *front) throttle(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pause = d
}

func (f *front) repair() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.change != nil {
		close(f.change)
		f.server.CloseClientConnections()
	}
	f.left, f.pause, f.change, f.lost = -1, 0, nil, 0
}

func (f *front) names() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.made)
}

// received reads all objects in the order in which they were made.
func (f *front) received(read func(name string) ([]byte, error)) ([]*eventv1.Event, error) {
	var all []*eventv1.Event
	for _, name := range f.names() {
		content, err := read(name)
		if err != nil {
			return nil, err
		}
		if content == nil {
			continue // It is not in the copy that was put back.
		}
		decode := eventsOfLines
		if strings.HasSuffix(name, ".parquet") {
			decode = eventsOfRows
		}
		events, err := decode(content)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, events...)
	}
	return all, nil
}

func eventsOfLines(content []byte) ([]*eventv1.Event, error) {
	in, err := zstd.NewReader(bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	defer in.Close()
	text, err := io.ReadAll(in)
	if err != nil {
		return nil, err
	}
	var all []*eventv1.Event
	for line := range bytes.Lines(text) {
		e := &eventv1.Event{}
		if err := protojson.Unmarshal(line, e); err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}

func eventsOfRows(content []byte) ([]*eventv1.Event, error) {
	rows, err := parquet.Read[s3.Row](bytes.NewReader(content), int64(len(content)))
	if err != nil {
		return nil, err
	}
	var all []*eventv1.Event
	for _, row := range rows {
		text := func(s *string) string {
			if s == nil {
				return ""
			}
			return *s
		}
		attributes := map[string]string{
			"id": row.ID, "type": row.Type, "source": row.Source, "connector": row.Connector, "subject": row.Subject, "vendorevent": row.VendorEvent,
			"webhookid": row.WebhookID, "subjectversion": text(row.SubjectVersion), "supersedes": text(row.Supersedes),
			"stale": strconv.FormatBool(row.Stale), "dataschema": cloudevents.Schema("") + row.DataType,
		}
		for name, at := range map[string]*time.Time{"receivedtime": row.ReceivedAt, "time": row.OccurredAt} {
			if at != nil {
				attributes[name] = at.UTC().Format(time.RFC3339Nano)
			}
		}
		e, err := cloudeventstest.Event(attributes, []byte(row.Data))
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}

// site is storage for one test, as the kit sees it.
type site struct {
	*front

	config          s3.Config
	read            func(name string) ([]byte, error)
	backup, restore func()
}

func newSite(tb testing.TB, format string) (*site, *bucket) {
	tb.Helper()
	b := &bucket{objects: map[string]stored{}}
	f := newFront(tb, b)
	var copied map[string]stored
	return &site{
		front: f,
		config: s3.Config{
			Bucket: "events", Prefix: "bridge/", Endpoint: f.server.URL, PathStyle: true, Format: format,
			Credentials: func() s3.Credentials { return s3.Credentials{AccessKeyID: "user", SecretAccessKey: "CANARY"} },
		},
		read: func(name string) ([]byte, error) {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.objects[name].content, nil
		},
		backup: func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			copied = maps.Clone(b.objects)
		},
		restore: func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.objects = maps.Clone(copied)
		},
	}, b
}

func (s *site) harness(tb testing.TB, once bool) sinktest.Harness {
	tb.Helper()
	h := sinktest.Harness{
		Received: func(context.Context) ([]*eventv1.Event, error) { return s.received(s.read) },
		Break:    func() { s.fail(0) },
		Stall:    s.stall,
		Throttle: s.throttle,
		Repair:   s.repair,
		Crash:    func() {}, // The process has no state.
		Poison:   func() sinks.Record { return sinks.Record{Encoded: []byte("not protobuf")} },
	}
	if once {
		h.OpenFrom = func(ctx context.Context, from sinks.Origin) (sinks.Sink, error) {
			return s3.OpenResumer(ctx, from, s.config)
		}
		h.Backup, h.Restore = s.backup, s.restore
		return h
	}
	h.Open = func(ctx context.Context) (sinks.Sink, error) {
		return s3.Open(ctx, sinks.Origin{Sink: "plain"}, s.config)
	}
	return h
}
