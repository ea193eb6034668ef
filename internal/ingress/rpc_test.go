package ingress

import (
	"bytes"
	"context"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	kasafikv1 "github.com/webhook-bridge/bridge/gen/webhooks/kasafik/v1"
	openloyaltyv1 "github.com/webhook-bridge/bridge/gen/webhooks/openloyalty/v1"
	retinov1 "github.com/webhook-bridge/bridge/gen/webhooks/retino/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/source"
	"github.com/webhook-bridge/bridge/internal/vendorjson"
)

// dial serves the edge's typed calls in memory.
func dial(t *testing.T, e *edge, opts ...grpc.ServerOption) *grpc.ClientConn {
	t.Helper()
	listener := bufconn.Listen(1 << 20)
	s := grpc.NewServer(opts...)
	if err := e.RegisterGRPC(s); err != nil {
		t.Fatal(err)
	}
	go s.Serve(listener)
	t.Cleanup(s.Stop)
	conn, err := grpc.NewClient("passthrough:///edge",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func shipmentMessage(t *testing.T) *retinov1.ShippingOrdered {
	t.Helper()
	m := new(retinov1.ShippingOrdered)
	text := `{"event_type":"shipping.ordered","created_at":"2023-01-23T10:28:10.010Z","shipping":{"id":"s1"}}`
	if err := protojson.Unmarshal([]byte(text), m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestTypedCall(t *testing.T) {
	e := newEdge(t)
	intercepted := ""
	conn := dial(t, e, grpc.UnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		intercepted = info.FullMethod
		return next(ctx, req)
	}))
	ctx := metadata.AppendToOutgoingContext(t.Context(), "bridge-source", "returns", "x-retino-secret", retinoSecret)
	m := shipmentMessage(t)
	for range 2 {
		reply, err := retinov1.NewRetinoWebhookServiceClient(conn).ShippingOrdered(ctx, m)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&retinov1.Receipt{Status: "accepted"}, reply, protocmp.Transform()); diff != "" {
			t.Errorf("reply (-want +got):\n%s", diff)
		}
	}
	if got := e.value(t, "bridge_webhooks_taken_total", "returns"); got != 2 {
		t.Errorf("bridge_webhooks_taken_total = %v", got)
	}
	if intercepted != retinov1.RetinoWebhookService_ShippingOrdered_FullMethodName {
		t.Errorf("intercepted %q", intercepted)
	}
	all := e.book.all()
	if len(all) != 1 {
		t.Fatalf("%d webhooks", len(all))
	}
	stored, event := all[0].Webhook, all[0].Events[0]
	if event.GetSubject() != "shipment/s1" || event.GetSource() != "returns" || event.GetVendorEvent() != "shipping.ordered" {
		t.Errorf("event %v", event)
	}
	again := new(retinov1.ShippingOrdered)
	if err := proto.Unmarshal(stored.GetBody(), again); err != nil || stored.GetEncoding() != journalv1.Encoding_ENCODING_PROTOBUF {
		t.Errorf("stored as %v: %v", stored.GetEncoding(), err)
	}
	if diff := cmp.Diff(m, again, protocmp.Transform()); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
}

// TestTypedCallAfterHTTP: the same fact by HTTP and as a typed call is one event; the typed body is stored beside the first.
func TestTypedCallAfterHTTP(t *testing.T) {
	e := newEdge(t)
	wantSuccess(t, e, "returns", e.post("/webhooks/returns", secretOf("returns"), []byte(shipment("s1"))))
	m := new(retinov1.ShippingOrdered)
	if err := protojson.Unmarshal([]byte(shipment("s1")), m); err != nil {
		t.Fatal(err)
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "bridge-source", "returns", "x-retino-secret", retinoSecret)
	if _, err := retinov1.NewRetinoWebhookServiceClient(dial(t, e)).ShippingOrdered(ctx, m); err != nil {
		t.Fatal(err)
	}
	all := e.book.all()
	if len(all) != 2 || len(all[0].Events) != 1 || len(all[1].Events) != 0 || !all[1].Webhook.GetDuplicate() {
		t.Errorf("stored %v", e.stored())
	}
}

func TestTypedCallByToken(t *testing.T) {
	e := newEdge(t)
	client := kasafikv1.NewKasafikWebhookServiceClient(dial(t, e))
	m := new(kasafikv1.Customer)
	if err := protojson.Unmarshal([]byte(`{"_t":"customers","_v":"1763800000000","id":"7"}`), m); err != nil {
		t.Fatal(err)
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "bridge-source", "till", "bridge-token", tillToken)
	if _, err := client.Customers(ctx, m); err != nil {
		t.Fatal(err)
	}
	if got := e.book.last(t).Events[0].GetType(); got != "customer.changed" {
		t.Errorf("event %s", got)
	}
}

// TestTypedCallRefused: the code of the one table, a message that names the setting, no secret, and nothing stored.
func TestTypedCallRefused(t *testing.T) {
	for _, tt := range []struct {
		name string
		md   []string
		code codes.Code
		says string
	}{
		{"no source", nil, codes.InvalidArgument, "bridge-source"},
		{"two sources", []string{"bridge-source", "returns", "bridge-source", "erp"}, codes.InvalidArgument, "bridge-source"},
		{"unknown source", []string{"bridge-source", "missing"}, codes.NotFound, "no source"},
		{"no secret", []string{"bridge-source", "returns"}, codes.Unauthenticated, "secret is missing or wrong"},
		{"wrong secret", []string{"bridge-source", "returns", "x-retino-secret", "x"}, codes.Unauthenticated, "secret is missing or wrong"},
		{
			"source without typed calls",
			[]string{"bridge-source", "loyalty", "x-loyalty-token", loyaltyKey},
			codes.PermissionDenied, "grpc: true",
		},
		{
			"source of another connector",
			[]string{"bridge-source", "till", "bridge-token", tillToken},
			codes.InvalidArgument, "another connector",
		},
		{"forwarded secret alone", []string{"x-retino-secret", retinoSecret}, codes.InvalidArgument, "bridge-source"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newEdge(t)
			ctx := metadata.AppendToOutgoingContext(t.Context(), tt.md...)
			_, err := retinov1.NewRetinoWebhookServiceClient(dial(t, e)).ShippingOrdered(ctx, shipmentMessage(t))
			text := status.Convert(err).Message()
			if status.Code(err) != tt.code || !strings.Contains(text, tt.says) {
				t.Errorf("error %v, want %v with %q", err, tt.code, tt.says)
			}
			if strings.Contains(text, retinoSecret) || strings.Contains(text, loyaltyKey) || strings.Contains(text, tillToken) {
				t.Errorf("the message has a secret: %s", text)
			}
			if n := len(e.book.all()); n != 0 {
				t.Errorf("%d webhooks were stored", n)
			}
		})
	}
}

func TestTypedCallLimits(t *testing.T) {
	e := newEdge(t, only("returns", func(s *source.Source) { s.Limits.Body = 16 }))
	ctx := metadata.AppendToOutgoingContext(t.Context(), "bridge-source", "returns", "x-retino-secret", retinoSecret)
	client := retinov1.NewRetinoWebhookServiceClient(dial(t, e))
	if _, err := client.ShippingOrdered(ctx, shipmentMessage(t)); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("too large: %v", err)
	}
	e = newEdge(t)
	e.book.Before = func(context.Context) error { return journal.ErrUnavailable }
	client = retinov1.NewRetinoWebhookServiceClient(dial(t, e))
	_, err := client.ShippingOrdered(ctx, shipmentMessage(t))
	if status.Code(err) != codes.Unavailable || !strings.Contains(status.Convert(err).Message(), "journal cannot store") {
		t.Errorf("journal down: %v", err)
	}
	e.book.Before = nil
	// What cannot be translated is kept, as over HTTP.
	if _, err := client.ShippingOrdered(ctx, new(retinov1.ShippingOrdered)); err != nil {
		t.Errorf("untranslatable: %v", err)
	}
	if got := reasonOf(e.book.last(t).Webhook); got != "untranslatable" {
		t.Errorf("stored as %q", got)
	}
}

// TestTypedCallsOfUnconfiguredConnectors: a service is offered only if some source uses it.
func TestTypedCallsOfUnconfiguredConnectors(t *testing.T) {
	e := newEdge(t, only("returns", func(*source.Source) {}))
	_, err := openloyaltyv1.NewOpenloyaltyWebhookServiceClient(dial(t, e)).CustomerUpdated(t.Context(), new(openloyaltyv1.CustomerUpdated))
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("error %v", err)
	}
}

// TestTypedCallUndeclared: what the type does not declare is drift, and is stored with the rest.
func TestTypedCallUndeclared(t *testing.T) {
	e := newEdge(t)
	ctx := metadata.AppendToOutgoingContext(t.Context(), "bridge-source", "returns", "x-retino-secret", retinoSecret)
	m := shipmentMessage(t)
	m.GetShipping().ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 999, protowire.VarintType), 1))
	if _, err := retinov1.NewRetinoWebhookServiceClient(dial(t, e)).ShippingOrdered(ctx, m); err != nil {
		t.Fatal(err)
	}
	want := []*journalv1.Drift{{Kind: journalv1.DriftKind_DRIFT_KIND_UNKNOWN, Path: "$.shipping.field_999"}}
	if diff := cmp.Diff(want, e.book.last(t).Webhook.GetDrift(), protocmp.Transform()); diff != "" {
		t.Errorf("drift (-want +got):\n%s", diff)
	}
	if got := e.value(t, "bridge_drift_total", "retino", "shipping.ordered", "$.shipping.field_999", "unknown"); got != 1 {
		t.Errorf("bridge_drift_total = %v", got)
	}
}

// TestTypedCallOfManyValues: values that the type declares are limited as over HTTP, and the call is stored. Values that it does
// not declare are drift.
func TestTypedCallOfManyValues(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*retinov1.ShippingOrdered)
		reason string
	}{
		{"declared", func(m *retinov1.ShippingOrdered) {
			m.Shipping.CustomerPaymentDetails = slices.Repeat([]*retinov1.CustomerPaymentDetail{{}}, vendorjson.MaxValues)
		}, "limit_exceeded"},
		{"undeclared", func(m *retinov1.ShippingOrdered) {
			field := protowire.AppendVarint(protowire.AppendTag(nil, 999, protowire.VarintType), 1)
			m.ProtoReflect().SetUnknown(bytes.Repeat(field, vendorjson.MaxValues+1))
		}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newEdge(t)
			ctx := metadata.AppendToOutgoingContext(t.Context(), "bridge-source", "returns", "x-retino-secret", retinoSecret)
			m := shipmentMessage(t)
			tt.change(m)
			if _, err := retinov1.NewRetinoWebhookServiceClient(dial(t, e)).ShippingOrdered(ctx, m); err != nil {
				t.Fatal(err)
			}
			w := e.book.last(t).Webhook
			if q := w.GetQuarantine(); tt.reason == "" && q != nil || tt.reason != "" && (reasonOf(w) != tt.reason || q.GetOffset() != -1) {
				t.Errorf("stored %v", q)
			}
		})
	}
}
