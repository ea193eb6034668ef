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

// maxAnswer is how much of an answer's body is read.
const maxAnswer = 64 << 10

// answer is what came of one request.
type answer struct {
	fact *fact
	// status is 0 if there was no answer; why says why.
	status int
	why    silence
	// err is why there was none.
	err  error
	took time.Duration
}

// silence is why there was no answer.
type silence uint8

const (
	answered silence = iota
	// timedOut: the vendor waited no longer.
	timedOut
	// unreachable: there was no connection, or it broke.
	unreachable
	// cutOff: the run ended.
	cutOff
)

// poster sends requests. It is safe for concurrent use.
type poster struct {
	transport http.RoundTripper
	timeout   time.Duration
	keyHeader string
}

// post sends a fact's request and waits for the answer. Its body has been read to the end, so that the connection is free.
func (p *poster) post(ctx context.Context, f *fact) answer {
	began := time.Now()
	a := answer{fact: f}
	if p.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, p.timeout, errPatience)
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
	case errors.Is(context.Cause(ctx), errPatience):
		a.why = timedOut
	case ctx.Err() != nil:
		a.why = cutOff
	default:
		a.why, a.err = unreachable, err
	}
	return a
}

// errPatience is why a request ends when the vendor's time is up.
var errPatience = errors.New("no answer in time")

// Request makes the request with which a vendor delivers a webhook. The webhook's Key, for which keyHeader is the header, if any,
// also stands in headers that are signed and that nothing else fills. The request shares the webhook's memory.
func (t *Target) Request(ctx context.Context, keyHeader string, w *Webhook, now time.Time) (*http.Request, error) {
	at, err := newRoute(t, w.Path)
	if err != nil {
		return nil, err
	}
	p := &poster{keyHeader: keyHeader}
	return p.request(ctx, &fact{webhook: *w, target: t, route: at, id: w.Key}, now), nil
}

// request makes the fact's request. The body is the fact's own, which does not change until it has been answered.
func (p *poster) request(ctx context.Context, f *fact, now time.Time) *http.Request {
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
		// A connection that was closed while it was idle is no failure: the request is sent over another.
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

// sign adds a signature, and those headers that are signed and not there yet.
func sign(r *http.Request, f *fact, now time.Time) {
	for _, name := range f.target.Scheme.SignedHeaders() {
		if r.Header.Get(name) == "" {
			r.Header.Set(name, f.id)
		}
	}
	called := r.URL
	if f.called != nil {
		called = f.called
	}
	added := f.target.Scheme.Sign(signature.Request{
		Method: r.Method, Host: called.Host, Path: called.EscapedPath(), URL: called.String(), Header: r.Header, Body: f.webhook.Body,
	}, now)
	for name, values := range added {
		r.Header[name] = values
	}
}

// route is where a fact goes.
type route struct {
	url *url.URL
	// called is the URL that is signed, if that is another one.
	called *url.URL
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
	if r.called, err = url.Parse(t.PublicURL + r.url.RequestURI()); err != nil {
		return route{}, errors.New("simulate: the public URL is no URL")
	}
	return r, nil
}
