package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// pair is a folder with a certificate and its key.
type pair struct{ cert, key string }

func newPair(t *testing.T, name string) pair {
	t.Helper()
	dir := t.TempDir()
	p := pair{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
	p.write(t, name)
	return p
}

// write puts a new certificate for name into the files, with a time stamp of its own.
func (p pair) write(t *testing.T, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: name},
		NotAfter:     time.Now().Add(time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, p.cert, "CERTIFICATE", cert)
	writePEM(t, p.key, "PRIVATE KEY", der)
}

func writePEM(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// touch sets a file's modification time, as a later write would.
func touch(t *testing.T, path string, at time.Time) {
	t.Helper()
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

func served(t *testing.T, r *Reloader) string {
	t.Helper()
	c, err := r.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return leaf.Subject.CommonName
}

func TestReload(t *testing.T) {
	p := newPair(t, "first")
	second := newPair(t, "second")
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		r, err := New(p.cert, p.key, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		if got := served(t, r); got != "first" {
			t.Fatalf("serves %s", got)
		}

		// A renewal is half done: the new certificate with the old key.
		replace(t, second.cert, p.cert)
		if got := served(t, r); got != "first" {
			t.Errorf("looked before a second had passed: serves %s", got)
		}
		<-time.After(2 * checkInterval)
		if got := served(t, r); got != "first" {
			t.Errorf("with half of a renewal: serves %s", got)
		}
		if !bytes.Contains(log.Bytes(), []byte("not reloaded")) {
			t.Error("half of a renewal was not logged")
		}

		replace(t, second.key, p.key)
		<-time.After(2 * checkInterval)
		if got := served(t, r); got != "second" {
			t.Errorf("after the renewal: serves %s", got)
		}

		if err := os.Remove(p.key); err != nil {
			t.Fatal(err)
		}
		<-time.After(2 * checkInterval)
		if got := served(t, r); got != "second" {
			t.Errorf("with the files gone: serves %s", got)
		}
	})
}

func replace(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, text, 0o600); err != nil {
		t.Fatal(err)
	}
	touch(t, to, time.Now().Add(time.Hour))
}

func TestNewRefusesMismatch(t *testing.T) {
	a, b := newPair(t, "a"), newPair(t, "b")
	if _, err := New(a.cert, b.key, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("accepted a certificate with another one's key")
	}
	if _, err := New(a.cert, filepath.Join(t.TempDir(), "none"), slog.New(slog.DiscardHandler)); err == nil {
		t.Error("accepted a certificate without a key")
	}
}

// TestReloadAsked: asked for, the files are read even if their time stamps are old, and a broken pair changes nothing.
func TestReloadAsked(t *testing.T) {
	p := newPair(t, "old")
	r, err := New(p.cert, p.key, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if changed, err := r.Reload(); changed || err != nil {
		t.Errorf("nothing has changed: %v, %v", changed, err)
	}
	p.write(t, "new")
	if changed, err := r.Reload(); !changed || err != nil {
		t.Errorf("changed: %v, %v", changed, err)
	}
	before := r.NotAfter()
	writePEM(t, p.key, "PRIVATE KEY", []byte("broken"))
	if changed, err := r.Reload(); changed || err == nil || !r.NotAfter().Equal(before) {
		t.Errorf("broken: %v, %v", changed, err)
	}
}
