package ingress

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/retino"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	retinov1 "github.com/webhook-bridge/bridge/gen/webhooks/retino/v1"
	"github.com/webhook-bridge/bridge/internal/source"
)

// witness is a connection that sees the calls which the generated code makes, and hands them on.
type witness struct {
	t    *testing.T
	next grpc.ClientConnInterface

	mu    sync.Mutex
	calls []string
}

func (w *witness) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	// These two are in a context only if the handler that protoc-gen-grpc-gateway wrote has put them there.
	annotated, _ := runtime.RPCMethod(ctx)
	path, _ := runtime.HTTPPathPattern(ctx)
	if annotated != method {
		w.t.Errorf("%s was not called by its generated handler", method)
	}
	if _, ok := args.(proto.Message); !ok {
		w.t.Errorf("%s was called with a %T", method, args)
	}
	w.mu.Lock()
	w.calls = append(w.calls, method+" "+path)
	w.mu.Unlock()
	return w.next.Invoke(ctx, method, args, reply, opts...)
}

func (w *witness) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, errors.New("no stream is expected")
}

// witnessed is the connector with its gateway's connection watched.
func witnessed(c *connectors.Connector, w *witness) *connectors.Connector {
	copied := *c
	copied.Register = func(ctx context.Context, mux *runtime.ServeMux, conn grpc.ClientConnInterface) error {
		w.next = conn
		return c.Register(ctx, mux, w)
	}
	return &copied
}

// TestEveryDecodedWebhookPassesTheGeneratedHandler sends every event of every connector. Each that is stored under its own
// name was a typed call, made by the generated handler of its RPC: there is no other way from a body to a message.
func TestEveryDecodedWebhookPassesTheGeneratedHandler(t *testing.T) {
	for _, src := range testSources() {
		t.Run(src.Name, func(t *testing.T) {
			w := &witness{t: t}
			e := newEdge(t, only(src.Name, func(s *source.Source) {
				s.Connector = witnessed(s.Connector, w)
				s.Auth, s.Reject, s.Limits = source.Auth{Scheme: source.SchemeNone}, false, source.Limits{Rate: 1000}
			}))
			events, err := src.Connector.Events()
			if err != nil {
				t.Fatal(err)
			}
			for name, ev := range events {
				w.calls = nil
				resp := e.post("/webhooks/"+src.Name+"/"+name, nil, []byte(`{"unheard_of":1}`))
				if resp.Code != http.StatusOK {
					t.Errorf("%s: answer %d", name, resp.Code)
				}
				if diff := cmp.Diff([]string{ev.FullMethod() + " " + ev.Path}, w.calls); diff != "" {
					t.Errorf("%s: calls (-want +got):\n%s", name, diff)
				}
				unheard := func(d *journalv1.Drift) bool {
					return d.GetKind() == journalv1.DriftKind_DRIFT_KIND_UNKNOWN && d.GetPath() == "$.unheard_of"
				}
				if d := e.book.last(t).Webhook.GetDrift(); !slices.ContainsFunc(d, unheard) {
					t.Errorf("%s: drift %v", name, d)
				}
			}
		})
	}
}

// TestGatewayMustLead: a connector whose generated gateway does not lead to its RPCs does not start, and a
// document that it does not decode makes no event.
func TestGatewayMustLead(t *testing.T) {
	for name, register := range map[string]func(context.Context, *runtime.ServeMux, grpc.ClientConnInterface) error{
		"nothing registered": func(context.Context, *runtime.ServeMux, grpc.ClientConnInterface) error { return nil },
		"around the gateway": func(_ context.Context, mux *runtime.ServeMux, conn grpc.ClientConnInterface) error {
			c := retino.New()
			return mux.HandlePath(http.MethodPost, "/webhooks/retino/shipping.ordered", func(_ http.ResponseWriter, r *http.Request, _ map[string]string) {
				events, _ := c.Events()
				ev := events["shipping.ordered"]
				_ = conn.Invoke(r.Context(), ev.FullMethod(), ev.New(), nil)
			})
		},
		"fails": func(context.Context, *runtime.ServeMux, grpc.ClientConnInterface) error { return errors.New("no") },
	} {
		t.Run(name, func(t *testing.T) {
			c := retino.New()
			c.Register = register
			_, err := New(Config{Sources: []source.Source{{Name: "returns", Connector: c, Auth: source.Auth{Scheme: source.SchemeNone}}}})
			if err == nil || !strings.Contains(err.Error(), "gateway") {
				t.Errorf("New: %v", err)
			}
		})
	}
}

// TestBypass: if the gateway fails a call, that is an internal error. The webhook is quarantined, also where its source
// rejects what cannot be decoded.
func TestBypass(t *testing.T) {
	e := newEdge(t, func(c *Config) {
		for i := range c.Sources {
			c.Sources[i].Reject = true
		}
	})
	routes := e.current.Load().gateways["openloyalty"].routes
	routes["customer.updated"].handle = routes["customer.deleted"].handle
	body := []byte(`{"type":"customer.updated","data":{"customerId":"c"}}`)
	wantSuccess(t, e, "loyalty", e.post("/webhooks/loyalty", secretOf("loyalty"), body))
	if w := e.book.last(t).Webhook; reasonOf(w) != "bad_events" || !bytes.Equal(w.GetBody(), body) {
		t.Errorf("another RPC's handler: stored %v", w)
	}
	e.current.Load().gateways["retino"].routes["shipping.ordered"].handle = func(http.ResponseWriter, *http.Request, map[string]string) {}
	body = sample(t, "retino", "shipping_ordered")
	wantSuccess(t, e, "returns", e.post("/webhooks/returns", secretOf("returns"), body))
	if w := e.book.last(t).Webhook; reasonOf(w) != "bad_events" || !bytes.Equal(w.GetBody(), body) {
		t.Errorf("no call: stored %v", w)
	}
}

// TestPanics: neither a connector's nor a decoder's panic loses a webhook, or the process.
func TestPanics(t *testing.T) {
	body := sample(t, "retino", "shipping_ordered")
	explode := func(connectors.Input) (connectors.Translation, error) {
		return connectors.Translation{Events: make([]*eventv1.Event, len(strings.Repeat("x", 1))-2)}, nil
	}
	e := newEdge(t, only("returns", func(s *source.Source) { s.Connector.Translate = explode }))
	wantSuccess(t, e, "returns", e.post("/webhooks/returns", secretOf("returns"), body))
	if w := e.book.last(t).Webhook; reasonOf(w) != "panic" || !bytes.Equal(w.GetBody(), body) {
		t.Errorf("stored %v", w.GetQuarantine())
	}
	if !strings.Contains(e.log.String(), "connector panicked") {
		t.Error("the panic is not in the log")
	}

	e = newEdge(t)
	e.current.Load().gateways["retino"].routes["shipping.ordered"].handle = nil
	wantSuccess(t, e, "returns", e.post("/webhooks/returns", secretOf("returns"), body))
	if w := e.book.last(t).Webhook; reasonOf(w) != "panic" || !bytes.Equal(w.GetBody(), body) {
		t.Errorf("stored %v", w.GetQuarantine())
	}
}

// TestPanicElsewhere: also where nothing is kept of the webhook yet, a panic is ours, is seen, and asks the sender to come
// again.
func TestPanicElsewhere(t *testing.T) {
	e := newEdge(t)
	e.endpoint("returns").decoding = nil
	w := e.post("/webhooks/returns", secretOf("returns"), make([]byte, 2*smallBody))
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("answer %d", w.Code)
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "bridge-source", "returns", "x-retino-secret", retinoSecret)
	_, err := retinov1.NewRetinoWebhookServiceClient(dial(t, e)).ShippingOrdered(ctx, shipmentMessage(t))
	if status.Code(err) != codes.Unavailable {
		t.Errorf("typed call: %v", err)
	}
	if got := e.value(t, "bridge_webhooks_refused_total", "internal", "returns"); got != 2 {
		t.Errorf("refused{returns,internal} = %v", got)
	}
	if log := e.log.String(); strings.Count(log, "level=ERROR msg=\"ingress panicked\" source=returns") != 2 || !strings.Contains(log, "budget.go") {
		t.Errorf("log: %s", log)
	}
}

// TestCleanRequest: the generated code sees nothing of the sender's but the body.
func TestCleanRequest(t *testing.T) {
	c := retino.New()
	register := c.Register
	var seen []string
	c.Register = func(ctx context.Context, mux *runtime.ServeMux, conn grpc.ClientConnInterface) error {
		runtime.WithMiddlewares(func(next runtime.HandlerFunc) runtime.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request, p map[string]string) {
				seen = append(seen, r.Method, r.URL.String(), r.Host, r.RemoteAddr, r.RequestURI)
				for k := range r.Header {
					seen = append(seen, k)
				}
				next(w, r, p)
			}
		})(mux)
		return register(ctx, mux, conn)
	}
	e := newEdge(t, only("returns", func(s *source.Source) { s.Connector = c }))
	seen = nil
	r := httptest.NewRequest(http.MethodPost, "/webhooks/returns?event_type=forged&shipping.id=forged", bytes.NewReader(sample(t, "retino", "shipping_ordered")))
	r.Header = secretOf("returns")
	e.ServeHTTP(httptest.NewRecorder(), r)
	if diff := cmp.Diff([]string{"POST", "/webhooks/retino/shipping.ordered", "", "", ""}, seen); diff != "" {
		t.Errorf("the generated code saw (-want +got):\n%s", diff)
	}
	if got := e.book.last(t).Events[0].GetSubject(); got != "shipment/2b20e85f-2201-494a-b3f9-85d89721174e" {
		t.Errorf("subject %s", got)
	}
}

// TestDescriptors: the routes are exactly those of the descriptors.
func TestDescriptors(t *testing.T) {
	e := newEdge(t)
	for name, g := range e.current.Load().gateways {
		var routed, described []string
		for _, rt := range g.routes {
			routed = append(routed, rt.method)
		}
		methods := g.connector.Service.Methods()
		for i := range methods.Len() {
			described = append(described, fullMethod(methods.Get(i)))
		}
		slices.Sort(routed)
		slices.Sort(described)
		if diff := cmp.Diff(described, routed); diff != "" {
			t.Errorf("%s (-described +routed):\n%s", name, diff)
		}
	}
}

func fullMethod(m protoreflect.MethodDescriptor) string {
	return "/" + string(m.Parent().FullName()) + "/" + string(m.Name())
}
