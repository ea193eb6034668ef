// Package registrytest runs Apicurio Registry, whose API for compatibility is Confluent's.
package registrytest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Version is the version of Apicurio Registry: the last one that runs on Java 17.
const Version = "3.0.9"

// startWithin limits the time until a new registry answers.
const startWithin = 2 * time.Minute

// Registry is a schema registry on loopback, in its own process. It stores schemas in memory.
type Registry struct {
	// URL is the address of Confluent's API.
	URL string

	exited chan struct{} // Closed when the process has ended.
}

// Start runs a registry until the test ends; Await waits until it answers. Unless the environment has BRIDGE_TEST_KAFKA=1, Start skips the test; with it, a missing
// program fails the test. It needs Java 17 or later, and the first time also Maven, to download the registry into the user's cache.
func Start(tb testing.TB) *Registry {
	tb.Helper()
	if os.Getenv("BRIDGE_TEST_KAFKA") != "1" {
		tb.Skip("a real schema registry is left out; BRIDGE_TEST_KAFKA=1 runs one (it takes Java and Maven)")
	}
	ctx, cancel := context.WithTimeout(tb.Context(), 10*time.Minute)
	defer cancel()
	folder, err := fetch(ctx)
	if err != nil {
		tb.Fatal(err)
	}
	port, err := freePort()
	if err != nil {
		tb.Fatal(err)
	}
	// The process outlives ctx; the cleanup ends it.
	process := exec.CommandContext(context.WithoutCancel(ctx), "java", "-Xmx384m", "-jar", "apicurio-registry-app-"+Version+"-runner.jar")
	process.Dir = folder
	process.Env = append(os.Environ(), "QUARKUS_HTTP_HOST=127.0.0.1", "QUARKUS_HTTP_PORT="+port)
	if err := process.Start(); err != nil {
		tb.Fatal(err)
	}
	r := &Registry{URL: "http://127.0.0.1:" + port + "/apis/ccompat/v7", exited: make(chan struct{})}
	go func() {
		// The exit status does not matter: a signal ends the process.
		_ = process.Wait()
		close(r.exited)
	}()
	tb.Cleanup(func() {
		if err := process.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			tb.Error(err)
		}
		<-r.exited
	})
	return r
}

// Await returns when the registry answers.
func (r *Registry) Await(tb testing.TB) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), startWithin)
	defer cancel()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for {
		if _, err := r.call(ctx, http.MethodGet, "/subjects", ""); err == nil {
			return
		}
		select {
		case <-again.C:
		case <-r.exited:
			tb.Fatal("registrytest: the registry ended")
		case <-ctx.Done():
			tb.Fatal("registrytest: the registry does not answer")
		}
	}
}

// Call makes a request of the API, and fails the test unless the registry accepts it.
func (r *Registry) Call(tb testing.TB, method, path, body string) {
	tb.Helper()
	if answer, err := r.call(tb.Context(), method, path, body); err != nil {
		tb.Fatalf("%v: %s", err, answer)
	}
}

func (r *Registry) call(ctx context.Context, method, path, body string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, method, r.URL+path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	var content bytes.Buffer
	if _, err := content.ReadFrom(answer.Body); err != nil {
		return "", err
	}
	if answer.StatusCode != http.StatusOK {
		return content.String(), fmt.Errorf("registrytest: %s %s: %d", method, path, answer.StatusCode)
	}
	return content.String(), nil
}

// freePort returns a loopback port that was free a moment ago: the registry cannot report a port that it selects itself.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("registrytest: free port: %w", err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

// fetch returns the registry's folder. It creates the folder once, whole or not at all.
func fetch(ctx context.Context) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("registrytest: fetch: %w", err)
	}
	folder := filepath.Join(cache, "bridge-apicurio", Version)
	if _, err := os.Stat(folder); err == nil {
		return folder, nil
	}
	if err := os.MkdirAll(filepath.Dir(folder), 0o750); err != nil {
		return "", fmt.Errorf("registrytest: fetch: %w", err)
	}
	work, err := os.MkdirTemp(filepath.Dir(folder), "fetching-")
	if err != nil {
		return "", fmt.Errorf("registrytest: fetch: %w", err)
	}
	defer os.RemoveAll(work)
	unpacked := filepath.Join(work, "unpacked")
	if err := os.Mkdir(unpacked, 0o750); err != nil {
		return "", fmt.Errorf("registrytest: fetch: %w", err)
	}
	archive := filepath.Join(work, "registry.tar.gz")
	for _, command := range [][]string{
		// This version of the plugin gets an artifact without its parent, which is not in every mirror.
		{
			"mvn", "-q", "-B", "org.apache.maven.plugins:maven-dependency-plugin:2.8:get",
			"-Dartifact=io.apicurio:apicurio-registry-app:" + Version + ":tar.gz:all", "-Dtransitive=false", "-Ddest=" + archive,
		},
		{"tar", "-xzf", archive, "-C", unpacked},
	} {
		//nolint:gosec // The arguments are ours.
		if out, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("registrytest: fetch by %s: %w\n%s", command[0], err, out)
		}
	}
	if err := os.Rename(unpacked, folder); err != nil && !errors.Is(err, os.ErrExist) {
		return "", fmt.Errorf("registrytest: fetch: %w", err)
	}
	return folder, nil
}
