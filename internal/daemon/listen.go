package daemon

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/webhook-bridge/bridge/internal/certs"
	"github.com/webhook-bridge/bridge/internal/config"
)

// Bounds of a connection to the operator's listeners, whose requests and answers are small.
const (
	readHeaderTimeout = 10 * time.Second
	readTimeout       = 30 * time.Second
	writeTimeout      = time.Minute
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 32 << 10
)

// listen opens one listener, with TLS if it is configured, and logs its address.
func listen(ctx context.Context, log *slog.Logger, name string, l config.Listener) (net.Listener, *tls.Config, error) {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", l.Addr)
	if err != nil {
		return nil, nil, fmt.Errorf("listen %s: %w", name, err)
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
	log.Info("listening", "listener", name, "addr", listener.Addr().String(), "tls", true)
	return listener, &tls.Config{GetCertificate: reloader.GetCertificate, MinVersion: tls.VersionTLS12}, nil
}

// httpServer returns a server for one of the operator's listeners.
func httpServer(h http.Handler, t *tls.Config, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		TLSConfig:         t,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}
