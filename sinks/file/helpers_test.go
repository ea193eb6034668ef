package file

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks"
)

// variants are all combinations of format and compression.
var variants = []Config{
	{Format: JSONL},
	{Format: Protobuf},
	{Format: JSONL, Compression: Zstd},
	{Format: Protobuf, Compression: Zstd},
}

func (c Config) String() string {
	return strings.TrimSuffix(fmt.Sprintf("%s-%s", c.Format, c.Compression), "-")
}

// in returns c with a path in dir.
func (c Config) in(dir string) Config {
	c.Path = filepath.Join(dir, "events.log")
	return c
}

// origin is where the events of the tests come from. Every hundred positions are an epoch of their own.
var origin = sinks.Origin{Log: steps("0f5a"), Sink: "archive"}

// steps is the id of a log.
type steps string

func (s steps) ID() string { return string(s) }
func (steps) Mark(p sinks.Position) sinks.Mark {
	return sinks.Mark{Epoch: sinks.Epoch(1<<63 + (uint64(p)-1)/100), Position: p}
}

// numbered returns the nth record, at position n+1. The events have different sizes.
func numbered(tb testing.TB, n int) sinks.Record {
	tb.Helper()
	encoded, err := proto.Marshal(&eventv1.Event{
		Id:      fmt.Sprintf("0d6f2a10-7f5e-5b7e-9d6c-%012d", n),
		Type:    "unmapped",
		Source:  "returns",
		Subject: fmt.Sprintf("shipment/%d", n%7),
		Data: &eventv1.Event_Unmapped{Unmapped: &eventv1.Unmapped{
			Json: fmt.Sprintf(`{"text": "%s\\ \n"}`, strings.Repeat(" { } ", n*n%31)),
		}},
	})
	if err != nil {
		tb.Fatal(err)
	}
	r, err := sinks.NewRecord(sinks.Position(n)+1, encoded)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// numbers returns the records from first up to, but not including, end.
func numbers(tb testing.TB, first, end int) []sinks.Record {
	tb.Helper()
	var records []sinks.Record
	for n := first; n < end; n++ {
		records = append(records, numbered(tb, n))
	}
	return records
}

func number(e *eventv1.Event) (n int) {
	fmt.Sscanf(e.GetId()[strings.LastIndex(e.GetId(), "-")+1:], "%d", &n)
	return n
}

func mustOpen(tb testing.TB, c Config) *Sink {
	tb.Helper()
	s, err := Open(tb.Context(), c, origin)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

func mustDeliver(tb testing.TB, s *Sink, records []sinks.Record) {
	tb.Helper()
	if n, err := s.Deliver(tb.Context(), records); n != len(records) || err != nil {
		tb.Fatalf("delivered %d of %d: %v", n, len(records), err)
	}
}

// files returns the names of the event files in their order: the rotated ones, then the active one.
func files(c Config) ([]string, error) {
	stem, ext := splitName(c.Path)
	names, err := filepath.Glob(stem + "-*" + ext)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	if _, err := os.Stat(c.Path); err == nil {
		names = append(names, c.Path)
	}
	return names, nil
}

// read reads all files of a sink as one stream, as a program that knows only the documentation does. Bytes that are not a whole
// record are an error.
func read(c Config) ([]*eventv1.Event, error) {
	names, err := files(c)
	if err != nil {
		return nil, err
	}
	var all []byte
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		all = append(all, b...)
	}
	return decode(c, all)
}

func decode(c Config, b []byte) ([]*eventv1.Event, error) {
	var r io.Reader = bytes.NewReader(b)
	if c.Compression == Zstd && len(b) > 0 {
		d, err := zstd.NewReader(r)
		if err != nil {
			return nil, err
		}
		defer d.Close()
		r = d
	}
	buffered := bufio.NewReader(r)
	var events []*eventv1.Event
	for {
		e := &eventv1.Event{}
		var err error
		if c.Format == Protobuf {
			err = protodelim.UnmarshalOptions{MaxSize: -1}.UnmarshalFrom(buffered, e)
		} else {
			var line []byte
			if line, err = buffered.ReadBytes('\n'); err == nil {
				err = protojson.Unmarshal(line, e)
			} else if len(line) > 0 {
				err = io.ErrUnexpectedEOF
			}
		}
		if errors.Is(err, io.EOF) {
			return events, nil
		}
		if err != nil {
			return nil, fmt.Errorf("event %d: %w", len(events), err)
		}
		events = append(events, e)
	}
}

// mustRead returns the numbers of the events that read returns.
func mustRead(tb testing.TB, c Config) []int {
	tb.Helper()
	events, err := read(c)
	if err != nil {
		tb.Fatal(err)
	}
	got := make([]int, len(events))
	for i, e := range events {
		got[i] = number(e)
	}
	return got
}

func sequence(first, end int) []int {
	var s []int
	for n := first; n < end; n++ {
		s = append(s, n)
	}
	return s
}

// mustCopy replaces a folder by a copy of another.
func mustCopy(tb testing.TB, from, to string) {
	tb.Helper()
	if err := errors.Join(os.RemoveAll(to), os.CopyFS(to, os.DirFS(from))); err != nil {
		tb.Fatal(err)
	}
}
