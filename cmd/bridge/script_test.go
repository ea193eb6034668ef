package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs the program's stories: each archive of testdata/script starts the real program.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			for file, s := range map[string]string{
				"shipped.json": "retino.shipping.ordered.json",
				"paid.json":    "kasafik.orders.json",
				"payment.json": "dealpos.paymentCreated.json",
			} {
				if err := os.WriteFile(filepath.Join(env.WorkDir, file), readSample(s), 0o600); err != nil {
					return err
				}
			}
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"ports":    scriptPorts,
			"ready":    scriptReady,
			"get":      scriptGet,
			"exitcode": scriptExitCode,
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

// scriptPorts sets each variable to a loopback address that was free just now.
func scriptPorts(ts *testscript.TestScript, _ bool, names []string) {
	for _, name := range names {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		ts.Check(err)
		ts.Setenv(name, l.Addr().String())
		ts.Check(l.Close())
	}
}

// scriptReady waits until the server whose ops listener is at the address is ready.
func scriptReady(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if body, err := fetch(ctx, "http://"+args[0]+"/readyz"); err == nil && body == "ok\n" {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			ts.Fatalf("%s did not become ready", args[0])
		}
	}
}

// scriptGet prints what is at a URL.
func scriptGet(ts *testscript.TestScript, _ bool, args []string) {
	body, err := fetch(context.Background(), args[0])
	ts.Check(err)
	_, err = ts.Stdout().Write([]byte(body))
	ts.Check(err)
}

func fetch(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", url, resp.Status, body)
	}
	return string(body), err
}

// scriptExitCode runs a command that must end with the given code.
func scriptExitCode(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	var exit *exec.ExitError
	err = ts.Exec(args[1], args[2:]...)
	if !errors.As(err, &exit) || exit.ExitCode() != want {
		ts.Fatalf("%v: ended with %v, not exit code %d", args[1:], err, want)
	}
}
