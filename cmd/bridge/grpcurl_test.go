package main

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestGrpcurl reads the stream with a client that we did not write, which learns the schema by reflection. It needs the
// path of grpcurl, which the continuous integration sets.
func TestGrpcurl(t *testing.T) {
	grpcurl := os.Getenv("BRIDGE_TEST_GRPCURL")
	if grpcurl == "" {
		t.Skip("BRIDGE_TEST_GRPCURL does not name a grpcurl")
	}
	p := startBridge(t, retinoConfig(t.TempDir()))
	l := &load{addr: p.addr("webhooks"), connections: 1, limit: 3}
	l.run(t.Context())

	for _, c := range []struct {
		name string
		args []string
		want []string
	}{
		{
			"tail",
			[]string{"-max-time", "2", p.addr("grpc"), "bridge.stream.v1.EventStreamService/Tail"},
			[]string{`"subscribed"`, shipmentID(1), shipmentID(2), shipmentID(3), `"currencyCode": "CZK"`},
		},
		{"list", []string{p.addr("grpc"), "list"}, []string{"bridge.stream.v1.EventStreamService", "grpc.health.v1.Health"}},
		{"health", []string{p.addr("grpc"), "grpc.health.v1.Health/Check"}, []string{"SERVING"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			// A stream without end is ended by -max-time, which grpcurl reports as an error of its own.
			out, err := exec.CommandContext(ctx, grpcurl, append([]string{"-plaintext"}, c.args...)...).CombinedOutput()
			for _, want := range c.want {
				if !strings.Contains(string(out), want) {
					t.Errorf("lacks %q (%v):\n%s", want, err, out)
				}
			}
		})
	}
}
