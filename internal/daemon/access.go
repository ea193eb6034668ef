package daemon

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/webhook-bridge/bridge/internal/access"
	"github.com/webhook-bridge/bridge/internal/certs"
	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/internal/listener"
	"github.com/webhook-bridge/bridge/internal/mask"
	"github.com/webhook-bridge/bridge/internal/secret"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/grpcstream"
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
	return a.has(strings.TrimSpace(token))
}

// has reports whether a token is one of the tokens, and records its use.
func (a authenticator) has(token string) bool { return a.digests.Match(token, time.Now()) }

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

// newOperatorAuthenticator returns the authenticator of the admin listener. Without tokens for operators, the other tokens are theirs too.
func newOperatorAuthenticator(c config.Access) authenticator {
	if len(c.AdminTokens) == 0 {
		return newAuthenticator(c.Tokens)
	}
	return newAuthenticator(c.AdminTokens)
}

// newAccess returns the authenticator of the gRPC port. authorities is nil if clients show no certificates.
func newAccess(c config.Access, authorities *certs.Authorities, metrics prometheus.Registerer) *access.Authenticator {
	settings := accessConfig(c)
	settings.Registerer = metrics
	if authorities != nil {
		settings.Authorities = authorities.Pool
	}
	return access.New(settings)
}

// accessConfig returns who may call the gRPC port.
func accessConfig(c config.Access) access.Config {
	return access.Config{Tokens: c.Tokens, AdminTokens: c.AdminTokens, Principals: c.Principals}
}

// viewer returns the caller of a call, for subscriptions.
func viewer(ctx context.Context) grpcstream.Viewer { return access.From(ctx) }

// masked returns an event without personal data.
func masked(r sinks.Record) ([]byte, error) { return mask.Event(r.Encoded) }
