package main

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// adminHandler serves the operator's listener: the OpenAPI document of what this instance receives.
func adminHandler(document []byte, g gate, listen string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(document)
	})
	return sameOrigin(listen, g.http(mux))
}

// sameOrigin refuses what a web page elsewhere could make an operator's browser send: a request with another site's
// Origin, and, on a loopback listener, a Host that is no loopback name (DNS rebinding).
func sameOrigin(listen string, next http.Handler) http.Handler {
	loopback := isLoopback(hostOf(listen))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		origin := r.Header.Get("Origin")
		_, originHost, _ := strings.Cut(origin, "://")
		if origin != "" && originHost != r.Host || loopback && !isLoopback(hostOf(r.Host)) {
			http.Error(w, "this address is not for other sites", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func hostOf(hostport string) string {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		return strings.Trim(hostport, "[]")
	}
	return host
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}
