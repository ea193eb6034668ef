package admin

import (
	"context"
	"fmt"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
)

// maxRequest bounds the body of a request, in bytes.
const maxRequest = 1 << 20

// Handler serves the service as JSON, under /v1. Requests that change something are taken as application/json only, which no
// web page elsewhere can make a browser send unasked. A field that the service does not have is an error: what a slip of the
// pen leaves out of a filter would select more.
func Handler(s *Server) (http.Handler, error) {
	mux := runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, &runtime.JSONPb{
			MarshalOptions:   protojson.MarshalOptions{EmitUnpopulated: true},
			UnmarshalOptions: protojson.UnmarshalOptions{DiscardUnknown: false},
		}),
		runtime.WithIncomingHeaderMatcher(func(string) (string, bool) { return "", false }),
		runtime.WithDisableHTTPMethodOverride(),
		runtime.WithDisablePathLengthFallback(),
	)
	if err := adminv1.RegisterAdminServiceHandlerServer(context.Background(), mux, s); err != nil {
		return nil, fmt.Errorf("admin: gateway: %w", err)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
				http.Error(w, "write application/json", http.StatusUnsupportedMediaType)
				return
			}
		}
		if name := unknownParameter(r.URL.Query()); name != "" {
			http.Error(w, fmt.Sprintf("there is no parameter %.64q; see /openapi/admin.json", name), http.StatusBadRequest)
			return
		}
		if r.ContentLength > maxRequest {
			http.Error(w, "the request is too large", http.StatusRequestEntityTooLarge)
			return
		}
		r = r.WithContext(withPeer(r.Context(), r.RemoteAddr))
		r.Body = http.MaxBytesReader(w, r.Body, maxRequest)
		mux.ServeHTTP(w, r)
	}), nil
}

// withPeer says who asks, as a gRPC connection would.
func withPeer(ctx context.Context, addr string) context.Context {
	tcp, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return ctx
	}
	return peer.NewContext(ctx, &peer.Peer{Addr: tcp})
}

// parameters are the fields of the requests that come by GET, as the gateway reads them from a URL.
var parameters = []protoreflect.MessageDescriptor{
	(*adminv1.ListWebhooksRequest)(nil).ProtoReflect().Descriptor(),
	(*adminv1.GetWebhookRequest)(nil).ProtoReflect().Descriptor(),
	(*adminv1.ListDriftRequest)(nil).ProtoReflect().Descriptor(),
	(*adminv1.ListParkedRequest)(nil).ProtoReflect().Descriptor(),
	(*adminv1.GetParkedRequest)(nil).ProtoReflect().Descriptor(),
}

// unknownParameter returns a parameter that no request has, which the gateway would pass over.
func unknownParameter(query url.Values) string {
	for name := range query {
		if !slices.ContainsFunc(parameters, func(md protoreflect.MessageDescriptor) bool { return hasField(md, name) }) {
			return name
		}
	}
	return ""
}

// hasField reports whether a dotted path of names leads to a field.
func hasField(md protoreflect.MessageDescriptor, path string) bool {
	name, rest, more := strings.Cut(path, ".")
	fd := md.Fields().ByName(protoreflect.Name(name))
	if fd == nil {
		fd = md.Fields().ByJSONName(name)
	}
	if fd == nil || !more {
		return fd != nil
	}
	return fd.Message() != nil && hasField(fd.Message(), rest)
}
