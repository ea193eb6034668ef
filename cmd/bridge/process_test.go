package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// envMain makes the test binary behave as the program itself, so that tests can start and kill the real thing.
const envMain = "BRIDGE_TEST_MAIN"

// envReference makes the test binary behave as the server that throughput is compared with; its value is the folder.
const envReference = "BRIDGE_TEST_REFERENCE"

// envProfile names a file into which a server that a test starts writes a CPU profile of its first seconds. The last server
// started has it.
const envProfile = "BRIDGE_TEST_PROFILE"

func profile(path string) {
	if path == "" {
		return
	}
	f, err := os.Create(path)
	if err != nil {
		panic(err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		panic(err)
	}
	time.AfterFunc(benchSpan, func() {
		pprof.StopCPUProfile()
		_ = f.Close()
	})
}

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(envMain) != "":
		profile(os.Getenv(envProfile))
		main()
	case os.Getenv(envReference) != "":
		serveReference(os.Getenv(envReference))
	default:
		testscript.Main(m, map[string]func(){"bridge": main})
	}
}

// process is a server in a process of its own.
type process struct {
	cmd    *exec.Cmd
	addrs  map[string]string // by listener: webhooks, ops, grpc, admin
	exited chan struct{}
	err    error // after exited

	mu  sync.Mutex
	log []string
}

// startBridge starts `bridge serve` with a configuration and waits until it is ready.
func startBridge(t testing.TB, config string) *process {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bridge.yaml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return startProcess(t, []string{"serve", "-c", path}, envMain+"=1")
}

// startProcess starts this test binary in another role. The role logs JSON lines to standard error: `listening` for each
// address, and `ready`.
func startProcess(t testing.TB, args []string, role string) *process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return startCommand(t, exe, args, role)
}

// startCommand starts a program that logs as [startProcess] says.
func startCommand(t testing.TB, exe string, args []string, env ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(exe, args...), addrs: map[string]string{}, exited: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.start(t)
	return p
}

// start starts the process, and returns when it is ready.
func (p *process) start(t testing.TB) {
	t.Helper()
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	go p.watch(stderr, ready)
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.exited
		if t.Failed() {
			t.Logf("the process wrote:\n%s", p.text())
		}
	})
	select {
	case <-ready:
	case <-p.exited:
		t.Fatalf("ended before it was ready: %v\n%s", p.err, p.text())
	case <-time.After(30 * time.Second):
		t.Fatalf("not ready in time\n%s", p.text())
	}
}

// watch collects the process's log, closes ready when it says so, and waits for its end.
func (p *process) watch(stderr io.Reader, ready chan struct{}) {
	lines := bufio.NewScanner(stderr)
	lines.Buffer(nil, 1<<20)
	var once sync.Once
	for lines.Scan() {
		var entry struct{ Msg, Listener, Addr string }
		_ = json.Unmarshal(lines.Bytes(), &entry)
		p.mu.Lock()
		p.log = append(p.log, lines.Text())
		if entry.Msg == "listening" {
			p.addrs[entry.Listener] = entry.Addr
		}
		p.mu.Unlock()
		if entry.Msg == "ready" {
			once.Do(func() { close(ready) }) // a successor says it too
		}
	}
	p.err = p.cmd.Wait()
	close(p.exited)
}

func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.log, "\n")
}

func (p *process) addr(listener string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.addrs[listener]
}

// kill ends the process as a power cut would end it.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// rss returns the process's resident memory in bytes, now and at its highest.
func (p *process) rss() (now, peak int64) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(status)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		kib, _ := strconv.ParseInt(fields[1], 10, 64)
		switch fields[0] {
		case "VmRSS:":
			now = kib << 10
		case "VmHWM:":
			peak = kib << 10
		}
	}
	return now, peak
}

// retinoConfig is a configuration with one source, whose journal is in dir.
func retinoConfig(dir string) string {
	return fmt.Sprintf(`
listen: {webhooks: "127.0.0.1:0", ops: "127.0.0.1:0", grpc: "127.0.0.1:0", admin: "127.0.0.1:0"}
journal: {dir: %q, min_free: 1Mi}
log: {format: json}
sources:
  - name: returns
    connector: retino
    auth: {header: {name: X-Retino-Secret, values: [%s]}}
`, dir, testSecret)
}

const testSecret = "a-secret-for-tests"
