package web

import (
	"net/http"
	"slices"
	"strings"

	"github.com/webhook-bridge/bridge/internal/config"
)

// guard keeps foreign web pages out: a page can make its visitor's browser send a request to an address that only the visitor reaches.
type guard struct {
	origins func() []string
	local   func() bool
}

var (
	// allowedHeaders are the headers that a page of another origin may send.
	allowedHeaders = strings.Join([]string{
		"Authorization", "Content-Type", "Last-Event-ID", "Connect-Protocol-Version", "Connect-Timeout-Ms", "Connect-Accept-Encoding",
		"Connect-Content-Encoding", "Grpc-Timeout", "X-Grpc-Web", "X-User-Agent",
	}, ", ")
	// exposedHeaders are the headers that it may read.
	exposedHeaders = strings.Join([]string{
		"Grpc-Status", "Grpc-Message", "Grpc-Status-Details-Bin", "Connect-Content-Encoding", "Retry-After", "WWW-Authenticate",
		"Bridge-Unknown-Source-Bin",
	}, ", ")
)

// answers answers the requests that go no further: those of foreign pages, and those by which a browser asks what a page may send.
func (g *guard) answers(w http.ResponseWriter, r *http.Request) bool {
	origin := r.Header.Get("Origin")
	origins := g.origins()
	allowed := origin != "" && (slices.Contains(origins, origin) || slices.Contains(origins, "*"))
	if len(origins) > 0 {
		w.Header().Add("Vary", "Origin")
	}
	if !allowed && isForeign(r, origin) {
		http.Error(w, "this address is not for pages of other sites: see access.origins", http.StatusForbidden)
		return true
	}
	if g.local() && !config.IsLoopback(r.Host) {
		http.Error(w, "the Host header names another host: a loopback address answers only to localhost, 127.0.0.1 and [::1]", http.StatusForbidden)
		return true
	}
	if allowed {
		allow(w.Header(), origin)
	}
	if r.Method == http.MethodOptions {
		w.WriteHeader(http.StatusNoContent)
		return true
	}
	return false
}

// isForeign reports whether a page of another site makes the request. A browser says so by itself, and a page cannot change that.
func isForeign(r *http.Request, origin string) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin", "none":
		return false
	case "":
		_, host, _ := strings.Cut(origin, "://")
		return origin != "" && host != r.Host
	}
	return true
}

// allow tells a browser what a page of an origin may do. It allows no cookies and no certificates: a page sends its token by itself.
func allow(h http.Header, origin string) {
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Allow-Methods", "GET, POST")
	h.Set("Access-Control-Allow-Headers", allowedHeaders)
	h.Set("Access-Control-Expose-Headers", exposedHeaders)
	h.Set("Access-Control-Max-Age", "7200")
}
