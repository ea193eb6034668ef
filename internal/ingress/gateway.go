package ingress

import (
	"cmp"
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
	"github.com/webhook-bridge/bridge/internal/vendorjson"
)

// gateway is a connector's generated grpc-gateway handler, over a connection that ends in this process.
type gateway struct {
	connector *connectors.Connector
	// routes by the vendor's name for the event.
	routes map[string]*rpcRoute
}

// rpcRoute leads to one RPC.
type rpcRoute struct {
	event connectors.Event
	name  string
	// method is the RPC as gRPC calls it.
	method string
	// url is the URL of the RPC's HTTP rule. It is shared, so it must not be changed.
	url *url.URL
	// handle is the handler that was generated for the RPC.
	handle runtime.HandlerFunc
}

// newGateway builds the connector's handler, and proves that it leads every event to its RPC.
func newGateway(c *connectors.Connector) (*gateway, error) {
	events, err := c.Events()
	if err != nil {
		return nil, err
	}
	handlers, err := generatedHandlers(c)
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	g := &gateway{connector: c, routes: make(map[string]*rpcRoute, len(events))}
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

// rpc identifies a generated handler: the RPC that it calls, and the path of its HTTP rule.
type rpc struct{ method, path string }

// generatedHandlers registers the connector's generated gateway, and sends a probe through each of its handlers to find the RPC
// that it calls.
//
// The gateway's mux would look for the handler of every webhook, by trying one pattern after the other. The event's name
// already tells which handler it is.
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

// probe sends an empty webhook through a handler, and returns where it leads.
func probe(h runtime.HandlerFunc) (rpc, error) {
	c := newCall()
	c.begin(&rpcRoute{url: &url.URL{Path: "/"}}, []byte("{}"))
	h(&c.response, c.request, nil)
	if c.made == (rpc{}) {
		return rpc{}, fmt.Errorf("%w: %w", errBypassed, c.err)
	}
	return c.made, nil
}

// Decode has the generated handler decode a document into the request message of the event's RPC, and returns how the two
// differ. It persists nothing. The error is vendorjson's, or errBypassed if the handler did not make the event's call: an
// internal error, which quarantines the webhook.
func (g *gateway) Decode(event string, document []byte) (proto.Message, []vendorjson.Drift, error) {
	rt := g.routes[event]
	if rt == nil {
		return nil, nil, fmt.Errorf("%w: no route for the event", errBypassed)
	}
	c := calls.Get().(*call)
	c.begin(rt, document)
	rt.handle(&c.response, c.request, nil)
	message, drift, err := c.message, c.body.Drift, c.body.Err
	if message == nil && err == nil || message != nil && c.made.method != rt.method {
		message, err = nil, cmp.Or(c.err, errBypassed)
	}
	// Not after a panic: then it may be in use still.
	c.end()
	calls.Put(c)
	return message, drift, err
}

// errBypassed is an internal error: the webhook was not decoded.
var errBypassed = errors.New("the generated gateway did not make the call")

// errDecoded ends the typed call. An error spares the gateway the work of an answer that goes nowhere.
var errDecoded = errors.New("ingress: decoded")

// call is one document on its way through the generated handler. It is the request's context, so that the connection and the
// error handler find it; and it is the reason why the handler sees nothing of the sender's but the body.
type call struct {
	body vendorjson.Body
	// message is the request message of the call that the handler made, and made where it led.
	message proto.Message
	made    rpc
	// err is why there is no message.
	err error

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

func (c *call) begin(rt *rpcRoute, document []byte) {
	c.body = vendorjson.Body{Data: document}
	c.request.URL = rt.url
}

// end forgets the document.
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

// connection is the gateway's connection to the service. It keeps the message and returns.
type connection struct{}

// Invoke ends the typed call that the generated handler makes.
func (connection) Invoke(ctx context.Context, method string, args, _ any, _ ...grpc.CallOption) error {
	c, ok := ctx.Value(callKey{}).(*call)
	if !ok {
		return errBypassed
	}
	msg, ok := args.(proto.Message)
	annotated, generated := runtime.RPCMethod(ctx)
	if !ok || !generated || annotated != method {
		return errBypassed
	}
	path, _ := runtime.HTTPPathPattern(ctx)
	c.message, c.made = msg, rpc{method, path}
	return errDecoded
}

// NewStream is for streams, which no event is.
func (connection) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, errBypassed
}

func noHeader(string) (string, bool) { return "", false }

func onError(ctx context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, _ http.ResponseWriter, _ *http.Request, err error) {
	if c, ok := ctx.Value(callKey{}).(*call); ok && c.message == nil {
		c.err = fmt.Errorf("%w: %w", errBypassed, err)
	}
}

// discard is where the gateway's own answer goes.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(int)             {}
