package ingress

import (
	"log/slog"
	"net/http"
	"time"
)

const (
	// headerTimeout is how long a header may take to arrive: nothing is verified yet.
	headerTimeout = 10 * time.Second
	// readTimeout is how long a request may take to arrive, from its first byte. A large body gets more as it arrives: see arrival.
	readTimeout = 20 * time.Second
	idleTimeout = 2 * time.Minute
	// writeTimeout is how long a request may take from the end of its header until its answer is written: what its body and its
	// commit may take, and a while for a sender that is slow to read. Large bodies get more. Without it, one that never reads
	// would hold a connection for ever.
	writeTimeout = readTimeout + reserveTimeout + commitTimeout + 15*time.Second
	// maxHeader limits the headers of a request, with room for a proxy's.
	maxHeader = 32 * kibi
)

// NewServer returns a server for h that bounds what a connection may cost before a handler sees it. The caller sets the
// address and TLS. Its own complaints, about connections that break off, are of debug level.
func NewServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadTimeout:       readTimeout,
		ReadHeaderTimeout: headerTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		// OPTIONS * is no webhook either.
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}
