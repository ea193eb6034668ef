package s3_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/webhook-bridge/bridge/sinks/s3"
	"github.com/webhook-bridge/bridge/sinks/sinktest"
)

// newRealSite starts a VersityGW, an S3 server with signatures and conditional writes, whose program BRIDGE_TEST_S3 names.
func newRealSite(tb testing.TB, format string) *site {
	tb.Helper()
	program := os.Getenv("BRIDGE_TEST_S3")
	if program == "" {
		tb.Skip("BRIDGE_TEST_S3 does not name a versitygw")
	}
	dir := tb.TempDir()
	data, sidecar := filepath.Join(dir, "data"), filepath.Join(dir, "sidecar")
	for _, d := range []string{filepath.Join(data, "events"), filepath.Join(sidecar, "events")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			tb.Fatal(err)
		}
	}
	address := freeAddress(tb)
	ctx, stop := context.WithCancel(context.Background())
	server := exec.CommandContext(ctx, program, "--port", address, "--access", "user", "--secret", "CANARY", "posix", "--sidecar", sidecar, data)
	server.Dir = dir
	server.WaitDelay = 10 * time.Second
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		tb.Fatal(err)
	}
	server.Stdout, server.Stderr = log, log
	if err := server.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		stop()
		_ = server.Wait()
		_ = log.Close()
	})
	awaitAddress(tb, address)

	target := &url.URL{Scheme: "http", Host: address}
	f := newFront(tb, &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host // The signature covers it.
	}})
	saved := tb.TempDir()
	move := func(from, to string) {
		for _, name := range []string{"data/events", "sidecar/events"} { // The server has its folders open.
			if err := os.RemoveAll(filepath.Join(to, name)); err != nil {
				tb.Fatal(err)
			}
			if err := os.CopyFS(filepath.Join(to, name), os.DirFS(filepath.Join(from, name))); err != nil {
				tb.Fatal(err)
			}
		}
	}
	return &site{
		front: f,
		config: s3.Config{
			Bucket: "events", Prefix: "bridge/", Endpoint: f.server.URL, PathStyle: true, Format: format,
			Credentials: func() s3.Credentials { return s3.Credentials{AccessKeyID: "user", SecretAccessKey: "CANARY"} },
		},
		read: func(name string) ([]byte, error) {
			content, err := os.ReadFile(filepath.Join(data, "events", name))
			if os.IsNotExist(err) {
				return nil, nil
			}
			return content, err
		},
		backup:  func() { move(dir, saved) },
		restore: func() { move(saved, dir) },
	}
}

func freeAddress(tb testing.TB) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// awaitAddress waits until something answers.
func awaitAddress(tb testing.TB, address string) {
	tb.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 1000 {
		if answer, err := http.Get("http://" + address); err == nil {
			_ = answer.Body.Close()
			return
		}
		<-tick.C
	}
	tb.Fatal("versitygw does not answer")
}

// TestReal runs the kit on a real server.
func TestReal(t *testing.T) {
	for name, c := range map[string]struct {
		format string
		once   bool
	}{"exactly once": {"jsonl", true}, "at least once, Parquet": {"parquet", false}} {
		t.Run(name, func(t *testing.T) {
			sinktest.Run(t, func(tb testing.TB) sinktest.Harness {
				return newRealSite(tb, c.format).harness(tb, c.once)
			}, sinktest.Features{TotalOrder: true, SharedDestination: c.once})
		})
	}
}
