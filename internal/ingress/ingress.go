package ingress

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"github.com/webhook-bridge/bridge/internal/intake"
	"github.com/webhook-bridge/bridge/internal/source"
	"github.com/webhook-bridge/bridge/internal/tracing"
)

// Config has the parts and settings of an [Ingress].
type Config struct {
	Intake *intake.Intake
	// Sources are resolved by New.
	Sources []source.Source
	// Logger for refused webhooks. Never given bodies, secrets or what senders put into URLs. nil discards.
	Logger *slog.Logger
	// Registerer for the metrics. nil registers nowhere.
	Registerer prometheus.Registerer
	// Tracer shows what is received. nil is off.
	Tracer tracing.Tracer
}

// Ingress receives webhooks over HTTP and, for sources that allow it, as typed gRPC calls. It is an [http.Handler], to be
// served by a server of [NewServer], and safe for concurrent use.
type Ingress struct {
	intake   *intake.Intake
	log      *slog.Logger
	metrics  *metrics
	current  atomic.Pointer[endpoints]
	tracer   tracing.Tracer
	unknown  refusals
	decoding *semaphore.Weighted // the budget of all sources
	// deadlines of commits.
	deadlines deadlines
}

// endpoints are all sources at one moment. It is not changed.
type endpoints struct {
	sources map[string]*endpoint
	// gateways by connector, also of connectors that had a source earlier.
	gateways map[string]*gateway
}

// endpoint returns the source of that name, or nil. A webhook keeps the one that it began with.
func (in *Ingress) endpoint(name string) *endpoint { return in.current.Load().sources[name] }

// New resolves all sources, and proves for every event of their connectors that the generated gateway leads from its path
// to its RPC. The error names all problems.
func New(c Config) (*Ingress, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	m, err := newMetrics(c.Registerer)
	if err != nil {
		return nil, fmt.Errorf("ingress: metrics: %w", err)
	}
	in := &Ingress{
		intake:   c.Intake,
		log:      c.Logger,
		metrics:  m,
		tracer:   c.Tracer,
		unknown:  m.refusalsOf(unknownSource),
		decoding: semaphore.NewWeighted(decodingBudget()),
	}
	in.current.Store(&endpoints{})
	apply, err := in.Prepare(c.Sources)
	if err != nil {
		return nil, err
	}
	apply()
	return in, nil
}

// Prepare makes other sources ready, with the checks of [New], and changes nothing. Its result puts them in the place of the current ones:
// webhooks that are under way end with the settings that they began with, and the next ones have the new settings. A source that keeps its
// name keeps what it has counted: its rate, its bytes of the day and the memory in use. Prepare and its result are called by one goroutine
// at a time.
func (in *Ingress) Prepare(configured []source.Source) (apply func(), err error) {
	sources := slices.Clone(configured)
	var problems []error
	for _, p := range source.Resolve(sources) {
		problems = append(problems, fmt.Errorf("ingress: source %q: %s", sources[p.Source].Name, p))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	old := in.current.Load()
	next := &endpoints{sources: make(map[string]*endpoint, len(sources)), gateways: maps.Clone(old.gateways)}
	if next.gateways == nil {
		next.gateways = make(map[string]*gateway)
	}
	for _, s := range sources {
		if err := in.add(next, s, old.sources[s.Name]); err != nil {
			problems = append(problems, fmt.Errorf("ingress: source %q: %w", s.Name, err))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return func() { in.current.Store(next) }, nil
}

// add makes an endpoint for a source. old is the source's endpoint so far, or nil.
func (in *Ingress) add(to *endpoints, s source.Source, old *endpoint) error {
	v, err := newVerifier(&s.Auth)
	if err != nil {
		return err
	}
	g, ok := to.gateways[s.Connector.Name]
	if !ok {
		var err error
		if g, err = newGateway(s.Connector); err != nil {
			return err
		}
		to.gateways[s.Connector.Name] = g
	}
	src := newEndpoint(s, v, g, in.intake, in.decoding, in.metrics)
	if old != nil {
		src.continueFrom(old)
	}
	to.sources[s.Name] = src
	return src.checkHandshakes()
}

// ServeHTTP receives one webhook. It returns once the webhook is durable, or refused.
func (in *Ingress) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	received := time.Now()
	var src *endpoint
	var span tracing.Span
	defer func() {
		if p := recover(); p != nil {
			in.refuse(w, src, span, in.panicked(src, p))
			span.End()
		}
	}()
	to, ok := parsePath(r.URL)
	src = in.endpoint(to.source)
	if !ok || src == nil {
		in.refuse(w, nil, span, errUnknownSource)
		return
	}
	src.received.Inc()
	hello, err := src.shakeHands(r, to, received)
	switch {
	case to.tokened != src.verifier.tokens: // receive says so
	case err != nil:
		in.refuse(w, src, span, err)
		return
	case hello != nil:
		src.handshakes.Inc()
		hello.write(w)
		return
	}
	err = in.receive(w, r, src, to, received, &span)
	if err != nil && !span.Recording() { // The sender is not verified, so that what it says of traces counts for nothing.
		span = in.begin(src, to, received, tracing.Caller{})
	}
	if err != nil {
		in.refuse(w, src, span, err)
	}
	span.End()
}

// answer writes the success answer to a delivery.
func (in *Ingress) answer(w http.ResponseWriter, src *endpoint, d *intake.Delivery) {
	d.Span.Set(statusOK)
	if d.Ping == nil {
		src.taken.Inc()
		src.answer.write(w)
		return
	}
	switch own, err := src.answerPing(d); {
	case err != nil:
		in.refuse(w, src, d.Span, err)
	case own != nil:
		own.write(w)
	default:
		src.answer.write(w)
	}
}

// errPanicked is an internal error. Nothing was stored.
var errPanicked = errors.New("ingress: panic")

// panicked logs a panic that was recovered. Its text is left out: a value that was panicked with may hold anything.
func (in *Ingress) panicked(src *endpoint, p any) error {
	name := unknownSource
	if src != nil {
		name = src.Name
	}
	in.log.Error("ingress panicked", "source", name, "problem", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
	return errPanicked
}

// receive verifies and reads a webhook, commits it, and answers if that succeeds. It sets the span once the sender is verified.
func (in *Ingress) receive(w http.ResponseWriter, r *http.Request, src *endpoint, to route, received time.Time, span *tracing.Span) error {
	if to.tokened != src.verifier.tokens {
		if to.tokened {
			return errUnknownPath
		}
		return errUnauthorized
	}
	if r.Method != http.MethodPost {
		return errMethod
	}
	if err := src.verifier.verifyHTTP(r.Header, to.token, received); err != nil {
		return err
	}
	reserved := reservation{budget: src.bodies}
	defer reserved.release()
	b, err := src.readBody(w, r, received, &reserved)
	if err != nil {
		return err
	}
	*span = in.begin(src, to, received, callerOf(r.Header))
	if err := src.limits.charge(received, int64(len(b.data))); err != nil {
		b.release()
		return err
	}
	d := intake.Delivery{
		Source:     src.intake,
		PathEvent:  to.event,
		ReceivedAt: received,
		Headers:    src.headersToKeep(r.Header, b.fault != nil),
		Body:       b.data,
		Encoding:   b.encoding(),
		Fault:      b.fault,
		Span:       *span,
	}
	if span.Recording() {
		d.Traceparent = span.Context().String()
	}
	// The sender's part is over: it may hang up, and is then not asked again.
	ctx := in.deadlines.after(time.Now())
	decoding := reservation{budget: src.decoding}
	defer decoding.release()
	if err := decoding.reserve(ctx, src.decodingBytes(&b)); err != nil {
		b.release()
		return err
	}
	err = in.intake.Receive(ctx, &d)
	b.release()
	if err != nil {
		return err
	}
	in.metrics.observe(time.Since(received), *span)
	in.answer(w, src, &d)
	return nil
}

// refuse writes the error response, counts the refusal and logs it. src is nil for requests to an unknown source.
func (in *Ingress) refuse(w http.ResponseWriter, src *endpoint, span tracing.Span, err error) {
	in.note(src, span, err).write(w)
}

// note returns the answer to an error. It counts the refusal, notes it in the span and, within reason, logs it.
func (in *Ingress) note(src *endpoint, span tracing.Span, err error) answer {
	a := answerOf(err)
	a.trace(span)
	counters, name := &in.unknown, unknownSource
	if src != nil {
		counters, name = &src.refused, src.Name
	}
	counters.count(a.reason)
	counters.complaints.Do(func() {
		in.log.With(span.LogAttributes()...).Warn("refused webhook", "source", name, "reason", a.reason.String(), "status", a.status, "cause", err)
		var u *unverified
		if errors.As(err, &u) {
			in.log.Debug("refused signature", "source", name, "cause", u.cause)
		}
	})
	return a
}

// newComplaints is how often refused webhooks of one source are logged; the counters see them all.
func newComplaints() *rate.Sometimes { return &rate.Sometimes{First: 10, Interval: time.Second} }
