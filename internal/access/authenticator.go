package access

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"

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
	current atomic.Pointer[callers]
	// operators is the principal of operators who manage groups: they see all groups, and no personal data in their dead letters.
	operators *Principal
	verifier  *verifier
	metrics   *metrics

	mu    sync.Mutex
	calls map[*openCall]struct{}
}

// callers are the callers that are admitted at one moment. It is not changed.
type callers struct {
	principals []*Principal
	tokens     tokens
	// everyone is the principal of callers while none is configured, or nil.
	everyone *Principal
	// open: subscribers need no credential. separate: the operators' service needs a token of its own.
	open, separate bool
}

// New returns an authenticator. It starts no goroutine.
func New(c Config) *Authenticator {
	a := &Authenticator{operators: everything(false, false), calls: make(map[*openCall]struct{})}
	a.current.Store(newCallers(c, &callers{}))
	if c.Authorities != nil {
		a.verifier = &verifier{authorities: c.Authorities}
	}
	a.metrics = newMetrics(c.Registerer, a)
	return a
}

// newCallers returns the callers of a configuration. A principal whose rules are those of an old one is the old one, also if its tokens are
// others.
func newCallers(c Config, old *callers) *callers {
	n := &callers{
		separate: len(c.AdminTokens) > 0 || len(c.Principals) > 0,
		open:     len(c.Tokens) == 0 && len(c.Principals) == 0,
	}
	switch {
	case len(c.Principals) > 0:
	case old.everyone != nil && old.separate == n.separate:
		n.everyone = old.everyone
	default:
		n.everyone = everything(!n.separate, true)
	}
	lists := []tokensOf{{holder{principal: n.everyone, operator: !n.separate}, c.Tokens}, {holder{operator: true}, c.AdminTokens}}
	for _, r := range c.Principals {
		p := old.principal(r)
		n.principals = append(n.principals, p)
		lists = append(lists, tokensOf{holder{principal: p}, r.Tokens})
	}
	n.tokens = newTokens(lists)
	return n
}

// principal returns the principal of the rules.
func (c *callers) principal(r Rules) *Principal {
	p, faults := NewPrincipal(r)
	if len(faults) > 0 {
		p = &Principal{name: r.Name} // sees nothing; the configuration was not checked
	}
	for _, old := range c.principals {
		switch {
		case old.name != r.Name:
		case old.rules.equal(r):
			return old
		default:
			p.used.Store(old.used.Load())
		}
	}
	return p
}

// Replace admits the callers of another configuration from now on. Its authorities and its registerer do not count. Open calls end if their
// caller is not admitted any more, or has other rights now: then the caller connects again. Those of other callers go on. Replace is called
// by one goroutine at a time.
func (a *Authenticator) Replace(c Config) {
	next := newCallers(c, a.current.Load())
	a.metrics.begin(next.principals)
	a.current.Store(next)
	a.Recheck()
}

// Open reports whether callers need no credential.
func (a *Authenticator) Open() bool { return a.current.Load().open }

// AsOperator returns a context with an operator who manages groups, for a caller that another authenticator has admitted. Such an operator sees
// all groups and all events, without personal data.
func (a *Authenticator) AsOperator(ctx context.Context) context.Context {
	return With(ctx, &Caller{Principal: a.operators, metrics: a.metrics})
}

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
	switch known := a.current.Load(); {
	case service == adminv1.AdminService_ServiceDesc.ServiceName:
		return a.admitOperator(ctx, c, now)
	case known.open:
		return With(ctx, &Caller{Principal: known.everyone, metrics: a.metrics, valid: a.validWithout(known.everyone)}), nil
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
	if known := a.current.Load(); known.open && !known.separate {
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

// The reasons why a call ends whose credential was valid.
const (
	tokenWithdrawn = "the bearer token is no longer valid"
	tokenNeeded    = "a bearer token is needed now"
	rightsChanged  = "the rights of the caller were changed: connect again"
)

// validWithout says why a caller without a credential is not admitted any more.
func (a *Authenticator) validWithout(p *Principal) func(time.Time) ending {
	return func(time.Time) ending {
		switch known := a.current.Load(); {
		case !known.open:
			return ending{codes.Unauthenticated, tokenNeeded}
		case known.everyone != p:
			return ending{codes.Unavailable, rightsChanged}
		}
		return ending{}
	}
}

func (a *Authenticator) byToken(authorization []string, now time.Time) (*Caller, bool, error) {
	sum, ok := bearer(authorization)
	var found holder
	if ok {
		found = a.current.Load().tokens.find(sum, now)
	}
	switch {
	case found.principal != nil:
		p := found.principal
		p.use(now)
		return &Caller{Principal: p, metrics: a.metrics, valid: a.validWith(p, func(now time.Time) *Principal {
			return a.current.Load().tokens.find(sum, now).principal
		})}, found.operator, nil
	case found.operator:
		return nil, true, nil
	}
	return nil, false, a.metrics.refuse(credentialToken, "the bearer token is not valid")
}

// validWith says why a caller with a token is not admitted any more, or is another one.
func (a *Authenticator) validWith(p *Principal, holder func(time.Time) *Principal) func(time.Time) ending {
	return func(now time.Time) ending {
		switch found := holder(now); {
		case found == p:
			return ending{}
		case found != nil, a.Open():
			return ending{codes.Unavailable, rightsChanged}
		}
		return ending{codes.Unauthenticated, tokenWithdrawn}
	}
}

func (a *Authenticator) byCertificate(chain []*x509.Certificate, now time.Time) (*Caller, error) {
	if err := a.verifier.verify(chain, now); err != nil {
		return nil, a.metrics.refuse(credentialCertificate, err.Error())
	}
	all := names(chain[0])
	p := a.current.Load().named(all)
	if p == nil {
		return nil, a.metrics.refuse(credentialCertificate, noPattern)
	}
	p.use(now)
	return &Caller{Principal: p, metrics: a.metrics, valid: func(now time.Time) ending {
		if err := a.verifier.verify(chain, now); err != nil {
			return ending{codes.Unauthenticated, err.Error()}
		}
		switch found := a.current.Load().named(all); {
		case found == p:
			return ending{}
		case found != nil:
			return ending{codes.Unavailable, rightsChanged}
		}
		return ending{codes.Unauthenticated, noPattern}
	}}, nil
}

const noPattern = "the client certificate is valid, but no principal has a pattern for its names"

// named returns the first principal with a pattern that matches one of the names, or nil.
func (c *callers) named(names map[string][]string) *Principal {
	if i := slices.IndexFunc(c.principals, func(p *Principal) bool { return p.owns(names) }); i >= 0 {
		return c.principals[i]
	}
	return nil
}

func serviceOf(method string) string {
	service, _, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	return service
}
