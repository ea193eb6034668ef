package web

import (
	"context"
	"encoding/base64"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
)

// Tail serves one stream: a method of [streamv1.EventStreamServiceServer].
type Tail func(*streamv1.TailRequest, grpc.ServerStreamingServer[streamv1.TailResponse]) error

// events serves [EventsPath]. The query is a TailRequest: see query.go. It is one call of Tail, so limits, filters and metrics are those
// of gRPC.
type events struct{ tail Tail }

// ServeHTTP implements [http.Handler]. The writer must be a *writer.
func (e events) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		writeError(w, &httpError{http.StatusMethodNotAllowed, status.Error(codes.Unimplemented, "the method must be GET")})
		return
	}
	format := negotiate(r.Header.Values("Accept"))
	if format == nil {
		writeError(w, &httpError{http.StatusNotAcceptable, status.Error(codes.InvalidArgument,
			"the events are application/x-ndjson or text/event-stream")})
		return
	}
	request, err := parseQuery(r.URL.RawQuery, r.Header.Get("Last-Event-ID"), format)
	if err != nil {
		writeError(w, status.Error(codes.InvalidArgument, err.Error()))
		return
	}
	s := &stream{ctx: r.Context(), w: w.(*writer), format: format}
	s.end(e.tail(request, s))
}

// stream is one call of Tail whose messages are written to a client of HTTP.
type stream struct {
	ctx    context.Context
	w      *writer
	format format

	// closed: nothing more may be written.
	closed atomic.Bool
	// mu orders the messages and the end. The fields below are guarded by it.
	mu      sync.Mutex
	started bool
	// last: a message said that the stream ends.
	last   bool
	buffer []byte
}

var errEnded = status.Error(codes.Canceled, "the stream has ended")

// Send implements [grpc.ServerStreamingServer]. It blocks while the client does not read.
func (s *stream) Send(m *streamv1.TailResponse) error {
	decoded, err := decode(m)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return errEnded
	}
	s.last = decoded.GetGoodbye() != nil
	text, err := s.format.message(s.buffer[:0], decoded)
	if err != nil {
		return err
	}
	if cap(text) <= maxKept {
		s.buffer = text
	}
	return s.write(text)
}

// shared is a response with events that several streams send: the text of each format is made once. Package sinks/grpcstream has it.
type shared interface {
	proto.Message
	Once(key any, encode func() ([]byte, error)) ([]byte, error)
}

func (s *stream) sendShared(m shared) error {
	text, err := m.Once(s.format.key(), func() ([]byte, error) {
		decoded, err := decode(m)
		if err != nil {
			return nil, err
		}
		return s.format.message(nil, decoded)
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return errEnded
	}
	return s.write(text)
}

// write writes whole messages. The caller holds mu.
func (s *stream) write(text []byte) error {
	if !s.started {
		s.started = true
		h := s.w.Header()
		h.Set("Content-Type", s.format.contentType())
		h.Set("X-Accel-Buffering", "no") // a proxy must not wait for more
		s.w.WriteHeader(http.StatusOK)
	}
	if _, err := s.w.Write(text); err != nil {
		return errEnded
	}
	if s.w.FlushError() != nil {
		return errEnded
	}
	return nil
}

// maxKept bounds the memory for messages that a stream keeps.
const maxKept = 64 << 10

// end ends the response when the call has returned. It waits for a message that is being written: nothing may be written after it.
func (s *stream) end(err error) {
	s.closed.Store(true)
	if s.mu.TryLock() {
		s.mu.Unlock()
	} else {
		s.w.expire() // The call has returned without waiting for its client.
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.started:
		writeError(s.w, err)
	case err != nil && !s.last && s.ctx.Err() == nil:
		if text, err := s.format.failure(s.buffer[:0], err); err == nil {
			_ = s.write(text)
		}
	case err == nil:
		_ = s.write(s.format.finish(s.buffer[:0]))
	}
}

// decode returns a message whose events are decoded: Tail sends them encoded, as unknown fields.
func decode(m proto.Message) (*streamv1.TailResponse, error) {
	if m, ok := m.(*streamv1.TailResponse); ok && m.GetEvents() == nil {
		return m, nil
	}
	encoded, err := proto.Marshal(m)
	if err != nil {
		return nil, status.Error(codes.Internal, "an event cannot be encoded")
	}
	decoded := new(streamv1.TailResponse)
	if err := proto.Unmarshal(encoded, decoded); err != nil {
		return nil, status.Error(codes.Internal, "an event cannot be decoded")
	}
	return decoded, nil
}

// Context implements [grpc.ServerStream].
func (s *stream) Context() context.Context { return s.ctx }

// SetHeader implements [grpc.ServerStream].
func (s *stream) SetHeader(md metadata.MD) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return errEnded // The server ended the call before it had started.
	}
	for name, values := range md {
		for _, v := range values {
			if strings.HasSuffix(name, "-bin") {
				v = base64.RawStdEncoding.EncodeToString([]byte(v))
			}
			s.w.Header().Add(name, v)
		}
	}
	return nil
}

// SendHeader implements [grpc.ServerStream]. The headers are sent with the first message.
func (s *stream) SendHeader(md metadata.MD) error { return s.SetHeader(md) }

// SetTrailer implements [grpc.ServerStream]. There are no trailers.
func (*stream) SetTrailer(metadata.MD) {}

// SendMsg implements [grpc.ServerStream].
func (s *stream) SendMsg(m any) error {
	switch m := m.(type) {
	case *streamv1.TailResponse:
		return s.Send(m)
	case shared:
		return s.sendShared(m)
	}
	return status.Error(codes.Internal, "a message of another type")
}

// RecvMsg implements [grpc.ServerStream]. The request is an argument of the call.
func (*stream) RecvMsg(any) error { return status.Error(codes.Internal, "there is one request") }
