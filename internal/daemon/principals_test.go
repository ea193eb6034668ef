package daemon

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/retino"
	"github.com/webhook-bridge/bridge/connectors/sample"
	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	retinov1 "github.com/webhook-bridge/bridge/gen/webhooks/retino/v1"
	"github.com/webhook-bridge/bridge/internal/certs/certstest"
	"github.com/webhook-bridge/bridge/internal/mask"
)

const principalsConfig = `
listen:
  webhooks: "127.0.0.1:0"
  ops: "127.0.0.1:0"
  grpc: "127.0.0.1:0"
  admin: "127.0.0.1:0"
  tls: {grpc: {cert_file: DIR/server.crt, key_file: DIR/server.key}}
journal: {dir: DIR/data, min_free: 1Mi}
shutdown_timeout: 2s
access:
  admin_tokens: [operators-token-0123]
  client_ca_file: DIR/ca.crt
  principals:
    - {name: all, tokens: [token-of-all-0123456], sources: ["*"], types: ["**"], groups: ["*"], personal: true, raw: true}
    - {name: masked, tokens: ["${file:DIR/masked}"], sources: ["*"], types: ["**"]}
    - {name: credit, certificates: ["DNS:credit.example"], sources: [returns], types: ["credit_note.*"], personal: true}
    - {name: sender, tokens: [token-of-a-sender-01]}
    - {name: team, tokens: ["${file:DIR/team}"], sources: ["*"], types: ["shipment.*"], groups: ["team-*"]}
sources:
  - {name: returns, connector: retino, auth: {header: {name: X-Retino-Secret, values: [` + attackSecret + `]}}, grpc: true}
  - {name: other, connector: retino, auth: {header: {name: X-Retino-Secret, values: [` + attackSecret + `]}}}
`

// listened is a server with principals, in this process.
type listened struct {
	*Server

	dir       string
	authority *certstest.Authority
}

func startListened(t *testing.T) *listened {
	t.Helper()
	l := &listened{dir: t.TempDir(), authority: certstest.New(t, "authority")}
	l.authority.WriteServer(t, filepath.Join(l.dir, "server.crt"), filepath.Join(l.dir, "server.key"))
	l.write(t, "ca.crt", string(l.authority.PEM()))
	l.write(t, "masked", "token-of-masked-0123")
	l.write(t, "team", "token-of-team-0123456")
	l.write(t, "bridge.yaml", strings.ReplaceAll(principalsConfig, "DIR", l.dir))
	plugins := Plugins{Connectors: []*connectors.Connector{retino.New()}}
	cfg, err := plugins.LoadConfig(filepath.Join(l.dir, "bridge.yaml"), os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	if l.Server, err = Open(t.Context(), cfg, plugins, Place{}, slog.New(slog.NewTextHandler(t.Output(), nil))); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return l
}

func (l *listened) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(l.dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// send sends a webhook of the connector's samples to a source.
func (l *listened) send(t *testing.T, source, name string) {
	t.Helper()
	file := name + ".txtar"
	text, err := os.ReadFile(filepath.Join("../../connectors/retino/testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	s, err := sample.Parse(file, text)
	if err != nil {
		t.Fatal(err)
	}
	l.post(t, source, s.Body)
}

func (l *listened) post(t *testing.T, source string, body []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+l.Addr("webhooks")+"/webhooks/"+source, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Retino-Secret", attackSecret)
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("a webhook: %s", resp.Status)
	}
}

// caller is a client with a connection of its own.
type caller struct {
	*grpc.ClientConn
	ctx context.Context
}

// as returns a client with a bearer token, or without one if it is empty, and with a certificate, if there is one.
func (l *listened) as(t *testing.T, token string, certificates ...tls.Certificate) caller {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(l.authority.Cert)
	conn, err := grpc.NewClient(l.Addr("grpc"), grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: roots, Certificates: certificates})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	if token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	return caller{conn, ctx}
}

func (l *listened) certificate(t *testing.T, name string) tls.Certificate {
	t.Helper()
	return l.authority.Issue(t, x509.Certificate{DNSNames: []string{name}})
}

func (c caller) tail(t *testing.T, f *streamv1.Filter) grpc.ServerStreamingClient[streamv1.TailResponse] {
	t.Helper()
	stream, err := streamv1.NewEventStreamServiceClient(c).Tail(c.ctx, &streamv1.TailRequest{Filter: f})
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

// refusal returns the error of a stream that should not begin.
func (c caller) refusal(t *testing.T, f *streamv1.Filter) error {
	t.Helper()
	_, err := c.tail(t, f).Recv()
	return err
}

// read returns n events of a stream.
func read(t *testing.T, stream grpc.ServerStreamingClient[streamv1.TailResponse], n int) []*eventv1.Event {
	t.Helper()
	var events []*eventv1.Event
	for len(events) < n {
		m, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range m.GetEvents().GetEvents() {
			events = append(events, d.GetEvent())
		}
	}
	return events
}

func places(events []*eventv1.Event) string {
	var all []string
	for _, e := range events {
		all = append(all, e.GetSource()+" "+e.GetType())
	}
	return strings.Join(all, ", ")
}

// metric returns the value of a series of the server.
func (l *listened) metric(t *testing.T, name string, labels ...string) float64 {
	t.Helper()
	families, err := l.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var got []string
			for _, pair := range m.GetLabel() {
				got = append(got, pair.GetValue())
			}
			if f.GetName() == name && strings.Join(got, " ") == strings.Join(labels, " ") {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	t.Errorf("there is no series %s of %q", name, labels)
	return 0
}

// TestPrincipals: each principal sees its sources and types, with or without personal data, whatever its credential.
func TestPrincipals(t *testing.T) {
	t.Parallel()
	l := startListened(t)
	l.send(t, "returns", "shipping_ordered")
	l.send(t, "returns", "retino_credit_note_created")
	l.send(t, "other", "retino_credit_note_created")

	whole := read(t, l.as(t, "token-of-all-0123456").tail(t, nil), 3)
	if got := places(whole); got != "returns shipment.ordered, returns credit_note.created, other credit_note.created" {
		t.Errorf("all: %s", got)
	}
	note := whole[1].GetCreditNote()
	if note.GetCustomer().GetName() != "Jan Novák" || note.GetBankAccount().GetNumber() != "123456789/0100" {
		t.Errorf("all: personal data are missing: %v", note)
	}

	hidden := read(t, l.as(t, "token-of-masked-0123").tail(t, nil), 3)
	if places(hidden) != places(whole) {
		t.Errorf("masked: %s", places(hidden))
	}
	for i, e := range hidden {
		if text := fmt.Sprint(e); strings.Contains(text, "Novák") || strings.Contains(text, "123456789/0100") || strings.Contains(text, "Dlouhá") {
			t.Errorf("masked: event %d shows %v", i, e)
		}
	}
	note = hidden[1].GetCreditNote()
	if note.GetCustomer().GetName() != mask.Mark || note.GetCustomer().GetAddress() != nil || len(note.GetLines()) != 1 || note.GetOrderId() != "2022000001" {
		t.Errorf("masked: %v", note)
	}

	credit := l.as(t, "", l.certificate(t, "credit.example"))
	if got := read(t, credit.tail(t, &streamv1.Filter{Types: []string{"**"}}), 1); places(got) != "returns credit_note.created" || got[0].GetCreditNote().GetCustomer().GetName() != "Jan Novák" {
		t.Errorf("credit: %v", got)
	}
	// What it may not see moves its position: the heartbeat is after the other source's event.
	stream, err := streamv1.NewEventStreamServiceClient(credit).Tail(credit.ctx, &streamv1.TailRequest{
		Filter: &streamv1.Filter{Types: []string{"credit_note.*"}}, HeartbeatInterval: durationpb.New(100 * time.Millisecond),
	})
	if err != nil {
		t.Fatal(err)
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if h := m.GetHeartbeat(); h != nil {
			if h.GetLag() != 0 {
				t.Errorf("the heartbeat is %d events behind", h.GetLag())
			}
			break
		}
	}
}

// TestPrincipalsPayloads: a typed vendor message is masked like the event. A raw webhook is not, and needs a right of its own.
func TestPrincipalsPayloads(t *testing.T) {
	t.Parallel()
	l := startListened(t)
	l.send(t, "returns", "retino_credit_note_created")
	for _, c := range []struct {
		caller  caller
		payload streamv1.Payload
		code    codes.Code
		shows   bool
	}{
		{l.as(t, "token-of-all-0123456"), streamv1.Payload_PAYLOAD_VENDOR, codes.OK, true},
		{l.as(t, "token-of-all-0123456"), streamv1.Payload_PAYLOAD_RAW, codes.OK, true},
		{l.as(t, "", l.certificate(t, "credit.example")), streamv1.Payload_PAYLOAD_VENDOR, codes.OK, true},
		{l.as(t, "", l.certificate(t, "credit.example")), streamv1.Payload_PAYLOAD_RAW, codes.PermissionDenied, false},
		{l.as(t, "token-of-masked-0123"), streamv1.Payload_PAYLOAD_VENDOR, codes.OK, false},
		{l.as(t, "token-of-masked-0123"), streamv1.Payload_PAYLOAD_RAW, codes.PermissionDenied, false},
	} {
		stream, err := streamv1.NewEventStreamServiceClient(c.caller).Tail(c.caller.ctx, &streamv1.TailRequest{Payload: c.payload})
		if err != nil {
			t.Fatal(err)
		}
		var got *streamv1.DeliveredEvent
		for err == nil && got == nil {
			var m *streamv1.TailResponse
			if m, err = stream.Recv(); err == nil && m.GetEvents() != nil {
				got = m.GetEvents().GetEvents()[0]
			}
		}
		if status.Code(err) != c.code {
			t.Errorf("%v: %v, want %v", c.payload, err, c.code)
			continue
		}
		there := got.GetVendor() != nil || got.GetRaw() != nil
		shows := bytes.Contains(got.GetVendor().GetValue(), []byte("Novák")) || bytes.Contains(got.GetRaw().GetBody(), []byte("Novák"))
		if there != (c.code == codes.OK) || shows != c.shows {
			t.Errorf("%v: there %v, shows personal data %v: %v", c.payload, there, shows, got)
		}
	}
	if n := l.metric(t, "bridge_grpc_denied_total", "masked", "raw"); n != 1 {
		t.Errorf("%v denials of raw webhooks are counted", n)
	}
}

// TestPrincipalsRefused: who is not known is told apart from who may not, in the status and in the metrics.
func TestPrincipalsRefused(t *testing.T) {
	t.Parallel()
	l := startListened(t)
	stranger := certstest.New(t, "stranger").Issue(t, x509.Certificate{DNSNames: []string{"credit.example"}})
	credit := l.certificate(t, "credit.example")
	for _, c := range []struct {
		name   string
		caller caller
		filter *streamv1.Filter
		code   codes.Code
		text   string
		series []string
	}{
		{"none", l.as(t, ""), nil, codes.Unauthenticated, "a bearer token or a client certificate is needed", []string{"bridge_grpc_unauthenticated_total", "none"}},
		{"wrong", l.as(t, "token-of-nobody-0123"), nil, codes.Unauthenticated, "token is not valid", []string{"bridge_grpc_unauthenticated_total", "token"}},
		{"wrong, with a good certificate", l.as(t, "token-of-nobody-0123", credit), nil, codes.Unauthenticated, "token is not valid", []string{"bridge_grpc_unauthenticated_total", "token"}},
		{"a stranger's certificate", l.as(t, "", stranger), nil, codes.Unauthenticated, "no authority", []string{"bridge_grpc_unauthenticated_total", "certificate"}},
		{"another name", l.as(t, "", l.certificate(t, "debit.example")), nil, codes.Unauthenticated, "no principal", []string{"bridge_grpc_unauthenticated_total", "certificate"}},
		{"operators", l.as(t, "operators-token-0123"), nil, codes.PermissionDenied, "may not subscribe", []string{"bridge_grpc_denied_total", "", "subscribe"}},
		{"nothing to see", l.as(t, "token-of-a-sender-01"), nil, codes.PermissionDenied, "principal sender may see no source", []string{"bridge_grpc_denied_total", "sender", "source"}},
		{"a source", l.as(t, "", credit), &streamv1.Filter{Sources: []string{"returns", "other"}}, codes.PermissionDenied, `principal credit may not see the source "other"`, []string{"bridge_grpc_denied_total", "credit", "source"}},
		{"a type", l.as(t, "", credit), &streamv1.Filter{Types: []string{"shipment.*"}}, codes.PermissionDenied, `principal credit may see no type that matches "shipment.*"`, []string{"bridge_grpc_denied_total", "credit", "type"}},
	} {
		before := l.metric(t, c.series[0], c.series[1:]...)
		err := c.caller.refusal(t, c.filter)
		if status.Code(err) != c.code || !strings.Contains(err.Error(), c.text) || strings.Contains(err.Error(), "0123") {
			t.Errorf("%s: %v, want %v with %q", c.name, err, c.code, c.text)
		}
		if now := l.metric(t, c.series[0], c.series[1:]...); now != before+1 {
			t.Errorf("%s: %q went from %v to %v", c.name, c.series, before, now)
		}
	}
	if at := l.metric(t, "bridge_principal_last_used_timestamp_seconds", "credit"); time.Since(time.Unix(int64(at), 0)) > time.Minute {
		t.Errorf("the certificate was used at %v", at)
	}
	if at := l.metric(t, "bridge_principal_last_used_timestamp_seconds", "masked"); at != 0 {
		t.Errorf("a token that nobody used was used at %v", at)
	}
}

// TestPrincipalsOfOtherServices: operators, senders of typed calls and health checks each need their own.
func TestPrincipalsOfOtherServices(t *testing.T) {
	t.Parallel()
	l := startListened(t)
	operate := func(c caller) error {
		_, err := adminv1.NewAdminServiceClient(c).ListWebhooks(c.ctx, &adminv1.ListWebhooksRequest{})
		return err
	}
	send := func(c caller, secret string) error {
		ctx := metadata.AppendToOutgoingContext(c.ctx, "bridge-source", "returns", "x-retino-secret", secret)
		_, err := retinov1.NewRetinoWebhookServiceClient(c).ShippingOrdered(ctx, &retinov1.ShippingOrdered{})
		return err
	}
	health := func(c caller) error {
		_, err := healthv1.NewHealthClient(c).Check(c.ctx, &healthv1.HealthCheckRequest{})
		return err
	}
	for _, c := range []struct {
		name string
		err  error
		want codes.Code
	}{
		{"an operator", operate(l.as(t, "operators-token-0123")), codes.OK},
		{"a principal as an operator", operate(l.as(t, "token-of-all-0123456")), codes.PermissionDenied},
		{"a certificate as an operator", operate(l.as(t, "", l.certificate(t, "credit.example"))), codes.PermissionDenied},
		{"a stranger as an operator", operate(l.as(t, "")), codes.Unauthenticated},
		{"a sender that sees nothing", send(l.as(t, "token-of-a-sender-01"), attackSecret), codes.OK},
		{"a sender with a certificate", send(l.as(t, "", l.certificate(t, "credit.example")), attackSecret), codes.OK},
		{"a sender without the source's secret", send(l.as(t, "token-of-a-sender-01"), "wrong"), codes.Unauthenticated},
		{"a sender that is not known", send(l.as(t, ""), attackSecret), codes.Unauthenticated},
		{"health", health(l.as(t, "")), codes.OK},
	} {
		if status.Code(c.err) != c.want {
			t.Errorf("%s: %v, want %v", c.name, c.err, c.want)
		}
	}
}

// TestPrincipalsLoseRights: an open stream ends when its credential is withdrawn. Others stay open, and new credentials count.
func TestPrincipalsLoseRights(t *testing.T) {
	t.Parallel()
	l := startListened(t)
	certificate := l.certificate(t, "credit.example")
	byToken, byOther := l.as(t, "token-of-masked-0123").tail(t, nil), l.as(t, "token-of-all-0123456").tail(t, nil)
	byCertificate := l.as(t, "", certificate).tail(t, nil)
	for _, stream := range []grpc.ServerStreamingClient[streamv1.TailResponse]{byToken, byOther, byCertificate} {
		if m, err := stream.Recv(); err != nil || m.GetSubscribed() == nil {
			t.Fatalf("%v, %v", m, err)
		}
	}
	for principal, want := range map[string]float64{"all": 1, "masked": 1, "credit": 1, "sender": 0} {
		if got := l.metric(t, "bridge_principal_calls_open", principal); got != want {
			t.Errorf("%s has %v open calls, want %v", principal, got, want)
		}
	}
	ends := func(what string, stream grpc.ServerStreamingClient[streamv1.TailResponse]) {
		t.Helper()
		var err error
		for err == nil {
			_, err = stream.Recv()
		}
		if status.Code(err) != codes.Unauthenticated {
			t.Errorf("%s: the stream ends with %v", what, err)
		}
	}
	l.write(t, "masked", "token-of-masked-9999")
	l.Reload()
	ends("a token", byToken)
	if err := l.as(t, "token-of-masked-0123").refusal(t, nil); status.Code(err) != codes.Unauthenticated {
		t.Errorf("the old token: %v", err)
	}
	if m, err := l.as(t, "token-of-masked-9999").tail(t, nil).Recv(); err != nil || m.GetSubscribed() == nil {
		t.Errorf("the new token: %v", err)
	}

	other := certstest.New(t, "another authority")
	l.write(t, "ca.crt", string(other.PEM()))
	l.Reload()
	ends("a certificate", byCertificate)
	if err := l.as(t, "", certificate).refusal(t, nil); status.Code(err) != codes.Unauthenticated {
		t.Errorf("a certificate of the old authority: %v", err)
	}
	if m, err := l.as(t, "", other.Issue(t, x509.Certificate{DNSNames: []string{"credit.example"}})).tail(t, nil).Recv(); err != nil || m.GetSubscribed() == nil {
		t.Errorf("a certificate of the new authority: %v", err)
	}
	for principal, want := range map[string]float64{"all": 0, "masked": 1, "credit": 1} {
		if got := l.metric(t, "bridge_grpc_revoked_total", principal); got != want {
			t.Errorf("%s lost %v calls, want %v", principal, got, want)
		}
	}
	l.send(t, "returns", "shipping_ordered")
	if got := places(read(t, byOther, 1)); got != "returns shipment.ordered" {
		t.Errorf("the stream that stays has %s", got)
	}
}

// TestUnreadStreamLosesRights: a stream whose client does not read ends, too.
func TestUnreadStreamLosesRights(t *testing.T) {
	t.Parallel()
	l := startListened(t)
	// More than the windows of HTTP/2 hold.
	name := strings.Repeat("x", 200_000)
	for n := range 5 {
		l.post(t, "returns", fmt.Appendf(nil, `{"event_type":"retino_credit_note.created","created_at":"2023-04-04T09:00:19Z",`+
			`"credit_note":{"id":"%d","currency":"CZK","customer":{"name":"x"},"lines":[{"id":"1","name":%q}]}}`, n, name))
	}
	stream := l.as(t, "token-of-masked-0123").tail(t, nil)
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	l.write(t, "masked", "token-of-masked-9999")
	l.Reload()
	for l.streams.Stats().Open > 0 {
		select {
		case <-t.Context().Done():
			t.Fatal("the stream is open")
		case <-time.After(10 * time.Millisecond):
		}
	}
	for {
		if _, err := stream.Recv(); err != nil {
			if status.Code(err) != codes.Unauthenticated {
				t.Errorf("the stream ends with %v", err)
			}
			return
		}
	}
}
