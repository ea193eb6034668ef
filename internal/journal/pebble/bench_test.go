package pebble

import (
	"context"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/google/uuid"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/commit"
	"github.com/webhook-bridge/bridge/sinks"
)

const (
	benchWriters = 256
	benchBody    = 2 << 10
)

// BenchmarkAppend appends webhooks with a body of 2 KB and one event from 256 goroutines, after a reference has put the
// same bodies and one small key each into bare Pebble with the same options and pipelined group commit. It reports both
// rates and their ratio.
func BenchmarkAppend(b *testing.B) {
	reference := benchReference(b)
	j := openBench(b)
	var entries [benchWriters]journal.Entry
	for i := range entries {
		entries[i] = entry(i, benchBody, 1)
	}
	var n atomic.Uint64
	b.ResetTimer()
	start, used := time.Now(), cpuTime(b)
	drive(b, b.N, func(writer int) {
		i := n.Add(1)
		e := &entries[writer]
		e.Webhook.Id = uuid.Must(uuid.NewV7()).String()
		binary.BigEndian.PutUint64(e.Keys[0].Hash[:], i*0x9e3779b97f4a7c15)
		binary.BigEndian.PutUint64(e.Keys[0].Hash[8:], i*0xc2b2ae3d27d4eb4f)
		if _, err := j.Append(context.Background(), *e); err != nil {
			b.Error(err)
		}
	})
	used = cpuTime(b) - used
	rate := float64(b.N) / time.Since(start).Seconds()
	b.ReportMetric(rate, "webhooks/s")
	b.ReportMetric(reference.rate, "reference/s")
	b.ReportMetric(rate/reference.rate, "ratio")
	b.ReportMetric(cpu(used, b.N), "cpu-µs/op")
	b.ReportMetric(reference.cpu, "reference-cpu-µs/op")
}

// cpuTime is the processor time that the process has used. It tells more than the clock does on a machine with others.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func cpu(d time.Duration, n int) float64 { return float64(d.Microseconds()) / float64(n) }

type measured struct{ rate, cpu float64 }

func openBench(b *testing.B) *Journal {
	j, err := Open(context.Background(), Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := j.Close(); err != nil {
			b.Error(err)
		}
	})
	return j
}

// drive calls f n times from the writers.
func drive(b *testing.B, n int, f func(writer int)) {
	b.Helper()
	var left atomic.Int64
	left.Store(int64(n))
	var wg sync.WaitGroup
	for writer := range benchWriters {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				f(writer)
			}
		})
	}
	wg.Wait()
}

type bareWrite struct{ done chan error }

// benchReference returns how many bodies a second bare Pebble makes durable.
func benchReference(b *testing.B) measured {
	j := &Journal{cfg: Config{}.withDefaults()}
	o := j.pebbleOptions(newIsolatingFS(j.cfg.FS, "", func(error) {}))
	o.FS, o.Lock = j.cfg.FS, nil
	db, err := pebble.Open(b.TempDir(), o)
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			b.Error(err)
		}
	}()
	queue := make(chan *bareWrite, benchWriters)
	var committer sync.WaitGroup
	committer.Go(func() { bareCommit(b, db, queue) })
	start, used := time.Now(), cpuTime(b)
	drive(b, b.N, func(int) {
		w := &bareWrite{done: make(chan error, 1)}
		queue <- w
		if err := <-w.done; err != nil {
			b.Error(err)
		}
	})
	m := measured{rate: float64(b.N) / time.Since(start).Seconds(), cpu: cpu(cpuTime(b)-used, b.N)}
	close(queue)
	committer.Wait()
	return m
}

func bareCommit(b *testing.B, db *pebble.DB, queue chan *bareWrite) {
	type group struct {
		batch   *pebble.Batch
		waiting []*bareWrite
	}
	syncing := make(chan group, groupsAhead)
	var syncer sync.WaitGroup
	syncer.Go(func() {
		for g := range syncing {
			err := g.batch.SyncWait()
			for _, w := range g.waiting {
				w.done <- err
			}
			if err := g.batch.Close(); err != nil {
				b.Error(err)
			}
		}
	})
	body := make([]byte, benchBody)
	for i := range body {
		body[i] = byte(i * 7)
	}
	var n uint64
	for w := range queue {
		g := group{batch: db.NewBatch()}
		for more := true; more; {
			n++
			id := uuid.Must(uuid.NewV7())
			_ = g.batch.Set(webhookKey(prefixWebhook, id), body, nil)
			_ = g.batch.Set(binary.BigEndian.AppendUint64([]byte{prefixDedupe}, n*0x9e3779b97f4a7c15), nil, nil)
			g.waiting = append(g.waiting, w)
			if len(g.waiting) == commit.MaxEntries {
				break
			}
			select {
			case w, more = <-queue:
			default:
				more = false
			}
		}
		if err := db.ApplyNoSyncWait(g.batch, pebble.Sync); err != nil {
			b.Error(err)
		}
		syncing <- g
	}
	close(syncing)
	syncer.Wait()
}

// BenchmarkRead reads events of half a kilobyte in order.
func BenchmarkRead(b *testing.B) {
	j := openBench(b)
	const stored = 50_000
	var n atomic.Int64
	drive(b, stored, func(int) {
		if _, err := j.Append(context.Background(), entry(int(n.Add(1)), 512, 1)); err != nil {
			b.Error(err)
		}
	})
	records := make([]sinks.Record, 0, 256)
	from := sinks.Position(1)
	b.ResetTimer()
	for read := 0; read < b.N; {
		if from >= j.Bounds().Next {
			from = 1
		}
		got, err := j.Read(context.Background(), from, records[:0])
		if err != nil {
			b.Fatal(err)
		}
		read += len(got)
		from += sinks.Position(len(got))
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
