package postgres

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/commit"
	"github.com/webhook-bridge/bridge/internal/journal/epoch"
	"github.com/webhook-bridge/bridge/sinks"
)

// errClosed is what calls get while the journal closes.
var errClosed = sinks.ErrClosed

// Journal is an open journal. It is safe for concurrent use.
type Journal struct {
	cfg Config
	// pool has the sessions of readers, of claims and of retention. The committer and the listener have sessions of their own.
	pool *pgxpool.Pool
	// servers are the servers that the sessions lead to.
	servers servers
	// id is the log's, and replica this instance's.
	id      string
	replica uuid.UUID

	// queue holds the appends that the committer has not begun with.
	queue *commit.Queue
	// tail is the end of the log that this instance shows.
	tail tail
	// confirmations lets readers wait until what they saw is durable.
	confirmations confirmations
	// damagedAt is the last position at which a read met damage, or 0.
	damagedAt atomic.Uint64
	// readers are the readers and the claims that this instance knows.
	readers readers
	// sessions are this instance's parts in the subscription groups.
	sessions groupSessions
	// retention is what a pass of retention leaves for the next.
	retention retention
	metrics   *metrics
	// notifications tell other instances of commits.
	notifications notifications
	// failures counts groups that could not be committed, and lostEvents the events that the database lost after it had confirmed them.
	failures, lostEvents atomic.Uint64
	// problem is why the last attempt to commit or to read the head failed, or nil.
	problem atomic.Pointer[error]

	// ctx ends the background work. It is done when closing.
	ctx     context.Context
	cancel  context.CancelFunc
	workers sync.WaitGroup
	// updates are the transactions that calls of this instance have under way. writing has a value for each that has a session.
	updates updates
	writing chan struct{}
	// connections are all that lead to the database.
	connections connections
	// reporting says that a report is under way.
	reporting atomic.Bool
	// committing is the committer, which ends before the other workers do.
	committing sync.WaitGroup
	closing    chan struct{}
	closed     sync.Once
	// done is closed when all workers have ended and the sessions are closed.
	done chan struct{}
}

// newJournal returns a journal without sessions and workers.
func newJournal(cfg Config) *Journal {
	return &Journal{
		cfg: cfg.withDefaults(), closing: make(chan struct{}), done: make(chan struct{}), writing: make(chan struct{}, maxWrites),
	}
}

// Open opens the journal in a database, and makes its tables where they are missing. Errors: ErrUnsafe, ErrTooOld, ErrNewerFormat, the
// database's. None of them has the URL's password.
func Open(ctx context.Context, cfg Config) (*Journal, error) {
	j := newJournal(cfg)
	var err error
	if j.replica, err = uuid.NewRandom(); err != nil {
		return nil, err
	}
	pool, err := poolConfig(&j.cfg)
	if err != nil {
		return nil, err
	}
	pool.ConnConfig.DialFunc = j.connections.dial
	pool.AfterConnect = j.checkSession
	pool.PrepareConn = func(_ context.Context, conn *pgx.Conn) (bool, error) { return j.servers.isNewest(serverOf(conn)), nil }
	if j.pool, err = pgxpool.NewWithConfig(ctx, pool); err != nil {
		return nil, fmt.Errorf("journal: open: %w", describe(err))
	}
	if err := j.start(ctx); err != nil {
		j.pool.Close()
		return nil, fmt.Errorf("journal: open: %w", describe(err))
	}
	return j, nil
}

// start brings the tables up to date, begins an epoch and starts the workers.
func (j *Journal) start(ctx context.Context) error {
	j.queue = commit.NewQueue(commit.Options{MaxWindow: j.cfg.DedupeAge, Now: j.cfg.clock()})
	j.ctx, j.cancel = context.WithCancel(context.Background())
	if err := j.migrate(ctx); err != nil {
		return err
	}
	h, epochs, err := j.enter(ctx)
	if err != nil {
		return err
	}
	j.tail.init(h, epochs)
	j.confirmations.init()
	j.readers.init()
	j.sessions.init()
	j.notifications.init()
	if j.metrics, err = newMetrics(j, j.cfg.Registerer); err != nil {
		return err
	}
	j.queue.Admit()
	j.committing.Go(j.runCommitter)
	j.workers.Go(j.runNotifications)
	j.workers.Go(j.runTail)
	j.workers.Go(j.runListener)
	j.workers.Go(j.runConfirmations)
	j.workers.Go(j.runReaders)
	j.workers.Go(j.runSessions)
	j.workers.Go(j.runRetention)
	j.cfg.Logger.Info("journal: opened", "position", uint64(h.next-1), "earliest", uint64(h.kept), "log", j.id)
	return nil
}

// enter adds this instance to the replicas and begins an epoch, in one transaction.
func (j *Journal) enter(ctx context.Context) (h head, epochs *epoch.List, err error) {
	err = j.transact(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if h, err = scanHead(tx.QueryRow(ctx, j.sql(lockHead)), j); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, j.sql(`select id from bridge.log`)).Scan(&j.id); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, j.sql(`insert into bridge.replica (id, name, version, started, seen, shown)
			values ($1, $2, $3, clock_timestamp(), clock_timestamp(), $4)`), j.replica, j.cfg.Replica, j.cfg.Version, int64(h.next)); err != nil {
			return err
		}
		if err := j.beginEpoch(ctx, tx, &h); err != nil {
			return err
		}
		epochs, err = j.loadEpochs(ctx, tx)
		return err
	})
	return h, epochs, err
}

// clock is the clock for times that are not the log's, such as that of a correction.
func (c *Config) clock() func() time.Time {
	if c.now != nil {
		return c.now
	}
	return time.Now
}

// ID implements [sinks.Log]. The id is random, made with the tables, and never changes.
func (j *Journal) ID() string { return j.id }

// Close implements [journal.Journal].
func (j *Journal) Close() error {
	j.closed.Do(func() {
		j.queue.Refuse(sinks.ErrClosed)
		close(j.closing)
		j.queue.Wake()
		go j.shutDown()
	})
	<-j.done
	return nil
}

func (j *Journal) isClosing() bool {
	select {
	case <-j.closing:
		return true
	default:
		return false
	}
}

// Append implements [journal.Writer].
func (j *Journal) Append(ctx context.Context, e journal.Entry) (journal.Receipt, error) {
	return j.queue.Append(ctx, e)
}

// AppendAll implements [journal.Writer].
func (j *Journal) AppendAll(ctx context.Context, entries []journal.Entry) ([]journal.Receipt, error) {
	return j.queue.AppendAll(ctx, entries)
}

// Discard implements [journal.Writer].
func (j *Journal) Discard(ctx context.Context, ids []string) (int, error) {
	return j.queue.Discard(ctx, ids)
}
