package stdout_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/memlog"
	"github.com/webhook-bridge/bridge/sinks/sinktest"
	"github.com/webhook-bridge/bridge/sinks/stdout"
)

// stream is a pipe whose reader can stop, or end.
type stream struct {
	mu     sync.Mutex
	text   bytes.Buffer
	fails  bool
	room   int // Lines that are still accepted. Negative: no limit.
	resume chan struct{}
}

func (s *stream) Write(b []byte) (int, error) {
	s.mu.Lock()
	stalled := s.resume
	s.mu.Unlock()
	if stalled != nil {
		<-stalled
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails {
		return 0, syscall.EPIPE
	}
	n := len(b)
	for i, c := range b {
		if c != '\n' || s.room < 0 {
			continue
		}
		if s.room--; s.room < 0 {
			s.fails, n = true, i // The line has no end.
			break
		}
	}
	s.text.Write(b[:n])
	if n < len(b) {
		return n, syscall.EPIPE
	}
	return n, nil
}

func (s *stream) set(fails bool, room int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails, s.room = fails, room
}

// received returns the events of all whole lines. A line that broke off is no event.
func (s *stream) received(context.Context) ([]*eventv1.Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*eventv1.Event
	r := bufio.NewReader(bytes.NewReader(s.text.Bytes()))
	for {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		e := &eventv1.Event{}
		if protojson.Unmarshal(line, e) == nil {
			e.LogPosition = nil
			all = append(all, e)
		}
	}
}

func TestSink(t *testing.T) {
	sinktest.Run(t, func(testing.TB) sinktest.Harness {
		s := &stream{room: -1}
		out := stdout.New(s)
		return sinktest.Harness{
			Open: func(context.Context) (sinks.Sink, error) {
				return out.Open(sinks.Origin{Log: memlog.New("log"), Sink: "out"}), nil
			},
			Received:   s.received,
			Break:      func() { s.set(true, -1) },
			BreakAfter: func(n int) { s.set(false, n) },
			Repair: func() {
				s.set(false, -1)
				s.mu.Lock()
				defer s.mu.Unlock()
				if s.resume != nil {
					close(s.resume)
					s.resume = nil
				}
			},
			Stall: func() {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.resume = make(chan struct{})
			},
			Crash:  func() {},
			Poison: func() sinks.Record { return sinks.Record{Encoded: []byte("\n\x05half")} },
		}
	}, sinktest.Features{TotalOrder: true})
}

// The output may be a file. Then its lines are synced.
func TestRegularFile(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := sinks.NewRecord(7, []byte("\n\x02ab"))
	if err != nil {
		t.Fatal(err)
	}
	s := stdout.New(f).Open(sinks.Origin{Log: log{}, Sink: "out"})
	defer s.Close()
	if n, err := s.Deliver(t.Context(), []sinks.Record{r}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	const want = `{"id":"ab","logPosition":{"log":"0f5a","epoch":"7","position":"7"}}` + "\n"
	if got, err := os.ReadFile(f.Name()); err != nil || string(got) != want {
		t.Errorf("%s, %v, want %s", got, err, want)
	}
}

// log stands for the log that the events come from.
type log struct{}

func (log) ID() string                       { return "0f5a" }
func (log) Mark(p sinks.Position) sinks.Mark { return sinks.Mark{Epoch: 7, Position: p} }
