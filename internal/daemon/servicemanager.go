package daemon

import (
	"time"

	"github.com/webhook-bridge/bridge/internal/handover"
)

// What a process tells its service manager is systemd's protocol, sd_notify(3). A server with sockets of its own is not the service: it is
// inside another program, and says nothing.

// serviceManager hears from this server, or from nobody.
type serviceManager struct{ silent bool }

func (m serviceManager) tell(state string) {
	if !m.silent {
		handover.Notify(state)
	}
}

// stopMargin is how much longer than its settings say a shutdown may take before the service manager kills the process.
const stopMargin = 5 * time.Second

// stopping tells how long the shutdown may take, so that the manager's own limit need not follow shutdown_delay and shutdown_timeout.
func (a *Server) stopping() {
	c := a.config()
	a.manager.tell(handover.StoppingState(c.ShutdownDelay + c.ShutdownTimeout + stopMargin))
}

// Alive returns nothing; it returns at all only while the server's parts answer: the journal's state can be read, so nothing waits for a lock
// that is never released. A destination or a disk that fails is no reason not to return: a restart would not mend it.
func (a *Server) Alive() { _ = a.ready.problem() }
