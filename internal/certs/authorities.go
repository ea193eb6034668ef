package certs

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// Authorities are the certificates of authorities in a file, which is read again when it has changed. It is safe for concurrent use.
type Authorities struct {
	file string
	log  *slog.Logger

	mu      sync.Mutex
	pool    *x509.CertPool
	text    []byte
	stamp   fileStamp
	checked time.Time
}

// NewAuthorities reads a PEM file. It must have a certificate.
func NewAuthorities(file string, log *slog.Logger) (*Authorities, error) {
	a := &Authorities{file: file, log: log}
	if _, err := a.load(); err != nil {
		return nil, err
	}
	return a, nil
}

// Pool returns the authorities. It looks at the file at most once a second. If the file cannot be read or has no certificate, it logs
// that, and returns the last good authorities. Other authorities have another pool, and the same ones the same.
func (a *Authorities) Pool() *x509.CertPool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if time.Since(a.checked) < checkInterval {
		return a.pool
	}
	before := a.stamp
	if s, err := stampOf(a.file); err == nil && s == before {
		a.checked = time.Now()
		return a.pool
	}
	_, _ = a.reload()
	return a.pool
}

// Reload reads the file now, and reports whether the authorities are others. On an error the last good ones stay.
func (a *Authorities) Reload() (changed bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.reload()
}

func (a *Authorities) reload() (changed bool, err error) {
	changed, err = a.load()
	switch {
	case err != nil:
		a.log.Warn("authorities not reloaded", "error", err)
	case changed:
		a.log.Info("authorities reloaded")
	}
	return changed, err
}

// load reads the file. The stamp is from before the read, so a change during the read is detected the next time.
func (a *Authorities) load() (changed bool, err error) {
	a.checked = time.Now()
	s, err := stampOf(a.file)
	if err != nil {
		return false, err
	}
	text, err := os.ReadFile(a.file)
	if err != nil {
		return false, fmt.Errorf("certs: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return false, fmt.Errorf("certs: %s has no certificate in PEM", a.file)
	}
	a.stamp = s
	if a.pool != nil && bytes.Equal(text, a.text) {
		return false, nil
	}
	a.pool, a.text = pool, text
	return true, nil
}
