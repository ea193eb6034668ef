package webhook

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/textproto"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/clienttls"
	"github.com/webhook-bridge/bridge/sinks/connections"
)

// Config configures a sink. URL has no default.
type Config struct {
	Credentials
	// Current, if set, returns the credentials for the next Deliver, which may have changed since.
	Current func() Credentials
	// Format of the bodies. "" means FormatJSON.
	Format Format
	// Timeout is the time for a request, with its connection and the headers of the answer. 0 means 30 seconds.
	Timeout time.Duration
	// ConnectTimeout is the time for a connection, and again for its TLS. 0 means 10 seconds.
	ConnectTimeout time.Duration
	// Allow has networks and addresses that are not public, to which the sink may connect all the same.
	Allow []string
	// AllowHTTP allows a URL with http.
	AllowHTTP bool
	// TLS of the destination. Nil trusts the system's authorities.
	TLS *clienttls.Files
}

// Credentials are the settings that may be secrets. Their String shows none of them.
type Credentials struct {
	// URL is the destination's.
	URL string
	// Secrets are keys in the notation of Standard Webhooks. All of them sign. Without any, requests are not signed.
	Secrets []string
	// Headers are sent with each request.
	Headers []Header
	// Proxy is the URL of a proxy. "" means none: the environment is not read.
	Proxy string
}

// Header is a header of requests.
type Header struct{ Name, Value string }

// String shows nothing.
func (Credentials) String() string { return "[redacted]" }

// GoString shows nothing.
func (Credentials) GoString() string { return "webhook.Credentials{[redacted]}" }

// Format says what the body of a request is. In every format, the headers have the attributes of CloudEvents.
type Format string

const (
	// FormatJSON is the whole event, a bridge.event.v1.Event, in protobuf's JSON mapping.
	FormatJSON Format = "json"
	// FormatCloudEvents is a CloudEvent in structured mode.
	FormatCloudEvents Format = "cloudevents"
	// FormatCloudEventsBinary is a CloudEvent in binary mode: the event's data alone, such as an order.
	FormatCloudEventsBinary Format = "cloudevents_binary"
)

// Check returns all problems of the configuration, each a [*sinks.KeyError]. It reads the files that the configuration names, and
// connects to nothing.
func (c Config) Check() []error {
	_, problems := c.resolve()
	return problems
}

// Unreachable returns the key and the host that the sink connects to, which is a proxy if there is one, and why it refuses all of the host's
// addresses. The error is nil if it may connect to one of them, or if look finds none. Only for a configuration that [Config.Check] accepts.
func (c Config) Unreachable(look func(host string) []netip.Addr) (key string, err error) {
	key, text := "url", c.URL
	if c.Proxy != "" {
		key, text = "proxy", c.Proxy
	}
	u, err := url.Parse(text)
	if err != nil {
		return key, nil //nolint:nilerr // Check reports it.
	}
	g, _ := newGuard(c.Allow)
	for _, addr := range look(u.Hostname()) {
		if err = g.check(addr); err == nil {
			return key, nil
		}
	}
	return key, err
}

// target is where requests go, and what authenticates them.
type target struct {
	url *url.URL
	// name is the part of the URL that may be printed.
	name    string
	keys    []key
	headers []Header
	proxy   *url.URL // Nil without one.
}

// resolved is a Config, converted for the packages that use it.
type resolved struct {
	current   func() (target, error)
	transport *http.Transport
	open      *connections.Set
	timeout   time.Duration
}

// resolver collects problems.
type resolver struct{ problems []error }

// addf adds a problem. A second one of the same key is added to the first: reports have one line for each key.
func (r *resolver) addf(key, format string, args ...any) {
	err := fmt.Errorf(format, args...)
	for _, problem := range r.problems {
		if at, ok := errors.AsType[*sinks.KeyError](problem); ok && at.Key == key {
			at.Err = fmt.Errorf("%w; and %w", at.Err, err)
			return
		}
	}
	r.problems = append(r.problems, &sinks.KeyError{Key: key, Err: err})
}

func (c Config) resolve() (resolved, []error) {
	r := &resolver{}
	first := r.target(c, c.Credentials)
	switch c.Format {
	case "", FormatJSON, FormatCloudEvents, FormatCloudEventsBinary:
	default:
		r.addf("format", "%q is none of json, cloudevents, cloudevents_binary", c.Format)
	}
	out := resolved{
		timeout: r.duration("timeout", c.Timeout, 30*time.Second),
		current: func() (target, error) { return first, nil },
	}
	out.transport, out.open = r.transport(c, first)
	if first.proxy != nil {
		out.transport.Proxy = func(*http.Request) (*url.URL, error) {
			now, err := out.current()
			return now.proxy, err
		}
	}
	if c.Current != nil {
		out.current = func() (target, error) {
			r := &resolver{}
			t := r.target(c, c.Current())
			return t, errors.Join(r.problems...)
		}
	}
	return out, r.problems
}

func (r *resolver) target(c Config, from Credentials) target {
	t := target{headers: from.Headers, url: r.url("url", from.URL)}
	switch t.name = t.url.Scheme + "://" + t.url.Host; t.url.Scheme {
	case "", "https":
	case "http":
		if !c.AllowHTTP {
			r.addf("url", "sends events unencrypted; use https, or set allow_http")
		}
	default:
		r.addf("url", "is not a URL with https")
	}
	for i, text := range from.Secrets {
		k, err := parseKey(text)
		if err != nil {
			r.addf(fmt.Sprintf("secrets[%d]", i), "%w", err)
		}
		t.keys = append(t.keys, k)
	}
	for i, h := range from.Headers {
		at := fmt.Sprintf("headers[%d]", i)
		if !httpguts.ValidHeaderFieldName(h.Name) {
			r.addf(at+".name", "is not the name of a header")
		} else if reserved(h.Name) {
			r.addf(at+".name", "%s is set by the sink or by HTTP itself", h.Name)
		}
		if !httpguts.ValidHeaderFieldValue(h.Value) {
			r.addf(at+".value", "has characters that a header cannot have")
		}
	}
	if from.Proxy != "" {
		t.proxy = r.url("proxy", from.Proxy)
		if t.proxy.Scheme != "http" && t.proxy.Scheme != "https" && t.proxy.Host != "" {
			r.addf("proxy", "is not a URL with http or https")
		}
	}
	return t
}

// url reads a URL whose text may be a secret. It returns an empty one if it cannot be used.
func (r *resolver) url(key, text string) *url.URL {
	u, err := url.Parse(text)
	switch {
	case text == "":
		r.addf(key, "is missing")
	case err != nil, u.Host == "", u.Hostname() == "":
		r.addf(key, "is not a URL, such as https://example.com/hook")
	case u.User != nil && key == "url":
		r.addf(key, "has a user; use headers")
	case u.Fragment != "":
		r.addf(key, "has a fragment (#), which is never sent")
	default:
		return u
	}
	return &url.URL{}
}

// reserved reports whether a header belongs to the sink, or to a single connection.
func reserved(name string) bool {
	name = textproto.CanonicalMIMEHeaderKey(name)
	switch name {
	case "Host", "Content-Length", "Content-Type", "Content-Encoding", "Transfer-Encoding", "Connection", "Keep-Alive", "Te", "Trailer",
		"Upgrade", "Expect", "Idempotency-Key":
		return true
	}
	return strings.HasPrefix(name, "Webhook-") || strings.HasPrefix(name, "Ce-") || strings.HasPrefix(name, "Proxy-")
}

func (r *resolver) duration(key string, d, fallback time.Duration) time.Duration {
	if d < 0 {
		r.addf(key, "is negative")
	}
	if d == 0 {
		return fallback
	}
	return d
}

func (r *resolver) transport(c Config, first target) (*http.Transport, *connections.Set) {
	g, problems := newGuard(c.Allow)
	r.problems = append(r.problems, problems...)
	connect := r.duration("connect_timeout", c.ConnectTimeout, 10*time.Second)
	open := connections.New(&net.Dialer{Timeout: connect, Control: g.control})
	t := &http.Transport{
		DialContext:         open.Dial,
		TLSClientConfig:     r.tls(c.TLS),
		TLSHandshakeTimeout: connect,
		ForceAttemptHTTP2:   true,
		DisableCompression:  true,
		// The sink has one request under way. A second connection may replace one that is being closed.
		MaxConnsPerHost:        2,
		MaxIdleConnsPerHost:    1,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: drainBytes,
	}
	if first.proxy != nil {
		return t, open
	}
	if addr, err := netip.ParseAddr(first.url.Hostname()); err == nil {
		if err := g.check(addr); err != nil {
			r.addf("url", "%w", err)
		}
	}
	return t, open
}

func (r *resolver) tls(files *clienttls.Files) *tls.Config {
	if files == nil {
		return &tls.Config{MinVersion: tls.VersionTLS12}
	}
	config, problems := files.Config("tls")
	r.problems = append(r.problems, problems...)
	return config
}
