package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/internal/certs/certstest"
)

// The tests here run clients that we did not write: curl, and those that .ci/protocols installs.

// protocolsEnv has the folder with the modules of testdata/web. Without it, the tests are not run.
const protocolsEnv = "BRIDGE_TEST_PROTOCOLS"

func needProtocols(t *testing.T) string {
	t.Helper()
	dir := os.Getenv(protocolsEnv)
	if dir == "" {
		t.Skip(protocolsEnv + " does not name the folder that .ci/protocols prepares")
	}
	return dir
}

// webConfig is retinoConfig with TLS on the gRPC port, if it has a certificate, and with the origins of pages.
func webConfig(t *testing.T, dir, origin string, secure bool) string {
	t.Helper()
	config := retinoConfig(dir)
	if secure {
		cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
		if _, err := os.Stat(cert); err != nil {
			certstest.New(t, "web").WriteServer(t, cert, key)
		}
		config = strings.Replace(config, `listen: {`, fmt.Sprintf(`listen: {tls: {grpc: {cert_file: %q, key_file: %q}}, `, cert, key), 1)
	}
	if origin != "" {
		config += fmt.Sprintf("access: {origins: [%q]}\n", origin)
	}
	return config
}

// curl runs curl and returns what it prints.
func curl(t *testing.T, args ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "curl", append([]string{"--silent", "--show-error"}, args...)...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("curl %q: %v\n%s%s", args, err, stderr.String(), out)
	}
	return out
}

// TestProtocolsCurl: unary and streaming calls of Connect by curl, over each version of HTTP, with and without TLS.
func TestProtocolsCurl(t *testing.T) {
	needProtocols(t)
	plain, secure := startBridge(t, retinoConfig(t.TempDir())), startBridge(t, webConfig(t, t.TempDir(), "", true))
	request := filepath.Join(t.TempDir(), "request")
	body := `{"stop":{"latest":{}}}`
	if err := os.WriteFile(request, append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(body))), body...), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		p    *process
		args []string
	}{
		{plain, []string{"--http1.1", "http://"}},
		{plain, []string{"--http2", "http://"}},
		{plain, []string{"--http2-prior-knowledge", "http://"}},
		{secure, []string{"--http1.1", "--insecure", "https://"}},
		{secure, []string{"--http2", "--insecure", "https://"}},
		{secure, []string{"--no-alpn", "--insecure", "https://"}},
	} {
		l := &load{addr: c.p.addr("webhooks"), connections: 1, limit: 3}
		l.run(t.Context())
		version, base := c.args[:len(c.args)-1], c.args[len(c.args)-1]+c.p.addr("grpc")
		with := func(more ...string) []string { return append(append([]string{}, version...), more...) }
		health := curl(t, with("--json", `{}`, base+"/grpc.health.v1.Health/Check")...)
		if string(health) != `{"status":"SERVING"}` {
			t.Errorf("%q: health: %s", c.args, health)
		}
		out := curl(t, with("-H", "Content-Type: application/connect+json", "--data-binary", "@"+request,
			base+"/bridge.stream.v1.EventStreamService/Tail")...)
		var ids []string
		for len(out) >= 5 {
			n := 5 + int(binary.BigEndian.Uint32(out[1:]))
			var m struct {
				Events struct {
					Events []struct {
						Event struct{ Shipment struct{ ID string } }
					}
				}
			}
			if err := json.Unmarshal(out[5:n], &m); err != nil {
				t.Fatalf("%q: %s: %v", c.args, out[5:n], err)
			}
			for _, e := range m.Events.Events {
				ids = append(ids, e.Event.Shipment.ID)
			}
			out = out[n:]
		}
		if want := []string{shipmentID(1), shipmentID(2), shipmentID(3)}; strings.Join(ids, " ") != strings.Join(want, " ") {
			t.Errorf("%q: events %q", c.args, ids)
		}
	}
}

// TestProtocolsCurlFollows: `curl -N` that is killed again and again, and resumes with the last token, gets each event once, as lines and as
// server-sent events, while webhooks come and the server is killed.
func TestProtocolsCurlFollows(t *testing.T) {
	needProtocols(t)
	const events = 3000
	for _, sse := range []bool{false, true} {
		dir := t.TempDir()
		config := retinoConfig(dir)
		p := startBridge(t, config)
		seen := &onceEach{t: t}
		last := ""
		for round := 0; len(seen.ids) < events; round++ {
			if round > 60 {
				t.Fatalf("SSE %t: %d events after %d rounds", sse, len(seen.ids), round)
			}
			if round < 10 {
				l := &load{addr: p.addr("webhooks"), connections: 2, limit: int64(round+1) * events / 10}
				l.next.Store(int64(round) * events / 10)
				l.run(t.Context())
			}
			if round == 5 {
				p.kill()
				p = startBridge(t, config)
			}
			last = followByCurl(t, p.addr("grpc"), sse, last, 400, events-len(seen.ids), seen)
		}
		if !seen.all(events) {
			t.Errorf("SSE %t: events are missing", sse)
		}
	}
}

// onceEach notes events, each of which may come once.
type onceEach struct {
	t   *testing.T
	ids map[string]bool
}

func (o *onceEach) add(id string) {
	if o.ids == nil {
		o.ids = map[string]bool{}
	}
	if o.ids[id] {
		o.t.Errorf("%s came twice", id)
	}
	o.ids[id] = true
}

func (o *onceEach) all(n int) bool {
	for i := range n {
		if !o.ids[shipmentID(int64(i+1))] {
			return false
		}
	}
	return len(o.ids) == n
}

// followByCurl reads up to so many events, or all that are left, kills curl, and returns the last token.
func followByCurl(t *testing.T, addr string, sse bool, last string, most, left int, seen *onceEach) string {
	t.Helper()
	args := []string{"--no-buffer", "--silent", "--show-error", "http://" + addr + "/v1/events?heartbeat=100ms&token=" + last}
	if last == "" {
		args[3] = "http://" + addr + "/v1/events?heartbeat=100ms"
	}
	if sse {
		args = append(args[:3], "http://"+addr+"/v1/events?heartbeat=100ms", "-H", "Accept: text/event-stream")
		if last != "" {
			args = append(args, "-H", "Last-Event-ID: "+last)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "curl", args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	read := readNDJSON
	if sse {
		read = readSSE
	}
	lines := bufio.NewReader(out)
	for n := 0; n < min(most, left); {
		id, token, err := read(lines)
		if err != nil {
			t.Fatalf("curl %q: %v", args, err)
		}
		last = token
		if id == "" {
			continue
		}
		if id == idle {
			break
		}
		seen.add(id)
		n++
	}
	return last
}

// idle is the id of a heartbeat without lag.
const idle = "idle"

type shown struct {
	Token      string
	Event      struct{ Shipment struct{ ID string } }
	Shipment   struct{ ID string }
	Subscribed struct{ Token string }
	Heartbeat  *struct{ Token, Lag string }
	Error      any
}

func readNDJSON(in *bufio.Reader) (id, token string, err error) {
	line, err := in.ReadBytes('\n')
	if err != nil {
		return "", "", err
	}
	var s shown
	if err := json.Unmarshal(line, &s); err != nil || s.Error != nil {
		return "", "", fmt.Errorf("%s: %w", line, err)
	}
	if s.Heartbeat != nil {
		if s.Heartbeat.Lag == "" {
			return idle, s.Heartbeat.Token, nil
		}
		return "", s.Heartbeat.Token, nil
	}
	return s.Event.Shipment.ID, s.Token + s.Subscribed.Token, nil
}

func readSSE(in *bufio.Reader) (id, token string, err error) {
	for {
		line, err := in.ReadString('\n')
		switch name, value, _ := strings.Cut(strings.TrimSpace(line), ": "); {
		case err != nil:
			return "", "", err
		case line == "\n":
			return id, token, nil
		case name == "id":
			token = value
		case name == "" && strings.HasSuffix(value, "lag 0"):
			id = idle
		case name == "data":
			var s shown
			if err := json.Unmarshal([]byte(value), &s); err != nil {
				return "", "", err
			}
			id = s.Shipment.ID
		}
	}
}

// TestProtocolsConnectWeb: the client of browsers, over gRPC-Web and Connect, in Node.js. It is ended and resumed.
func TestProtocolsConnectWeb(t *testing.T) {
	dir := needProtocols(t)
	const events = 300
	p := startBridge(t, retinoConfig(t.TempDir()))
	l := &load{addr: p.addr("webhooks"), connections: 1, limit: events}
	l.run(t.Context())
	descriptors := filepath.Join(t.TempDir(), "descriptors.binpb")
	encoded, err := proto.Marshal(fileSet(streamv1.File_bridge_stream_v1_stream_proto, healthv1.File_grpc_health_v1_health_proto))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(descriptors, encoded, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, protocol := range []string{"connect", "connect-json", "grpc-web"} {
		seen, token := &onceEach{t: t}, ""
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			cmd := exec.CommandContext(ctx, "node", filepath.Join(dir, "tail.mjs"), protocol, "http://"+p.addr("grpc"), descriptors, "100", token)
			var stderr strings.Builder
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			cancel()
			if err != nil {
				t.Fatalf("%s: %v\n%s", protocol, err, stderr.String())
			}
			lines := strings.Fields(string(out))
			for _, id := range lines[:len(lines)-1] {
				seen.add(id)
			}
			token = lines[len(lines)-1]
		}
		if !seen.all(events) {
			t.Errorf("%s: %d events", protocol, len(seen.ids))
		}
	}
}

// fileSet returns files with all that they import.
func fileSet(files ...protoreflect.FileDescriptor) *descriptorpb.FileDescriptorSet {
	set, done := &descriptorpb.FileDescriptorSet{}, map[string]bool{}
	var add func(protoreflect.FileDescriptor)
	add = func(f protoreflect.FileDescriptor) {
		if done[f.Path()] {
			return
		}
		done[f.Path()] = true
		for i := range f.Imports().Len() {
			add(f.Imports().Get(i).FileDescriptor)
		}
		set.File = append(set.File, protodesc.ToFileDescriptorProto(f))
	}
	for _, f := range files {
		add(f)
	}
	return set
}
