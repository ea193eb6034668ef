//go:build unix

package handover

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrSuccessor means that the successor ended, or did not answer in time.
var ErrSuccessor = errors.New("handover: the successor did not take over")

// Successor is the process that takes the place of this one.
type Successor struct {
	process *os.Process
	control net.Conn
	lines   *bufio.Reader
	// exited is closed when the process has ended.
	exited chan struct{}
}

// Program is what to start.
type Program struct {
	// Path of the binary, its arguments without its name, and the environment.
	Path      string
	Args, Env []string
}

// Self is this program, as it was started. Its file may have been replaced by a new version since, and so may the target of a symbolic
// link. Errors: there is no program at its place.
func Self() (Program, error) {
	path, err := exec.LookPath(os.Args[0]) // not os.Executable, which follows a file that was moved away
	return Program{Path: path, Args: os.Args[1:], Env: os.Environ()}, err
}

// Start starts a program with the sockets, and waits until it is prepared to take over. Errors: [ErrSuccessor], after which the process
// is gone; ctx's; the system's.
func Start(ctx context.Context, p Program, s *Sockets) (*Successor, error) {
	names, descriptors := s.named()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, fmt.Errorf("handover: %w", err)
	}
	unix.CloseOnExec(pair[0])
	unix.CloseOnExec(pair[1])
	files := []uintptr{0, 1, 2, uintptr(pair[1])}
	for _, fd := range descriptors {
		files = append(files, uintptr(fd))
	}
	env := append(without(without(p.Env, variable), watchdogPID), variable+"="+strings.Join(names, " "))
	// An os.File would make the sockets blocking: they are shared with the listeners.
	args := append([]string{p.Path}, p.Args...)
	pid, err := syscall.ForkExec(p.Path, args, &syscall.ProcAttr{Env: env, Files: files}) //nolint:gosec // this program
	_ = unix.Close(pair[1])
	if err != nil {
		return nil, errors.Join(fmt.Errorf("handover: start %s: %w", p.Path, err), unix.Close(pair[0]))
	}
	process, err := os.FindProcess(pid)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("handover: %w", err), unix.Close(pair[0]))
	}
	next := &Successor{process: process, exited: make(chan struct{})}
	go func() {
		_, _ = process.Wait()
		close(next.exited)
	}()
	if next.control, err = controlConn(pair[0]); err == nil {
		next.lines = bufio.NewReader(next.control)
		err = next.await(ctx, linePrepared)
	}
	if err != nil {
		next.Kill()
		return nil, err
	}
	return next, nil
}

func without(env []string, name string) (rest []string) {
	for _, e := range env {
		if !strings.HasPrefix(e, name+"=") {
			rest = append(rest, e)
		}
	}
	return rest
}

// await waits for a line of the successor.
func (s *Successor) await(ctx context.Context, want string) error {
	stop := context.AfterFunc(ctx, func() { _ = s.control.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	line, err := s.lines.ReadString('\n')
	switch got := strings.TrimSpace(line); {
	case ctx.Err() != nil:
		return fmt.Errorf("%w: it was not %s in time", ErrSuccessor, want)
	case err != nil:
		return fmt.Errorf("%w: it ended before it was %s", ErrSuccessor, want)
	case got != want:
		return fmt.Errorf("%w: it said %q", ErrSuccessor, got)
	}
	return nil
}

// PID is the successor's process id.
func (s *Successor) PID() int { return s.process.Pid }

// LetGo says that the storage is free, and since when no connection was accepted.
func (s *Successor) LetGo(stopped time.Time) error {
	_, err := fmt.Fprintf(s.control, "%s %d\n", lineGo, stopped.UnixNano())
	return err
}

// AwaitServing waits until the successor serves. Errors: [ErrSuccessor].
func (s *Successor) AwaitServing(ctx context.Context) error { return s.await(ctx, lineServing) }

// Kill ends the process, and returns when it has ended. Then it has no part in the sockets any more.
func (s *Successor) Kill() {
	_ = s.process.Kill()
	<-s.exited
	if s.control != nil {
		_ = s.control.Close()
	}
}
