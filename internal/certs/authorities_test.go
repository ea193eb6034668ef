package certs

import (
	"bytes"
	"crypto/x509"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/webhook-bridge/bridge/internal/certs/certstest"
)

// TestAuthorities: a changed file is read within a second, or when it is asked for. A file that cannot be used changes nothing.
func TestAuthorities(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := certstest.New(t, "first"), certstest.New(t, "second")
		file := filepath.Join(t.TempDir(), "ca.pem")
		write := func(text []byte) {
			t.Helper()
			if err := os.WriteFile(file, text, 0o600); err != nil {
				t.Fatal(err)
			}
			touch(t, file, time.Now())
		}
		write(first.PEM())
		var log bytes.Buffer
		a, err := NewAuthorities(file, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		vouches := func(by *certstest.Authority) bool {
			t.Helper()
			_, err := by.Issue(t, x509.Certificate{}).Leaf.Verify(x509.VerifyOptions{Roots: a.Pool(), CurrentTime: time.Now()})
			return err == nil
		}
		pool := a.Pool()
		if !vouches(first) || vouches(second) {
			t.Error("the wrong authority vouches")
		}
		<-time.After(time.Hour)
		write(first.PEM())
		if a.Pool() != pool {
			t.Error("the same authorities have another pool")
		}

		<-time.After(time.Hour)
		write(second.PEM())
		if vouches(first) || !vouches(second) {
			t.Error("the old authority vouches")
		}
		<-time.After(time.Hour)
		write([]byte("no certificate"))
		if vouches(first) || !vouches(second) {
			t.Error("a broken file changed the authorities")
		}
		if changed, err := a.Reload(); changed || err == nil {
			t.Errorf("a broken file: %v, %v", changed, err)
		}
		write(append(first.PEM(), second.PEM()...))
		if changed, err := a.Reload(); !changed || err != nil || !vouches(first) || !vouches(second) {
			t.Errorf("two authorities: %v, %v", changed, err)
		}
		if !strings.Contains(log.String(), "authorities not reloaded") || strings.Count(log.String(), "authorities reloaded") != 2 {
			t.Errorf("the log:\n%s", &log)
		}
		if _, err := NewAuthorities(filepath.Join(t.TempDir(), "none"), slog.New(slog.DiscardHandler)); err == nil {
			t.Error("a file that is missing is used")
		}
	})
}
