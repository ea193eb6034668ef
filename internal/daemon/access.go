package daemon

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"

	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/internal/secret"
)

// gate lets those in who bear one of its tokens; without tokens, everybody.
type gate struct{ digests [][sha256.Size]byte }

func newGate(tokens []string) gate {
	var g gate
	for _, t := range tokens {
		g.digests = append(g.digests, sha256.Sum256([]byte(t)))
	}
	return g
}

// open reports whether the value of an authorization header opens the gate. Its time does not depend on the tokens.
func (g gate) open(authorization string) bool {
	if len(g.digests) == 0 {
		return true
	}
	scheme, token, _ := strings.Cut(authorization, " ")
	if !strings.EqualFold(scheme, "bearer") {
		return false
	}
	digest, ok := sha256.Sum256([]byte(strings.TrimSpace(token))), 0
	for i := range g.digests {
		ok |= subtle.ConstantTimeCompare(digest[:], g.digests[i][:])
	}
	return ok == 1
}

func (g gate) http(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !g.open(r.Header.Get("Authorization")) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "a bearer token is needed", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// tap checks a call before anything of it is read or looked up, so that strangers learn nothing and cost nothing. Health
// checks pass without a token: a load balancer has none.
func (g gate) tap(ctx context.Context, info *tap.Info) (context.Context, error) {
	if strings.HasPrefix(info.FullMethodName, "/"+healthv1.Health_ServiceDesc.ServiceName+"/") {
		return ctx, nil
	}
	var authorization string
	if v := info.Header.Get("authorization"); len(v) == 1 {
		authorization = v[0]
	}
	if !g.open(authorization) {
		return nil, status.Error(codes.Unauthenticated, "a bearer token is needed")
	}
	return ctx, nil
}

// doors are the gates of what clients may call.
type doors struct{ streams, operators gate }

// newDoors returns the configured doors. Operators have tokens of their own, or those of everybody.
func newDoors(a config.Access) doors {
	streams := newGate(secret.Reveal(a.Tokens))
	if len(a.AdminTokens) == 0 {
		return doors{streams, streams}
	}
	return doors{streams, newGate(secret.Reveal(a.AdminTokens))}
}

// tap checks a call as [gate.tap] does, at the door that leads to it. Who passes either may ask what there is.
func (d doors) tap(ctx context.Context, info *tap.Info) (context.Context, error) {
	switch service, _, _ := strings.Cut(strings.TrimPrefix(info.FullMethodName, "/"), "/"); {
	case service == adminv1.AdminService_ServiceDesc.ServiceName:
		return d.operators.tap(ctx, info)
	case strings.HasPrefix(service, "grpc.reflection."):
		if passed, err := d.operators.tap(ctx, info); err == nil {
			return passed, nil
		}
	}
	return d.streams.tap(ctx, info)
}
