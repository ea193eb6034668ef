package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/webhook-bridge/bridge/internal/near"
)

// page is a page whose shell blocks are run, in order, as someone new pastes them into terminals.
type page struct {
	file string
	// serves is whether the page expects a running server: that of the README.
	serves bool
	// onPath is whether `bridge` is on the PATH: all pages but the README say that it must be.
	onPath bool
	// shorter replaces parts that would take long.
	shorter map[string]string
	// not are the blocks that are not run, by their first line, with the reason.
	not map[string]string
}

var pages = []page{
	{
		file: "README.md",
		not: map[string]string{
			"go run ./cmd/bridge demo --once": "compiles the program; .ci/run runs it",
			"go test ./...":                   "is this test",
			"go build -modfile=tools/grpcurl.mod -o bin/grpcurl github.com/fullstorydev/grpcurl/cmd/grpcurl": "compiles another module; TestGRPCurl does",
		},
	},
	{
		file: "docs/simulating.md", onPath: true,
		shorter: map[string]string{"--rate 2000 --for 20s": "--rate 50 --for 1s"},
	},
	{
		file: "docs/subscribing.md", serves: true, onPath: true,
		not: map[string]string{
			"python3 -m venv venv":        "needs Python's registry; .ci/clients runs it",
			"cd docs/examples/typescript": "needs Node.js and its registry; .ci/clients runs it",
			"bridge listen --forward http://localhost:3000/events --from earliest": "needs a program that is under development; TestListen has one",
			"go run ./docs/examples/go 127.0.0.1:9090 go-example":                  "compiles a program; .ci/clients runs it",
		},
	},
	{file: "docs/http.md", serves: true, onPath: true},
	{
		file: "docs/operating.md", serves: true, onPath: true,
		not: map[string]string{
			"mv /var/lib/bridge /var/lib/bridge.lost      # delete it after you have checked the restored journal":         "moves a folder of the system; TestScripts/operators restores a backup",
			"bridge journal move --from bridge.yaml --to next.yaml      # the server runs: this copies, and may take long": "needs PostgreSQL; TestMoveUnderLoad does it",
			"bridge replay --sink events --since 2h --type 'order.*' --dry-run":                                            "needs a sink with events; TestScripts/replay does it",
			"bridge groups list                       # position, lag, outstanding deliveries, dead letters, members":      "needs a group with dead letters; TestScripts/groups does it",
		},
	},
}

var shellBlock = regexp.MustCompile("(?ms)^```sh\n(.*?)^```$")

// TestPages runs the shell blocks of the documentation in a copy of the clone's root: each must end with exit code 0, except for a
// server, which must become ready. Nothing may stay in the clone that git does not ignore.
func TestPages(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") == "" {
				t.Skipf("the pages use %s, and .ci/run has it: %v", tool, err) // the tests need Go alone
			}
			t.Fatal(err)
		}
	}
	for _, p := range pages {
		t.Run(p.file, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			c := newClone(t, ctx)
			if p.serves {
				c.prepare(pages[0])
			}
			if p.onPath {
				c.path = filepath.Join(c.dir, "bin") + ":" + c.path
			}
			c.runPage(p)
			c.checkClean()
		})
	}
}

// clone is a copy of the root of the repository, with terminals.
type clone struct {
	t    *testing.T
	ctx  context.Context //nolint:containedctx // of one test
	dir  string
	path string
	// ports replaces the default addresses by free ones.
	ports *strings.Replacer
	ops   string
}

// newClone makes a clone whose `go build` copies this test's binary, which is the program, and whose addresses are free.
func newClone(t *testing.T, ctx context.Context) *clone { //nolint:revive // t comes first in helpers
	t.Helper()
	c := &clone{t: t, ctx: ctx, dir: t.TempDir()}
	var pairs []string
	for _, port := range []string{"8080", "8081", "8082", "9090"} {
		l, err := freeListener()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }() // after all are known
		free := l.Addr().String()
		pairs = append(pairs, "127.0.0.1:"+port, free, `":`+port+`"`, `"`+free+`"`)
		if port == "8081" {
			c.ops = free
		}
	}
	c.ports = strings.NewReplacer(pairs...)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// Commands without an address call the default one.
	program := fmt.Sprintf(`#!/bin/sh
export %s=1
case " $* " in
*" -c "* | *" --addr "*) ;;
" tail "*) [ -e bridge.yaml ] || set -- "$@" --addr %s ;;
esac
exec %q "$@"
`, envMain, c.ports.Replace("127.0.0.1:9090"), exe)
	tools := t.TempDir()
	c.write(filepath.Join(tools, "program"), program, 0o700)
	c.write(filepath.Join(tools, "go"), fmt.Sprintf(`#!/bin/sh
[ "$*" = "build -o bin/ ./cmd/bridge" ] || { echo "a page runs go $*" >&2; exit 1; }
mkdir -p bin && cp %q bin/bridge
`, filepath.Join(tools, "program")), 0o700)
	c.path = tools + ":/usr/local/bin:/usr/bin:/bin"
	c.write(filepath.Join(c.dir, "bridge.example.yaml"), c.ports.Replace(readText(t, "../../bridge.example.yaml")), 0o600)
	if err := os.MkdirAll(filepath.Join(c.dir, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	c.write(filepath.Join(c.dir, "bin", "bridge"), program, 0o700)
	return c
}

func (c *clone) write(path, text string, mode os.FileMode) {
	c.t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		c.t.Fatal(err)
	}
}

// blocks are the shell blocks of a page that are run.
func (c *clone) blocks(p page) (run []string) {
	c.t.Helper()
	var first []string
	left := len(p.not)
	for _, m := range shellBlock.FindAllStringSubmatch(readText(c.t, "../../"+p.file), -1) {
		line, _, _ := strings.Cut(m[1], "\n")
		first = append(first, line)
		if _, not := p.not[line]; not {
			left--
			continue
		}
		run = append(run, m[1])
	}
	if left != 0 {
		for line := range p.not {
			c.t.Errorf("%s: no block, or two, begin with %q%s", p.file, line, near.List(line, first))
		}
	}
	if len(run) == 0 {
		c.t.Fatalf("%s has no shell block", p.file)
	}
	return run
}

// prepare starts the server of a page, and sends its webhooks, for a page that expects them.
func (c *clone) prepare(p page) {
	c.t.Helper()
	path := c.path
	c.runPage(p)
	c.path = path
}

func (c *clone) runPage(p page) {
	c.t.Helper()
	for _, block := range c.blocks(p) {
		for long, short := range p.shorter {
			block = strings.ReplaceAll(block, long, short)
		}
		block = c.ports.Replace(block)
		if serves(block) {
			c.serve(block)
			continue
		}
		out, err := c.shell(c.ctx, block).CombinedOutput()
		if err != nil {
			c.t.Fatalf("%s: %v:\n%s\n%s", p.file, err, block, out)
		}
		// A configuration that the block has written gets free addresses too.
		if config := filepath.Join(c.dir, "bridge.yaml"); exists(config) {
			c.write(config, c.ports.Replace(readText(c.t, config)), 0o600)
		}
	}
}

// serves reports whether the block's last command is a server.
func serves(block string) bool {
	lines := strings.Split(strings.TrimSpace(block), "\n")
	return strings.HasPrefix(lines[len(lines)-1], "bridge serve")
}

// shell is a new terminal in the clone's root, where a block is pasted.
func (c *clone) shell(ctx context.Context, block string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", block)
	cmd.Dir = c.dir
	cmd.Env = []string{"PATH=" + c.path, "HOME=" + c.dir, "TMPDIR=" + os.TempDir()}
	return cmd
}

// serve runs a block that ends with a server, until the test ends.
func (c *clone) serve(block string) {
	c.t.Helper()
	cmd := c.shell(context.WithoutCancel(c.ctx), block)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C reaches the shell and the server
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	c.t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGINT)
		select {
		case err := <-ended:
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				c.t.Error(err)
			}
		case <-time.After(30 * time.Second):
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			c.t.Errorf("the server did not end:\n%s", block)
		}
	})
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if body, err := fetch(c.ctx, "http://"+c.ops+"/readyz", "", ""); err == nil && strings.HasPrefix(body, "ok\n") {
			return
		}
		select {
		case err := <-ended:
			ended <- err
			c.t.Fatalf("the server ended: %v\n%s\n%s", err, block, &out)
		case <-c.ctx.Done():
			c.t.Fatalf("the server did not become ready:\n%s", block)
		case <-tick.C:
		}
	}
}

// checkClean looks for files that the blocks left where git would see them.
func (c *clone) checkClean() {
	c.t.Helper()
	ignored := strings.Split(readText(c.t, "../../.gitignore"), "\n")
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, e := range entries {
		name := "/" + e.Name()
		if e.IsDir() {
			name += "/"
		}
		found := e.Name() == "bridge.example.yaml"
		for _, i := range ignored {
			found = found || i == name
		}
		if !found {
			c.t.Errorf("the blocks leave %s in the clone", name)
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
