package daemon

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/internal/dispatch"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// logBuffer is a log that a test reads while it is written.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) lines(with string) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Count(b.text.String(), with)
}

// flakyJournal grants claims that a test takes away, or refuses them.
type flakyJournal struct {
	journalReader
	away          atomic.Bool
	asked, claims atomic.Int64
	lose          atomic.Pointer[func()]
	instantly     atomic.Bool
}

var errAway = errors.New("no connection to the database")

func (j *flakyJournal) Bounds() sinks.Bounds { return sinks.Bounds{Earliest: 1, Next: 1} }

func (j *flakyJournal) Read(ctx context.Context, _ sinks.Position, _ []sinks.Record) ([]sinks.Record, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (j *flakyJournal) Unregister(string) {}

func (j *flakyJournal) Parked(context.Context, string, sinks.Position, int) ([]*journalv1.Parked, error) {
	return nil, nil
}

func (j *flakyJournal) Register(context.Context, string, sinks.Position, journal.WhenFull) error {
	j.asked.Add(1)
	if j.away.Load() {
		return errors.Join(journal.ErrUnavailable, errAway)
	}
	return nil
}

func (j *flakyJournal) Claim(context.Context, string) (journal.Claim, error) {
	j.claims.Add(1)
	lost := make(chan struct{})
	lose := sync.OnceFunc(func() { close(lost) })
	j.lose.Store(&lose)
	if j.instantly.Load() {
		lose()
	}
	return &flakyClaim{lost: lost}, nil
}

type flakyClaim struct {
	journal.Claim
	lost chan struct{}
}

func (c *flakyClaim) Position() sinks.Position               { return 1 }
func (c *flakyClaim) Lost() <-chan struct{}                  { return c.lost }
func (c *flakyClaim) Note() []byte                           { return nil }
func (c *flakyClaim) SaveNote(context.Context, []byte) error { return nil }
func (c *flakyClaim) Release(context.Context) error          { return nil }
func (c *flakyClaim) Requests(context.Context) (journal.Requests, error) {
	return journal.Requests{}, nil
}

// pushing runs a sink over the journal until the test ends.
func pushing(t *testing.T, j *flakyJournal, log *logBuffer, kinds ...SinkKind) {
	t.Helper()
	p := &push{
		plugins: Plugins{Sinks: kinds},
		cfg:     config.Sink{Name: "orders", File: &config.File{Path: "events"}, Concurrency: 1, Batch: config.Batch{Count: 1, Bytes: 1}, BackoffMin: 1, BackoffMax: 1}, journal: j,
		grace: time.Second, counters: new(dispatch.Counters), log: slog.New(slog.NewTextHandler(log, nil)),
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	synctest.Wait()
}

func wait(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// A database that is away for minutes costs an attempt every few seconds, and two lines of the log. The sink goes on soon after.
func TestSinkWhileTheJournalIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, log := &flakyJournal{}, &logBuffer{}
		pushing(t, j, log)
		wait(time.Minute)
		j.away.Store(true)
		(*j.lose.Load())()
		before := j.asked.Load()
		wait(9 * time.Minute)
		if n := j.asked.Load() - before; n < 60 || n > 150 {
			t.Errorf("asked %d times in nine minutes", n)
		}
		if n := log.lines("level=WARN"); n != 1 {
			t.Errorf("%d warnings", n)
		}
		j.away.Store(false)
		claims := j.claims.Load()
		wait(claimRetryMost)
		if n := j.claims.Load() - claims; n != 1 {
			t.Errorf("%d claims when the journal was back", n)
		}
		if n := log.lines("claimed again"); n != 1 {
			t.Errorf("%d lines say that the sink is claimed again", n)
		}
	})
}

// A claim that an operator takes away is claimed again at once. Claims that are lost again and again are not asked for in a busy loop.
func TestLostClaims(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, log := &flakyJournal{}, &logBuffer{}
		pushing(t, j, log)
		wait(time.Minute)
		(*j.lose.Load())()
		wait(time.Millisecond)
		if n := j.claims.Load(); n != 2 {
			t.Errorf("%d claims after the first was lost", n)
		}
		j.instantly.Store(true)
		(*j.lose.Load())()
		before := j.claims.Load()
		wait(time.Minute)
		if n := j.claims.Load() - before; n > 20 {
			t.Errorf("claimed %d times in a minute", n)
		}
	})
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
