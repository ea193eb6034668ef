// Package web serves the gRPC port to all clients that do not speak gRPC: browsers, curl, and proxies.
//
// # Protocols
//
// A request for the path of a method is one of Connect or of gRPC-Web. The [vanguard] transcoder makes a call of gRPC out of it, and hands it
// to the same server that serves gRPC. So services, interceptors and limits are one. gRPC itself has a faster way: see
// [listener.Shared]. A call of it comes here only on a connection whose first request was another one, as behind a proxy.
//
// [EventsPath] streams events as lines of JSON, or as server-sent events: see events.go.
//
// # Before a handler
//
// In this order: a foreign page is refused ([Config.Origins]), the call is admitted by its headers ([Config.Admit]), and only then its body
// is read. Each message has a size ([Config.Limits]) and a time to arrive, compressed messages have the same size when they are not. What
// is written must be read within two minutes.
package web

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"connectrpc.com/connect"
	"connectrpc.com/vanguard"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/internal/listener"
)

// EventsPath is the path of the event stream.
const EventsPath = "/v1/events"

// maxMessage is the largest message that the transcoder holds in memory: an answer of ours. Requests have smaller limits. A length above
// it is refused as too large.
const maxMessage = 1<<31 - 1

// Config of a handler.
type Config struct {
	// RPC serves the calls.
	RPC *grpc.Server
	// Services are the names of the services that Connect and gRPC-Web may call. Each is registered at RPC.
	Services []string
	// Limits are the limits of requests by method, as for gRPC. A method without one takes no request here.
	Limits listener.Methods
	// Admit decides about a call by its headers, as the tap of RPC does.
	Admit tap.ServerInHandle
	// Tail serves [EventsPath].
	Tail Tail
	// Origins are the origins of the web pages that may call, such as `https://app.example`, or `*`. Pages of the address itself always may.
	// It is asked for each request. Nil: none.
	Origins func() []string
	// Local reports whether requests must name an address of this machine. Without credentials, a name of a foreign page may lead here. It is
	// asked for each request. Nil: no.
	Local func() bool
}

type handler struct {
	Config
	guard      guard
	transcoder http.Handler
	events     events
	errors     *connect.ErrorWriter
}

// New returns the handler. The server must be one that [listener.Shared.Prepare] has prepared.
func New(c Config) (http.Handler, error) {
	if c.Origins == nil {
		c.Origins = func() []string { return nil }
	}
	if c.Local == nil {
		c.Local = func() bool { return false }
	}
	h := &handler{
		Config: c, guard: guard{c.Origins, c.Local}, events: events{c.Tail}, errors: connect.NewErrorWriter(),
	}
	services := make([]*vanguard.Service, len(c.Services))
	for i, name := range c.Services {
		services[i] = vanguard.NewService(name, unblock(c.RPC))
	}
	t, err := vanguard.NewTranscoder(services,
		vanguard.WithCodec(newJSON), vanguard.WithCodec(newProto),
		vanguard.WithCompression(vanguard.CompressionGzip, newCompressor, newDecompressor),
		vanguard.WithDefaultServiceOptions(
			vanguard.WithTargetProtocols(vanguard.ProtocolGRPC),
			vanguard.WithTargetCodecs(vanguard.CodecProto),
			vanguard.WithNoTargetCompression(),
			vanguard.WithMaxMessageBufferBytes(maxMessage),
		))
	if err != nil {
		return nil, err
	}
	h.transcoder = t
	return h, nil
}

// newJSON is protobuf's JSON. An unknown field is an error: a filter with a misspelt field would let everything pass.
func newJSON(types vanguard.TypeResolver) vanguard.Codec {
	return codec{vanguard.JSONCodec{
		MarshalOptions:   protojson.MarshalOptions{Resolver: types},
		UnmarshalOptions: protojson.UnmarshalOptions{Resolver: types},
	}}
}

func newProto(types vanguard.TypeResolver) vanguard.Codec {
	return codec{vanguard.NewProtoCodec(types)}
}

// codec says that a request that it cannot decode is the caller's error.
type codec struct{ vanguard.Codec }

func (c codec) Unmarshal(data []byte, m proto.Message) error {
	if err := c.Codec.Unmarshal(data, m); err != nil {
		return connect.NewError(connect.CodeInvalidArgument, err)
	}
	return nil
}

// ServeHTTP implements [http.Handler].
func (h *handler) ServeHTTP(response http.ResponseWriter, r *http.Request) {
	w := &writer{ResponseWriter: response, controller: http.NewResponseController(response)}
	boundBody(w, r)
	if h.guard.answers(w, r) {
		return
	}
	method := r.URL.Path
	if method == EventsPath {
		method = streamv1.EventStreamService_Tail_FullMethodName
	}
	ctx, err := h.admit(r, method)
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	r = r.WithContext(ctx)
	switch service, _, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/"); {
	case r.URL.Path == EventsPath:
		h.events.ServeHTTP(w, r)
	case listener.IsRPC(r.Header.Get("Content-Type")):
		h.serveRPC(w, r)
	case slices.Contains(h.Services, service):
		h.transcode(w, r)
	default:
		writeError(w, status.Error(codes.NotFound, "no such path or method"))
	}
}

// admit asks [Config.Admit].
func (h *handler) admit(r *http.Request, method string) (context.Context, error) {
	header := make(metadata.MD, len(r.Header))
	for name, values := range r.Header {
		header[strings.ToLower(name)] = values
	}
	ctx := metadata.NewIncomingContext(r.Context(), header)
	return h.Admit(ctx, &tap.Info{FullMethodName: method, Header: header})
}

// refuse answers in the client's protocol.
func (h *handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	s := status.Convert(err)
	if s.Code() == codes.Unauthenticated {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	if r.URL.Path == EventsPath || !h.errors.IsSupported(r) {
		writeError(w, err)
		return
	}
	_ = h.errors.Write(w, r, connect.NewError(connect.Code(s.Code()), textError(s.Message())))
}

type textError string

func (e textError) Error() string { return string(e) }

// serveRPC serves a call of gRPC itself.
func (h *handler) serveRPC(w *writer, r *http.Request) {
	if r.ProtoMajor == 2 {
		b := bodyOf(r)
		b.limit, b.enveloped = limitOf(h.Limits(r.URL.Path)), true
		h.RPC.ServeHTTP(w, r)
		return
	}
	http.Error(w, "gRPC needs HTTP/2", http.StatusHTTPVersionNotSupported)
}

// transcode serves a call of Connect or of gRPC-Web.
func (h *handler) transcode(w *writer, r *http.Request) {
	b, limit := bodyOf(r), limitOf(h.Limits(r.URL.Path))
	b.limit = limit
	media, _, _ := strings.Cut(strings.ToLower(r.Header.Get("Content-Type")), ";")
	media = strings.TrimSpace(media)
	switch {
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		writeError(w, &httpError{http.StatusMethodNotAllowed, status.Error(codes.Unimplemented, "the method must be POST")})
		return
	case media == "application/json", media == "application/proto":
		// The transcoder takes a request without this header for another protocol, and curl does not send it.
		r.Header.Set("Connect-Protocol-Version", "1")
		r.Header.Set("Content-Type", media)
	case strings.HasPrefix(media, "application/connect+"), media == grpcWeb, strings.HasPrefix(media, grpcWeb+"+"):
		b.enveloped = true
	default:
		writeError(w, &httpError{http.StatusUnsupportedMediaType, status.Error(codes.InvalidArgument,
			"the content type is none of gRPC, gRPC-Web and Connect")})
		return
	}
	switch {
	case limit == 0:
		h.refuse(w, r, status.Error(codes.Unimplemented, "this method is served over gRPC alone"))
	case r.ContentLength > int64(limit)+envelope:
		h.refuse(w, r, tooLarge(limit))
	case !listener.IsVerified(r.Context()) && isCompressed(r.Header):
		h.refuse(w, r, status.Error(codes.Unimplemented, "compressed requests need a credential"))
	default:
		h.transcoder.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), bodyKey{}, b)))
	}
}

const grpcWeb = "application/grpc-web"
