package daemon

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"time"
)

// door is where vendors' requests come in. After a hand-over it passes on to the successor what still comes on the connections that this
// process has: to close an idle connection at the moment at which its vendor sends on it would lose a webhook.
type door struct {
	handler http.Handler
	// relay takes the handler's place, if set.
	relay atomic.Pointer[httputil.ReverseProxy]
	// inside is how many requests the handler has, and relayed how many were passed on.
	inside, relayed atomic.Int64
}

// ServeHTTP implements [http.Handler].
func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.inside.Add(1) // before relay is looked at: close waits for those that saw none
	if relay := d.relay.Load(); relay != nil {
		d.inside.Add(-1)
		d.relayed.Add(1)
		w.Header().Set("Connection", "close")
		relay.ServeHTTP(w, r)
		return
	}
	defer d.inside.Add(-1)
	d.handler.ServeHTTP(w, r)
}

// passTo passes all requests from now on to the process that accepts connections at addr.
func (d *door) passTo(addr net.Addr, secure bool, log *slog.Logger) {
	target := &url.URL{Scheme: "http", Host: dialable(addr)}
	if secure {
		target.Scheme = "https"
	}
	d.relay.Store(&httputil.ReverseProxy{
		Transport: &http.Transport{
			// The process at the other end is this program, at an address of this machine. Its certificate names another host.
			TLSClientConfig:    &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}, //nolint:gosec // see above
			DisableCompression: true,                                                                // the body is passed on as it is
			DisableKeepAlives:  true,                                                                // no connection may be closed at the moment at which it is used
		},
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host
			r.Out.Host = r.In.Host
			r.Out.URL.RawQuery = r.In.URL.RawQuery // as it is, also where it cannot be parsed: a signature may cover it
			for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
				if v, ok := r.In.Header[name]; ok {
					r.Out.Header[name] = v
				}
			}
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			log.Warn("a request cannot be passed on to the successor", "error", err)
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
		},
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	})
}

// dialable returns an address of this machine for the address of a listener, which may be that of all interfaces.
func dialable(addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return addr.String()
	}
	local := net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: tcp.Port}
	return local.String()
}

// empty waits until the handler has no request any more, or ctx is done.
func (d *door) empty(ctx context.Context) (left int64) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if left = d.inside.Load(); left == 0 {
			return 0
		}
		select {
		case <-ctx.Done():
			return left
		case <-tick.C:
		}
	}
}
