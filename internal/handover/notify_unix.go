//go:build unix

package handover

import (
	"strconv"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

const (
	// ReadyState tells the service manager that the server serves, and that a reload has ended.
	ReadyState = daemon.SdNotifyReady
	// AliveState tells its watchdog that the server is alive.
	AliveState = daemon.SdNotifyWatchdog

	// watchdogPID names the process that the watchdog was set for. A successor is another one, and has the watchdog too.
	watchdogPID = "WATCHDOG_PID"
)

// Notify sends a state to the service manager, if there is one that wants it: sd_notify(3).
func Notify(state string) { _, _ = daemon.SdNotify(false, state) }

// ReloadingState tells the service manager that a reload begins now.
func ReloadingState() string { return daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec() }

// Watchdog returns within what time the service manager wants to hear [AliveState] again and again; 0 if it does not ask.
func Watchdog() time.Duration {
	d, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return 0 // no number: then no service manager has set it
	}
	return d
}

// StoppingState tells the service manager that the server shuts down, and how long that may take.
func StoppingState(within time.Duration) string {
	return daemon.SdNotifyStopping + "\nEXTEND_TIMEOUT_USEC=" + strconv.FormatInt(within.Microseconds(), 10)
}
