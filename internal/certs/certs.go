// Package certs serves a TLS certificate from files, and knows the authorities of clients. It reloads both without a restart when their
// files change.
package certs

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"
)

// checkInterval is the minimum time between two checks of the files.
const checkInterval = time.Second

// Reloader has a certificate and reloads it when its files have changed. It is safe for concurrent use.
type Reloader struct {
	certFile, keyFile string
	log               *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	stamp   stamp
	checked time.Time
}

// stamp distinguishes versions of the two files.
type stamp struct{ cert, key fileStamp }

type fileStamp struct {
	modified time.Time
	size     int64
}

// New reads the certificate and its key. The files must be a pair.
func New(certFile, keyFile string, log *slog.Logger) (*Reloader, error) {
	r := &Reloader{certFile: certFile, keyFile: keyFile, log: log}
	s, err := r.look()
	if err != nil {
		return nil, err
	}
	if err := r.load(s); err != nil {
		return nil, err
	}
	r.checked = time.Now()
	return r, nil
}

// GetCertificate is for [tls.Config]. It checks the files at most once a second. If they cannot be read or do not match
// (perhaps a renewal is half done), it logs that, keeps the last good certificate, and tries again later.
func (r *Reloader) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if now.Sub(r.checked) < checkInterval {
		return r.current, nil
	}
	r.checked = now
	s, err := r.look()
	if err == nil && s == r.stamp {
		return r.current, nil
	}
	if err == nil {
		err = r.load(s)
	}
	if err != nil {
		r.log.Warn("certificate not reloaded", "error", err)
		return r.current, nil
	}
	r.log.Info("certificate reloaded")
	return r.current, nil
}

// Reload reads the files now, and reports whether the certificate is another one. On an error the last good certificate stays.
func (r *Reloader) Reload() (changed bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.current
	r.checked = time.Now()
	s, err := r.look()
	if err == nil {
		err = r.load(s)
	}
	if err != nil {
		r.log.Warn("certificate not reloaded", "error", err)
		return false, err
	}
	changed = !slices.EqualFunc(before.Certificate, r.current.Certificate, bytes.Equal)
	if changed {
		r.log.Info("certificate reloaded")
	}
	return changed, nil
}

// NotAfter returns when the certificate expires.
func (r *Reloader) NotAfter() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.current.Leaf == nil {
		return time.Time{}
	}
	return r.current.Leaf.NotAfter
}

func (r *Reloader) look() (stamp, error) {
	cert, err := stampOf(r.certFile)
	if err != nil {
		return stamp{}, err
	}
	key, err := stampOf(r.keyFile)
	return stamp{cert, key}, err
}

func stampOf(file string) (fileStamp, error) {
	info, err := os.Stat(file)
	if err != nil {
		return fileStamp{}, fmt.Errorf("certs: %w", err)
	}
	return fileStamp{info.ModTime(), info.Size()}, nil
}

// load reads the files, which had the stamp s. The stamp is from before the read, so a change during the read is detected the
// next time.
func (r *Reloader) load(s stamp) error {
	pair, err := tls.LoadX509KeyPair(r.certFile, r.keyFile)
	if err != nil {
		return fmt.Errorf("certs: %s: %w", r.certFile, err)
	}
	r.current, r.stamp = &pair, s
	return nil
}
