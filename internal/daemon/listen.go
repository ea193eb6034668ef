package daemon

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/webhook-bridge/bridge/internal/certs"
	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/internal/handover"
)

// Bounds of a connection to the operator's listeners, whose requests and answers are small.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second
	writeTimeout      = time.Minute
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 32 << 10
	maxRequestBytes   = 256 << 10
)

// Listeners are the names of the listeners, the vendors' first.
var Listeners = []string{"webhooks", "ops", "grpc", "admin"}

// listen opens one listener, with TLS if it is configured, and logs its address. An inherited socket is used whatever address is configured.
func listen(
	ctx context.Context, log *slog.Logger, name string, l config.Listener, sockets *handover.Sockets, reloads *reloads,
) (net.Listener, *tls.Config, error) {
	listener, inherited, err := sockets.Listen(ctx, name, l.Addr)
	if err != nil {
		return nil, nil, fmt.Errorf("listen %s: %w", name, err)
	}
	if inherited && !samePort(l.Addr, listener.Addr()) {
		log.Warn("the inherited socket has another address than the configuration; stop and start the program to change it",
			"listener", name, "addr", listener.Addr().String(), "configured", l.Addr)
	}
	if l.TLS == nil {
		log.Info("listening", "listener", name, "addr", listener.Addr().String(), "tls", false)
		return listener, nil, nil
	}
	reloader, err := certs.New(l.TLS.CertFile, l.TLS.KeyFile, log.With("listener", name))
	if err != nil {
		_ = listener.Close()
		return nil, nil, fmt.Errorf("listen %s: %w", name, err)
	}
	reloads.certificates[name] = reloader
	log.Info("listening", "listener", name, "addr", listener.Addr().String(), "tls", true)
	return listener, &tls.Config{GetCertificate: reloader.GetCertificate, MinVersion: tls.VersionTLS12}, nil
}

// samePort reports whether a listener has the port of the configured address, where that names one.
func samePort(configured string, addr net.Addr) bool {
	_, want, err := net.SplitHostPort(configured)
	_, got, _ := net.SplitHostPort(addr.String())
	return err != nil || want == "0" || want == got
}

// httpServer returns a server for one of the operator's listeners.
func httpServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           http.MaxBytesHandler(h, maxRequestBytes),
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          debugLog(log),
	}
}

// debugLog is for a server's complaints about connections that break off.
func debugLog(l *slog.Logger) *log.Logger { return slog.NewLogLogger(l.Handler(), slog.LevelDebug) }

// connectionLimits returns how many connections each listener may have open at once. Where the configuration does not say it, they
// share half of the process's descriptors. The other half is left to the journal and the sinks.
func connectionLimits(l config.Listen, descriptors int) map[string]int {
	share := descriptors / 2
	limit := func(configured, part, most int) int { return cmp.Or(configured, max(1, min(share/part, most))) }
	return map[string]int{
		"webhooks": limit(l.Webhooks.Connections, 2, 2048),
		"grpc":     limit(l.GRPC.Connections, 4, 512),
		"ops":      limit(l.Ops.Connections, 8, 128),
		"admin":    limit(l.Admin.Connections, 8, 128),
	}
}

const (
	// maxDescriptors bounds the number of descriptors that is counted with: more make no difference.
	maxDescriptors = 1 << 20
	// otherDescriptors is counted with where the system has no limit to ask for.
	otherDescriptors = 1024
)
