package access

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/internal/secret"
)

// Config of an authenticator. The zero value admits everyone to everything.
type Config struct {
	// Tokens admit to everything but, if there are AdminTokens, to the operators' service. They have no place beside Principals.
	Tokens []secret.Value
	// AdminTokens admit to the operators' service, and to the calls that manage subscription groups.
	AdminTokens []secret.Value
	// Principals in the configuration's order. They compile: see [NewPrincipal].
	Principals []Rules
	// Authorities returns the authorities that vouch for client certificates. A changed set has another pointer. Nil: certificates
	// are no credentials.
	Authorities func() *x509.CertPool
	// Registerer gets the metrics. Nil: none are kept.
	Registerer prometheus.Registerer
}

// Authenticator finds out who calls the gRPC port. It is safe for concurrent use.
type Authenticator struct {
	principals []*Principal
	tokens     tokens
	// everyone is the principal of callers while none is configured, or nil. operators is that of operators who manage groups: they see
	// all groups, and no personal data in their dead letters.
	everyone, operators *Principal
	// open: subscribers need no credential. separate: the operators' service needs a token of its own.
	open, separate bool
	verifier       *verifier
	metrics        *metrics

	mu    sync.Mutex
	calls map[*openCall]struct{}
}

// New returns an authenticator. It starts no goroutine.
func New(c Config) *Authenticator {
	a := &Authenticator{
		separate: len(c.AdminTokens) > 0 || len(c.Principals) > 0,
		open:     len(c.Tokens) == 0 && len(c.Principals) == 0,
		calls:    make(map[*openCall]struct{}),
	}
	if len(c.Principals) == 0 {
		a.everyone = everything(!a.separate, true)
	}
	a.operators = everything(false, false)
	lists := []tokensOf{{holder{principal: a.everyone, operator: !a.separate}, c.Tokens}, {holder{operator: true}, c.AdminTokens}}
	for _, r := range c.Principals {
		p, faults := NewPrincipal(r)
		if len(faults) > 0 {
			p = &Principal{name: r.Name} // sees nothing; the configuration was not checked
		}
		a.principals = append(a.principals, p)
		lists = append(lists, tokensOf{holder{principal: p}, r.Tokens})
	}
	a.tokens = newTokens(lists)
	if c.Authorities != nil {
		a.verifier = &verifier{authorities: c.Authorities}
	}
	a.metrics = newMetrics(c.Registerer, a)
	return a
}

// Open reports whether callers need no credential.
func (a *Authenticator) Open() bool { return a.open }

// Call has the method and the credentials of a call.
type Call struct {
	// Method is the full name: "/bridge.stream.v1.EventStreamService/Tail".
	Method string
	// Authorization has the values of the header.
	Authorization []string
	// TLS is the state of the connection, nil for plain text.
	TLS *tls.ConnectionState
}

// Admit authenticates a call of any service but health. It returns the call's context with its caller, for [From], or a status:
// UNAUTHENTICATED or PERMISSION_DENIED. A call that may stay open must also be given to [Authenticator.Follow].
func (a *Authenticator) Admit(ctx context.Context, c Call) (context.Context, error) {
	service, now := serviceOf(c.Method), time.Now()
	switch {
	case service == adminv1.AdminService_ServiceDesc.ServiceName:
		return a.admitOperator(ctx, c, now)
	case a.open:
		return With(ctx, &Caller{Principal: a.everyone, metrics: a.metrics}), nil
	}
	caller, operator, err := a.identify(c, now)
	switch {
	case err != nil:
		return nil, err
	case caller != nil:
	case operator && strings.HasPrefix(service, "grpc.reflection."):
		return ctx, nil
	case operator && managesGroups(c.Method):
		caller = &Caller{Principal: a.operators, metrics: a.metrics}
	default:
		return nil, (&Caller{Principal: nobody, metrics: a.metrics}).deny(RightSubscribe, "may not subscribe: its token is an operator's")
	}
	return With(ctx, caller), nil
}

// managesGroups reports whether a call looks at subscription groups or changes them, without being a member.
func managesGroups(method string) bool {
	switch method {
	case streamv1.EventStreamService_ListGroups_FullMethodName, streamv1.EventStreamService_GetGroup_FullMethodName,
		streamv1.EventStreamService_SeekGroup_FullMethodName, streamv1.EventStreamService_ListParked_FullMethodName,
		streamv1.EventStreamService_ReplayParked_FullMethodName, streamv1.EventStreamService_DiscardParked_FullMethodName,
		streamv1.EventStreamService_DeleteGroup_FullMethodName:
		return true
	}
	return false
}

func (a *Authenticator) admitOperator(ctx context.Context, c Call, now time.Time) (context.Context, error) {
	if a.open && !a.separate {
		return ctx, nil
	}
	caller, operator, err := a.identify(c, now)
	switch {
	case err != nil:
		return nil, err
	case operator:
		return ctx, nil
	}
	return nil, caller.deny(RightOperate, "may not call the operators' service: it needs one of access.admin_tokens")
}

// identify finds the caller by its credential. The caller is nil for an operator who is not also a subscriber.
func (a *Authenticator) identify(c Call, now time.Time) (caller *Caller, operator bool, err error) {
	switch {
	case len(c.Authorization) > 0:
		return a.byToken(c.Authorization, now)
	case a.verifier != nil && c.TLS != nil && len(c.TLS.PeerCertificates) > 0:
		caller, err = a.byCertificate(c.TLS.PeerCertificates, now)
		return caller, false, err
	case a.verifier != nil:
		return nil, false, a.metrics.refuse(credentialNone, "a bearer token or a client certificate is needed")
	default:
		return nil, false, a.metrics.refuse(credentialNone, "a bearer token is needed")
	}
}

func (a *Authenticator) byToken(authorization []string, now time.Time) (*Caller, bool, error) {
	sum, ok := bearer(authorization)
	var found holder
	if ok {
		found = a.tokens.find(sum, now)
	}
	switch {
	case found.principal != nil:
		p := found.principal
		p.use(now)
		return &Caller{Principal: p, metrics: a.metrics, valid: func(now time.Time) string {
			if a.tokens.find(sum, now).principal != p {
				return "the bearer token is no longer valid"
			}
			return ""
		}}, found.operator, nil
	case found.operator:
		return nil, true, nil
	}
	return nil, false, a.metrics.refuse(credentialToken, "the bearer token is not valid")
}

func (a *Authenticator) byCertificate(chain []*x509.Certificate, now time.Time) (*Caller, error) {
	if err := a.verifier.verify(chain, now); err != nil {
		return nil, a.metrics.refuse(credentialCertificate, err.Error())
	}
	all := names(chain[0])
	i := slices.IndexFunc(a.principals, func(p *Principal) bool { return p.owns(all) })
	if i < 0 {
		return nil, a.metrics.refuse(credentialCertificate, "the client certificate is valid, but no principal has a pattern for its names")
	}
	p := a.principals[i]
	p.use(now)
	return &Caller{Principal: p, metrics: a.metrics, valid: func(now time.Time) string {
		if err := a.verifier.verify(chain, now); err != nil {
			return err.Error()
		}
		return ""
	}}, nil
}

func serviceOf(method string) string {
	service, _, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	return service
}
