package main

import (
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"

	"github.com/cockroachdb/pebble/v2"
)

// serveReference runs the reference for the measurement of the whole ingest path: the least that a durable receiver can do. A
// plain net/http handler appends the raw body and one small key to Pebble, in groups. It applies one group while the previous
// one is being synced.
func serveReference(dir string) {
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	db, err := pebble.Open(dir, &pebble.Options{MemTableSize: 16 << 20})
	if err != nil {
		log.Error("open", "error", err)
		os.Exit(1)
	}
	c := &referenceCommitter{db: db, waiting: make(chan *referenceEntry, 1024), syncing: make(chan referenceBatch, 16)}
	go c.commit()
	go c.sync()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Error("listen", "error", err)
		os.Exit(1)
	}
	log.Info("listening", "listener", "webhooks", "addr", listener.Addr().String())
	log.Info("ready")
	log.Error("serve", "error", http.Serve(listener, c))
}

type referenceEntry struct {
	body []byte
	done chan error
}

type referenceBatch struct {
	batch   *pebble.Batch
	entries []*referenceEntry
}

type referenceCommitter struct {
	db      *pebble.DB
	waiting chan *referenceEntry
	syncing chan referenceBatch
}

func (c *referenceCommitter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		http.Error(w, "cannot read", http.StatusBadRequest)
		return
	}
	e := &referenceEntry{body: body, done: make(chan error, 1)}
	c.waiting <- e
	if err := <-e.done; err != nil {
		http.Error(w, "cannot commit", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(`{"status":"accepted"}`))
}

func (c *referenceCommitter) commit() {
	var position uint64
	for first := range c.waiting {
		b := referenceBatch{batch: c.db.NewBatch(), entries: []*referenceEntry{first}}
		for more := true; more && len(b.entries) < 1024; {
			select {
			case e := <-c.waiting:
				b.entries = append(b.entries, e)
			default:
				more = false
			}
		}
		for _, e := range b.entries {
			position++
			key := binary.BigEndian.AppendUint64([]byte{'e'}, position)
			_ = b.batch.Set(key, e.body, nil)
			key[0] = 'd'
			_ = b.batch.Set(key, nil, nil)
		}
		if err := c.db.ApplyNoSyncWait(b.batch, pebble.Sync); err != nil {
			panic(err)
		}
		c.syncing <- b
	}
}

func (c *referenceCommitter) sync() {
	for b := range c.syncing {
		err := b.batch.SyncWait()
		for _, e := range b.entries {
			e.done <- err
		}
		_ = b.batch.Close()
	}
}
