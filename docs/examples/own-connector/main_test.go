package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/webhook-bridge/bridge"
)

const config = `
listen: {webhooks: "127.0.0.1:0", ops: "127.0.0.1:0", grpc: "127.0.0.1:0", admin: "127.0.0.1:0"}
journal: {dir: DIR, min_free: 1Mi}
log: {format: json}
sources:
  - {name: carrier, connector: parcelino, auth: {hmac: {secrets: [a-secret-for-tests]}}}
  - {name: returns, connector: retino, auth: {header: {name: X-Retino-Secret, values: [a-secret-for-tests]}}}
`

// TestServe starts the program, sends a webhook as Parcelino does, and sees the event come out.
func TestServe(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "bridge.yaml")
	if err := os.WriteFile(file, []byte(strings.Replace(config, "DIR", filepath.Join(dir, "journal"), 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	addrs := serve(t, file)

	var body bytes.Buffer
	if code := run(t.Context(), nil, &body, "connectors", "sample", "parcelino", "parcel.delivered"); code != 0 {
		t.Fatalf("sample: exit code %d", code)
	}
	var answer bytes.Buffer
	if code := run(t.Context(), &body, &answer, "send", "-c", file, "--addr", "http://"+addrs["webhooks"], "carrier", "-"); code != 0 {
		t.Fatalf("send: exit code %d: %s", code, &answer)
	}
	var events bytes.Buffer
	if code := run(t.Context(), nil, &events, "tail", "--addr", addrs["grpc"], "--json", "--no-follow"); code != 0 {
		t.Fatalf("tail: exit code %d", code)
	}
	var event struct{ Type, Source, Connector, Subject string }
	if err := json.Unmarshal(events.Bytes(), &event); err != nil {
		t.Fatalf("%v in %s", err, &events)
	}
	want := "shipment.delivered carrier parcelino shipment/b7a1c2d3-9e0f-4a5b-8c6d-1f2e3d4c5b6a"
	if got := strings.Join([]string{event.Type, event.Source, event.Connector, event.Subject}, " "); got != want {
		t.Errorf("the event is %s, not %s", got, want)
	}
}

// TestDemo: the demo shows every connector of the program.
func TestDemo(t *testing.T) {
	var out bytes.Buffer
	if code := run(t.Context(), nil, &out, "demo", "--once"); code != 0 {
		t.Fatalf("exit code %d\n%s", code, &out)
	}
	for _, c := range plugins().Connectors {
		if !strings.Contains(out.String(), "→ "+c.Name+" ") {
			t.Errorf("no webhook of %s in\n%s", c.Name, &out)
		}
	}
}

// serve starts the server and returns its addresses by listener. The server ends with the test.
func serve(t *testing.T, file string) map[string]string {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	logged, logs := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		code := bridge.Run(ctx, plugins(), []string{"serve", "-c", file}, bridge.Environment{
			LookupEnv: os.LookupEnv, Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: logs,
		})
		_ = logs.Close()
		ended <- code
	}()
	t.Cleanup(func() {
		stop()
		if code := <-ended; code != 0 {
			t.Errorf("serve: exit code %d", code)
		}
	})
	ready := make(chan map[string]string, 1)
	go func() {
		addrs := map[string]string{}
		for lines := bufio.NewScanner(logged); lines.Scan(); {
			var entry struct{ Msg, Listener, Addr string }
			_ = json.Unmarshal(lines.Bytes(), &entry)
			switch entry.Msg {
			case "listening":
				addrs[entry.Listener] = entry.Addr
			case "ready":
				ready <- addrs
			}
		}
	}()
	select {
	case addrs := <-ready:
		return addrs
	case <-time.After(30 * time.Second):
		t.Fatal("the server did not become ready")
		return nil
	}
}

// run runs a command of the program.
func run(ctx context.Context, stdin io.Reader, stdout io.Writer, args ...string) int {
	if stdin == nil {
		stdin = strings.NewReader("")
	}
	return bridge.Run(ctx, plugins(), args, bridge.Environment{
		LookupEnv: os.LookupEnv, Stdin: stdin, Stdout: stdout, Stderr: os.Stderr,
	})
}
