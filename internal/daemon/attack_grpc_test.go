package daemon

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	retinov1 "github.com/webhook-bridge/bridge/gen/webhooks/retino/v1"
)

// dialAttacked connects to the gRPC port of a server under attack.
func dialAttacked(t *testing.T, a *attacked) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(a.Addresses["grpc"], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// TestAttackHealthNames: the health service refuses what it does not know, and answers what it knows, however often.
func TestAttackHealthNames(t *testing.T) {
	t.Parallel()
	a := startAttacked(t, 0, "")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	client := healthv1.NewHealthClient(dialAttacked(t, a))
	for name, want := range map[string]codes.Code{
		"":                                    codes.OK,
		"bridge.stream.v1.EventStreamService": codes.OK,
		"unknown":                             codes.NotFound,
		strings.Repeat("x", 4000):             codes.NotFound,
		strings.Repeat("x", 5000):             codes.ResourceExhausted,
		strings.Repeat("x", 1<<20):            codes.ResourceExhausted,
	} {
		_, err := client.Check(ctx, &healthv1.HealthCheckRequest{Service: name})
		if status.Code(err) != want {
			t.Errorf("a check of %.20q: %.200v, want %v", name, err, want)
		}
		watch, end := context.WithCancel(ctx)
		stream, err := client.Watch(watch, &healthv1.HealthCheckRequest{Service: name})
		if err == nil {
			_, err = stream.Recv()
		}
		if status.Code(err) != want {
			t.Errorf("a watch of %.20q: %.200v, want %v", name, err, want)
		}
		end()
	}
	for range 100 {
		if _, err := client.Check(ctx, &healthv1.HealthCheckRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	for n := range maxHealthCalls + 1 {
		stream, err := client.Watch(ctx, &healthv1.HealthCheckRequest{})
		if err == nil {
			_, err = stream.Recv()
		}
		if refused := n == maxHealthCalls; (status.Code(err) == codes.ResourceExhausted) != refused {
			t.Errorf("watch %d: %v", n+1, err)
		}
	}
}

// TestAttackRequestSizes: each method has requests as large as it needs, and no larger ones; the connection stays open.
func TestAttackRequestSizes(t *testing.T) {
	t.Parallel()
	a := startAttacked(t, 0, "")
	conn := dialAttacked(t, a)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	operator := metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+attackToken)
	typed := metadata.AppendToOutgoingContext(operator, "bridge-source", "returns")
	text := func(n int) string { return strings.Repeat("x", n) }
	for _, tt := range []struct {
		name string
		call func() error
		want codes.Code
	}{
		{"a large filter", func() error { return openTail(operator, conn, 400<<10) }, codes.InvalidArgument},
		{"a filter that is too large", func() error { return openTail(operator, conn, 2<<20) }, codes.ResourceExhausted},
		{"a filter of a stranger", func() error { return openTail(ctx, conn, 2<<20) }, codes.Unauthenticated},
		{"an operator's request that is too large", func() error {
			_, err := adminv1.NewAdminServiceClient(conn).ListWebhooks(operator, &adminv1.ListWebhooksRequest{PageToken: text(2 << 20)})
			return err
		}, codes.ResourceExhausted},
		{"a symbol that is too long", func() error {
			stream, err := reflectionv1.NewServerReflectionClient(conn).ServerReflectionInfo(operator)
			if err != nil {
				return err
			}
			_ = stream.Send(&reflectionv1.ServerReflectionRequest{
				MessageRequest: &reflectionv1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: text(5 << 10)},
			})
			_, err = stream.Recv()
			return err
		}, codes.ResourceExhausted},
		{"a typed call of 2 MiB", func() error {
			_, err := retinov1.NewRetinoWebhookServiceClient(conn).ShippingOrdered(
				metadata.AppendToOutgoingContext(typed, "x-retino-secret", attackSecret), largeShipment(2<<20))
			return err
		}, codes.OK},
		{"a typed call of 17 MiB", func() error {
			_, err := retinov1.NewRetinoWebhookServiceClient(conn).ShippingOrdered(
				metadata.AppendToOutgoingContext(typed, "x-retino-secret", attackSecret), largeShipment(17<<20))
			return err
		}, codes.ResourceExhausted},
		{"a typed call of a stranger", func() error {
			_, err := retinov1.NewRetinoWebhookServiceClient(conn).ShippingOrdered(typed, largeShipment(2<<20))
			return err
		}, codes.Unauthenticated},
		{"headers that are too large", func() error {
			return openTail(metadata.AppendToOutgoingContext(operator, "x", text(20<<10)), conn, 1)
		}, codes.Internal}, // The client knows the limit.
		{"a call after all that", func() error {
			_, err := adminv1.NewAdminServiceClient(conn).ListWebhooks(operator, &adminv1.ListWebhooksRequest{}, grpc.WaitForReady(true))
			return err
		}, codes.OK},
	} {
		if err := tt.call(); status.Code(err) != tt.want {
			t.Errorf("%s: %.200v, want %v", tt.name, err, tt.want)
		}
	}
}

// largeShipment is a typed webhook of so many bytes.
func largeShipment(size int) *retinov1.ShippingOrdered {
	return &retinov1.ShippingOrdered{Shipping: &retinov1.Shipping{Id: proto.String(strings.Repeat("x", size))}}
}

// subscribe asks for a stream with a filter of so many bytes.
func openTail(ctx context.Context, conn *grpc.ClientConn, size int) error {
	stream, err := streamv1.NewEventStreamServiceClient(conn).Tail(ctx, &streamv1.TailRequest{
		Filter: &streamv1.Filter{Sources: []string{strings.Repeat("x", size)}},
	})
	if err != nil {
		return err
	}
	_, err = stream.Recv()
	return err
}
