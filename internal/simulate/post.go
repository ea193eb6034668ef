package simulate

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/webhook-bridge/bridge/internal/signature"
)

// maxAnswer limits the part of an answer's body that is read.
const maxAnswer = 64 << 10

// answer is the result of one request.
type answer struct {
	delivery *delivery
	// status is 0 if there was no answer; reason then tells the cause.
	status int
	reason noAnswer
	// err is the connection error, if reason is unreachable.
	err  error
	took time.Duration
}

// noAnswer is the reason for a missing answer.
type noAnswer uint8

const (
	answered noAnswer = iota
	// timedOut: the vendor's timeout has passed.
	timedOut
	// unreachable: there was no connection, or it broke.
	unreachable
	// cancelled: the run ended.
	cancelled
)

// poster sends requests. It is safe for concurrent use.
type poster struct {
	transport http.RoundTripper
	timeout   time.Duration
	keyHeader string
}

// post sends a request and waits for the answer. It reads the answer's body to the end, so that the connection can be used
// again.
func (p *poster) post(ctx context.Context, f *delivery) answer {
	began := time.Now()
	a := answer{delivery: f}
	if p.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, p.timeout, errTimeout)
		defer cancel()
	}
	response, err := p.transport.RoundTrip(p.request(ctx, f, began))
	if err == nil {
		_, err = io.Copy(io.Discard, io.LimitReader(response.Body, maxAnswer))
		_ = response.Body.Close()
	}
	a.took = time.Since(began)
	switch {
	case err == nil:
		a.status = response.StatusCode
	case errors.Is(context.Cause(ctx), errTimeout):
		a.reason = timedOut
	case ctx.Err() != nil:
		a.reason = cancelled
	default:
		a.reason, a.err = unreachable, err
	}
	return a
}

// errTimeout is the cause of a request's end after the vendor's timeout.
var errTimeout = errors.New("no answer in time")

// Request returns the request with which a vendor delivers a webhook. The webhook's Key goes into keyHeader, if there is one,
// and into signed headers that have no other value. The request shares the webhook's memory.
func (t *Target) Request(ctx context.Context, keyHeader string, w *Webhook, now time.Time) (*http.Request, error) {
	at, err := newRoute(t, w.Path)
	if err != nil {
		return nil, err
	}
	p := &poster{keyHeader: keyHeader}
	return p.request(ctx, &delivery{webhook: *w, target: t, route: at, id: w.Key}, now), nil
}

// request returns a delivery's request. The body belongs to the delivery, which does not change until the answer.
func (p *poster) request(ctx context.Context, f *delivery, now time.Time) *http.Request {
	r := &http.Request{
		Method:        http.MethodPost,
		URL:           f.url,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        make(http.Header, len(f.webhook.Header)+len(f.target.Header)+4),
		Body:          io.NopCloser(bytes.NewReader(f.webhook.Body)),
		ContentLength: int64(len(f.webhook.Body)),
		Host:          f.url.Host,
		// If an idle connection was closed, that is no failure: the request is sent over another one.
		GetBody: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(f.webhook.Body)), nil },
	}
	r.Header["User-Agent"] = []string{"bridge"}
	for name, values := range f.webhook.Header {
		r.Header[name] = values
	}
	for name, values := range f.target.Header {
		r.Header[name] = values
	}
	if p.keyHeader != "" && f.webhook.Key != "" {
		r.Header.Set(p.keyHeader, f.webhook.Key)
	}
	if f.target.Scheme != nil {
		sign(r, f, now)
	}
	return r.WithContext(ctx)
}

// sign adds a signature, and the signed headers that are still missing.
func sign(r *http.Request, f *delivery, now time.Time) {
	for _, name := range f.target.Scheme.SignedHeaders() {
		if r.Header.Get(name) == "" {
			r.Header.Set(name, f.id)
		}
	}
	signed := r.URL
	if f.signedURL != nil {
		signed = f.signedURL
	}
	added := f.target.Scheme.Sign(signature.Request{
		Method: r.Method, Host: signed.Host, Path: signed.EscapedPath(), URL: signed.String(), Header: r.Header, Body: f.webhook.Body,
	}, now)
	for name, values := range added {
		r.Header[name] = values
	}
}

// route has the URLs of a delivery.
type route struct {
	url *url.URL
	// signedURL is the URL that is signed, if it differs from url.
	signedURL *url.URL
}

// newRoute adds an event's name to a target's URL.
func newRoute(t *Target, event string) (route, error) {
	r := route{url: t.URL}
	if event != "" {
		r.url = t.URL.JoinPath(url.PathEscape(event))
	}
	if t.PublicURL == "" {
		return r, nil
	}
	var err error
	if r.signedURL, err = url.Parse(t.PublicURL + r.url.RequestURI()); err != nil {
		return route{}, errors.New("simulate: the public URL is no URL")
	}
	return r, nil
}
