package daemon

import (
	"errors"
	"fmt"
	"net/http"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/internal/web"
)

// webServices are the services that clients of Connect and gRPC-Web may call. Operators have a listener of their own for HTTP, and senders
// theirs.
var webServices = []string{
	streamv1.EventStreamService_ServiceDesc.ServiceName,
	healthv1.Health_ServiceDesc.ServiceName,
	reflectionv1.ServerReflection_ServiceDesc.ServiceName,
}

// openWeb makes the server for what comes to the gRPC port and is not gRPC.
func (a *Server) openWeb(admit *grpcAdmission) error {
	loopback := config.IsLoopback(a.config().Listen.GRPC.Addr)
	h, err := web.New(web.Config{
		RPC: a.grpc, Services: webServices, Limits: callLimits, Admit: admit.tap, Tail: a.tail,
		Origins: func() []string { return a.config().Access.Origins },
		Local:   func() bool { return a.access.Open() && loopback },
	})
	if err != nil {
		return err
	}
	// Streams have no time limit. The handler bounds the time of bodies and of each write.
	a.web = &http.Server{
		Handler: h, ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout, DisableGeneralOptionsHandler: true, ErrorLog: debugLog(a.log),
	}
	a.shared.Prepare(a.web)
	return nil
}

// tail is Tail behind the interceptor that calls over gRPC have.
func (a *Server) tail(r *streamv1.TailRequest, out grpc.ServerStreamingServer[streamv1.TailResponse]) error {
	info := &grpc.StreamServerInfo{FullMethod: streamv1.EventStreamService_Tail_FullMethodName, IsServerStream: true}
	return a.access.StreamInterceptor(a.streams, out, info, func(_ any, stream grpc.ServerStream) error {
		return a.streams.Tail(r, &grpc.GenericServerStream[streamv1.TailRequest, streamv1.TailResponse]{ServerStream: stream})
	})
}

// serveShared serves the gRPC port.
func (a *Server) serveShared(group *errgroup.Group) {
	group.Go(func() error {
		if err := a.shared.Serve(); err != nil {
			return fmt.Errorf("serve grpc: %w", err)
		}
		return nil
	})
	group.Go(func() error { return serveHTTP("grpc", a.web, a.shared.Web()) })
	group.Go(func() error {
		if err := a.grpc.Serve(a.shared.RPC()); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			return fmt.Errorf("serve grpc: %w", err)
		}
		return nil
	})
}
