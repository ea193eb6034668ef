package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs the program's stories: each archive of testdata/script starts the real program.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			for file, body := range map[string][]byte{
				"shipped.json": sampleBody("retino", "shipping_ordered"),
				"paid.json":    sampleBody("kasafik", "orders"),
				"payment.json": sampleBody("dealpos", "payment_created"),
			} {
				if err := os.WriteFile(filepath.Join(env.WorkDir, file), body, 0o600); err != nil {
					return err
				}
			}
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"ports":       scriptPorts,
			"certificate": scriptCertificate,
			"ready":       scriptReady,
			"get":         scriptGet,
			"await":       scriptAwait,
			"exitcode":    scriptExitCode,
			"sample":      scriptSample,
			"sendsamples": scriptSendSamples,
			"capture":     scriptCapture,
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

// scriptSample writes a connector's sample to a file.
func scriptSample(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), sampleBody(args[0], args[1]), 0o600))
}

// scriptSendSamples sends the main sample of every event of a connector to the source.
func scriptSendSamples(ts *testscript.TestScript, _ bool, args []string) {
	source, connector := args[0], args[1]
	samples := mainSamples(connector)
	if len(samples) == 0 {
		ts.Fatalf("%s has no samples", connector)
	}
	for event, body := range samples {
		file := ts.MkAbs("main.json")
		ts.Check(os.WriteFile(file, body, 0o600))
		send := []string{"send", "-c", ts.MkAbs("bridge.yaml"), source, event, file}
		if allConnectors()[connector].EventField != "" {
			send = slices.Delete(send, 4, 5) // the body names the event
		}
		ts.Check(ts.Exec("bridge", send...))
	}
}

// scriptCapture sets a variable to what the first group of a pattern matches in the last output.
func scriptCapture(ts *testscript.TestScript, _ bool, args []string) {
	m := regexp.MustCompile(args[1]).FindStringSubmatch(ts.ReadFile("stdout"))
	if len(m) < 2 {
		ts.Fatalf("the output does not match %s", args[1])
	}
	ts.Setenv(args[0], m[1])
}

// handedOut are the addresses that scripts, which run at the same time, have been given.
var handedOut sync.Map

// scriptPorts sets each variable to a loopback address that was free just now and that no other script has.
func scriptPorts(ts *testscript.TestScript, _ bool, names []string) {
	var held []net.Listener
	for _, name := range names {
		l, err := freeListener()
		ts.Check(err)
		held = append(held, l)
		ts.Setenv(name, l.Addr().String())
	}
	for _, l := range held {
		ts.Check(l.Close())
	}
}

// freeListener listens on a loopback address that no other test of this process uses. Its port is below those that systems give by
// themselves: after the listener is closed, no connection and no listener of another program gets it by chance.
func freeListener() (l net.Listener, err error) {
	const first, ports = 20_000, 12_000 // Linux gives those from 32768 on.
	for range 100 {
		address := fmt.Sprint("127.0.0.1:", first+mathrand.N(ports))
		if _, taken := handedOut.LoadOrStore(address, true); taken {
			continue
		}
		if l, err = net.Listen("tcp", address); err == nil {
			return l, nil
		}
	}
	return nil, errors.Join(errors.New("a hundred ports are in use"), err)
}

// scriptCertificate makes a certificate for the loopback address that signed itself.
func scriptCertificate(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(makeCertificate(ts.MkAbs(args[0]), ts.MkAbs(args[1])))
}

func makeCertificate(certFile, keyFile string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		NotAfter:              time.Now().Add(time.Hour),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o600),
		os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
}

// scriptReady waits until the server whose ops listener is at the address is ready. A second argument is a certificate to
// trust.
func scriptReady(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	url, ca := "http://"+args[0]+"/readyz", ""
	if len(args) > 1 {
		url, ca = "https://"+args[0]+"/readyz", ts.MkAbs(args[1])
	}
	for {
		if body, err := fetch(ctx, url, ca, ""); err == nil && strings.HasPrefix(body, "ok\n") {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			ts.Fatalf("%s did not become ready", args[0])
		}
	}
}

// scriptGet prints what is at a URL. Further arguments are a certificate to trust and a bearer token.
func scriptGet(ts *testscript.TestScript, neg bool, args []string) {
	var ca, token string
	if len(args) > 1 && args[1] != "" {
		ca = ts.MkAbs(args[1])
	}
	if len(args) > 2 {
		token = args[2]
	}
	body, err := fetch(context.Background(), args[0], ca, token)
	if neg {
		if err == nil {
			ts.Fatalf("%s was answered", args[0])
		}
		_, err = io.WriteString(ts.Stderr(), err.Error())
		ts.Check(err)
		return
	}
	ts.Check(err)
	_, err = io.WriteString(ts.Stdout(), body)
	ts.Check(err)
}

// scriptAwait waits until what is at a URL matches a pattern.
func scriptAwait(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	pattern := regexp.MustCompile(args[1])
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		body, err := fetch(ctx, args[0], "", "")
		if err == nil && pattern.MatchString(body) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			ts.Fatalf("%s never matched %s:\n%s", args[0], args[1], body)
		}
	}
}

func fetch(ctx context.Context, url, ca, token string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return "", err
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
		transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem)
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
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
