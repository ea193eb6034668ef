package ingress

import (
	"log/slog"
	"net/http"
	"time"
)

const (
	// readTimeout is how long a request may take to arrive, from its first byte. Large bodies get more.
	readTimeout = 20 * time.Second
	idleTimeout = 2 * time.Minute
	// maxHeader is what a vendor's headers may take, with room for a proxy's.
	maxHeader = 64 * kibi
)

// NewServer returns a server for h that bounds what a connection may cost before a handler sees it. The caller sets the
// address and TLS. Its own complaints, about connections that break off, are of debug level.
func NewServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadTimeout:       readTimeout,
		ReadHeaderTimeout: readTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		// OPTIONS * is no webhook either.
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}
