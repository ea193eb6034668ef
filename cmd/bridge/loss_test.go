package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// bridgeRun runs one command of this program, and returns what it wrote and its exit code.
func bridgeRun(t *testing.T, args ...string) (output string, code int) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, args...)
	cmd.Env = append(os.Environ(), envMain+"=1")
	b, _ := cmd.CombinedOutput() // the code tells
	return string(b), cmd.ProcessState.ExitCode()
}

// TestLostWebhooksAreNoticed cuts the newest file of the journal's log to half after an orderly end. The server refuses to start,
// with the counts, and starts with --accept-loss; the loss stays visible.
func TestLostWebhooksAreNoticed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	config := retinoConfig(dir)
	file := filepath.Join(t.TempDir(), "bridge.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startBridge(t, config)
	l := &load{addr: p.addr("webhooks"), connections: 8, limit: 400, acknowledged: func(int64) {}}
	l.run(t.Context())
	if l.ok.Load() == 0 {
		t.Fatal("no webhook was acknowledged")
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-p.exited
	if text, code := bridgeRun(t, "verify", dir); code != 0 || !strings.Contains(text, "everything can be read") {
		t.Fatalf("verify: exit %d\n%s", code, text)
	}

	cutNewestLog(t, dir)
	text, code := bridgeRun(t, "verify", dir)
	if code != 1 || !strings.Contains(text, "are missing") {
		t.Errorf("verify: exit %d\n%s", code, text)
	}
	text, code = bridgeRun(t, "serve", "-c", file)
	if code != 1 || !strings.Contains(text, "are missing") || !strings.Contains(text, "--accept-loss") {
		t.Fatalf("serve: exit %d\n%s", code, text)
	}

	p = startProcess(t, []string{"serve", "-c", file, "--accept-loss"}, envMain+"=1")
	if ready := getText(t, "http://"+p.addr("ops")+"/readyz"); !strings.Contains(ready, "lost at least") {
		t.Errorf("readyz: %q", ready)
	}
	if metrics := getText(t, "http://"+p.addr("ops")+"/metrics"); !strings.Contains(metrics, "bridge_journal_losses 1") {
		t.Error("the metric does not have the loss")
	}
	if text, code := bridgeRun(t, "tail", "--no-follow", "--addr", p.addr("grpc")); code != 1 || !strings.Contains(text, "--from") {
		t.Errorf("tail: exit %d\n%s", code, text)
	}
	p.kill()
	p = startBridge(t, config) // it was accepted, and is not asked again
	p.kill()
	if text, code := bridgeRun(t, "verify", dir); code != 0 || !strings.Contains(text, "were lost before") {
		t.Errorf("verify afterwards: exit %d\n%s", code, text)
	}
}

// cutNewestLog cuts the newest log file that has content to half.
func cutNewestLog(t *testing.T, dir string) {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(logs)
	for _, name := range slices.Backward(logs) {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() > 1<<10 {
			if err := os.Truncate(name, info.Size()/2); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatal("no log file has content")
}

func getText(t *testing.T, url string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(answer.StatusCode, " ", string(b))
}
