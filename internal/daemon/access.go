package daemon

import (
	"context"
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/internal/listener"
	"github.com/webhook-bridge/bridge/internal/secret"
)

// authenticator is a bearer-token authenticator: it admits callers that present one of its tokens. Without tokens it admits
// everyone.
type authenticator struct {
	open    bool
	digests secret.Digests
}

func newAuthenticator(tokens []secret.Value) authenticator {
	return authenticator{open: len(tokens) == 0, digests: secret.NewDigests(tokens)}
}

// admits reports whether the value of an authorization header has one of the tokens, and records the token's use. Its time does
// not depend on the tokens.
func (a authenticator) admits(authorization string) bool {
	if a.open {
		return true
	}
	scheme, token, _ := strings.Cut(authorization, " ")
	if !strings.EqualFold(scheme, "bearer") {
		return false
	}
	return a.digests.Match(strings.TrimSpace(token), time.Now())
}

// middleware answers 401 to requests that are not admitted.
func (a authenticator) middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !a.admits(r.Header.Get("Authorization")) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "a bearer token is needed", http.StatusUnauthorized)
			return
		}
		if !a.open {
			listener.Verified(r.Context())
		}
		next.ServeHTTP(w, r)
	})
}

// tap checks a call before anything of it is read or looked up, so that unauthorized callers learn nothing and cost nothing. Health
// checks pass without a token: a load balancer has none.
func (a authenticator) tap(ctx context.Context, info *tap.Info) (context.Context, error) {
	if strings.HasPrefix(info.FullMethodName, "/"+healthv1.Health_ServiceDesc.ServiceName+"/") {
		return ctx, nil
	}
	var authorization string
	if v := info.Header.Get("authorization"); len(v) == 1 {
		authorization = v[0]
	}
	if !a.admits(authorization) {
		return nil, status.Error(codes.Unauthenticated, "a bearer token is needed")
	}
	return ctx, nil
}

// interceptor authenticates gRPC calls: subscriptions and calls of the operators' service have tokens of their own.
type interceptor struct{ streams, operators authenticator }

// newInterceptor returns the interceptor for the configured tokens. Without tokens for operators, the other tokens are theirs too.
func newInterceptor(c config.Access) interceptor {
	streams := newAuthenticator(c.Tokens)
	if len(c.AdminTokens) == 0 {
		return interceptor{streams, streams}
	}
	return interceptor{streams, newAuthenticator(c.AdminTokens)}
}

// tap checks a call as [authenticator.tap] does, with the tokens of its service. The tokens of either admit to reflection.
func (i interceptor) tap(ctx context.Context, info *tap.Info) (context.Context, error) {
	switch service, _, _ := strings.Cut(strings.TrimPrefix(info.FullMethodName, "/"), "/"); {
	case service == adminv1.AdminService_ServiceDesc.ServiceName:
		return i.operators.tap(ctx, info)
	case strings.HasPrefix(service, "grpc.reflection."):
		if passed, err := i.operators.tap(ctx, info); err == nil {
			return passed, nil
		}
	}
	return i.streams.tap(ctx, info)
}
