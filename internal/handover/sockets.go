//go:build unix

package handover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sys/unix"
)

const (
	// variable names the sockets that a predecessor passes on, in the order of their descriptors. The first descriptor is the control
	// socket.
	variable = "BRIDGE_HANDOVER"
	// firstPassed is the first descriptor that is passed on.
	firstPassed = 3
)

// Sockets are the listening sockets of a process, by the names of their listeners. They are safe for concurrent use.
type Sockets struct {
	mu sync.Mutex
	// descriptors are blocking or not as the listeners want them. An [os.File] would change that.
	descriptors map[string]int
}

// NewSockets returns an empty set.
func NewSockets() *Sockets { return &Sockets{descriptors: make(map[string]int)} }

// Inherit returns the sockets that this process was given, and its predecessor if it has one. names are the listeners that the program
// has. It changes the environment, so that processes that this one starts take nothing for theirs. Errors: a socket without one of these
// names.
func Inherit(names []string) (*Sockets, *Predecessor, error) {
	s := NewSockets()
	if passed, ok := os.LookupEnv(variable); ok {
		_ = os.Unsetenv(variable)
		for i, name := range strings.Fields(passed) {
			unix.CloseOnExec(firstPassed + 1 + i)
			s.descriptors[name] = firstPassed + 1 + i
		}
		unix.CloseOnExec(firstPassed)
		p, err := newPredecessor(firstPassed)
		return s, p, err
	}
	files := activation.Files(true)
	for _, f := range files {
		name := f.Name()
		if len(files) == 1 && !slices.Contains(names, name) {
			name = names[0]
		}
		if !slices.Contains(names, name) || s.descriptors[name] != 0 {
			return nil, nil, fmt.Errorf("socket %q from systemd: FileDescriptorName must be one of %s, each once",
				f.Name(), strings.Join(names, ", "))
		}
		if err := s.keep(name, f); err != nil {
			return nil, nil, fmt.Errorf("socket %s: %w", name, err)
		}
		_ = f.Close()
	}
	return s, nil, nil
}

// Listen returns a listener for the socket with this name. If there is none, it opens one at addr, and keeps it. inherited says that it was
// there; then addr was not looked at.
func (s *Sockets) Listen(ctx context.Context, name, addr string) (l net.Listener, inherited bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if fd, ok := s.descriptors[name]; ok {
		copied, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return nil, false, fmt.Errorf("inherited socket: %w", err)
		}
		f := os.NewFile(uintptr(copied), name)
		defer func() { _ = f.Close() }()
		l, err := net.FileListener(f)
		if err != nil {
			return nil, false, fmt.Errorf("inherited socket: %w", err)
		}
		return l, true, nil
	}
	var lc net.ListenConfig
	if l, err = lc.Listen(ctx, "tcp", addr); err != nil {
		return nil, false, err
	}
	if err := s.keep(name, l); err != nil {
		return nil, false, errors.Join(err, l.Close())
	}
	return l, false, nil
}

// keep keeps a copy of a socket's descriptor. The caller holds mu, or is the only one that knows s.
func (s *Sockets) keep(name string, from any) error {
	conn, ok := from.(interface {
		SyscallConn() (syscall.RawConn, error)
	})
	if !ok {
		return fmt.Errorf("%T has no descriptor", from)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var copied int
	var failed error
	if err := raw.Control(func(fd uintptr) { copied, failed = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return err
	}
	if failed == nil {
		s.descriptors[name] = copied
	}
	return failed
}

// named returns the sockets in order of their names.
func (s *Sockets) named() (names []string, descriptors []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.descriptors {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		descriptors = append(descriptors, s.descriptors[name])
	}
	return names, descriptors
}

// Close closes the sockets. Connections that wait are refused then, unless another process has the sockets.
func (s *Sockets) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	for _, fd := range s.descriptors {
		err = errors.Join(err, unix.Close(fd))
	}
	clear(s.descriptors)
	return err
}
