package pgtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// User is the role of clients. It owns the database Database, and is no superuser.
const (
	User     = "bridge"
	Database = "bridge"
)

// Options say what a cluster has. The zero value is one server.
type Options struct {
	// Standbys is the number of streaming standbys.
	Standbys int
	// Asynchronous: commits do not wait for a standby. Otherwise they wait for any one, if there are standbys.
	Asynchronous bool
	// Settings are further settings of the servers, as in postgresql.conf.
	Settings map[string]string
}

// Cluster is a primary and its standbys. Its methods are for one goroutine at a time.
type Cluster struct {
	// Proxy is in front of the primary, and follows it: clients connect to it.
	Proxy *Proxy

	in       *installation
	options  Options
	password string
	primary  *Server
	standbys []*Server
	all      []*Server

	mu      sync.Mutex
	proxies []*Proxy
	admin   *pgx.Conn
}

// Enabled skips the test unless real servers are asked for.
func Enabled(tb testing.TB) {
	tb.Helper()
	if os.Getenv("BRIDGE_TEST_POSTGRES") != "1" {
		tb.Skip("a real PostgreSQL is left out; BRIDGE_TEST_POSTGRES=1 runs one")
	}
}

// Start runs a cluster until the test ends.
func Start(tb testing.TB, options Options) *Cluster {
	tb.Helper()
	Enabled(tb)
	c, err := start(options)
	if c != nil {
		tb.Cleanup(func() {
			if err := c.close(); err != nil {
				tb.Error(err)
			}
		})
	}
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// shared is the cluster of Shared.
var shared = struct {
	once    sync.Once
	cluster *Cluster
	err     error
}{}

// Shared returns the cluster of all tests of this program: a primary with one synchronous standby. It is started at the first call, and ends
// with [Main].
func Shared(tb testing.TB) *Cluster {
	tb.Helper()
	Enabled(tb)
	shared.once.Do(func() { shared.cluster, shared.err = start(Options{Standbys: 1}) })
	if shared.err != nil {
		tb.Fatal(shared.err)
	}
	return shared.cluster
}

// Main runs the tests and ends the cluster of Shared. It is for TestMain, and returns the exit code.
func Main(m *testing.M) int {
	code := m.Run()
	if shared.cluster != nil {
		if err := shared.cluster.close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	return code
}

func start(options Options) (*Cluster, error) {
	in, err := newInstallation()
	if err != nil {
		return nil, err
	}
	c := &Cluster{in: in, options: options, password: rand.Text()}
	if c.Proxy, err = c.newProxy(); err != nil {
		return c, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*startWithin)
	defer cancel()
	if err := c.startPrimary(ctx); err != nil {
		return c, err
	}
	var wg sync.WaitGroup
	failed := make([]error, options.Standbys)
	for i := range options.Standbys {
		s, err := c.newServer(fmt.Sprint("standby", i+1))
		if err != nil {
			return c, err
		}
		c.standbys = append(c.standbys, s)
		wg.Go(func() { failed[i] = c.copyPrimary(ctx, s) })
	}
	wg.Wait()
	if err := errors.Join(failed...); err != nil {
		return c, err
	}
	return c, c.setSynchronous(ctx, c.anyStandby())
}

func (c *Cluster) newServer(name string) (*Server, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	s := &Server{Name: name, cluster: c, in: c.in, data: filepath.Join(c.in.dir, name), port: port}
	c.all = append(c.all, s)
	return s, nil
}

func (c *Cluster) startPrimary(ctx context.Context) error {
	s, err := c.newServer("primary")
	if err != nil {
		return err
	}
	c.primary = s
	secret := filepath.Join(c.in.dir, "password")
	if err := errors.Join(os.WriteFile(secret, []byte(c.password), 0o600), c.in.own(secret)); err != nil {
		return err
	}
	if err := c.in.run(ctx, "initdb", "-D", s.data, "-U", "postgres", "--pwfile", secret, "-A", "scram-sha-256", "-E", "UTF8", "--locale", "C",
		"--no-sync", "--no-instructions"); err != nil {
		return err
	}
	if err := c.configure(s); err != nil {
		return err
	}
	if err := s.start(); err != nil {
		return err
	}
	c.Proxy.Forward(s.Addr())
	admin, err := pgx.Connect(ctx, s.URL("postgres", "postgres"))
	if err != nil {
		return err
	}
	defer func() { _ = admin.Close(ctx) }()
	for _, sql := range []string{
		fmt.Sprintf("create role %s login replication password '%s'", User, c.password),
		fmt.Sprintf("create database %s owner %s", Database, User),
	} {
		if _, err := admin.Exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}

// configure writes the settings of a server.
func (c *Cluster) configure(s *Server) error {
	settings := map[string]string{
		"listen_addresses": "127.0.0.1", "shared_buffers": "32MB", "max_connections": "300", "max_wal_senders": "8", "wal_keep_size": "256MB",
		"wal_retrieve_retry_interval": "20ms", "hot_standby": "on", "fsync": "on", "jit": "off", "log_min_messages": "warning",
		"log_min_error_statement": "panic", "log_line_prefix": "%m [%p] ", "autovacuum_naptime": "10s", "max_locks_per_transaction": "512",
	}
	maps.Copy(settings, c.options.Settings)
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&text, "%s = '%s'\n", name, settings[name])
	}
	f, err := os.OpenFile(filepath.Join(s.data, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text.String())
	return errors.Join(err, f.Close())
}

// follow is the connection string of a standby.
func (c *Cluster) follow(name string) string {
	return fmt.Sprintf("host=127.0.0.1 port=%d user=%s password=%s application_name=%s sslmode=disable", c.primary.port, User, c.password, name)
}

// anyStandby is the setting by which commits wait for one of the standbys.
func (c *Cluster) anyStandby() string {
	if c.options.Asynchronous || len(c.standbys) == 0 {
		return ""
	}
	var names []string
	for _, s := range c.standbys {
		names = append(names, s.Name)
	}
	return fmt.Sprintf("ANY 1 (%s)", strings.Join(names, ", "))
}

// close ends everything.
func (c *Cluster) close() error {
	c.mu.Lock()
	proxies := slices.Clone(c.proxies)
	c.mu.Unlock()
	for _, p := range proxies {
		p.Close()
	}
	var failed error
	for _, s := range c.all {
		failed = errors.Join(failed, s.kill())
	}
	return errors.Join(failed, os.RemoveAll(c.in.dir))
}

// URL is the address of the primary for clients, with the password. It stays when the primary changes.
func (c *Cluster) URL() string { return c.URLBy(c.Proxy) }

// URLBy is the address of the primary through a proxy.
func (c *Cluster) URLBy(p *Proxy) string { return c.url(p.Addr(), User, Database) }

// Password is the password of all roles.
func (c *Cluster) Password() string { return c.password }

func (c *Cluster) url(addr, role, database string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(role, c.password), Host: addr, Path: database, RawQuery: "sslmode=disable"}
	return u.String()
}

// URL is the server's own address. The superuser is postgres.
func (s *Server) URL(role, database string) string { return s.cluster.url(s.Addr(), role, database) }

// Primary is the server that takes writes.
func (c *Cluster) Primary() *Server { return c.primary }

// Standby is the i-th standby, counted from 0.
func (c *Cluster) Standby(i int) *Server { return c.standbys[i] }

// NewProxy returns another proxy in front of the primary, which follows it too. It is closed when the test ends.
func (c *Cluster) NewProxy(tb testing.TB) *Proxy {
	tb.Helper()
	p, err := c.newProxy()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		p.Close()
		c.mu.Lock()
		defer c.mu.Unlock()
		c.proxies = slices.DeleteFunc(c.proxies, func(other *Proxy) bool { return other == p })
	})
	return p
}

func (c *Cluster) newProxy() (*Proxy, error) {
	p, err := NewProxy()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.proxies = append(c.proxies, p)
	if c.primary != nil {
		p.Forward(c.primary.Addr())
	}
	return p, nil
}

// Admin returns a superuser's session in the clients' database at the primary. It belongs to the cluster.
func (c *Cluster) Admin(tb testing.TB) *pgx.Conn {
	tb.Helper()
	conn, err := c.session(context.Background())
	if err != nil {
		tb.Fatal(err)
	}
	return conn
}

func (c *Cluster) session(ctx context.Context) (*pgx.Conn, error) {
	if c.admin != nil && !c.admin.IsClosed() {
		if _, err := c.admin.Exec(ctx, ";"); err == nil {
			return c.admin, nil
		}
		_ = c.admin.Close(ctx)
	}
	var err error
	c.admin, err = c.primary.connect(ctx)
	return c.admin, err
}

// connect opens a superuser's session, whose commits wait for no standby.
func (s *Server) connect(ctx context.Context) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.URL("postgres", Database))
	if err != nil {
		return nil, err
	}
	_, err = conn.Exec(ctx, "set synchronous_commit = local")
	return conn, err
}

// Exec runs statements as superuser at the primary.
func (c *Cluster) Exec(tb testing.TB, statements ...string) {
	tb.Helper()
	conn := c.Admin(tb)
	for _, sql := range statements {
		if _, err := conn.Exec(context.Background(), sql); err != nil {
			tb.Fatalf("%s: %v", sql, err)
		}
	}
}

// Exec runs statements as superuser at this server.
func (s *Server) Exec(tb testing.TB, statements ...string) {
	tb.Helper()
	if err := s.exec(context.Background(), statements...); err != nil {
		tb.Fatal(err)
	}
}

func (s *Server) exec(ctx context.Context, statements ...string) error {
	conn, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	for _, sql := range statements {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return nil
}

// SetSynchronous sets synchronous_standby_names of the primary, and returns when that is in effect.
func (c *Cluster) SetSynchronous(tb testing.TB, names string) {
	tb.Helper()
	if err := c.setSynchronous(tb.Context(), names); err != nil {
		tb.Fatal(err)
	}
}

func (c *Cluster) setSynchronous(ctx context.Context, names string) error {
	return c.primary.set(ctx, "synchronous_standby_names", names)
}

// Set changes a setting of the primary that needs no restart, and returns when that is in effect. An empty value is the default.
func (s *Server) Set(tb testing.TB, name, value string) {
	tb.Helper()
	if err := s.set(tb.Context(), name, value); err != nil {
		tb.Fatal(err)
	}
}

func (s *Server) set(ctx context.Context, name, value string) error {
	change := fmt.Sprintf("alter system set %s = '%s'", name, value)
	if value == "" {
		change = "alter system reset " + name
	}
	if err := s.exec(ctx, change, "select pg_reload_conf()"); err != nil {
		return err
	}
	return poll(ctx, name+" takes effect", func() (bool, error) {
		conn, err := s.connect(ctx)
		if err != nil {
			return false, err
		}
		defer func() { _ = conn.Close(ctx) }()
		var done bool
		err = conn.QueryRow(ctx, "select setting = $2 or $2 = '' from pg_settings where name = $1", name, value).Scan(&done)
		return done, err
	})
}

// poll waits until done says so.
func poll(ctx context.Context, what string, done func() (bool, error)) error {
	limit := time.After(startWithin)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-limit:
			return fmt.Errorf("pgtest: %s: not within %v", what, startWithin)
		case <-tick.C:
		}
	}
}

// Restart crashes the primary, as pg_ctl stop -m immediate does, and starts it again.
func (c *Cluster) Restart(tb testing.TB) {
	tb.Helper()
	if err := errors.Join(c.primary.stop(syscall.SIGQUIT), c.primary.start()); err != nil {
		tb.Fatal(err)
	}
}

// Kill ends all processes of the server at once, by SIGKILL.
func (s *Server) Kill(tb testing.TB) {
	tb.Helper()
	if err := s.kill(); err != nil {
		tb.Fatal(err)
	}
}

// Start starts a server that was killed or stopped.
func (s *Server) Start(tb testing.TB) {
	tb.Helper()
	if err := s.start(); err != nil {
		tb.Fatal(err)
	}
}

// Stop shuts the server down; its clients are disconnected.
func (s *Server) Stop(tb testing.TB) {
	tb.Helper()
	if err := s.stop(syscall.SIGINT); err != nil {
		tb.Fatal(err)
	}
}

// Promote makes the i-th standby the primary. The other standbys follow it, and commits wait for any one of them; without others they wait
// for none. The proxies lead to it. The old primary stays as it is: kill it first.
func (c *Cluster) Promote(tb testing.TB, i int) {
	tb.Helper()
	if err := c.promote(tb.Context(), i); err != nil {
		tb.Fatal(err)
	}
}

func (c *Cluster) promote(ctx context.Context, i int) error {
	s := c.standbys[i]
	s.endFrozen()
	c.primary = s
	c.standbys = slices.Delete(slices.Clone(c.standbys), i, i+1)
	change := fmt.Sprintf("alter system set synchronous_standby_names = '%s'", c.anyStandby())
	if err := s.exec(ctx, change, "select pg_reload_conf()", "select pg_promote(true, 60)"); err != nil {
		return err
	}
	for _, other := range c.standbys {
		if err := other.followPrimary(ctx); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.proxies {
		p.Forward(s.Addr())
	}
	return nil
}
