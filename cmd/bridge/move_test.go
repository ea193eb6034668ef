package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/webhook-bridge/bridge/internal/journal/postgres/pgtest"
)

// TestMoveUnderLoad moves the journal of a server from its folder to PostgreSQL and back, with the command that operators use, while webhooks
// arrive. Every webhook that was answered with success is there, once, a subscriber goes on by its token, and every event is the same.
func TestMoveUnderLoad(t *testing.T) {
	cluster := pgtest.Start(t, pgtest.Options{Standbys: 1})
	s := &moveStory{t: t, password: cluster.Password(), seen: newLedger()}
	s.subscriber = &reader{handle: s.seen.deliver}
	first, last := filepath.Join(t.TempDir(), "first"), filepath.Join(t.TempDir(), "last")
	folder, database, back := s.config(retinoConfig(first)), s.config(postgresJournal(cluster.URL())), s.config(retinoConfig(last))

	s.serveAndMove(folder, database, first)
	s.refused(folder, "the log was moved: to postgres://")
	s.serveAndMove(database, back, "")
	s.refused(database, "the log was moved: to "+last)

	p := s.serve(back)
	s.subscriber.untilIdle = true
	s.subscriber.read(t.Context(), t, p.addr("grpc"))
	missing, twice := s.seen.missing()
	t.Logf("%d webhooks sent, %d acknowledged, %d events delivered, %d missing, %d twice", s.sent, len(s.seen.acknowledged), len(s.seen.order), missing, twice)
	if missing != 0 || twice != 0 {
		t.FailNow()
	}
	// All of it again, as a vendor would who got no answer: nothing comes twice.
	again := &load{addr: p.addr("webhooks"), connections: 16, limit: s.sent, acknowledged: s.seen.acknowledge}
	again.run(t.Context())
	s.subscriber.read(t.Context(), t, p.addr("grpc"))
	if missing, twice := s.seen.missing(); missing != 0 || twice != 0 || int64(len(s.seen.acknowledged)) != s.sent {
		t.Fatalf("sent again: %d acknowledged of %d, %d missing, %d twice", len(s.seen.acknowledged), s.sent, missing, twice)
	}
	sameOrder(t.Context(), t, p.addr("grpc"), s.seen.order)
}

// postgresJournal is the configuration of retinoConfig with the journal in a database.
func postgresJournal(url string) string {
	return strings.Replace(retinoConfig("x"), `journal: {dir: "x", min_free: 1Mi}`, fmt.Sprintf("journal: {postgres: {url: %q, replica: one}}", url), 1)
}

type moveStory struct {
	t          *testing.T
	password   string
	seen       *ledger
	subscriber *reader
	sent       int64
}

// config writes a configuration.
func (s *moveStory) config(text string) string {
	path := filepath.Join(s.t.TempDir(), "bridge.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

func (s *moveStory) serve(config string) *process {
	return startProcess(s.t, []string{"serve", "-c", config}, envMain+"=1")
}

// serveAndMove serves from one place under load, copies its journal meanwhile, stops the server under load, and moves the rest.
func (s *moveStory) serveAndMove(from, to, folder string) {
	s.t.Helper()
	p := s.serve(from)
	l := &load{addr: p.addr("webhooks"), connections: 8, acknowledged: s.seen.acknowledge}
	l.next.Store(s.sent)
	ctx, cancel := context.WithCancel(s.t.Context())
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() { l.run(ctx) })
	wg.Go(func() { s.subscriber.read(ctx, s.t, p.addr("grpc")) })
	waitUntil(s.t, "webhooks", func() bool { return l.ok.Load() > 200 })
	for range 2 {
		s.expect(s.command("journal", "move", "--from", from, "--to", to, "--addr", p.addr("grpc")), "The journal is in use.")
	}
	copied := l.ok.Load()
	waitUntil(s.t, "more webhooks", func() bool { return l.ok.Load() > copied+200 })
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	<-p.exited
	cancel()
	wg.Wait()
	s.sent = l.next.Load()
	began := time.Now()
	output := s.command("journal", "move", "--from", from, "--to", to)
	s.expect(output, "is marked as moved.")
	s.t.Logf("the journal stood still for %v: %s", time.Since(began).Round(time.Millisecond), output)
	if folder != "" {
		if left, _ := filepath.Glob(folder + ".moving*"); len(left) > 0 {
			s.t.Errorf("%v were left", left)
		}
	}
}

// command runs the program and returns its output.
func (s *moveStory) command(args ...string) string {
	s.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.CommandContext(s.t.Context(), exe, args...)
	cmd.Env = append(os.Environ(), envMain+"=1")
	output, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("bridge %s: %v\n%s", strings.Join(args, " "), err, output)
	}
	return string(output)
}

// expect checks a command's output. The password is never in it.
func (s *moveStory) expect(output, want string) {
	s.t.Helper()
	if !strings.Contains(output, want) || strings.Contains(output, s.password) {
		s.t.Errorf("%s\nwant %q, and no password", output, want)
	}
}

// refused checks that a server does not start, and says where the journal went.
func (s *moveStory) refused(config, want string) {
	s.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.CommandContext(s.t.Context(), exe, "serve", "-c", config)
	cmd.Env = append(os.Environ(), envMain+"=1")
	output, err := cmd.CombinedOutput()
	if err == nil {
		s.t.Error("the server started at the old place")
	}
	s.expect(string(output), want)
}

// waitUntil polls until done.
func waitUntil(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	end := time.After(time.Minute)
	for !done() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("no %s in time", what)
		}
	}
}
