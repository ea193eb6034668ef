//go:build unix

package cli

import (
	"os"
	"os/signal"
	"syscall"
)

// notifyHandover sends the signal that asks for a hand-over to a channel.
func notifyHandover(c chan<- os.Signal) { signal.Notify(c, syscall.SIGUSR2) }
