package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/access"
	"github.com/webhook-bridge/bridge/internal/admin"
	"github.com/webhook-bridge/bridge/internal/alerts"
	"github.com/webhook-bridge/bridge/internal/certs"
	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/internal/groups"
	"github.com/webhook-bridge/bridge/internal/handover"
	"github.com/webhook-bridge/bridge/internal/history"
	"github.com/webhook-bridge/bridge/internal/ingress"
	"github.com/webhook-bridge/bridge/internal/intake"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/listener"
	"github.com/webhook-bridge/bridge/internal/openapi"
	"github.com/webhook-bridge/bridge/internal/payload"
	"github.com/webhook-bridge/bridge/internal/subscribe"
	"github.com/webhook-bridge/bridge/internal/telemetry"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/grpcstream"
	"github.com/webhook-bridge/bridge/sinks/tail"
)

// Server is the program as a value. After Open it has its folder and its addresses; Run serves.
type Server struct {
	// current is the configuration that is in effect. [Server.reload] replaces it.
	current atomic.Pointer[inEffect]
	plugins Plugins
	log     *slog.Logger
	journal journal.Journal
	intake  *intake.Intake
	edge    *ingress.Ingress
	// document describes the webhooks that the sources receive. admits admits operators.
	document atomic.Pointer[[]byte]
	admits   atomic.Pointer[authenticator]
	payloads *payload.Store
	streams  *grpcstream.Server
	newest   *tail.Log
	// subscriptions is the service of subscribers, groups the manager of their groups, and managing its run.
	subscriptions *subscribe.Server
	groups        *groups.Manager
	managing      managing
	// operators is the operator's service. history is the last hour of the metrics, or nil without the console.
	operators *admin.Server
	history   *history.Recorder
	pushes    pushes
	ready     *readiness
	alerts    *alerts.Monitor
	metrics   *prometheus.Registry
	// counted are those of the metrics that the history reads: to read all would read the journal.
	counted   *prometheus.Registry
	reloads   *reloads
	access    *access.Authenticator
	telemetry *telemetry.Telemetry

	typed typedCalls
	// grpc and web serve one listener, which shared divides between them.
	grpc                 *grpc.Server
	web                  *http.Server
	shared               *listener.Shared
	health               *health.Server
	webhooks, ops, admin *http.Server
	listeners            map[string]*listener.Listener
	// connections counts the connections of all listeners.
	connections *listener.Metrics
	// tls has the TLS configurations of the listeners. nil is plain text.
	tls map[string]*tls.Config

	// sockets outlive the listeners. door is where vendors' requests come in.
	sockets *handover.Sockets
	door    *door
	// predecessor is the process whose place this one takes, or nil.
	predecessor Predecessor
	// successors gets the process that takes the place of this one. handing: one is started, or takes over.
	successors chan *handover.Successor
	handing    atomic.Bool
	// ownSockets: the sockets end with this server.
	ownSockets bool
	manager    serviceManager
	// stopped is since when vendors wait for this process, or the zero time.
	stopped time.Time
	// waited is how long vendors waited for this process to take over, and waiting how many of their connections did.
	waited, waiting prometheus.Gauge
}

// Predecessor is the process that started this one to take its place: a [handover.Predecessor].
type Predecessor interface {
	// Prepared waits until the journal is free, and returns since when vendors wait.
	Prepared(ctx context.Context) (stopped time.Time, err error)
	// Serving ends the predecessor.
	Serving()
}

// Place is what a server is given by the process before it, and leaves to the one after it. The zero value is a server of its own.
type Place struct {
	// Sockets are used for the listeners, and kept. nil opens sockets, which end with the server.
	Sockets *handover.Sockets
	// Predecessor still has the journal. nil is none.
	Predecessor Predecessor
}

// Open opens the journal and all listeners; nothing is accepted before [Server.Run]. If there is a predecessor, it first waits until the
// predecessor has let go of the journal. On an error nothing stays open but the place's sockets.
func Open(ctx context.Context, cfg *config.Config, plugins Plugins, place Place, log *slog.Logger) (_ *Server, err error) {
	a := &Server{
		plugins: plugins, log: log, reloads: newReloads(cfg, log),
		listeners: map[string]*listener.Listener{}, tls: map[string]*tls.Config{},
		sockets: place.Sockets, predecessor: place.Predecessor, successors: make(chan *handover.Successor),
	}
	a.setConfig(cfg)
	if cfg.IsFile() {
		a.reloads.whole = a.reload
	}
	own := a.sockets == nil
	if own {
		a.sockets = handover.NewSockets()
	}
	a.ownSockets = own
	a.manager = serviceManager{silent: own}
	a.reloads.manager = a.manager
	defer func() {
		if err != nil {
			a.release()
		}
	}()
	metrics := prometheus.NewRegistry()
	a.metrics, a.counted = metrics, prometheus.NewRegistry()
	received := twice{metrics, a.counted}
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	metrics.MustRegister(buildInfo())
	if a.telemetry, err = openTelemetry(ctx, cfg.Telemetry, metrics, log); err != nil {
		return nil, err
	}
	a.waited, a.waiting = handoverMetrics(metrics)
	if a.predecessor != nil {
		if a.stopped, err = a.predecessor.Prepared(ctx); err != nil {
			return nil, err
		}
	}
	var backup admin.Backup
	if a.journal, backup, err = openJournal(ctx, cfg, log, metrics); err != nil {
		return nil, err
	}
	a.connections = listener.NewMetrics(metrics)
	a.ready = &readiness{journal: a.journal, config: a.fingerprint}
	a.intake, err = intake.New(intake.Config{Journal: a.journal, Logger: log, Registerer: received})
	if err != nil {
		return nil, err
	}
	a.edge, err = ingress.New(ingress.Config{
		Intake:     a.intake,
		Sources:    cfg.Sources,
		Logger:     log,
		Registerer: received,
		Tracer:     a.telemetry.Tracer(),
	})
	if err != nil {
		return nil, err
	}
	streams := grpcstream.NewStreams(grpcstream.StreamsConfig{Max: cfg.Streams.MaxOpen, MaxAge: cfg.Streams.MaxAge})
	a.newest = tail.New(a.journal, cfg.Streams.Tail)
	stored := storedSources(a.intake, cfg.Sources)
	a.payloads = payload.New(a.journal, stored)
	a.streams = grpcstream.New(a.newest, grpcstream.Config{
		Streams: streams, Sources: sourceNames(cfg), Logger: log, Viewer: viewer, Masked: masked, Payloads: a.payloads,
	})
	if err := a.openGroups(metrics); err != nil {
		return nil, err
	}
	if err := a.openPushes(ctx); err != nil {
		return nil, err
	}
	metrics.MustRegister(newCollector(a.streams, a.newest), newSinkCollector(a.journal, &a.pushes))
	document, err := openapi.Document(cfg.Sources)
	if err != nil {
		return nil, err
	}
	a.document.Store(&document)
	a.alerts, err = alerts.New(alerts.Config{Sources: cfg.Sources, Gatherer: metrics, Registerer: received, Logger: log})
	if err != nil {
		return nil, err
	}
	a.operators = admin.New(admin.Config{
		Journal: a.journal, Intake: a.intake, Sources: stored, Sinks: a.pushes.forOperators(), Backup: backup, Instance: instance{a}, Logger: log,
		Token: func(ctx context.Context, token string) (sinks.Position, error) {
			return grpcstream.Place(ctx, a.journal, token)
		},
	})
	if err := a.openAccess(metrics); err != nil {
		return nil, err
	}
	if err := a.listenAll(ctx, metrics); err != nil {
		return nil, err
	}
	metrics.MustRegister(newSecretCollector(a.config, a.reloads.certificates), newConfigCollector(a))
	return a, nil
}

// openAccess makes the authenticator of the gRPC port, which follows secrets and authorities.
func (a *Server) openAccess(metrics prometheus.Registerer) (err error) {
	var authorities *certs.Authorities
	cfg := a.config()
	if file := cfg.Access.ClientCAFile; file != "" {
		if authorities, err = certs.NewAuthorities(file, a.log.With("listener", "grpc")); err != nil {
			return fmt.Errorf("access: %w", err)
		}
		a.reloads.authorities = authorities
	}
	a.access = newAccess(cfg.Access, authorities, metrics)
	a.admitOperators(cfg.Access)
	a.reloads.recheck = a.access.Recheck
	return nil
}

// admitOperators sets who may call the admin listener.
func (a *Server) admitOperators(c config.Access) {
	operators := newOperatorAuthenticator(c)
	a.admits.Store(&operators)
}

// openPushes opens the configured sinks. It registers all their cursors in the journal first, so that retention knows them.
func (a *Server) openPushes(ctx context.Context) error {
	var all []*push
	for _, s := range a.config().Sinks {
		p := a.newPush(s, a.config())
		if err := p.register(ctx); err != nil {
			return err
		}
		all = append(all, p)
	}
	a.pushes.set(all)
	if a.predecessor != nil {
		return nil // Vendors wait. The predecessor could open the sinks; here the first event opens them.
	}
	for _, p := range all {
		if err := p.openRequired(ctx); err != nil {
			return err
		}
	}
	return nil
}

// listenAll opens the listeners, the vendors' last: when webhooks arrive, all else must be open.
func (a *Server) listenAll(ctx context.Context, metrics prometheus.Gatherer) error {
	l := a.config().Listen
	serve := func(s **http.Server, made *http.Server) {
		listener.Protect(made)
		*s = made
	}
	limits := connectionLimits(l, descriptors())
	for _, x := range []struct {
		name     string
		listener config.Listener
		open     func(*tls.Config) error
	}{
		{"ops", l.Ops, func(*tls.Config) error {
			serve(&a.ops, httpServer(opsHandler(a.ready, metrics, l.Pprof), a.log))
			return nil
		}},
		{"admin", l.Admin, func(*tls.Config) error {
			pages, err := a.openConsole()
			if err != nil {
				return err
			}
			var served http.Handler
			if pages != nil {
				served = pages
			}
			h, err := adminHandler(a.operators, a.document.Load, a.admits.Load, served, l.Admin.Addr)
			serve(&a.admin, httpServer(traceRequests(a.telemetry.Tracer(), h), a.log))
			return err
		}},
		{"grpc", l.GRPC, func(t *tls.Config) error {
			return a.openGRPC(t)
		}},
		{"webhooks", l.Webhooks, func(*tls.Config) error {
			a.door = &door{handler: a.edge}
			serve(&a.webhooks, ingress.NewServer(a.door, a.log))
			return nil
		}},
	} {
		opened, tlsConfig, err := listen(ctx, a.log, x.name, x.listener, a.sockets, a.reloads)
		if err != nil {
			return err
		}
		a.listeners[x.name] = listener.New(opened, listener.Config{
			Name: x.name, Limit: limits[x.name], Log: a.log, Metrics: a.connections,
		})
		a.tls[x.name] = tlsConfig
		if err := x.open(tlsConfig); err != nil {
			return err
		}
	}
	a.ready.webhooks = a.listeners["webhooks"]
	return nil
}

// Addr returns the address that the named listener got: webhooks, ops, grpc or admin.
func (a *Server) Addr(listener string) string { return a.listeners[listener].Addr().String() }

// Run serves until ctx is done, a listener fails, or a successor takes over, then shuts down and releases everything. Errors: [ErrTakeBack].
func (a *Server) Run(ctx context.Context) error {
	term := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	a.inherited(a.stopped) // before the first connection is accepted
	a.startManaging(ctx)
	for name, s := range map[string]*http.Server{"webhooks": a.webhooks, "ops": a.ops, "admin": a.admin} {
		group.Go(func() error { return serveHTTP(name, s, a.listeners[name].HTTP(a.tls[name])) })
	}
	a.serveShared(group)
	pushing, stopPushing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopPushing()
	pushed := a.pushes.start(pushing)
	group.Go(func() error {
		select {
		case err := <-pushed: // Before ctx is done.
			return err
		case <-ctx.Done():
			return nil
		}
	})
	group.Go(func() error {
		a.runAlerts(ctx)
		return nil
	})
	group.Go(func() error {
		a.reportCounts(ctx)
		return nil
	})
	if a.history != nil {
		group.Go(func() error {
			a.history.Run(ctx)
			return nil
		})
	}
	group.Go(func() error {
		a.newest.Run(ctx)
		return nil
	})
	group.Go(func() error {
		a.reloads.run(ctx)
		return nil
	})
	a.ready.serving.Store(true)
	a.log.Info("ready", "version", Version(), "sources", len(a.config().Sources), "pid", os.Getpid(), "config", a.fingerprint())
	if a.predecessor != nil {
		a.predecessor.Serving()
	}
	a.manager.tell(handover.ReadyState)
	stopPushes := func(ctx context.Context) {
		stopPushing()
		select {
		case err := <-pushed:
			if err != nil {
				a.log.Error("sinks ended", "error", err)
			}
		case <-ctx.Done():
			a.log.Warn("a sink does not return and is left")
		}
	}
	group.Go(func() error {
		select {
		case <-ctx.Done():
			a.stopping()
			if term.Err() != nil {
				a.awaitBalancer()
			}
			return a.shutdown(context.WithoutCancel(ctx), stopPushes)
		case next := <-a.successors:
			cancel()
			return a.handOver(context.WithoutCancel(ctx), term, next, stopPushes)
		}
	})
	err := group.Wait()
	a.sendTelemetry(context.WithoutCancel(ctx))
	if a.ownSockets {
		err = errors.Join(err, a.sockets.Close())
	}
	return err
}

func serveHTTP(name string, s *http.Server, l net.Listener) error {
	// A listener is closed when a successor takes over its socket.
	if err := s.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("serve %s: %w", name, err)
	}
	return nil
}

// awaitBalancer goes on serving for a while although the program is not ready any more, so that the load balancer in front sends no
// request to a listener that is closed.
func (a *Server) awaitBalancer() {
	a.ready.serving.Store(false)
	a.health.Shutdown()
	if delay := a.config().ShutdownDelay; delay > 0 {
		a.log.Info("not ready any more; still serving", "for", delay.String())
		<-time.After(delay)
	}
}

// shutdown stops accepting, finishes what is in flight, says goodbye to streams, ends the sinks' deliveries and closes the
// journal, in this order and within the configured time. Each step has its own part of the time, so that a slow sender or a
// subscriber that does not read takes no time from the others.
func (a *Server) shutdown(ctx context.Context, stopPushing func(context.Context)) error {
	began := time.Now()
	a.log.Info("shutting down")
	a.ready.serving.Store(false)
	a.health.Shutdown()
	share := a.config().ShutdownTimeout / 4

	within(ctx, 2*share, func(ctx context.Context) {
		a.listeners["webhooks"].Drain(ctx, min(lingerIdle, share/2))
		stopHTTP(ctx, a.webhooks)
	})
	a.stopReaders(ctx, stopPushing)
	err := a.journal.Close()
	a.log.Info("stopped", "took", time.Since(began).String())
	return err
}

// stopReaders says goodbye to streams, ends the sinks' deliveries, and closes the operators' listeners.
func (a *Server) stopReaders(ctx context.Context, stopPushing func(context.Context)) {
	share := a.config().ShutdownTimeout / 4
	within(ctx, share, func(ctx context.Context) {
		var wg sync.WaitGroup
		wg.Go(func() { _ = a.report(ctx) })
		wg.Go(func() { a.stopStreams(ctx) })
		// A delivery under way has the dispatcher's grace to end. Shutdown does not wait longer for one that hangs, on a dead disk
		// for example.
		wg.Go(func() { stopPushing(ctx) })
		wg.Wait()
	})
	within(ctx, share/4, a.closeSinks)
	within(ctx, share/2, func(ctx context.Context) {
		var wg sync.WaitGroup
		for _, s := range []*http.Server{a.ops, a.admin} {
			wg.Go(func() { stopHTTP(ctx, s) })
		}
		wg.Wait()
	})
}

// closeSinks closes the sinks, or gives up when ctx is done.
func (a *Server) closeSinks(ctx context.Context) {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		a.pushes.close()
	}()
	select {
	case <-closed:
	case <-ctx.Done():
	}
}

// lingerIdle is how long a vendor's connection without a request stays open in a shutdown: a request may be on its way.
const lingerIdle = 500 * time.Millisecond

func within(ctx context.Context, d time.Duration, step func(context.Context)) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	step(ctx)
}

// stopHTTP finishes the requests in flight, and cuts off the remaining ones when ctx is done.
func stopHTTP(ctx context.Context, s *http.Server) {
	if err := s.Shutdown(ctx); err != nil {
		_ = s.Close()
	}
}

// release closes what [Open] had opened when it failed.
func (a *Server) release() {
	for _, l := range a.listeners {
		_ = l.Close()
	}
	a.pushes.close()
	if a.journal != nil {
		_ = a.journal.Close()
	}
	if a.ownSockets {
		_ = a.sockets.Close()
	}
	a.sendTelemetry(context.Background())
}

// Quarantined returns the webhooks in quarantine, the newest first, at most a hundred.
func (a *Server) Quarantined(ctx context.Context) ([]*journalv1.Webhook, error) {
	page, err := a.journal.Find(ctx, journal.Query{Quarantined: true, Backwards: true})
	return page.Webhooks, err
}
