package webhook

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/retryafter"
)

// maxPause bounds the pause that a receiver may ask for.
const maxPause = time.Hour

// judge returns nil if the receiver has accepted the event at p. docs/sinks/webhook.md has the table.
func judge(name string, p sinks.Position, answer *http.Response, now time.Time) error {
	code := answer.StatusCode
	err := fmt.Errorf("%s answers %d %s", name, code, http.StatusText(code))
	switch {
	case code >= 200 && code < 300:
		return nil
	case code >= 300 && code < 400:
		return fmt.Errorf("%w%s; redirects are not followed: correct webhook.url", err, redirectedTo(answer))
	case code == http.StatusBadRequest, code == http.StatusRequestEntityTooLarge, code == http.StatusUnprocessableEntity:
		return sinks.Permanent(fmt.Errorf("event at %d: %w", p, err))
	case code == http.StatusGone:
		return fmt.Errorf("%w: %w", sinks.ErrDisabled, err)
	case code == http.StatusTooManyRequests, code == http.StatusServiceUnavailable:
		if pause := retryafter.Parse(answer.Header.Get("Retry-After"), now, maxPause); pause > 0 {
			return &sinks.RetryAfterError{After: pause, Err: err}
		}
	}
	return err
}

// redirectedTo returns the host of a redirect. The rest of its URL may be a secret.
func redirectedTo(answer *http.Response) string {
	to, err := url.Parse(answer.Header.Get("Location"))
	if err != nil || to.Hostname() == "" || len(to.Hostname()) > 253 {
		return ""
	}
	return fmt.Sprintf(", a redirect to %q", to.Hostname())
}

// connectionError is the error of a request without an answer. Its text has no part of the URL but the host, and nothing that the
// receiver sent.
type connectionError struct {
	name    string
	timeout time.Duration
	err     error
}

func (e *connectionError) Unwrap() error { return e.err }

func (e *connectionError) Error() string { return e.name + ": " + e.reason() }

func (e *connectionError) reason() string {
	if errors.Is(e.err, context.DeadlineExceeded) {
		return fmt.Sprintf("no answer within %s", e.timeout)
	}
	for _, is := range []func(error) bool{
		isA[*net.OpError], isA[*net.DNSError], isA[*tls.CertificateVerificationError], isA[tls.RecordHeaderError], isA[tls.AlertError],
		isA[x509.HostnameError], isA[x509.UnknownAuthorityError], isA[x509.CertificateInvalidError], isA[net.Error],
		func(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) },
	} {
		if is(e.err) {
			return fmt.Sprintf("no answer: %.300s", e.err.Error())
		}
	}
	return "the connection broke, or the answer is not valid HTTP"
}

func isA[E error](err error) bool {
	_, is := errors.AsType[E](err)
	return is
}
