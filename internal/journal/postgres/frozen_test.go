package postgres

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/postgres/pgtest"
)

// replicaVariable has this test program be an instance in a process of its own. Its value is what the instance does, the schema and the URL.
const replicaVariable = "BRIDGE_TEST_REPLICA"

// TestReplicaProcess is that instance. It is no test by itself: the tests below start it.
func TestReplicaProcess(t *testing.T) {
	task, rest, ok := strings.Cut(os.Getenv(replicaVariable), " ")
	if !ok {
		return
	}
	schema, url, _ := strings.Cut(rest, " ")
	j, err := Open(t.Context(), Config{URL: url, Schema: schema, Replica: "frozen", noRetention: true, lease: testLease})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = j.Close() }()
	switch task {
	case "hold":
		holdReader(t, j)
		return
	case "own":
		ownShare(t, j)
		return
	}
	for n := 0; ; n++ {
		_, err := j.Append(t.Context(), numbered(n))
		for errors.Is(err, journal.ErrUnavailable) {
			_, err = j.Append(t.Context(), numbered(n))
		}
		if err != nil {
			t.Fatal(err)
		}
		_, _ = fmt.Fprintln(os.Stdout, "appended", n)
	}
}

// numbered is the n-th entry of the process.
func numbered(n int) journal.Entry {
	e := newEntry()
	e.Keys[0].Hash, e.Bytes, e.Meaning = hash(n+1), hash(n+1), hash(n+1)
	return e
}

// holdReader claims a reader, and saves positions that are all behind those of the next holder.
func holdReader(t *testing.T, j *Journal) {
	t.Helper()
	c, err := j.Claim(t.Context(), "reader")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = fmt.Fprintln(os.Stdout, "claimed")
	for err == nil || errors.Is(err, journal.ErrUnavailable) {
		err = c.Save(t.Context(), 2)
	}
	<-c.Lost()
	_, _ = fmt.Fprintln(os.Stdout, "ended:", err)
}

// ownShare takes a share, and writes it again and again, as the one who owns it by its first version. It says what it wrote.
func ownShare(t *testing.T, j *Journal) {
	t.Helper()
	session := enlist(t, j)
	if err := session.Join(t.Context(), "group", "frozen", nil); err != nil {
		t.Fatal(err)
	}
	share := takeUntil(t, session, 7)
	for saved := true; saved; share.Version++ {
		all, err := j.SaveShares(t.Context(), "group", []journal.ShareChange{change(share, "of the process")})
		if err != nil {
			t.Fatal(err)
		}
		if saved = all[0]; saved {
			_, _ = fmt.Fprintln(os.Stdout, "saved", share.Version+1)
		}
	}
	<-session.Lost()
	_, err := session.Take(t.Context(), "group", []int{8})
	_, _ = fmt.Fprintln(os.Stdout, "ended:", err)
}

// process is an instance in a process of its own.
type process struct {
	*testing.T
	cmd   *exec.Cmd
	lines *bufio.Scanner
}

func startReplica(t *testing.T, s *site, task string) *process {
	t.Helper()
	cmd := exec.CommandContext(context.Background(), os.Args[0], "-test.run=^TestReplicaProcess$")
	cmd.Env = append(os.Environ(), replicaVariable+"="+task+" "+s.schema+" "+s.cluster.URL())
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{T: t, cmd: cmd, lines: bufio.NewScanner(out)}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait() // it was killed
	})
	return p
}

// line returns the next line that begins like this.
func (p *process) line(begin string) string {
	p.Helper()
	for p.lines.Scan() {
		if strings.HasPrefix(p.lines.Text(), begin) {
			return p.lines.Text()
		}
	}
	p.Fatalf("the process ended before it said %q", begin)
	return ""
}

func (p *process) signal(s os.Signal) {
	p.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.Fatal(err)
	}
}

// TestFrozenWithHead: a process that is stopped while it holds the head holds another one up for some seconds. When it goes on, everything
// that it acknowledges is there once.
func TestFrozenWithHead(t *testing.T) {
	s := newSite(t, pgtest.Shared(t))
	j := s.open(func(cfg *Config) { cfg.noRetention = true })
	p := startReplica(t, s, "append")
	p.line("appended 0")
	drained := make(chan int, 1)
	goOn := make(chan struct{})
	go func() { // the process must not wait for its reader
		last := 0
		for p.lines.Scan() {
			if _, err := fmt.Sscanf(p.lines.Text(), "appended %d", &last); err != nil {
				continue
			}
			select {
			case <-goOn:
				drained <- last
				goOn = nil
			default:
			}
		}
	}()
	// Stop it until it holds the head: its transaction has locked the row, and the server waits for the process.
	holds := func() bool {
		return s.number(`select count(*) from pg_stat_activity a join pg_locks l using (pid) where a.application_name = 'bridge frozen'
			and l.relation = 'bridge.log'::regclass and l.mode = 'RowShareLock' and a.wait_event = 'ClientRead'`) > 0
	}
	await(t, "the process stops with the head", func() bool {
		p.signal(syscall.SIGSTOP)
		for range 3 { // the server may still be at work
			if holds() {
				s.number(`select 1 from pg_sleep(0.1)`) // what the process sent before it stopped may be on its way
				if holds() {
					return true
				}
			}
		}
		p.signal(syscall.SIGCONT)
		return false
	})
	began := time.Now()
	appendUntil(t, j, newEntry())
	d := time.Since(began)
	t.Logf("held up for %v", d)
	if d > 12*time.Second {
		t.Errorf("a process that was stopped with the head held another one up for %v", d)
	}
	if d < time.Second {
		t.Errorf("another instance went on after %v: the process did not hold the head", d)
	}
	p.signal(syscall.SIGCONT)
	close(goOn)
	last := <-drained
	_ = p.cmd.Process.Kill()
	for n := max(0, last-300); n <= last; n++ {
		if r := appendUntil(t, j, numbered(n)); !r.Duplicate {
			t.Fatalf("entry %d was acknowledged by the process that was stopped, and got %+v", n, r)
		}
	}
	if twice := s.number(`select count(*) - count(distinct position) from bridge.event`); twice != 0 {
		t.Errorf("%d positions are there twice", twice)
	}
}

// TestFrozenHolder: a process that is stopped loses its lease. When it goes on, its saves fail, and the cursor stays where the next holder
// put it.
func TestFrozenHolder(t *testing.T) {
	s := newSite(t, pgtest.Shared(t))
	j := s.open(func(cfg *Config) { cfg.noRetention, cfg.lease = true, testLease })
	for range 5 {
		appendTo(t, j, newEntry())
	}
	if err := j.Register(t.Context(), "reader", 1, journal.Hold); err != nil {
		t.Fatal(err)
	}
	p := startReplica(t, s, "hold")
	p.line("claimed")
	p.signal(syscall.SIGSTOP)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	began := time.Now()
	c, err := j.Claim(ctx, "reader")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("taken over after %v", time.Since(began))
	if err := c.Save(ctx, 5); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGCONT)
	if line := p.line("ended:"); !strings.Contains(line, journal.ErrLost.Error()) {
		t.Errorf("the process that was stopped: %s", line)
	}
	if at := s.number(`select position from bridge.reader where name = 'reader'`); at != 5 {
		t.Errorf("the cursor is at %d; the next holder saved 5", at)
	}
	if err := c.Save(ctx, 6); err != nil {
		t.Errorf("the next holder's save: %v", err)
	}
}

// TestFrozenOwner: a process that is stopped in the middle of its writes loses its shares. What it had acknowledged is there, and when it goes on,
// it writes nothing.
func TestFrozenOwner(t *testing.T) {
	s := newSite(t, pgtest.Shared(t))
	j := s.open(func(cfg *Config) { cfg.noRetention, cfg.lease = true, testLease })
	newGroup(t, j, "group")
	session := enlist(t, j)
	p := startReplica(t, s, "own")
	var acknowledged uint64
	for range 20 {
		if _, err := fmt.Sscanf(p.line("saved"), "saved %d", &acknowledged); err != nil {
			t.Fatal(err)
		}
	}
	p.signal(syscall.SIGSTOP)
	began := time.Now()
	share := takeUntil(t, session, 7)
	t.Logf("taken over after %v", time.Since(began))
	if share.Version <= acknowledged || string(share.State) != "of the process" {
		t.Errorf("the process acknowledged version %d, and the share is %+v", acknowledged, share)
	}
	if g, err := j.Group(t.Context(), "group"); err != nil || len(g.Members) != 0 {
		t.Errorf("the group of a process that is stopped: %+v, %v", g, err)
	}
	p.signal(syscall.SIGCONT)
	if line := p.line("ended:"); !strings.Contains(line, journal.ErrLost.Error()) {
		t.Errorf("the process that was stopped: %s", line)
	}
	if again := shareOf(t, j, 7); again.Version != share.Version || again.Epoch != share.Epoch {
		t.Errorf("the share was %+v when it was taken, and is %+v", share, again)
	}
}
