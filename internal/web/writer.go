package web

import (
	"net/http"
	"sync"
	"time"
)

// writer bounds how long a client may take to read what was written. Between two messages there is no deadline.
type writer struct {
	http.ResponseWriter
	controller *http.ResponseController

	mu sync.Mutex
	// armed: there is a deadline. expired: it has passed, by order. Guarded by mu.
	armed, expired bool
}

// maxPart is how much a client must read in the time of a write.
const maxPart = 64 << 10

// Write writes a part of a message. A large one has more time.
func (w *writer) Write(p []byte) (n int, err error) {
	w.arm(true)
	for len(p) > maxPart {
		m, err := w.ResponseWriter.Write(p[:maxPart])
		n += m
		if err != nil {
			return n, err
		}
		p = p[maxPart:]
		w.renew()
	}
	m, err := w.ResponseWriter.Write(p)
	return n + m, err
}

// Flush ends a message.
func (w *writer) Flush() { _ = w.FlushError() }

// FlushError ends a message.
func (w *writer) FlushError() error {
	w.arm(true)
	err := w.controller.Flush()
	w.arm(false)
	return err
}

// Unwrap is for [http.ResponseController].
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// renew gives a write its time again.
func (w *writer) renew() {
	w.mu.Lock()
	w.armed = false
	w.mu.Unlock()
	w.arm(true)
}

func (w *writer) arm(armed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.expired || armed == w.armed {
		return
	}
	var deadline time.Time
	if w.armed = armed; armed {
		deadline = time.Now().Add(writeTimeout)
	}
	_ = w.controller.SetWriteDeadline(deadline)
}

// expire ends the write that waits, and all later ones.
func (w *writer) expire() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.expired = true
	_ = w.controller.SetWriteDeadline(time.Now().Add(-time.Second))
}
