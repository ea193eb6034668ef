package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/webhook-bridge/bridge/internal/handover"
)

const (
	// prepareTimeout is how long a successor may take to read and check its configuration, and serveTimeout how long to open the journal.
	prepareTimeout = 30 * time.Second
	serveTimeout   = 2 * time.Minute
	// requestGrace is how long the requests in flight have to end before the journal closes. Meanwhile all others wait.
	requestGrace = 500 * time.Millisecond
	// leaveTimeout bounds how long this process passes on what comes on its old connections. An idle connection ends before.
	leaveTimeout = 3 * time.Minute
)

// ErrTakeBack means that the successor failed after it had got the journal's folder. It has ended. Open the server again, with the same
// sockets, on which requests wait.
var ErrTakeBack = errors.New("the successor failed")

// HandOver starts the program again, and hands the sockets and the journal over to it. [Server.Run] ends when the successor serves, or with
// [ErrTakeBack]. A successor that does not get that far changes nothing: the error says why. Only one hand-over runs at a time.
func (a *Server) HandOver(ctx context.Context, p handover.Program) error {
	if os.Getpid() == 1 {
		return errors.New("this is the first process of a container, which would end with it")
	}
	if !a.handing.CompareAndSwap(false, true) {
		return errors.New("a hand-over is under way")
	}
	handed := false
	defer func() { a.handing.Store(handed) }()
	ctx, cancel := context.WithTimeout(ctx, prepareTimeout)
	defer cancel()
	a.log.Info("starting a successor", "path", p.Path)
	next, err := handover.Start(ctx, p, a.sockets)
	if err != nil {
		return err
	}
	select {
	case a.successors <- next:
		handed = true
		return nil
	case <-ctx.Done(): // The server is shutting down.
		next.Kill()
		return ctx.Err()
	}
}

// handOver ends this server in favour of a successor that is prepared. First it ends everything but the vendors' requests. While no
// process has the journal, vendors wait, and that time is kept short.
// term is done when this process is told to end.
func (a *Server) handOver(ctx, term context.Context, next *handover.Successor, stopPushing func(context.Context)) error {
	began := time.Now()
	a.log.Info("handing over", "pid", next.PID())
	a.health.Shutdown()
	a.stopReaders(ctx, stopPushing)
	within(ctx, a.config().ShutdownTimeout/4, a.listeners["webhooks"].Calm)

	stopped := time.Now()
	webhooks := a.listeners["webhooks"]
	a.door.passTo(webhooks.Addr(), a.tls["webhooks"] != nil, a.log)
	_ = webhooks.Close() // The socket stays open, so connections wait.
	grace, cancel := context.WithTimeout(ctx, requestGrace)
	if left := a.door.empty(grace); left > 0 {
		a.log.Warn("slow requests are answered with 503", "requests", left)
	}
	cancel()
	if err := a.journal.Close(); err != nil {
		a.log.Error("journal: close", "error", err)
	}
	serving, cancel := context.WithTimeout(ctx, serveTimeout)
	defer cancel()
	err := next.LetGo(stopped)
	if err == nil {
		err = next.AwaitServing(serving)
	}
	if err != nil {
		next.Kill()
		a.log.Error("the successor failed; this process goes on", "error", err)
		go a.leave(term) // requests on old connections are passed on to the server that is opened next
		return fmt.Errorf("%w: %w", ErrTakeBack, err)
	}
	a.log.Info("handed over", "pid", next.PID(), "took", time.Since(began).String(), "waited", time.Since(stopped).String())
	a.manager.tell(fmt.Sprintf("MAINPID=%d", next.PID()))
	a.leave(term)
	return nil
}

// leave returns when the vendors have closed their connections to this process. Until then it passes their requests on. When term is
// done, it finishes the requests that it has.
func (a *Server) leave(term context.Context) {
	ctx, cancel := context.WithTimeout(term, leaveTimeout)
	defer cancel()
	stopHTTPWhenIdle(ctx, a.listeners["webhooks"].Open)
	within(context.WithoutCancel(term), a.config().ShutdownTimeout/4, func(ctx context.Context) { stopHTTP(ctx, a.webhooks) })
	a.log.Info("stopped", "relayed", a.door.relayed.Load())
}

// stopHTTPWhenIdle returns when no connection is open, or ctx is done.
func stopHTTPWhenIdle(ctx context.Context, open func() int) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for open() > 0 {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// inherited tells the metrics and the log how long vendors waited for this process, if it has a predecessor.
func (a *Server) inherited(stopped time.Time) {
	if stopped.IsZero() {
		return
	}
	waited := time.Since(stopped)
	a.waited.Set(waited.Seconds())
	waiting := a.sockets.Queued("webhooks")
	a.waiting.Set(float64(waiting))
	a.log.Info("took over", "waited", waited.String(), "connections_waiting", waiting)
}
