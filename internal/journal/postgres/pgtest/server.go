package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// startWithin limits the time until a server answers.
const startWithin = time.Minute

// programs returns the folder of the server's programs.
func programs() (string, error) {
	if dir := os.Getenv("BRIDGE_TEST_POSTGRES_BIN"); dir != "" {
		return dir, nil
	}
	all, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil {
		return "", err
	}
	if len(all) > 0 {
		newest := slices.MaxFunc(all, func(a, b string) int { return release(a) - release(b) })
		return filepath.Dir(newest), nil
	}
	path, err := exec.LookPath("postgres")
	if err != nil {
		return "", fmt.Errorf("pgtest: PostgreSQL is not installed, and BRIDGE_TEST_POSTGRES_BIN is not set: %w", err)
	}
	return filepath.Dir(path), nil
}

// release is the main version in a path such as /usr/lib/postgresql/15/bin/postgres.
func release(path string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path)))) // another name is the oldest
	return n
}

// account is the user whom servers run as: nil is the test's own.
func account() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil //nolint:nilnil // no change of user
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("pgtest: a server does not run as root: %w", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

// installation has the programs, and a folder for servers.
type installation struct {
	bin, dir string
	as       *syscall.Credential
}

func newInstallation() (*installation, error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	as, err := account()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(storage(), "bridge-postgres-")
	if err != nil {
		return nil, err
	}
	i := &installation{bin: bin, dir: dir, as: as}
	return i, i.own(dir)
}

// memory is the folder of a file system in memory, and needed the free space that makes it usable, in bytes.
const (
	memory = "/dev/shm"
	needed = 4 << 30
)

// storage is the folder for data. In memory a sync takes no time. A test kills processes and not machines, so nothing depends on a disk.
// A measurement does: BRIDGE_TEST_POSTGRES_DIR is a folder on the disk.
func storage() string {
	if dir := os.Getenv("BRIDGE_TEST_POSTGRES_DIR"); dir != "" {
		return dir
	}
	var s syscall.Statfs_t
	if err := syscall.Statfs(memory, &s); err != nil || s.Bavail*uint64(s.Bsize) < needed {
		return ""
	}
	return memory
}

// own gives a file to the user whom servers run as.
func (i *installation) own(path string) error {
	if i.as == nil {
		return nil
	}
	return os.Chown(path, int(i.as.Uid), int(i.as.Gid))
}

func (i *installation) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, filepath.Join(i.bin, program), args...) //nolint:gosec // the server's own programs
	c.Dir = i.dir
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
	c.SysProcAttr = &syscall.SysProcAttr{Credential: i.as}
	return c
}

// run runs a program to its end.
func (i *installation) run(ctx context.Context, program string, args ...string) error {
	if out, err := i.command(ctx, program, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("pgtest: %s: %w\n%s", program, err, out)
	}
	return nil
}

// Server is one PostgreSQL server.
type Server struct {
	// Name is the server's name as a standby.
	Name string

	cluster *Cluster
	in      *installation
	data    string
	port    int
	// exited is closed when the last started process has ended.
	process *os.Process
	exited  chan struct{}
	frozen  []int
}

func (s *Server) logFile() string { return s.data + ".log" }

// Log is what the server logged.
func (s *Server) Log() string {
	b, _ := os.ReadFile(s.logFile()) // none is none
	return string(b)
}

// Addr is where the server listens.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// freePort returns a port that nobody listens on.
func freePort() (int, error) {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil //nolint:forcetypeassert // a TCP listener
}

// start starts the server's process, and returns when it accepts connections.
func (s *Server) start() error {
	out, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	c := s.in.command(context.Background(), "postgres", "-D", s.data, "-p", strconv.Itoa(s.port), "-k", s.in.dir)
	c.Stdout, c.Stderr = out, out
	c.SysProcAttr.Pdeathsig = syscall.SIGQUIT // shuts down at once when the tests are killed
	started, exited := make(chan error, 1), make(chan struct{})
	go func() {
		runtime.LockOSThread() // the signal comes when the thread that started the process ends
		defer runtime.UnlockOSThread()
		err := c.Start()
		started <- err
		if err == nil {
			_ = c.Wait() // a server that was killed says so
		}
		close(exited)
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("pgtest: %w", err)
	}
	s.process, s.exited = c.Process, exited
	return s.awaitReady()
}

// awaitReady waits until the server says that it accepts connections, in the last line of its file.
func (s *Server) awaitReady() error {
	limit := time.After(startWithin)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-s.exited:
			return fmt.Errorf("pgtest: server %s ended:\n%s", s.Name, s.Log())
		case <-limit:
			return fmt.Errorf("pgtest: server %s does not answer:\n%s", s.Name, s.Log())
		case <-tick.C:
		}
		b, err := os.ReadFile(filepath.Join(s.data, "postmaster.pid"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		lines := strings.Split(string(b), "\n")
		if len(lines) > 7 && lines[0] == strconv.Itoa(s.process.Pid) && strings.TrimSpace(lines[7]) == "ready" {
			return nil
		}
	}
}

func (s *Server) running() bool {
	if s.process == nil {
		return false
	}
	select {
	case <-s.exited:
		return false
	default:
		return true
	}
}

// stop ends the server with a signal: SIGINT disconnects its clients, SIGQUIT is its own crash.
func (s *Server) stop(signal syscall.Signal) error {
	if !s.running() {
		return nil
	}
	s.endFrozen()
	if err := s.process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-s.exited:
		return nil
	case <-time.After(startWithin):
		return errors.Join(fmt.Errorf("pgtest: server %s does not end", s.Name), s.kill())
	}
}

// kill ends all processes of the server at once, by SIGKILL.
func (s *Server) kill() error {
	if !s.running() {
		return nil
	}
	// A postmaster that is stopped starts no process.
	_ = s.process.Signal(syscall.SIGSTOP)
	all, err := s.children()
	_ = s.process.Kill()
	for _, p := range all {
		_ = syscall.Kill(p.pid, syscall.SIGKILL)
	}
	<-s.exited
	for _, p := range all {
		err = errors.Join(err, p.awaitEnd())
	}
	s.frozen = nil
	return err
}

// child is a process of a server.
type child struct {
	pid   int
	title string
}

// children returns the processes that the postmaster started.
func (s *Server) children() (all []child, err error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	parent := strconv.Itoa(s.process.Pid)
	for _, dir := range dirs {
		if status := processStatus(dir); len(status) < 2 || status[1] != parent {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			return nil, err
		}
		title, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil {
			continue // it has ended
		}
		all = append(all, child{pid, string(title)})
	}
	return all, nil
}

// processStatus returns the state and the parent of a process, and further fields.
func processStatus(dir string) []string {
	b, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return nil
	}
	_, rest, _ := strings.Cut(string(b), ") ") // pid (name) state parent
	return strings.Fields(rest)
}

// awaitEnd waits until a process has ended.
func (c child) awaitEnd() error {
	limit := time.After(startWithin)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if status := processStatus(fmt.Sprintf("/proc/%d", c.pid)); len(status) == 0 || status[0] == "Z" || status[0] == "X" {
			return nil
		}
		select {
		case <-limit:
			return fmt.Errorf("pgtest: process %d does not end", c.pid)
		case <-tick.C:
		}
	}
}

// endFrozen ends the processes that were frozen, before they do anything else.
func (s *Server) endFrozen() {
	for _, pid := range s.frozen {
		_ = syscall.Kill(pid, syscall.SIGTERM) // comes first when it goes on
	}
	s.thaw()
}

// thaw lets the processes go on that were frozen.
func (s *Server) thaw() {
	for _, pid := range s.frozen {
		_ = syscall.Kill(pid, syscall.SIGCONT)
	}
	s.frozen = nil
}
