package web

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
)

// TestProtocols: a client of each protocol gets each event once, over HTTP/1.1 where the protocol allows it, and over HTTP/2.
func TestProtocols(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.add(t, 0, 500)
	for _, tt := range []struct {
		name    string
		options []connect.ClientOption
		http2   bool
	}{
		{"Connect", nil, false},
		{"Connect", nil, true},
		{"Connect with gzip", []connect.ClientOption{connect.WithSendGzip()}, false},
		{"Connect in JSON", []connect.ClientOption{connect.WithProtoJSON()}, false},
		{"Connect in JSON", []connect.ClientOption{connect.WithProtoJSON()}, true},
		{"gRPC-Web", []connect.ClientOption{connect.WithGRPCWeb()}, false},
		{"gRPC-Web", []connect.ClientOption{connect.WithGRPCWeb()}, true},
		{"gRPC-Web in JSON", []connect.ClientOption{connect.WithGRPCWeb(), connect.WithProtoJSON()}, false},
		{"gRPC", []connect.ClientOption{connect.WithGRPC()}, true},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		web := client(t, tt.http2)
		tail := connect.NewClient[streamv1.TailRequest, streamv1.TailResponse](web, s.url+"/"+streamService+"/Tail", tt.options...)
		stream, err := tail.CallServerStream(ctx, connect.NewRequest(&streamv1.TailRequest{Filter: &streamv1.Filter{Types: []string{"order.*"}}}))
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for len(seen) < 333 && stream.Receive() {
			for _, d := range stream.Msg().GetEvents().GetEvents() {
				if id := d.GetEvent().GetId(); seen[id] || d.GetEvent().GetType() != "order.changed" {
					t.Errorf("%s: %s came twice, or should not have come", tt.name, id)
				}
				seen[d.GetEvent().GetId()] = true
			}
		}
		if len(seen) != 333 {
			t.Errorf("%s, HTTP/2 %t: %d events, %v", tt.name, tt.http2, len(seen), stream.Err())
		}
		cancel()
		_ = stream.Close()
		if tt.name == "Connect with gzip" {
			continue // health is for clients without a credential, whose requests may not be compressed
		}
		health := connect.NewClient[healthv1.HealthCheckRequest, healthv1.HealthCheckResponse](web, s.url+"/grpc.health.v1.Health/Check",
			tt.options...)
		answer, err := health.CallUnary(t.Context(), connect.NewRequest(&healthv1.HealthCheckRequest{}))
		if err != nil || answer.Msg.GetStatus() != healthv1.HealthCheckResponse_SERVING {
			t.Errorf("%s: health: %v", tt.name, err)
		}
	}
}

// TestErrors: errors reach a client of each protocol with their code and details.
func TestErrors(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.add(t, 0, 10)
	old := s.firstToken(t)
	s.log.Expire(5)
	for name, options := range map[string][]connect.ClientOption{
		"Connect":         nil,
		"Connect in JSON": {connect.WithProtoJSON()},
		"gRPC-Web":        {connect.WithGRPCWeb()},
		"gRPC":            {connect.WithGRPC()},
	} {
		web := client(t, true)
		call := func(request *streamv1.TailRequest, header ...string) error {
			r := connect.NewRequest(request)
			for i := 0; i < len(header); i += 2 {
				r.Header().Set(header[i], header[i+1])
			}
			tail := connect.NewClient[streamv1.TailRequest, streamv1.TailResponse](web, s.url+"/"+streamService+"/Tail", options...)
			stream, err := tail.CallServerStream(t.Context(), r)
			if err != nil {
				return err
			}
			defer stream.Close()
			stream.Receive()
			return stream.Err()
		}
		if err := call(&streamv1.TailRequest{}, "Authorization", "Bearer wrong"); connect.CodeOf(err) != connect.CodeUnauthenticated {
			t.Errorf("%s: a wrong token: %v", name, err)
		}
		if err := call(&streamv1.TailRequest{Filter: &streamv1.Filter{Types: []string{"a*"}}}); connect.CodeOf(err) != connect.CodeInvalidArgument {
			t.Errorf("%s: a wrong filter: %v", name, err)
		}
		large := &streamv1.TailRequest{Filter: &streamv1.Filter{Sources: []string{strings.Repeat("x", 100<<10)}}}
		if err := call(large); connect.CodeOf(err) != connect.CodeResourceExhausted {
			t.Errorf("%s: a large request: %v", name, err)
		}
		err := call(&streamv1.TailRequest{Start: &streamv1.Start{At: &streamv1.Start_Token{Token: old}}})
		var typed *connect.Error
		if !errors.As(err, &typed) || typed.Code() != connect.CodeOutOfRange || len(typed.Details()) != 1 {
			t.Fatalf("%s: an expired position: %v", name, err)
		}
		if d, err := typed.Details()[0].Value(); err != nil || d.(*streamv1.PositionExpired).GetEarliestToken() == "" {
			t.Errorf("%s: an expired position: %v, %v", name, d, err)
		}
	}
}

// TestCurl: what curl sends with no more than a content type is answered in JSON.
func TestCurl(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	for _, tt := range []struct {
		path, contentType, encoding, body string
		status                            int
		answer                            string
	}{
		{"/grpc.health.v1.Health/Check", "application/json", "", `{}`, 200, `{"status":"SERVING"}`},
		{"/grpc.health.v1.Health/Check", "application/json; charset=UTF-8", "", `{}`, 200, `{"status":"SERVING"}`},
		{"/grpc.health.v1.Health/Check", "application/json", "", `{"service":"x"}`, 404, `not_found`},
		{"/grpc.health.v1.Health/Check", "application/json", "", `{"servce":"x"}`, 400, `servce`},
		{"/grpc.health.v1.Health/Check", "application/json", "", `{"service":"` + strings.Repeat("x", 5000) + `"}`, 429, `resource_exhausted`},
		{"/grpc.health.v1.Health/Check", "application/json", "gzip", zipped(`{}`), 501, `credential`},
		{"/bridge.stream.v1.EventStreamService/GetGroup", "application/json", "", `{"group":"a"}`, 501, `unimplemented`},
		{"/bridge.stream.v1.EventStreamService/GetGroup", "application/json", "gzip", zipped(`{"group":"a"}`), 501, `unimplemented`},
		{"/bridge.stream.v1.EventStreamService/GetGroup", "application/json", "gzip", zipped(strings.Repeat(" ", 32<<20)), 429, `resource_exhausted`},
		{"/bridge.stream.v1.EventStreamService/Unknown", "application/json", "", `{}`, 404, ``},
		{"/bridge.admin.v1.AdminService/ListWebhooks", "application/json", "", `{}`, 404, `NOT_FOUND`},
		{"/grpc.health.v1.Health/Check", "text/plain", "", `{}`, 415, ``},
		{"/", "application/json", "", `{}`, 404, `NOT_FOUND`},
	} {
		for _, http2 := range []bool{false, true} {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+tt.path, strings.NewReader(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", tt.contentType)
			if tt.encoding != "" {
				r.Header.Set("Content-Encoding", tt.encoding)
			}
			resp, err := client(t, http2).Do(r)
			if err != nil {
				t.Errorf("%s %.50s: %v", tt.path, tt.body, err)
				continue
			}
			body, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode != tt.status || !strings.Contains(string(body), tt.answer) {
				t.Errorf("%s %.50s, HTTP/2 %t: %d %.200s, want %d %s", tt.path, tt.body, http2, resp.StatusCode, body, tt.status, tt.answer)
			}
		}
	}
}

func zipped(text string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, text)
	_ = z.Close()
	return b.String()
}

// TestAnnounced: a length that is only announced costs nothing, over HTTP/1.1 too, where no one else follows the messages.
func TestAnnounced(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	for _, contentType := range []string{"application/connect+json", "application/grpc-web+proto"} {
		prefix := binary.BigEndian.AppendUint32([]byte{0}, 4_000_000_000)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/"+streamService+"/Tail", bytes.NewReader(prefix))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", contentType)
		resp, err := client(t, false).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		text := string(body) + resp.Header.Get("Grpc-Status")
		if !strings.Contains(text, "resource_exhausted") && !strings.Contains(text, "8") {
			t.Errorf("%s: %s %q %v", contentType, resp.Status, body, resp.Header)
		}
	}
}

// TestGRPCBehindAProxy: calls of gRPC on a connection that began with another protocol are served, and errors have gRPC's status.
func TestGRPCBehindAProxy(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	web := client(t, true)
	check := connect.NewClient[healthv1.HealthCheckRequest, healthv1.HealthCheckResponse](web, s.url+"/grpc.health.v1.Health/Check")
	if _, err := check.CallUnary(t.Context(), connect.NewRequest(&healthv1.HealthCheckRequest{})); err != nil {
		t.Fatal(err)
	}
	rpc := connect.NewClient[healthv1.HealthCheckRequest, healthv1.HealthCheckResponse](web, s.url+"/grpc.health.v1.Health/Check", connect.WithGRPC())
	if _, err := rpc.CallUnary(t.Context(), connect.NewRequest(&healthv1.HealthCheckRequest{})); err != nil {
		t.Error(err)
	}
	_, err := rpc.CallUnary(t.Context(), connect.NewRequest(&healthv1.HealthCheckRequest{Service: strings.Repeat("x", 5000)}))
	if connect.CodeOf(err) != connect.CodeResourceExhausted {
		t.Errorf("a large request: %v", err)
	}
	unknown := connect.NewClient[healthv1.HealthCheckRequest, healthv1.HealthCheckResponse](web, s.url+"/a.B/C", connect.WithGRPC())
	if _, err := unknown.CallUnary(t.Context(), connect.NewRequest(&healthv1.HealthCheckRequest{})); connect.CodeOf(err) != connect.CodeUnimplemented {
		t.Errorf("an unknown method: %v", err)
	}
}

// TestBidirectional: a stream in both directions ends when the server ends it, although the client may still send.
func TestBidirectional(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	for name, options := range map[string][]connect.ClientOption{
		"Connect": nil, "gRPC-Web": {connect.WithGRPCWeb()}, "gRPC": {connect.WithGRPC()},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		subscribe := connect.NewClient[streamv1.SubscribeRequest, streamv1.SubscribeResponse](client(t, true), s.url+"/"+streamService+"/Subscribe", options...)
		stream := subscribe.CallBidiStream(ctx)
		start := &streamv1.SubscribeRequest{Message: &streamv1.SubscribeRequest_Start{Start: &streamv1.SubscribeStart{}}}
		if err := stream.Send(start); err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Receive(); connect.CodeOf(err) != connect.CodeUnimplemented { // here it is not served
			t.Errorf("%s: %v", name, err)
		}
		reflect := connect.NewClient[reflectionv1.ServerReflectionRequest, reflectionv1.ServerReflectionResponse](client(t, true),
			s.url+"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", options...)
		talk := reflect.CallBidiStream(ctx)
		for range 3 {
			if err := talk.Send(&reflectionv1.ServerReflectionRequest{
				MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{},
			}); err != nil {
				t.Fatal(err)
			}
			m, err := talk.Receive()
			if err != nil || len(m.GetListServicesResponse().GetService()) == 0 {
				t.Errorf("%s: %v, %v", name, m, err)
			}
		}
		if err := talk.CloseRequest(); err != nil {
			t.Error(err)
		}
		if _, err := talk.Receive(); !errors.Is(err, io.EOF) {
			t.Errorf("%s: after the last message: %v", name, err)
		}
	}
}
