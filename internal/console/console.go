package console

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"time"

	"golang.org/x/time/rate"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/internal/history"
)

// Path is where the console is: [Console] serves all that begins with it.
const Path = "/console/"

// Operators admits operators.
type Operators interface {
	// Open reports whether callers need no token.
	Open() bool
	// Admit returns the context of a call with the identity of the operator whose token this is, for the services, and the operator's
	// name, which may be empty. If operators need no token, the token does not matter. Its time does not depend on the tokens.
	Admit(ctx context.Context, token string) (_ context.Context, name string, ok bool)
}

// Source is a configured source.
type Source struct {
	Name, Connector string
	// Events are the vendor's names of the events that the connector models, in order.
	Events []string
}

// Config has the parts and settings of a [Console].
type Config struct {
	// Admin is the operator's service, and Streams the service of subscriptions and groups. They are called in process.
	Admin   adminv1.AdminServiceServer
	Streams streamv1.EventStreamServiceServer
	// Operators admits the callers.
	Operators Operators
	// History has the last hour of the metrics.
	History *history.Recorder
	// Sources returns the configured sources, in the file's order.
	Sources func() []Source
	// Secure says that the listener has TLS.
	Secure bool
	// Logger for sign-ins. nil discards.
	Logger *slog.Logger
	// Patience is how long the calls for one page may take together. 0 is ten seconds.
	Patience time.Duration
}

// Console serves the pages. It is safe for concurrent use.
type Console struct {
	admin     adminv1.AdminServiceServer
	streams   streamv1.EventStreamServiceServer
	operators Operators
	history   *history.Recorder
	sources   func() []Source
	secure    bool
	log       *slog.Logger
	refusals  rate.Sometimes // Log lines about refused sign-ins: strangers cause them.
	patience  time.Duration

	assets   *assets
	pages    *templates
	sessions *sessions
	handler  http.Handler
}

// New returns a Console. It starts nothing.
func New(c Config) (*Console, error) {
	a := newAssets()
	pages, err := parseTemplates(a)
	if err != nil {
		return nil, err
	}
	s := &Console{
		admin: c.Admin, streams: c.Streams, operators: c.Operators, history: c.History, sources: c.Sources, secure: c.Secure,
		log: cmp.Or(c.Logger, slog.New(slog.DiscardHandler)), refusals: rate.Sometimes{First: 10, Interval: time.Second}, patience: cmp.Or(c.Patience, 10*time.Second),
		assets: a, pages: pages, sessions: newSessions(),
	}
	s.handler = s.routes()
	return s, nil
}

// ServeHTTP implements [http.Handler].
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) { c.handler.ServeHTTP(w, r) }

func (c *Console) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET "+Path+"static/{name}", c.assets)
	mux.HandleFunc("GET "+Path+"sign-in", c.showSignIn)
	mux.HandleFunc("POST "+Path+"sign-in", c.signIn)
	mux.HandleFunc("POST "+Path+"sign-out", c.signOut)
	for _, p := range pages {
		mux.Handle(p.method+" "+Path+p.path, c.serve(p))
	}
	mux.Handle(Path, c.serve(missing))
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "this request comes from a page of another site", http.StatusForbidden)
	}))
	return headers(protection.Handler(mux))
}

// policy is the Content-Security-Policy of all pages.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// headers sets what all answers have.
func headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}
