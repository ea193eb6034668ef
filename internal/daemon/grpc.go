package daemon

import (
	"context"
	"crypto/tls"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/internal/access"
	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/internal/listener"
)

// Bounds of the gRPC port. Callers without a token can reach the health service alone, and what comes before a call.
const (
	// maxHealthRequest is the largest request to the health and reflection services, whose requests are names.
	maxHealthRequest = 4 << 10
	// maxOwnRequest is the largest request to the services of Bridge: a filter with all the values that it may have.
	maxOwnRequest = 512 << 10
	// healthCheckTimeout is how long a health check may take, with the arrival of its request.
	healthCheckTimeout = 10 * time.Second
	// maxHealthCalls is how many calls of the health service may be open on one connection. A bound for all connections would let a
	// stranger keep a load balancer from its checks.
	maxHealthCalls = 8
	// grpcConnectionTimeout is how long the handshake of HTTP/2 may take, once the connection's first call is here.
	grpcConnectionTimeout = 10 * time.Second
	// grpcReadBuffer is the read buffer of each connection: half of the default.
	grpcReadBuffer = 16 << 10
)

// openGRPC makes the server for subscriptions, operators, typed calls, health and reflection.
func (a *Server) openGRPC(t *tls.Config) error {
	if t != nil && a.config().Access.ClientCAFile != "" {
		t.ClientAuth = tls.RequestClientCert // which package access verifies
	}
	admit := &grpcAdmission{a.access}
	a.typed = typedCallsOf(a.config())
	a.shared = a.listeners["grpc"].Share(t, callLimits)
	a.grpc = grpc.NewServer(append(a.shared.Options(),
		grpc.InTapHandle(admit.tap),
		grpc.ChainStreamInterceptor(a.access.StreamInterceptor),
		grpc.ChainUnaryInterceptor(a.traceCall, a.access.UnaryInterceptor),
		grpc.ConnectionTimeout(grpcConnectionTimeout),
		grpc.MaxRecvMsgSize(a.typed.largest),
		grpc.ReadBufferSize(grpcReadBuffer),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: idleTimeout, Time: time.Minute, Timeout: 20 * time.Second}),
	)...)
	streamv1.RegisterEventStreamServiceServer(a.grpc, a.subscriptions)
	adminv1.RegisterAdminServiceServer(a.grpc, a.operators)
	a.health = health.NewServer()
	a.health.SetServingStatus(streamv1.EventStreamService_ServiceDesc.ServiceName, healthv1.HealthCheckResponse_SERVING)
	healthv1.RegisterHealthServer(a.grpc, knownHealth{a.health})
	reflection.Register(a.grpc)
	if err := a.edge.RegisterGRPC(a.grpc); err != nil {
		return err
	}
	return a.openWeb(admit)
}

// typedCalls are what the gRPC server was made for. It cannot change while it serves.
type typedCalls struct {
	// connectors are those that had a source.
	connectors map[string]bool
	// largest is the largest message of any call: the largest body that a source with typed calls allows.
	largest int
}

func typedCallsOf(cfg *config.Config) typedCalls {
	t, largest := typedCalls{connectors: map[string]bool{}}, int64(maxOwnRequest)
	for i := range cfg.Sources {
		s := &cfg.Sources[i]
		t.connectors[s.Connector.Name] = true
		if s.GRPC {
			largest = max(largest, s.Limits.Body)
		}
	}
	t.largest = int(min(largest, 1<<30))
	return t
}

// problems returns what keeps a source of another configuration from receiving typed calls.
func (t typedCalls) problems(cfg *config.Config) (all []config.Problem) {
	for i := range cfg.Sources {
		s, key := &cfg.Sources[i], fmt.Sprintf("sources[%d].", i)
		switch {
		case !s.GRPC:
		case !t.connectors[s.Connector.Name]:
			all = append(all, cfg.ProblemAt(key+"grpc", "needs a restart: no source had this connector at the start, so the listener does not know its calls"))
		case s.Limits.Body > int64(t.largest):
			all = append(all, cfg.ProblemAt(key+"limits.body", "needs a restart: the listener of typed calls takes no message as large as this"))
		}
	}
	return all
}

// callLimits bounds what a call may send. The typed calls of connectors have maxTypedCall: the edge checks their credential before it
// reads the message.
func callLimits(method string) listener.CallLimits {
	switch service := serviceOf(method); {
	case service == healthv1.Health_ServiceDesc.ServiceName:
		return listener.CallLimits{Message: maxHealthRequest}
	case isReflection(service):
		return listener.CallLimits{Message: maxHealthRequest, Messages: true}
	case isOwn(service):
		return listener.CallLimits{Message: maxOwnRequest, Messages: method == streamv1.EventStreamService_Subscribe_FullMethodName}
	}
	return listener.CallLimits{}
}

func serviceOf(method string) string {
	service, _, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	return service
}

func isReflection(service string) bool { return strings.HasPrefix(service, "grpc.reflection.") }

func isOwn(service string) bool {
	return service == streamv1.EventStreamService_ServiceDesc.ServiceName || service == adminv1.AdminService_ServiceDesc.ServiceName
}

// grpcAdmission decides about a call when its headers have arrived.
type grpcAdmission struct{ access *access.Authenticator }

// tap checks a call before anything of it is read or looked up, so that unauthorized callers learn nothing and cost nothing. It bounds
// the open calls of the health service, and notes connections that are no stranger's. Health checks pass without a credential: a load
// balancer has none.
func (a *grpcAdmission) tap(ctx context.Context, info *tap.Info) (context.Context, error) {
	service := serviceOf(info.FullMethodName)
	if service == healthv1.Health_ServiceDesc.ServiceName {
		if !listener.OpenWithout(ctx, maxHealthCalls) {
			return nil, status.Error(codes.ResourceExhausted, "too many open calls of the health service")
		}
		if strings.HasSuffix(info.FullMethodName, "/Watch") {
			return ctx, nil
		}
		bounded, cancel := context.WithTimeout(ctx, healthCheckTimeout)
		context.AfterFunc(ctx, cancel)
		return bounded, nil
	}
	ctx, err := a.access.Admit(ctx, access.Call{
		Method: info.FullMethodName, Authorization: info.Header.Get("authorization"), TLS: listener.TLS(ctx),
	})
	if err != nil {
		return nil, err
	}
	// Without credentials, the edge checks the secret of a typed call.
	if isOwn(service) || isReflection(service) || !a.access.Open() {
		listener.Verified(ctx)
		listener.Call(ctx)
	}
	return ctx, nil
}

// knownHealth is the health service without the services that it does not know: the library's keeps a list of the names that callers
// watch.
type knownHealth struct{ *health.Server }

// Watch implements [healthv1.HealthServer].
func (h knownHealth) Watch(r *healthv1.HealthCheckRequest, stream healthv1.Health_WatchServer) error {
	if _, err := h.Check(stream.Context(), r); err != nil {
		return err
	}
	return h.Server.Watch(r, stream)
}
