package pgtest

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

func TestMain(m *testing.M) { os.Exit(Main(m)) }

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func run(t *testing.T, conn *pgx.Conn, statements ...string) {
	t.Helper()
	for _, sql := range statements {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

// rows are the values in the table that the tests use.
func rows(t *testing.T, conn *pgx.Conn) []int {
	t.Helper()
	got, err := conn.Query(t.Context(), "select n from numbers order by n")
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(got, pgx.RowTo[int])
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func (c *Cluster) numbers(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn := connect(t, url)
	run(t, conn, "drop table if exists numbers", "create table numbers (n int primary key)")
	return conn
}

// TestFailover: a commit is on a standby when it returns, so it survives the death of all processes of the primary. The client's address
// stays, the other standby follows, and the old primary's data can be started again.
func TestFailover(t *testing.T) {
	began := time.Now()
	c := Start(t, Options{Standbys: 2})
	t.Logf("three servers started in %v", time.Since(began))
	conn := c.numbers(t, c.URL())
	run(t, conn, "insert into numbers values (1)")
	old := c.Primary()
	old.Kill(t)
	if _, err := conn.Exec(t.Context(), "insert into numbers values (2)"); err == nil {
		t.Fatal("a killed server answers")
	}
	c.Promote(t, c.Newest(t))
	c.AwaitStandby(t)
	conn = connect(t, c.URL())
	run(t, conn, "insert into numbers values (3)")
	if got := rows(t, conn); !slices.Equal(got, []int{1, 3}) {
		t.Fatalf("after the failover: %v", got)
	}
	old.Start(t)
	if got := rows(t, connect(t, old.URL(User, Database))); !slices.Equal(got, []int{1}) {
		t.Fatalf("at the old primary: %v", got)
	}
}

// TestReceiver: a commit waits for the standby, and is there at once when the standby goes on. Without synchronous commits, what a frozen
// standby did not receive is lost.
func TestReceiver(t *testing.T) {
	c := Start(t, Options{Standbys: 1})
	conn := c.numbers(t, c.URL())
	for n, standby := range []struct{ off, on func(testing.TB) }{
		{c.Standby(0).FreezeReceiver, c.Standby(0).ThawReceiver},
		{c.Standby(0).StopReceiver, c.Standby(0).StartReceiver},
	} {
		standby.off(t)
		done := make(chan error, 1)
		go func() {
			_, err := conn.Exec(t.Context(), "insert into numbers values ($1)", n)
			done <- err
		}()
		<-c.Held(t, "insert", t.Context().Done())
		select {
		case err := <-done:
			t.Fatalf("committed without a standby: %v", err)
		default:
		}
		standby.on(t)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	c.SetSynchronous(t, "")
	c.Standby(0).FreezeReceiver(t)
	run(t, conn, "insert into numbers values (7)")
	c.Primary().Kill(t)
	c.Promote(t, 0)
	if got := rows(t, connect(t, c.URL())); !slices.Equal(got, []int{0, 1}) {
		t.Fatalf("after the failover: %v", got)
	}
}

// TestRestart: a crash of the server loses nothing that was committed.
func TestRestart(t *testing.T) {
	c := Shared(t)
	conn := c.numbers(t, c.URL())
	run(t, conn, "insert into numbers values (1)", "begin", "insert into numbers values (2)")
	began := time.Now()
	c.Restart(t)
	t.Logf("restarted in %v", time.Since(began))
	c.AwaitStandby(t)
	t.Logf("with its standby in %v", time.Since(began))
	conn = connect(t, c.URL())
	run(t, conn, "insert into numbers values (3)")
	if got := rows(t, conn); !slices.Equal(got, []int{1, 3}) {
		t.Fatalf("after a crash: %v", got)
	}
}

// TestPassword: the password counts.
func TestPassword(t *testing.T) {
	c := Shared(t)
	conn, err := pgx.Connect(t.Context(), strings.Replace(c.URL(), c.Password(), "wrong", 1))
	if err == nil {
		_ = conn.Close(t.Context())
		t.Fatal("connected with a wrong password")
	}
}

func insert(ctx context.Context, conn *pgx.Conn, n int) error {
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "insert into numbers values ($1)", n)
		return err
	})
}

// TestProxy: the proxy breaks connections where it is told to.
func TestProxy(t *testing.T) {
	c := Shared(t)
	direct := c.numbers(t, c.Primary().URL(User, Database))
	p := c.NewProxy(t)
	url := c.URLBy(p)
	has := func(what string, n int, want bool) {
		t.Helper()
		if got := slices.Contains(rows(t, direct), n); got != want {
			t.Fatalf("%s: the row is there: %v", what, got)
		}
	}
	t.Run("the answer to COMMIT is swallowed", func(t *testing.T) {
		conn := connect(t, url)
		commits := p.SwallowCommit("insert")
		if err := insert(t.Context(), conn, 1); err == nil {
			t.Fatal("no error")
		}
		<-commits.Met
		has("delivered", 1, true)
	})
	t.Run("COMMIT is held", func(t *testing.T) {
		for n, end := range map[int]func(*Commits){2: (*Commits).Resume, 3: (*Commits).Cut} {
			conn := connect(t, url)
			commits := p.HoldCommits()
			done := make(chan error, 1)
			go func() { done <- insert(t.Context(), conn, n) }()
			<-commits.Met
			has("held", n, false)
			end(commits)
			if err := <-done; (err == nil) != (n == 2) {
				t.Fatalf("%d: %v", n, err)
			}
			has("ended", n, n == 2)
		}
	})
	t.Run("cut before a write", func(t *testing.T) {
		for n := range 4 { // begin, insert, commit
			conn := connect(t, url)
			fuse := CutAt(n, p)
			err := insert(t.Context(), conn, 10+n)
			if (err == nil) != (n == 3) {
				t.Fatalf("cut at write %d: %v", n, err)
			}
			if n < 3 {
				<-fuse.Blown
				if conn, err := pgx.Connect(t.Context(), url); err == nil {
					_ = conn.Close(t.Context())
					t.Fatal("connected after the cut")
				}
			}
			p.Accept()
			has("cut", 10+n, n == 3)
		}
	})
	t.Run("writes fail", func(t *testing.T) {
		conn := connect(t, url)
		mend := p.FailWrites("53100", "no space left on device")
		if err := insert(t.Context(), conn, 20); err == nil || !strings.Contains(err.Error(), "no space left on device (SQLSTATE 53100)") {
			t.Fatalf("insert: %v", err)
		}
		if got := rows(t, conn); slices.Contains(got, 20) {
			t.Fatal("the write was delivered")
		}
		mend()
		if err := insert(t.Context(), conn, 20); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("frozen", func(t *testing.T) {
		conn := connect(t, url)
		p.Freeze()
		done := make(chan error, 1)
		go func() { done <- insert(t.Context(), conn, 30) }()
		select {
		case err := <-done:
			t.Fatalf("answered while frozen: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
		p.Thaw()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		has("thawed", 30, true)
	})
}
