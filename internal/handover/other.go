//go:build !unix

package handover

import (
	"context"
	"errors"
	"net"
	"os"
	"time"
)

// ErrSuccessor means that there is no successor: this system cannot pass sockets on.
var ErrSuccessor = errors.New("handover: not on this system")

// Sockets opens listeners.
type Sockets struct{}

// NewSockets returns an empty set.
func NewSockets() *Sockets { return &Sockets{} }

// Inherit returns an empty set.
func Inherit([]string) (*Sockets, *Predecessor, error) { return NewSockets(), nil, nil }

// Listen opens a listener.
func (*Sockets) Listen(ctx context.Context, _, addr string) (net.Listener, bool, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	return l, false, err
}

// Close does nothing.
func (*Sockets) Close() error { return nil }

// Predecessor does not exist on this system.
type Predecessor struct{}

// Prepared returns at once.
func (*Predecessor) Prepared(context.Context) (time.Time, error) { return time.Time{}, nil }

// Serving does nothing.
func (*Predecessor) Serving() {}

// Program is what to start.
type Program struct {
	Path      string
	Args, Env []string
}

// Self is this program.
func Self() (Program, error) {
	path, err := os.Executable()
	return Program{Path: path, Args: os.Args[1:], Env: os.Environ()}, err
}

// Successor does not exist on this system.
type Successor struct{}

// Start fails.
func Start(context.Context, Program, *Sockets) (*Successor, error) { return nil, ErrSuccessor }

// PID is 0.
func (*Successor) PID() int { return 0 }

// LetGo fails.
func (*Successor) LetGo(time.Time) error { return ErrSuccessor }

// AwaitServing fails.
func (*Successor) AwaitServing(context.Context) error { return ErrSuccessor }

// Kill does nothing.
func (*Successor) Kill() {}

// ReadyState tells the service manager that the server serves.
const ReadyState = "READY=1"

// AliveState tells its watchdog that the server is alive.
const AliveState = "WATCHDOG=1"

// ReloadingState is empty: there is no such service manager.
func ReloadingState() string { return "" }

// StoppingState is empty.
func StoppingState(time.Duration) string { return "" }

// Watchdog returns 0.
func Watchdog() time.Duration { return 0 }

// Notify does nothing.
func Notify(string) {}
