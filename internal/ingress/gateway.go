package ingress

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/internal/intake"
	"github.com/webhook-bridge/bridge/internal/vendorjson"
)

// gateway is a connector's generated grpc-gateway handler, over a connection that ends in this process.
type gateway struct {
	connector *connectors.Connector
	intake    *intake.Intake
	// routes by the vendor's name for the event.
	routes map[string]*rpcRoute
}

// rpcRoute leads to one RPC.
type rpcRoute struct {
	event connectors.Event
	name  string
	// method is the RPC as gRPC calls it.
	method string
	// url is that of the RPC's HTTP rule. It is shared: nobody changes it.
	url *url.URL
	// handle is the handler that was generated for the RPC.
	handle runtime.HandlerFunc
}

// newGateway builds the connector's handler, and proves that it leads every event to its RPC.
func newGateway(c *connectors.Connector, in *intake.Intake) (*gateway, error) {
	events, err := c.Events()
	if err != nil {
		return nil, err
	}
	handlers, err := generatedHandlers(c)
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	g := &gateway{connector: c, intake: in, routes: make(map[string]*rpcRoute, len(events))}
	for name, e := range events {
		rt := &rpcRoute{event: e, name: name, method: e.FullMethod(), url: &url.URL{Path: e.Path}}
		rt.handle = handlers[rpc{rt.method, e.Path}]
		if rt.handle == nil {
			return nil, fmt.Errorf("gateway: no generated handler leads from %s to %s", e.Path, rt.method)
		}
		if err := vendorjson.Prepare(e.Method.Input()); err != nil {
			return nil, err
		}
		g.routes[name] = rt
	}
	return g, nil
}

// rpc is what a generated handler says of itself: the RPC that it calls, and the path of its HTTP rule.
type rpc struct{ method, path string }

// generatedHandlers registers the connector's generated gateway, and sends a probe through each of its handlers to see
// where it leads.
//
// The gateway's mux would find the handler anew for every webhook, by trying one pattern after the other. Which handler it
// is we know: the event's name tells.
func generatedHandlers(c *connectors.Connector) (map[rpc]runtime.HandlerFunc, error) {
	var registered []runtime.HandlerFunc
	mux := runtime.NewServeMux(
		runtime.WithMiddlewares(func(next runtime.HandlerFunc) runtime.HandlerFunc {
			registered = append(registered, next)
			return next
		}),
		runtime.WithMarshalerOption(runtime.MIMEWildcard, vendorjson.Marshaler{}),
		runtime.WithIncomingHeaderMatcher(noHeader),
		runtime.WithOutgoingHeaderMatcher(noHeader),
		runtime.WithOutgoingTrailerMatcher(noHeader),
		runtime.WithErrorHandler(onError),
		runtime.WithDisablePathLengthFallback(),
		runtime.WithDisableHTTPMethodOverride(),
	)
	if err := c.Register(context.Background(), mux, connection{}); err != nil {
		return nil, fmt.Errorf("register: %w", err)
	}
	handlers := make(map[rpc]runtime.HandlerFunc, len(registered))
	for _, h := range registered {
		to, err := probe(h)
		if err != nil {
			return nil, err
		}
		handlers[to] = h
	}
	return handlers, nil
}

// probe sends an empty webhook through a handler, which ends before it is taken in.
func probe(h runtime.HandlerFunc) (rpc, error) {
	var to rpc
	c := newCall()
	c.begin(context.Background(), nil, &rpcRoute{url: &url.URL{Path: "/"}}, &intake.Delivery{Body: []byte("{}")})
	c.probed = &to
	h(&c.response, c.request, nil)
	if to == (rpc{}) {
		return to, fmt.Errorf("%w: %w", errBypassed, c.err)
	}
	return to, nil
}

// call hands a webhook to the generated handler, which decodes it and makes the typed call that takes it in. What could not
// be decoded is quarantined. The error is intake's, or errBypassed.
func (g *gateway) call(ctx context.Context, rt *rpcRoute, d *intake.Delivery) (intake.Outcome, error) {
	c := calls.Get().(*call)
	c.begin(ctx, g.intake, rt, d)
	rt.handle(&c.response, c.request, nil)
	outcome, err := c.outcome, c.err
	if outcome == 0 && err == nil {
		err = errBypassed
	}
	// Not after a panic: then it may be in use still.
	c.end()
	calls.Put(c)
	return outcome, err
}

// errProbed ends the typed call of a probe.
var errProbed = errors.New("ingress: probed")

// call is one webhook on its way through the generated handler. It is the request's context, so that decoder, connection
// and error handler find it; and it is the reason why the handler sees nothing of the sender's but the body.
type call struct {
	// ctx bounds the typed call. The generated code has c itself, which never ends: it waits for nothing else.
	ctx      context.Context
	intake   *intake.Intake
	route    *rpcRoute
	delivery *intake.Delivery
	body     vendorjson.Body
	// probed is set on probes alone, and told where the handler led.
	probed *rpc

	outcome intake.Outcome
	err     error

	request  *http.Request
	response discard
}

// calls are reused with their requests, which the generated code only reads.
var calls = sync.Pool{New: func() any { return newCall() }}

func newCall() *call {
	c := &call{response: discard{header: make(http.Header)}}
	c.request = (&http.Request{
		Method: http.MethodPost, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Body: &c.body,
	}).WithContext(c)
	return c
}

func (c *call) begin(ctx context.Context, in *intake.Intake, rt *rpcRoute, d *intake.Delivery) {
	c.ctx, c.intake, c.route, c.delivery = ctx, in, rt, d
	c.body = vendorjson.Body{Data: d.JSON()}
	c.request.URL = rt.url
}

// end forgets the webhook.
func (c *call) end() {
	*c = call{request: c.request, response: c.response}
	clear(c.response.header)
}

// callKey finds the call in a context.
type callKey struct{}

func (c *call) Deadline() (time.Time, bool) { return time.Time{}, false }
func (c *call) Done() <-chan struct{}       { return nil }
func (c *call) Err() error                  { return nil }

func (c *call) Value(key any) any {
	if _, ok := key.(callKey); ok {
		return c
	}
	return nil
}

// fail notes why the gateway answers with an error, unless it is known better already.
func (c *call) fail(err error) {
	switch {
	case c.err != nil || c.outcome != 0:
	case c.body.Err != nil && c.probed == nil:
		// Kept before the error handler, and so the gateway, is done.
		c.outcome, c.err = c.intake.Quarantine(c.ctx, c.delivery, intake.NewFault(intake.Malformed, c.body.Err))
	default:
		c.err = fmt.Errorf("%w: %w", errBypassed, err)
	}
}

// connection is the gateway's connection to the service: the typed call ends here.
type connection struct{}

// Invoke takes in the request message of a call that the generated handler made for the RPC of the webhook's event.
func (connection) Invoke(ctx context.Context, method string, args, _ any, _ ...grpc.CallOption) error {
	c, ok := ctx.Value(callKey{}).(*call)
	if !ok {
		return errBypassed
	}
	msg, ok := args.(proto.Message)
	annotated, generated := runtime.RPCMethod(ctx)
	switch {
	case !ok || !generated || annotated != method:
		c.err = errBypassed
	case c.probed != nil:
		path, _ := runtime.HTTPPathPattern(ctx)
		*c.probed, c.err = rpc{method, path}, errProbed
	case method != c.route.method:
		c.err = errBypassed
	default:
		c.outcome, c.err = c.intake.Accept(c.ctx, c.delivery, msg, c.body.Drift)
	}
	return c.err
}

// NewStream is for streams, which no event is.
func (connection) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, errBypassed
}

func noHeader(string) (string, bool) { return "", false }

func onError(ctx context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, _ http.ResponseWriter, _ *http.Request, err error) {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		c.fail(err)
	}
}

// discard is where the gateway's own answer goes.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(int)             {}
