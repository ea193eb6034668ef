//go:build unix

package handover

import "github.com/coreos/go-systemd/v22/daemon"

// ReadyState tells the service manager that the server serves.
const ReadyState = daemon.SdNotifyReady

// Notify sends a state to the service manager, if there is one that wants it: sd_notify(3).
func Notify(state string) { _, _ = daemon.SdNotify(false, state) }
